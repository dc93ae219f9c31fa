"""What the chaos tests are made of: a search in another process, servers around it, and somebody who kills them."""

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.processes import descendants, living

ROOT = Path(__file__).resolve().parents[1]
TRIALS = 200

SEARCHED = """
import os, time

LOG = os.environ["CHAOS_LOG"]
PACE = float(os.environ["CHAOS_PACE"])

def note(word, trial):
    with open(LOG, "a") as log:
        log.write(f"{word} {trial['x']!r} {trial['kind']}\\n")

def train(trial):
    note("start", trial)
    time.sleep(PACE * (0.2 + (trial.number * 7919 % 17) / 10))
    note("end", trial)
    return (trial["x"] - 0.3) ** 2 + {"a": 0.0, "b": 0.1}[trial["kind"]]
"""

COORDINATE = """
import json, sys
from adaptive_lr import Range, search
from searched import train

options = json.loads(sys.argv[1])
space = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}
found = search(train, space, say=lambda text: print(text, file=sys.stderr), **options)
history = [(one.number, one.point, one.values, one.state) for one in found.trials]
print(json.dumps({"ran": found.ran, "history": history}))
"""


@dataclass
class Search:
    """A search of ``TRIALS`` trials in ``folder/run``, done by processes that may be killed."""

    folder: Path
    options: dict[str, Any]
    pace: float = 0.35
    process: subprocess.Popen[str] | None = None
    snapshots: list[tuple[set[int], int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "searched.py").write_text(SEARCHED)
        (self.folder / "coordinate.py").write_text(COORDINATE)
        self.log = self.folder / "log"
        self.log.touch()

    @property
    def environment(self) -> dict[str, str]:
        paths = os.pathsep.join([str(self.folder), str(ROOT)])
        return os.environ | {"CHAOS_LOG": str(self.log), "CHAOS_PACE": str(self.pace), "PYTHONPATH": paths}

    def start(self) -> subprocess.Popen[str]:
        options = self.options | {"trials": TRIALS, "directory": str(self.folder / "run")}
        with (self.folder / "stderr").open("a") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "coordinate.py", json.dumps(options)],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        return self.process

    def finish(self) -> dict[str, Any]:
        """What an uninterrupted call says."""
        process = self.process if self.process is not None and self.process.poll() is None else self.start()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, self.complaints()
        found: dict[str, Any] = json.loads(said)
        return found

    def kill(self) -> None:
        """Kill the coordinator, and see that nothing of it is left two seconds later."""
        assert self.process is not None
        orphans = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        deadline = time.monotonic() + 2.0
        while living(orphans) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not living(orphans)

    def complaints(self) -> str:
        return (self.folder / "stderr").read_text()[-3000:]

    def journaled(self) -> dict[str, tuple[int, str]]:
        file = self.folder / "run/runs.sqlite"
        if not file.exists():
            return {}
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60.0)
        try:
            return {
                key: (number, outcome)
                for key, number, outcome in connection.execute("SELECT key, number, outcome FROM runs")
            }
        except sqlite3.OperationalError:  # not made yet
            return {}
        finally:
            connection.close()

    def remember(self) -> None:
        """Note which points are finished, and how far the log is: none of them may be started after that."""
        done = {number for number, _ in self.journaled().values()}
        self.snapshots.append((done, self.log.stat().st_size))


def check(search: Search, history: list[Any], kills: int, at_once: int) -> None:
    """Exactly so many trials, each journaled once; nothing finished was lost or run again."""
    run = search.folder / "run"
    assert [number for number, *_ in history] == list(range(TRIALS))
    assert {state for *_, state in history} == {"complete"}
    journaled = search.journaled()
    assert sorted(number for number, _ in journaled.values()) == list(range(TRIALS))
    names = [f"{point['x']!r} {point['kind']}" for _, point, *_ in history]
    assert len(set(names)) == TRIALS
    text = search.log.read_text()
    for done, place in search.snapshots:
        started_later = {line.removeprefix("start ") for line in text[place:].splitlines() if line.startswith("start")}
        assert not started_later & {names[number] for number in done}
    starts = [line for line in text.splitlines() if line.startswith("start")]
    assert 0 <= len(starts) - TRIALS <= at_once * kills
    before = text
    again = search.finish()
    assert again == {"ran": 0, "history": history}
    assert search.log.read_text() == before
    assert (run / "search.json").exists()


def rows(url: str) -> dict[str, int]:
    """How many trials of each state the study has, as Optuna sees it."""
    import optuna

    from adaptive_lr.search.storage import open_storage

    storage = open_storage(url)
    (study,) = storage.get_all_studies()
    found: dict[str, int] = {}
    for trial in storage.get_all_trials(study._study_id):
        found[trial.state.name] = found.get(trial.state.name, 0) + 1
    assert isinstance(storage, optuna.storages.RDBStorage)
    storage.remove_session()
    storage.engine.dispose()
    return found


Victim = Callable[[], bool]
"""Kills somebody; False if there is nobody to kill."""


def rage(
    search: Search,
    victims: Mapping[str, Victim],
    *,
    least: int,
    delays: tuple[float, float],
    tend: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Run the search, and kill random victims at random times until ``least`` are dead; then let it finish.

    Returns:
        What the coordinator said at the end, and how many of each kind were killed.
    """
    generator, kills = random.Random(seed), dict.fromkeys(victims, 0)
    order: list[str] = []
    search.start()
    while sum(kills.values()) < least:
        order = order or generator.sample(sorted(victims), len(victims))
        name, wake = order.pop(), time.monotonic() + generator.uniform(*delays)
        while time.monotonic() < wake or not victims[name]():
            tend()
            assert search.process is not None
            code = search.process.poll()
            assert code is None, f"over after {kills} with code {code}: {search.complaints()}"
            time.sleep(0.02)
        kills[name] += 1
        search.remember()
        tend()
        assert search.process is not None
        if search.process.poll() is not None:
            search.start()
    deadline = time.monotonic() + 300
    while search.process is not None and search.process.poll() is None and time.monotonic() < deadline:
        tend()
        time.sleep(0.05)
    process = search.process
    assert process is not None
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 0, search.complaints()
    sys.stderr.write(f"killed {kills}; before the first result: {sum(not done for done, _ in search.snapshots)}\n")
    return json.loads(said), kills


def kill_one_below(ancestor: int, generator: random.Random) -> bool:
    """Kill a process below one; False if there is none."""
    below = sorted(descendants(ancestor))
    if not below:
        return False
    try:
        os.kill(generator.choice(below), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Kept:
    """A process that is started again whenever it is gone, as systemd or Slurm would do."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command, self._environment, self._log = list(command), dict(environment), log
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, process_group=0)

    def tend(self) -> None:
        if self.process.poll() is not None:
            self.process = self._started()

    def kill(self) -> bool:
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def close(self) -> None:
        below = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pid in living(below):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


class Postgres:
    """A server of its own on loopback, run by another user where this one is root."""

    def __init__(self, folder: Path, binaries: Path, user: str | None) -> None:
        self._binaries, self._user, self._data, self.port = binaries, user, folder / "data", free_port()
        self._log = folder / "log"
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "--no-sync")
        self.process = self._started()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / name), *arguments], user=self._user, check=True, capture_output=True, cwd="/"
        )

    def _started(self) -> subprocess.Popen[bytes]:
        arguments = ["-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._data)]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self._binaries / "postgres"), *arguments], user=self._user, stdout=log, stderr=log, cwd="/"
            )

    def tend(self) -> None:
        if self.process.poll() is not None:
            self.process = self._started()

    def kill(self) -> bool:
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def close(self) -> None:
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server; skips the test with a reason where there is none to run."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    binaries = next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = None
    if os.geteuid() == 0:
        import pwd

        names = {one.pw_name for one in pwd.getpwall()}
        if "postgres" not in names:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = "postgres"
    with tempfile.TemporaryDirectory(prefix="chaos-postgres-") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        server = Postgres(folder, binaries, user)
        try:
            yield server
        finally:
            server.close()
