"""Run the trials that the store does not have yet, on several processes, and store every batch as it finishes."""

from __future__ import annotations

import contextlib
import platform
import random
import subprocess
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from adaptive_lr.errors import CompileError, RunError
from adaptive_lr.training import Backend, RunResult, Trial, batches, train_batch
from adaptive_lr.trials.interrupts import heeded, uninterrupted
from adaptive_lr.trials.planning import Choice, Choices, Measurement
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.scripts import loaded_scripts
from adaptive_lr.trials.store import Store

T = TypeVar("T")


def run_trials(
    trials: Sequence[Trial],
    store: Store,
    *,
    workers: int,
    processes: Processes[Job, Any] | None = None,
    advance: Callable[[int], None] = lambda count: None,
    run: Callable[[Sequence[list[Trial]]], Generator[list[RunResult], None, None]] | None = None,
    chosen: Callable[[Choice, Trial], None] = lambda choice, trial: None,
) -> int:
    """Run what is missing and store it, batch by batch.

    How trials are put together into batches depends on the list alone, and a batch is stored whole or not at all; so an
    interrupted run, started again, computes the very batches that an uninterrupted one would have. Ctrl-C, or an error of one
    batch, stores what has ended by then and ends the processes at once.

    Args:
        trials: the whole plan, stored trials included.
        store: open for writing.
        workers: processes, each on one thread; 1 runs in this process.
        processes: as many of them that `do` jobs, for several plans: starting one takes seconds. They are left as they are.
        advance: called with the number of trials after each batch.
        run: does the batches, in any order, for callers that have processes of their own.
        chosen: called with each choice how to train, and a trial that it is for.

    Returns:
        How many trials were run.

    Raises:
        RunError: ``workers`` is below 1, a worker process died, or a trial raised an error.
    """
    if workers < 1:
        raise RunError(f"workers must be at least 1, got {workers}")
    unique = {trial.digest(): trial for trial in trials}
    done = store.finished(unique)
    planned = batches(list(unique.values()))
    todo = [missing for batch in planned if (missing := [t for t in batch if t.digest() not in done])]
    random.Random(0).shuffle(todo)  # tasks differ in cost: mixed, the time left can be estimated early
    with contextlib.ExitStack() as stack:
        start: _Start = _in_this_process
        ended: Callable[[], list[list[RunResult]]] = list
        if run is None and workers > 1 and len(todo) > 1:
            processes = processes or stack.enter_context(Processes(workers, do))
            start, ended = processes.results, processes.ended
        if run is None:
            choices = Choices(planned, store.path)
            if todo and (unmeasured := choices.missing()):
                _choose(choices, unmeasured, start, chosen)
            results = start([Training(batch, choices.backend(batch[0])) for batch in todo])
        else:
            results = run(todo)
        return _kept(stack.enter_context(contextlib.closing(results)), ended, store, advance)


def _kept(
    results: Generator[list[RunResult], None, None],
    ended: Callable[[], list[list[RunResult]]],
    store: Store,
    advance: Callable[[int], None],
) -> int:
    """Store what comes, and after Ctrl-C or an error what has ended by then; how many trials that were."""
    source = provenance()
    count = 0

    def keep(batch: list[RunResult]) -> None:
        nonlocal count
        with uninterrupted():
            store.add(batch, source)
        count += len(batch)
        advance(len(batch))

    try:
        for batch in results:
            keep(batch)
    finally:
        for batch in ended():
            if not store.finished(result.trial.digest() for result in batch):
                keep(batch)
    return count


def _choose(
    choices: Choices, missing: Sequence[Measurement], start: _Start, chosen: Callable[[Choice, Trial], None]
) -> None:
    measured = dict(start(missing))
    choices.add(measured)
    for measurement in missing:
        chosen(measured[measurement.key], measurement.trials[0])


@dataclass(frozen=True)
class Training:
    """A batch to be trained."""

    trials: list[Trial]
    backend: Backend | None = None

    def results(self) -> list[RunResult]:
        """What comes of it; without a compiled loop where there was a compiler before, and is none now."""
        try:
            return train_batch(self.trials, self.backend)
        except CompileError:
            return train_batch(self.trials)


Job = Training | Measurement
"""What a worker process does."""

_Start = Callable[[Sequence[Any]], Generator[Any, None, None]]


def do(job: Job) -> Any:
    """Train a batch, or measure how it is trained best: then the key and the choice."""
    if isinstance(job, Training):
        return on_one_thread(job.results, job.trials)
    return job.key, on_one_thread(job.choice, job.trials)


def _in_this_process(jobs: Sequence[Any]) -> Generator[Any, None, None]:
    with as_it_was():
        for job in jobs:
            yield do(job)


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Give this process back the threads that `on_one_thread` takes from it."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def run_batch(batch: list[Trial]) -> list[RunResult]:
    """Train a batch in this process, which is left with one thread; a `RunError` if training raised an error."""
    return on_one_thread(lambda: train_batch(batch), batch)


def on_one_thread(train: Callable[[], T], batch: Sequence[Trial]) -> T:
    """What ``train``, which trains ``batch``, returns, or a `RunError`; the process is left with one thread."""
    # One thread a process: the result then depends on neither the machine's cores nor the number of workers.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        with heeded():
            return train()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        refusal = RunError(f"{len(batch)} trials from {batch[0]!r} on failed: {reason}")
        if _in_a_script(error):
            refusal.add_note(traceback.format_exc().rstrip())
        raise refusal from error


def _in_a_script(error: BaseException) -> bool:
    """Whether the error passed through a person's own file, whose author wants to see where."""
    files = {str(path) for path in loaded_scripts().values()}
    return any(frame.filename in files for frame in traceback.extract_tb(error.__traceback__))


def provenance() -> dict[str, Any]:
    """Where results come from: commit, versions, device."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        try:
            answer = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return answer.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD") or None,
        "changed": bool(git("status", "--porcelain", "--", str(here))),
        "adaptive_lr": version("adaptive-lr"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
        "machine": platform.machine(),
    }
