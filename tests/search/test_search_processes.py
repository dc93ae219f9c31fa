"""What a function may do in a worker: read its input, its arguments, start processes, be defined in a script."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import Range, SearchTrial, search
from adaptive_lr.errors import RunError
from adaptive_lr.processes import load_module
from adaptive_lr.search import executor
from adaptive_lr.search.sent import received, sent
from tests.processes import descendants, living

ROOT = Path(__file__).resolve().parents[2]
SPACE = {"x": Range(0, 1)}
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def ran(folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A script, run in its folder."""
    (folder / "script.py").write_text(program)
    return subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_what_a_function_and_its_children_read_is_empty(tmp_path: Path) -> None:
    def reading(trial: SearchTrial) -> float:
        child = subprocess.run(["cat"], capture_output=True, check=True)
        try:
            input()
        except EOFError:
            return float(trial["x"]) + len(child.stdout)
        raise AssertionError

    found = search(reading, SPACE, trials=4, directory=tmp_path, workers=2)
    assert all(trial.values == (trial.point["x"],) for trial in found.trials)


def test_a_forgotten_breakpoint_ends_the_run(tmp_path: Path) -> None:
    def stopping(trial: SearchTrial) -> float:
        breakpoint()
        return float(trial["x"])

    with pytest.raises(RunError, match=r"trial 0 .* raised BdbQuit"):
        search(stopping, SPACE, trials=1, directory=tmp_path, workers=1)


ARGUMENTS = """
import argparse, sys
from adaptive_lr.search import search

def train(trial):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int)
    return parser.parse_args().epochs + 0.0 * trial["x"]

if __name__ == "__main__":
    workers = int(sys.argv[-1])
    print(search(train, {"x": {"low": 0, "high": 1}}, trials=2, directory=f"d{workers}", workers=workers).best_value)
    print("torch" in sys.modules)  # nobody has asked for it
"""


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_a_function_sees_the_arguments_of_its_script(workers: str, tmp_path: Path) -> None:
    done = ran(tmp_path, ARGUMENTS, "--epochs", "50", "--workers", workers)
    assert done.stdout == "50.0\nFalse\n", done.stderr


SCRIPT = """
import json, multiprocessing, sys, threading
from concurrent.futures import ProcessPoolExecutor
from adaptive_lr.search import search

calls, lock = [], threading.Lock()

def square(number):
    return number * number

class Offset:
    def __init__(self, by):
        self.by = by
    def __call__(self, number):
        return number + self.by

def counted(trial):
    with lock:
        calls.append(trial.number)
    return trial["x"]

def pooled(trial, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        numbers = pool.map(square, range(4))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        numbers += pool.map(Offset(10), [1])
    return sum(numbers) + 0.0 * trial["x"]

if __name__ == "__main__":
    workers, method, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    train = counted if kind == "counted" else lambda trial: pooled(trial, method)
    found = search(train, {"x": {"low": 0, "high": 1}}, trials=2, directory="d", workers=workers)
    print(json.dumps([found.best_value, len(calls)]))
"""


STARTS = (("0", "fork"), ("0", "spawn"), ("0", "forkserver"), ("1", "fork"), ("1", "forkserver"))


@pytest.mark.parametrize(
    ("workers", "method"),
    [("1", "spawn"), *(pytest.param(*start, marks=pytest.mark.slow) for start in STARTS)],
)
def test_what_stands_in_a_script_can_be_sent_on(method: str, workers: str, tmp_path: Path) -> None:
    done = ran(tmp_path, SCRIPT, workers, method, "pooled")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == 14 + 11


def test_without_workers_the_function_itself_is_called(tmp_path: Path) -> None:
    done = ran(tmp_path, SCRIPT, "0", "fork", "counted")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1] == 2


def test_a_search_that_a_child_would_begin_again_is_refused(tmp_path: Path) -> None:
    program = """
import multiprocessing
from adaptive_lr.search import search

def nothing():
    pass

def train(trial):
    child = multiprocessing.get_context("spawn").Process(target=nothing)
    child.start()
    child.join()
    return child.exitcode + 0.0 * trial["x"]

print(search(train, {"x": {"low": 0, "high": 1}}, trials=1, directory="d", workers=1).best_value)
"""
    done = ran(tmp_path, program)
    assert done.stdout == "1.0\n", done.stderr
    assert 'put the call under if __name__ == "__main__":' in done.stderr


def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    program = "print('begun')\n" + SCRIPT.replace('if __name__ == "__main__":', "if True:")
    done = ran(tmp_path, program, "2", "fork", "pooled")
    assert done.stdout.splitlines() == ["begun", "[25.0, 0]"], done.stderr


def test_a_module_that_another_one_hides_is_sent_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calendar.py").write_text("def train(trial):\n    return trial['x']\n")
    module = load_module("_calendar_of_mine", tmp_path / "calendar.py")
    parcel = sent(module.train)
    monkeypatch.delitem(sys.modules, "_calendar_of_mine")
    assert received(parcel)({"x": 3.0}) == 3.0
    found = search(module.train, SPACE, trials=2, directory=tmp_path / "d", workers=1)
    assert len(found.trials) == 2
    assert "calendar:train" in (tmp_path / "d/search.json").read_text()


CHILDREN = """
import subprocess, sys, time
from adaptive_lr.search import search

def train(trial):
    child = subprocess.Popen(["sleep", "60"])
    with open("children", "a") as file:
        file.write(f"{child.pid}\\n")
    if sys.argv[1] == "fails" and trial.number == 1:
        time.sleep(1.0)
        raise ValueError("typo")
    child.wait()
    return trial["x"]

if __name__ == "__main__":
    search(train, {"x": {"low": 0, "high": 1}}, trials=4, directory="d", workers=2)
"""


@PROC
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        signal.SIGKILL,
        pytest.param(None, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_a_function_has_started_ends_with_the_search(end: signal.Signals | None, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CHILDREN)
    command = [sys.executable, "script.py", "fails" if end is None else "waits"]
    with (tmp_path / "said").open("w") as said:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=said)
    children, deadline = tmp_path / "children", time.monotonic() + 60.0
    while not children.exists() or len(children.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline, (tmp_path / "said").read_text()
        time.sleep(0.05)
    below = descendants(process.pid)
    assert {int(line) for line in children.read_text().splitlines()} <= below.keys()
    if end is not None:
        process.send_signal(end)
    started = time.monotonic()
    process.wait(timeout=30)
    assert (
        end is None or time.monotonic() - started < 10.0
    )  # a tenth of a second where the machine has nothing else to do
    deadline = time.monotonic() + 3.0
    while living(below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not living(below)


@PROC
def test_what_a_run_that_died_has_started_ends_with_it(tmp_path: Path) -> None:
    def dying(trial: SearchTrial) -> float:
        mark = tmp_path / "child"
        if not mark.exists():
            child = subprocess.Popen(["sleep", "60"])
            mark.write_text(str(child.pid))
            os._exit(7)
        return float(trial["x"])

    said: list[str] = []
    search(dying, SPACE, trials=2, directory=tmp_path / "d", workers=1, say=said.append)
    assert said == ["a worker process died (code 7); its run is done again"]
    assert not Path(f"/proc/{(tmp_path / 'child').read_text()}/cmdline").exists() or not living(
        {int((tmp_path / "child").read_text()): ""}
    )


@pytest.mark.parametrize(
    ("die", "cause"),
    [
        pytest.param(lambda: os._exit(7), r"ended its process 5 times \(code 7\);", id="code", marks=pytest.mark.slow),
        pytest.param(
            lambda: os.kill(os.getpid(), signal.SIGSEGV),
            r"\(signal 11, SIGSEGV\);",
            id="segfault",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: os.kill(os.getpid(), signal.SIGKILL), r"\(signal 9\), perhaps for want of memory;", id="kill"
        ),
    ],
)
def test_a_worker_that_dies_each_time_is_named_with_its_cause(die: Any, cause: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=cause):
        search(lambda trial: die(), SPACE, trials=1, directory=tmp_path, workers=1)


def test_a_run_that_hangs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "PATIENCE", 0.2)
    monkeypatch.setattr(executor, "_LOOK", 0.05)
    said: list[str] = []
    heard, deadline = tmp_path / "heard", time.time() + 60.0

    def slow(trial: SearchTrial) -> float:
        while trial.number == 1 and not heard.exists() and time.time() < deadline:
            time.sleep(0.02)
        return float(trial["x"])

    def say(text: str) -> None:
        said.append(text)
        heard.touch()

    search(slow, SPACE, trials=2, directory=tmp_path / "d", workers=1, say=say)
    assert said
    assert "has been at trial 1 for " in said[-1]
    assert "If it hangs, end that process: its run is done again" in said[-1]


def test_a_command_line_holds_no_arguments_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", "--storage", "postgresql://me:tiger7secret@host/db"])
    pool: Any = executor.ProcessPool(1)
    try:
        line = Path(f"/proc/{pool.processes[0]}/cmdline")
        assert not line.exists() or b"tiger7secret" not in line.read_bytes()
    finally:
        pool.close()
