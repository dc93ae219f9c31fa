import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_lr import Constant, DampedCosine
from adaptive_lr.errors import RunError, StoreError
from adaptive_lr.spec import encode
from adaptive_lr.tasks import AbstractTask, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import SGD, Status, Trial, batches, train_batch
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.runner import do, provenance, run_trials
from adaptive_lr.trials.store import Store
from tests.processes import descendants, living
from tests.reference.tasks import DyingTask, RaisingTask

ROOT = Path(__file__).resolve().parents[2]


def plan(task: AbstractTask, *, seeds: Sequence[int], steps: int = 40) -> list[Trial]:
    """Three trials a seed, of which one diverges; with a length of its own each seed is a batch of its own."""
    return [
        Trial(task=task, schedule=schedule, optimizer=SGD(momentum=0.5), base_lr=rate, steps=steps + seed, seed=seed)
        for schedule, rate in ((Constant(), 0.05), (DampedCosine(), 0.1), (Constant(), 1e30))
        for seed in seeds
    ]


def rows(path: Path) -> dict[str, tuple[Any, ...]]:
    """The rows of all trials as they are in the file, by digest: with the batch they came in and the time they took."""
    connection = sqlite3.connect(path)
    try:
        return {row[0]: row for row in connection.execute("SELECT * FROM trials")}
    finally:
        connection.close()


def numbers(path: Path, trials: Sequence[Trial]) -> dict[str, tuple[Any, ...]]:
    """All that was stored of the trials but the time, to the last bit."""
    with Store(path) as store:
        return {
            digest: (
                record.status,
                record.stopped_at,
                repr(record.initial),
                repr(record.metrics),
                {name: values.tobytes() for name, values in store.curves(digest).items()},
            )
            for digest, record in store.read(trial.digest() for trial in trials).items()
        }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite", write=True) as opened:
        yield opened


@pytest.fixture
def three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_trials_are_run_once(store: Store) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(4))
    assert run_trials(trials, store, workers=1) == len(trials) == len(store)
    before = rows(store.path)
    assert run_trials(trials, store, workers=1) == 0
    assert run_trials(trials, store, workers=2) == 0
    assert rows(store.path) == before


def test_what_is_stored_is_what_training_gives(store: Store) -> None:
    trials = plan(StreamingLogistic(dimension=5), seeds=range(2))
    run_trials(trials, store, workers=1)
    for batch in batches(trials):
        for expected in train_batch(batch):
            digest = expected.trial.digest()
            record = store.read([digest])[digest]
            assert (record.status, record.stopped_at) == (expected.status, expected.stopped_at)
            np.testing.assert_array_equal(list(record.metrics.values()), list(expected.metrics.values()))
            for name, values in store.curves(digest).items():
                np.testing.assert_array_equal(values, expected.curves[name])


def test_only_missing_trials_are_run(store: Store) -> None:
    task = StreamingLeastSquares(dimension=5)
    some, more = plan(task, seeds=range(3)), plan(task, seeds=range(5))
    assert run_trials(some, store, workers=1) == 9
    before = rows(store.path)
    assert run_trials(more, store, workers=1) == 6
    after = rows(store.path)
    assert set(after) == {trial.digest() for trial in more}
    assert {digest: after[digest] for digest in before} == before


def test_no_trials_are_no_work(store: Store) -> None:
    assert run_trials([], store, workers=1) == run_trials([], store, workers=4) == 0


def test_advance_is_called_with_what_was_just_stored(store: Store) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(4))
    counts, stored = [], []

    def advance(count: int) -> None:
        counts.append(count)
        stored.append(len(store))

    assert run_trials(trials, store, workers=1, advance=advance) == sum(counts)
    assert counts == [3] * 4
    assert stored == [3, 6, 9, 12]


def test_two_workers_store_the_same_bits_as_one(store: Store, tmp_path: Path, three_threads: None) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(3)) + plan(StreamingLogistic(), seeds=range(3))
    counts: list[int] = []
    assert run_trials(trials, store, workers=2, advance=counts.append) == len(trials) == sum(counts)
    assert torch.get_num_threads() == 3
    with Store(tmp_path / "alone.sqlite", write=True) as alone:
        run_trials(trials, alone, workers=1)
    found = numbers(store.path, trials)
    assert len(found) == len(trials)
    assert found == numbers(tmp_path / "alone.sqlite", trials)
    assert {status for status, *_ in found.values()} == {Status.OK, Status.DIVERGED}


def test_plans_that_share_their_processes_store_the_same_bits(store: Store, tmp_path: Path) -> None:
    plans = [plan(StreamingLeastSquares(dimension=5), seeds=range(3)), plan(StreamingLogistic(), seeds=range(3))]
    with Processes(2, do) as processes, Store(tmp_path / "alone.sqlite", write=True) as alone:
        for trials in plans:
            run_trials(trials, store, workers=2, processes=processes)
            assert len(processes._workers) == 2
            run_trials(trials, alone, workers=1)
    trials = [trial for part in plans for trial in part]
    assert len(store) == len(trials)
    assert numbers(store.path, trials) == numbers(tmp_path / "alone.sqlite", trials)


def test_results_do_not_depend_on_the_threads_of_the_process(tmp_path: Path) -> None:
    trials, found, threads = plan(StreamingLogistic(dimension=50), seeds=range(2)), [], torch.get_num_threads()
    for count in (1, 4):
        torch.set_num_threads(count)
        with Store(tmp_path / f"{count}.sqlite", write=True) as store:
            run_trials(trials, store, workers=1)
        found.append(numbers(tmp_path / f"{count}.sqlite", trials))
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_threads_and_denormals_are_as_before_afterwards(store: Store, three_threads: None) -> None:
    seen: list[int] = []
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(2))
    run_trials(trials, store, workers=1, advance=lambda count: seen.append(torch.get_num_threads()))
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3
    assert (torch.tensor([1e-310], dtype=torch.float64) * 1.0).item() > 0.0


def test_an_error_in_a_task_names_the_trial_and_what_is_finished_stays(store: Store, three_threads: None) -> None:
    good, bad = RaisingTask(dimension=5, bad_seed=99), RaisingTask(dimension=5, bad_seed=2)
    before = plan(good, seeds=range(3))
    run_trials(before, store, workers=1)
    counts: list[int] = []
    message = r"^3 trials from Trial\(task=RaisingTask\(.*seed=2\) on failed: FloatingPointError: no more data$"
    with pytest.raises(RunError, match=message) as caught:
        run_trials([*before, *plan(bad, seeds=range(5))], store, workers=1, advance=counts.append)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, FloatingPointError)
    assert torch.get_num_threads() == 3
    assert len(store) == 9 + sum(counts)
    assert store.finished(trial.digest() for trial in before) == {trial.digest() for trial in before}
    assert store.finished(trial.digest() for trial in plan(bad, seeds=[2])) == set()


@pytest.mark.slow
def test_a_worker_imports_no_library_before_a_task_needs_it() -> None:
    program = (
        "import sys, adaptive_lr.trials.runner; "
        "print([name for name in ('sklearn', 'scipy', 'matplotlib', 'tensorboard', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_worker_that_dies_is_explained_and_what_is_finished_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))  # the workers import the task
    before = plan(StreamingLeastSquares(dimension=5), seeds=range(2))
    run_trials(before, store, workers=1)
    bad = plan(DyingTask(dimension=5, bad_seed=1), seeds=range(2))
    with pytest.raises(RunError, match=r"a worker process died.*finished trials are stored: run again"):
        run_trials([*before, *bad], store, workers=2)
    assert store.finished(trial.digest() for trial in before) == {trial.digest() for trial in before}
    assert store.finished(trial.digest() for trial in plan(bad[0].task, seeds=[1])) == set()


class Stopped(Exception):  # noqa: N818  # not an error
    pass


def stop(count: int) -> None:
    raise Stopped


def test_a_run_stopped_between_batches_goes_on_where_it_stopped(store: Store) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(4))
    for finished in (3, 6, 9):
        with pytest.raises(Stopped):
            run_trials(trials, store, workers=1, advance=stop)
        assert len(store) == finished
    assert run_trials(trials, store, workers=1) == 3


def test_threads_are_as_before_when_the_run_is_stopped(store: Store, three_threads: None) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(4))
    with pytest.raises(Stopped) as caught:
        run_trials(trials, store, workers=1, advance=stop)
    assert torch.get_num_threads() == 3
    assert caught.value.__traceback__ is not None


def test_a_store_that_cannot_be_written_ends_the_run(store: Store) -> None:
    trials = plan(StreamingLeastSquares(dimension=5), seeds=range(30))
    run_trials(trials[:1], store, workers=1)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="make room and run again"):
        run_trials(trials, store, workers=1)
    stored = len(store)
    assert 0 < stored < len(trials)
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert run_trials(trials, store, workers=1) == len(trials) - stored


def test_provenance_says_where_results_come_from(store: Store) -> None:
    run_trials(plan(StreamingLeastSquares(dimension=5), seeds=[0]), store, workers=1)
    (found,) = store.provenance()
    assert found == provenance()
    assert set(found) == {"commit", "changed", "adaptive_lr", "torch", "python", "device", "machine"}
    assert found["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["commit"] is None or len(found["commit"]) == 40
    assert isinstance(found["changed"], bool)
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


SCRIPT = """
import json, sys
from pathlib import Path
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.spec import decode
from adaptive_lr.trials.store import Store
from adaptive_lr.training import KINDS

trials = [decode(one, KINDS) for one in json.load(sys.stdin)]
with Store(Path(sys.argv[1]), write=True) as store:
    run_trials(trials, store, workers=2)
"""


@contextmanager
def started(path: Path, trials: Sequence[Trial]) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the trials, and is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)], stdin=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps([encode(trial) for trial in trials]))
        process.stdin.close()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def wait_until(claim: Callable[[], bool], *, unless: Callable[[], bool] = lambda: False) -> None:
    deadline = time.monotonic() + 300.0  # a wait that is in vain, not a slow one: three processes import PyTorch first
    while not claim():
        assert not unless(), "too late"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.03)


def stored_so_far(path: Path) -> int:
    try:
        with Store(path) as store:
            return len(store)
    except StoreError:  # not made yet
        return -1


def kill(path: Path, trials: Sequence[Trial], least: int) -> None:
    """Run the trials in another process, and kill it once it has workers and ``least`` trials are stored."""
    with started(path, trials) as process:
        wait_until(
            lambda: len(descendants(process.pid)) >= 2 and stored_so_far(path) >= least,
            unless=lambda: process.poll() is not None,
        )
        with pytest.raises(StoreError, match="another process is writing to"):
            Store(path, write=True)
        orphans = descendants(process.pid)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not living(orphans))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("points", [(3, 9), pytest.param((0, 0, 3, 6, 9, 12), marks=pytest.mark.slow)], ids=str)
def test_a_killed_run_leaves_no_process_loses_nothing_and_repeats_nothing(
    points: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    trials = plan(StreamingLeastSquares(dimension=50), seeds=range(10), steps=1500)
    finished: dict[str, tuple[Any, ...]] = {}
    for least in points:
        kill(path, trials, least)
        found = rows(path)
        assert least <= len(found) < len(trials)
        assert {digest: found[digest] for digest in finished} == finished
        finished = found
    with Store(path, write=True) as store:
        assert run_trials(trials, store, workers=1) == len(trials) - len(finished)
        assert run_trials(trials, store, workers=1) == 0
    after = rows(path)
    assert {digest: after[digest] for digest in finished} == finished
    assert set(after) == {trial.digest() for trial in trials}
    with Store(tmp_path / "uninterrupted.sqlite", write=True) as store:
        assert run_trials(trials, store, workers=1) == len(trials)
    assert numbers(path, trials) == numbers(tmp_path / "uninterrupted.sqlite", trials)
