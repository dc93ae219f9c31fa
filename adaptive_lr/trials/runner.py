"""Run the trials that the store does not have yet, on several processes, and store every batch as it finishes."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import torch

from adaptive_lr.errors import RunError
from adaptive_lr.training import RunResult, Trial, batches, train_batch
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
    interrupted run, started again, computes the very batches that an uninterrupted one would have.

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
    if run is not None:
        results = run(todo)
    else:
        results = _in_this_process(todo) if workers == 1 or len(todo) < 2 else _in_processes(todo, workers)
    with contextlib.closing(results):
        for batch in results:
            store.add(batch, source)
            count += len(batch)
            advance(len(batch))
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


def _in_processes(todo: Sequence[list[Trial]], workers: int) -> Generator[list[RunResult], None, None]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
    waiting = iter(todo)
    running: set[Future[list[RunResult]]] = set()
    try:
        while True:
            while len(running) < 2 * workers and (batch := next(waiting, None)) is not None:
                running.add(pool.submit(run_batch, batch))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise RunError(
            "a worker process died, perhaps for want of memory; finished trials are stored: run again to go on"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_batch(batch: list[Trial]) -> list[RunResult]:
    """Train a batch in this process, which is left with one thread; a `RunError` if training raised an error."""
    return on_one_thread(lambda: train_batch(batch), batch)


def on_one_thread(train: Callable[[], T], batch: Sequence[Trial]) -> T:
    """What ``train``, which trains ``batch``, returns; the process is left with one thread.

    Raises:
        RunError: training raised an error.
    """
    # One thread a process: the result then depends on neither the machine's cores nor the number of workers.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        return train()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(f"{len(batch)} trials from {batch[0]!r} on failed: {reason}") from error


def _end_with_parent() -> None:
    """Leave no orphan: a worker ends as soon as the process that started it is gone, even by kill -9."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def provenance() -> dict[str, Any]:
    """Where results come from: commit, versions, device."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        try:
            found = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return found.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD") or None,
        "changed": bool(git("status", "--porcelain", "--", str(here))),
        "adaptive_lr": version("adaptive-lr"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
        "machine": platform.machine(),
    }
