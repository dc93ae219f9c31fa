"""A real Dask cluster on loopback, its scheduler and workers in processes of their own."""

import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import Range, search
from adaptive_lr.errors import RunError, SpecError
from adaptive_lr.search import distributed
from tests.chaos import Kept, free_port
from tests.searched import wavering

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="pip install 'adaptive-lr[cluster]'"),
]

ROOT = Path(__file__).resolve().parents[2]
DASK = [sys.executable, "-m", "dask"]
SPACE = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}


class Machines:
    """A scheduler and workers."""

    def __init__(self, folder: Path) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._log = folder / "dask.log"
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        self.scheduler = self._started("scheduler", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2])
        self.workers: list[Kept] = []
        self._over = threading.Event()
        self._tending = threading.Thread(target=self._tend)
        self._tending.start()

    def _tend(self) -> None:
        while not self._over.wait(0.1):
            for one in list(self.workers):
                one.tend()

    def _started(self, *arguments: str) -> Kept:
        return Kept([*DASK, *arguments, "--no-dashboard"], self._environment, self._log)

    def add_worker(self, *, nanny: bool = False) -> None:
        options = ["--nthreads", "1", "--death-timeout", "10", "--local-directory", str(self._log.parent)]
        self.workers.append(self._started("worker", self.address, *options, *(() if nanny else ("--no-nanny",))))

    def close(self) -> None:
        self._over.set()
        self._tending.join()
        for one in (*self.workers, self.scheduler):
            one.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    yield found
    found.close()


def history(found: Any) -> list[Any]:
    return [(one.number, one.point, one.values, one.state, one.curve) for one in found.trials]


def test_a_cluster_gives_the_history_of_this_machine(machines: Machines, tmp_path: Path) -> None:
    machines.add_worker()
    machines.add_worker()
    there = search(wavering, SPACE, trials=24, directory=tmp_path / "a", cluster=machines.address, pruner="halving")
    here = search(wavering, SPACE, trials=24, directory=tmp_path / "b", workers=1, pruner="halving")
    assert history(there) == history(here)


def test_workers_that_come_late_are_waited_for(machines: Machines, tmp_path: Path) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        machines.add_worker()

    found = search(wavering, SPACE, trials=3, directory=tmp_path, cluster=machines.address, say=say)
    assert len(found.trials) == 3
    assert said == [f"there are no workers at {machines.address}: waiting for some"]


def test_workers_that_do_not_come_end_the_search(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "PATIENCE", 3.0)
    with pytest.raises(RunError, match=r"there was no worker at tcp://.* for 3 s; finished trials are kept"):
        search(wavering, SPACE, trials=3, directory=tmp_path, cluster=machines.address)


def test_a_scheduler_that_does_not_answer_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "PATIENCE", 6.0)
    said: list[str] = []
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(RunError, match=f"no Dask scheduler answers at {re.escape(address)}"):
        search(wavering, SPACE, trials=3, directory=tmp_path, cluster=address, say=said.append)
    assert said == [f"waiting for a scheduler at {address}"]


def test_a_scheduler_that_comes_back_gets_the_runs_again(machines: Machines, tmp_path: Path) -> None:
    machines.add_worker(nanny=True)
    said: list[str] = []

    def advance(progress: Any) -> None:
        if progress.finished == 5:
            machines.scheduler.kill()
            machines.scheduler.tend()

    found = search(
        wavering, SPACE, trials=20, directory=tmp_path, cluster=machines.address, advance=advance, say=said.append
    )
    assert len(found.trials) == found.ran == 20
    assert f"the scheduler at {machines.address} is gone: waiting for another one" in said


def test_a_run_that_always_kills_its_worker_is_named(machines: Machines, tmp_path: Path) -> None:
    def fatal(trial: Any) -> float:
        if trial.number == 1:
            os._exit(3)
        return float(trial["x"])

    machines.add_worker()
    with pytest.raises(RunError, match=r"trial 1 at \{x: .*\} failed: the function ended its worker 5 times over"):
        search(fatal, SPACE, trials=4, directory=tmp_path, cluster=machines.address, in_flight=2)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'nonsense://x' is no address of a scheduler"):
        search(wavering, SPACE, trials=1, directory=tmp_path, cluster="nonsense://x")


def test_a_second_is_not_lost_between_tasks(machines: Machines, tmp_path: Path) -> None:
    machines.add_worker()
    search(wavering, SPACE, trials=1, directory=tmp_path / "a", cluster=machines.address)
    started = time.perf_counter()
    search(wavering, SPACE, trials=50, directory=tmp_path / "b", cluster=machines.address)
    assert time.perf_counter() - started < 25.0
