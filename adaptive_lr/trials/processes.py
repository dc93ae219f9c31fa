"""Worker processes that train batches, each over a pipe of its own, so that any of them can be ended at any time."""

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

from adaptive_lr.errors import ExperimentError, RunError, in_a_line
from adaptive_lr.processes import cause_of_death, end_with_parent, perhaps_memory
from adaptive_lr.training import RunResult, Trial
from adaptive_lr.trials.interrupts import unheard_by_children, uninterrupted
from adaptive_lr.trials.scripts import load_again, loaded_scripts

Batch = list[RunResult]


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    busy: bool = False


class Processes:
    """``count`` processes that do ``train`` with the batches that they are sent, and have loaded the files that this process has.

    Ctrl-C reaches only this process. A pool of the standard library would wait for the batches in flight when it is closed, and
    might wait for ever once its workers are killed while they write into the pipe that they share.
    """

    def __init__(self, count: int, train: Callable[[list[Trial]], Batch]) -> None:
        self._train = train
        self._workers: list[_Worker] = []
        self._unclaimed: list[Batch] = []
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        context = get_context("spawn")
        with unheard_by_children():
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, self._train, loaded_scripts()))
            process.start()
            theirs.close()  # so that this process reads the end of the pipe when the worker is gone
            self._workers.append(_Worker(process, ours))

    def results(self, todo: Sequence[list[Trial]]) -> Generator[Batch, None, None]:
        """Train batches.

        Yields:
            What each gave, in the order in which they end.
        """
        waiting = iter(todo)
        while True:
            for worker in self._workers:
                if not worker.busy and (batch := next(waiting, None)) is not None:
                    _send(worker, batch)
            busy = {worker.pipe: worker for worker in self._workers if worker.busy}
            if not busy:
                return
            for pipe in connection.wait(list(busy)):
                assert isinstance(pipe, Connection)
                self._receive(busy[pipe])
            while self._unclaimed:
                yield self._unclaimed[0]
                del self._unclaimed[0]  # only now is it whoever asked for it who has it

    def ended(self) -> list[Batch]:
        """What has been trained and was not taken from `results`; nothing is waited for, and what else went wrong is not raised."""
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


def _send(worker: _Worker, batch: list[Trial]) -> None:
    try:
        worker.pipe.send(batch)
    except (BrokenPipeError, ConnectionError):
        pass  # the worker is gone, which reading from it says
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{batch[0]!r} cannot be sent to a worker process ({reason}): define its classes in the experiment's file, or use one worker"
        ) from error
    worker.busy = True


def _work(pipe: Connection, train: Callable[[list[Trial]], Batch], scripts: dict[str, Path]) -> None:
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
            batch = pipe.recv()
        except (EOFError, OSError):
            return
        except Exception as error:
            refusal = refusal or RunError(f"a worker process cannot read its trials ({in_a_line(error)})")
            batch = None
        try:
            result = refusal if batch is None or refusal is not None else train(batch)
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
