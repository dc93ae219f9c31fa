"""Worker processes that train, fail or die at the same time."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import Constant
from adaptive_lr.errors import RunError
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, RunResult, Trial, train_batch
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
Pool = Processes[list[Trial], list[RunResult]]
FINISHES, FAILS, DIES, UNSENDABLE, UNREADABLE = range(5)


def do_as_the_seed_says(batch: list[Trial]) -> list[RunResult]:
    if batch[0].seed == FAILS:
        raise RunError("no luck")
    if batch[0].seed == DIES:
        os._exit(3)
    if batch[0].seed in (UNSENDABLE, UNREADABLE):
        results: list[Any] = [threading.Lock() if batch[0].seed == UNSENDABLE else Unreadable()]
        return results
    return train_batch(batch)


def refuse() -> None:
    raise AttributeError("made elsewhere")


class Unreadable:
    """Can be sent to another process, and not be read there."""

    def __reduce__(self) -> Any:
        return refuse, ()


def batch(seed: int) -> list[Trial]:
    task = StreamingLeastSquares(dimension=5)
    return [Trial(task=task, schedule=Constant(), optimizer=SGD(), base_lr=0.1, steps=2, seed=seed)]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, Any], Pool]]:
    monkeypatch.syspath_prepend(str(ROOT))  # the workers import the function
    opened = []

    def start(count: int, train: Any) -> Pool:
        opened.append(Processes(count, train))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


class Patient(Sequence[list[Trial]]):
    """Batches, after the last of which all workers are waited for, so that they end at the same time."""

    def __init__(self, processes: Pool, seeds: Sequence[int]) -> None:
        self._processes, self._batches = processes, [batch(seed) for seed in seeds]

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Trial]]:
        yield from self._batches
        wait_for_all(self._processes)


def wait_for_all(processes: Pool) -> None:
    """Until every worker has answered or is gone."""
    deadline = time.monotonic() + 300.0
    while not all(worker.pipe.poll() for worker in processes._workers if worker.busy):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "others", [(FAILS, DIES), *(pytest.param(both, marks=pytest.mark.slow) for both in ((FAILS, FAILS), (DIES, DIES)))]
)
def test_what_has_ended_is_kept_when_several_others_go_wrong(
    processes: Callable[[int, Any], Pool], others: tuple[int, int]
) -> None:
    pool = processes(4, do_as_the_seed_says)
    taken: list[list[RunResult]] = []
    with pytest.raises(RunError, match=r"no luck|a worker process died \(code 3\)"):
        taken.extend(pool.results(Patient(pool, (others[0], FINISHES, others[1]))))
    wait_for_all(pool)  # as many workers as batches: the error may have come before the others had ended
    taken += pool.ended()
    assert [[result.trial for result in results] for results in taken] == [batch(FINISHES)]


def test_results_that_cannot_be_sent_or_read_are_errors_that_say_so(
    processes: Callable[[int, Any], Pool],
) -> None:
    pool = processes(1, do_as_the_seed_says)
    with pytest.raises(RunError, match=r"cannot be sent back \(TypeError: cannot pickle '_thread.lock' object\)$"):
        list(pool.results([batch(UNSENDABLE)]))
    with pytest.raises(RunError, match=r"process gave cannot be read \(AttributeError: made elsewhere\)$"):
        list(pool.results([batch(UNREADABLE)]))
    (results,) = pool.results([batch(FINISHES)])
    assert [result.trial for result in results] == batch(FINISHES)


def own_number(seeds: Sequence[int]) -> int:
    time.sleep(0.2)
    return os.getpid()


def test_processes_start_when_there_is_work_for_them_and_serve_list_after_list(
    processes: Callable[[int, Any], Any],
) -> None:
    pool = processes(2, own_number)
    assert list(pool.results([])) == []
    assert pool._workers == []
    (first,) = set(pool.results([[0]]))
    assert first != os.getpid()
    both = set(pool.results([[seed] for seed in range(6)]))
    assert first in both
    assert len(both) == 2
    assert set(pool.results([[0], [1]])) == both


def test_processes_without_scripts_do_not_load_them(
    processes: Callable[[int, Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaptive_lr.trials.scripts._LOADED", {})
    script = tmp_path / "mine.py"
    script.write_text(
        "from pathlib import Path\nwith (Path(__file__).parent / 'loads').open('a') as file:\n    file.write('x')\n"
    )
    load_script(script)
    with Processes[Any, int](1, own_number, scripts=False) as light:
        list(light.results([[0]]))
    assert (tmp_path / "loads").read_text() == "x"
    list(processes(1, own_number).results([[0]]))
    assert (tmp_path / "loads").read_text() == "xx"
