"""Run the trials that the store does not have yet, on several processes, and store every batch as it finishes."""

from __future__ import annotations

import contextlib
import platform
import random
import subprocess
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from adaptive_lr.errors import RunError
from adaptive_lr.training import RunResult, Trial, batches, train_batch
from adaptive_lr.trials.interrupts import uninterrupted
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.scripts import loaded_scripts
from adaptive_lr.trials.store import Store

T = TypeVar("T")


def run_trials(
    trials: Sequence[Trial],
    store: Store,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
    run: Callable[[Sequence[list[Trial]]], Generator[list[RunResult], None, None]] | None = None,
) -> int:
    """Run what is missing and store it, batch by batch.

    How trials are put together into batches depends on the list alone, and a batch is stored whole or not at all; so an
    interrupted run, started again, computes the very batches that an uninterrupted one would have. Ctrl-C, or an error of one
    batch, stores what has ended by then and ends the processes at once.

    Args:
        trials: the whole plan, stored trials included.
        store: open for writing.
        workers: processes, each on one thread; 1 runs in this process.
        advance: called with the number of trials after each batch.
        run: does the batches, in any order, for callers that have processes of their own.

    Returns:
        How many trials were run.

    Raises:
        RunError: ``workers`` is below 1, a worker process died, or a trial raised an error.
    """
    if workers < 1:
        raise RunError(f"workers must be at least 1, got {workers}")
    unique = {trial.digest(): trial for trial in trials}
    done = store.finished(unique)
    planned = [[t for t in batch if t.digest() not in done] for batch in batches(list(unique.values()))]
    todo = [batch for batch in planned if batch]
    random.Random(0).shuffle(todo)  # tasks differ in cost: mixed, the time left can be estimated early
    source = provenance()
    count = 0

    def keep(batch: list[RunResult]) -> None:
        nonlocal count
        with uninterrupted():
            store.add(batch, source)
        count += len(batch)
        advance(len(batch))

    with contextlib.ExitStack() as stack:
        processes = None
        if run is None and workers > 1 and len(todo) > 1:
            processes = Processes(min(workers, len(todo)), run_batch)
            stack.callback(processes.close)
        started = (run or _in_this_process)(todo) if processes is None else processes.results(todo)
        results = stack.enter_context(contextlib.closing(started))
        try:
            for batch in results:
                keep(batch)
        finally:
            for batch in processes.ended() if processes is not None else ():  # after Ctrl-C or an error
                if not store.finished(result.trial.digest() for result in batch):
                    keep(batch)
    return count


def _in_this_process(todo: Sequence[list[Trial]]) -> Generator[list[RunResult], None, None]:
    with as_it_was():
        for batch in todo:
            yield run_batch(batch)


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
