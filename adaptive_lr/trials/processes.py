"""Worker processes that do jobs, each over a pipe of its own, so that any of them can be ended at any time."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from adaptive_lr.errors import ExperimentError, RunError, in_a_line
from adaptive_lr.processes import cause_of_death, end_with_parent, perhaps_memory
from adaptive_lr.trials.interrupts import unheard_by_children, uninterrupted
from adaptive_lr.trials.scripts import load_again, loaded_scripts

J = TypeVar("J")
R = TypeVar("R")


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    busy: bool = False


class Processes(Generic[J, R]):
    """At most ``count`` processes that do ``work`` with the jobs that they are sent, list after list; one starts when it has a job.

    Ctrl-C reaches only this process. A pool of the standard library would wait for the jobs in flight when it is closed, and
    might wait for ever once its workers are killed while they write into the pipe that they share.

    Args:
        count: of processes.
        work: a function of a module.
        scripts: whether they load the files that this process has loaded by then.
    """

    def __init__(self, count: int, work: Callable[[J], R], *, scripts: bool = True) -> None:
        self._count, self._do, self._scripts = count, work, scripts
        self._workers: list[_Worker] = []
        self._unclaimed: list[R] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        context = get_context("spawn")
        scripts = loaded_scripts() if self._scripts else {}
        with unheard_by_children():
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, self._do, scripts))
            process.start()
            theirs.close()  # so that this process reads the end of the pipe when the worker is gone
            self._workers.append(_Worker(process, ours))

    def results(self, todo: Sequence[J]) -> Generator[R, None, None]:
        """Do the jobs.

        Yields:
            What each gave, in the order in which they end.
        """
        while len(self._workers) < min(self._count, len(todo)):
            self._start()
        waiting = iter(todo)
        while True:
            for worker in self._workers:
                if not worker.busy and (job := next(waiting, None)) is not None:
                    _send(worker, job)
            busy = {worker.pipe: worker for worker in self._workers if worker.busy}
            if not busy:
                return
            for pipe in connection.wait(list(busy)):
                assert isinstance(pipe, Connection)
                self._receive(busy[pipe])
            while self._unclaimed:
                yield self._unclaimed[0]
                del self._unclaimed[0]  # only now is it whoever asked for it who has it

    def ended(self) -> list[R]:
        """What has been done and was not taken from `results`; nothing is waited for, and what else went wrong is not raised."""
        for worker in self._workers:
            if worker.busy and worker.pipe.poll():
                with contextlib.suppress(RunError):  # whoever asks has an error already: the first says what happened
                    self._receive(worker)
        return self._unclaimed

    def _receive(self, worker: _Worker) -> None:
        with uninterrupted():
            try:
                result = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(5.0)
                worker.busy = False
                code = worker.process.exitcode
                raise RunError(
                    f"a worker process died ({cause_of_death(code)}){perhaps_memory(code)}; finished trials are stored: run again "
                    "to go on"
                ) from None
            except Exception as error:
                worker.busy = False
                raise RunError(f"what a worker process gave cannot be read ({in_a_line(error)})") from error
            worker.busy = False
            if isinstance(result, Exception):
                raise result
            self._unclaimed.append(result)

    def close(self) -> None:
        """End all processes at once, with what they are doing."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []


def _send(worker: _Worker, job: Any) -> None:
    try:
        worker.pipe.send(job)
    except (BrokenPipeError, ConnectionError):
        pass  # the worker is gone, which reading from it says
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{_first(job)!r} cannot be sent to a worker process ({reason}): define its classes in the experiment's file, or use one worker"
        ) from error
    worker.busy = True


def _first(job: Any) -> Any:
    """The first of its trials, to name it by."""
    trials: Sequence[Any] = job if isinstance(job, Sequence) else job.trials
    return trials[0]


def _work(pipe: Connection, do: Callable[[Any], Any], scripts: dict[str, Path]) -> None:
    """What a worker does until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    refusal: Exception | None = None
    try:
        load_again(scripts)
    except ExperimentError as error:
        refusal = error
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        except Exception as error:
            refusal = refusal or RunError(f"a worker process cannot read its trials ({in_a_line(error)})")
            job = None
        try:
            result = refusal if job is None or refusal is not None else do(job)
        except RunError as error:
            result = error
        try:
            pipe.send(result)
        except OSError:
            return
        except Exception as error:  # before anything of it is sent
            pipe.send(RunError(f"what a worker process trained cannot be sent back ({in_a_line(error)})"))


def _end_with_parent() -> None:
    """Leave no orphan: a worker ends as soon as the process that started it is gone, even by kill -9."""
    parent = parent_process()
    if parent is None:
        return
    end_with_parent(parent.pid or 0)

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
