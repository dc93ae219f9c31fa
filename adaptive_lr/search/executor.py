"""Who does the tasks: this process, or worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, Self, TypeVar

from adaptive_lr.errors import RunError, in_a_line
from adaptive_lr.processes import cause_of_death, perhaps_memory
from adaptive_lr.search.guard import Guard, end_group
from adaptive_lr.search.sent import sent
from adaptive_lr.search.task import Outcome, SearchTrial, Task, run_task

ATTEMPTS = 5
"""A task whose worker has died this often is what kills it."""


class Job(Protocol):
    """What a worker process does: a dataclass that can be pickled."""

    @property
    def key(self) -> str:
        """What tells it from others."""

    @property
    def function(self) -> bytes:
        """A part that many have in common, which is sent once."""

    def run(self) -> Any:
        """Do it; raises nothing."""


J = TypeVar("J", bound=Job)


class Executor(Protocol):
    """Does tasks in any order; ``submit`` never waits, ``collect`` waits for at least one outcome."""

    def room(self) -> int:
        """How many more tasks can be done at once."""

    def submit(self, task: Task) -> None:
        """Do the task."""

    def collect(self) -> list[tuple[Task, Outcome]]:
        """Some of the outcomes; a `RunError` says why there will be none."""

    def close(self) -> None:
        """Stop, whatever is still being done."""


class InProcess:
    """Does one task after the other, in this process: for debugging, and for functions that use all cores.

    Args:
        function: the user's own, which need not be sent anywhere; by default the one that the tasks carry.
    """

    def __init__(self, function: Callable[[SearchTrial], Any] | None = None) -> None:
        self._function = function
        self._waiting: deque[Task] = deque()

    def room(self) -> int:
        """See `Executor`."""
        return 1 - len(self._waiting)

    def submit(self, task: Task) -> None:
        """See `Executor`."""
        self._waiting.append(task)

    def collect(self) -> list[tuple[Task, Outcome]]:
        """See `Executor`."""
        task = self._waiting.popleft()
        return [(task, run_task(task, self._function))]

    def close(self) -> None:
        """See `Executor`."""


class ProcessPool(Generic[J]):
    """Worker processes, each with a task at a time; one that dies is replaced and its task, no other, is done again.

    Not `concurrent.futures`: there one dead worker breaks the pool and takes the tasks of all others with it.

    Args:
        workers: how many processes.
        say: is told what went wrong and was put right.
    """

    def __init__(self, workers: int, say: Callable[[str], None] = lambda text: None) -> None:
        if workers < 1:
            raise RunError(f"workers must be at least 1, got {workers}")
        self._say = say
        self._events: SimpleQueue[tuple[_Worker[J], Any]] = SimpleQueue()
        self._waiting: deque[J] = deque()
        self._deaths: dict[str, int] = {}
        self._failed_starts = 0
        self._longest = 0.0
        self._guard = Guard()
        self._workers: list[_Worker[J]] = []
        try:
            for _ in range(workers):
                self._start()
        except BaseException:
            self.close()
            raise

    def room(self) -> int:
        """See `Executor`."""
        busy = sum(worker.task is not None for worker in self._workers)
        return len(self._workers) - busy - len(self._waiting)

    def submit(self, task: J) -> None:
        """See `Executor`."""
        self._waiting.append(task)
        self._hand_out()

    def collect(self) -> list[tuple[J, Any]]:
        """See `Executor`; a job that ends its process every time has an `Outcome` that says so."""
        done: list[tuple[J, Any]] = []
        while not done or not self._events.empty():
            try:
                worker, content = self._events.get(timeout=_LOOK)
            except Empty:
                self._look_for_long_runs()
                continue
            if worker not in self._workers:
                continue
            if content is _DEAD:
                done += self._replaced(worker)
            elif content is None:
                worker.ready, self._failed_starts = True, 0
            else:
                assert worker.task is not None
                self._deaths.pop(worker.task.key, None)
                self._longest = max(self._longest, worker.seconds)
                done.append((worker.task, _read(content)))
                worker.task = None
            self._hand_out()
        return done

    def close(self) -> None:
        """See `Executor`; whatever the workers have started ends with them."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.process.wait()
            worker.closed()
        self._guard.close()

    @property
    def processes(self) -> list[int]:
        """The numbers of the worker processes."""
        return [worker.process.pid for worker in self._workers]

    def _start(self) -> None:
        worker = _Worker.started(self._events)
        self._workers.append(worker)
        self._guard.watch(worker.process.pid)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if not self._waiting:
                return
            if worker.ready and worker.task is None:
                worker.start_on(self._waiting.popleft())

    def _look_for_long_runs(self) -> None:
        """Say which run takes a minute and ten times as long as any before it, and again each time that has doubled."""
        for worker in self._workers:
            limit = max(PATIENCE, 10.0 * self._longest) * worker.patience
            if worker.task is not None and worker.seconds > limit:
                worker.patience *= 2.0
                self._say(
                    f"process {worker.process.pid} has been at {_label(worker.task)} for {worker.seconds:.0f} s; the longest "
                    f"before took {self._longest:.0f} s. If it hangs, end that process: its run is done again"
                )

    def _replaced(self, worker: _Worker[J]) -> list[tuple[J, Any]]:
        code = worker.process.wait()
        worker.closed()
        self._workers.remove(worker)
        self._guard.forget(worker.process.pid)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts > 2 * ATTEMPTS + len(self._workers):
                raise RunError(
                    f"the worker processes end while they start ({cause_of_death(code)}); finished runs are kept"
                )
        self._start()
        task = worker.task
        if task is None:
            return []
        deaths = self._deaths[task.key] = self._deaths.get(task.key, 0) + 1
        if deaths >= ATTEMPTS:
            cause = f"({cause_of_death(code)}){perhaps_memory(code)}"
            return [(task, Outcome(error=f"ended its process {deaths} times {cause}"))]
        self._say(f"a worker process died ({cause_of_death(code)}); its run is done again")
        self._waiting.appendleft(task)
        return []


PATIENCE = 60.0
"""Shorter runs, in seconds, are not called long."""

_LOOK = 5.0
"""How often, in seconds, to look for runs that hang."""

_DEAD = object()
_PROGRAM = "from adaptive_lr.search.worker import main; main()"


def _read(answer: bytes) -> Any:
    """What a worker answered; an `Outcome` that says so, if that cannot be read here."""
    try:
        return pickle.loads(answer)
    except Exception as error:
        return Outcome(error=f"returned what cannot be read in another process ({in_a_line(error)})")


def _label(job: Job) -> str:
    trial = getattr(job, "trial", None)
    return "a batch" if trial is None else f"trial {trial.number}"


@dataclass(eq=False)
class _Worker(Generic[J]):
    process: subprocess.Popen[bytes]
    ready: bool = False
    task: J | None = None
    known: bytes = b""
    began: float = 0.0
    patience: float = 1.0
    _reader: threading.Thread = field(init=False, repr=False)

    @classmethod
    def started(cls, events: SimpleQueue[tuple[_Worker[J], Any]]) -> Self:
        # One thread a process: what a run gives then does not depend on how many processes there are.
        threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        program = f"import sys; sys.path[:] = {sys.path!r}; {_PROGRAM}"
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the coordinator alone
        )
        worker = cls(process)
        worker._send(list(sys.argv))  # by the pipe, since everybody can see a command line
        worker._reader = threading.Thread(target=worker._listen, args=(events,), daemon=True)
        worker._reader.start()
        threading.Thread(target=worker._watch, args=(events,), daemon=True).start()
        return worker

    @property
    def seconds(self) -> float:
        """How long it has been at its task."""
        return time.monotonic() - self.began

    def start_on(self, task: J) -> None:
        """Send the task, and the function only if it is not the one of the task before."""
        self.task, self.began, self.patience = task, time.monotonic(), 1.0
        short: Job = replace(task, function=b"") if task.function == self.known else task  # type: ignore[type-var]  # a dataclass
        self.known = task.function
        self._send(sent(short))

    def kill(self) -> None:
        """End it and all that it has started."""
        end_group(self.process.pid)
        self.process.kill()

    def closed(self) -> None:
        assert self.process.stdin is not None
        self._reader.join(timeout=1.0)
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def _send(self, content: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead, which its reader finds out
            pickle.dump(content, self.process.stdin)
            self.process.stdin.flush()

    def _listen(self, events: SimpleQueue[tuple[_Worker[J], Any]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as answers:
            try:
                while True:
                    events.put((self, pickle.load(answers)))
            except (EOFError, OSError):
                pass
            except Exception:  # something else got between its answers, or it is dying in the middle of one
                self.kill()

    def _watch(self, events: SimpleQueue[tuple[_Worker[J], Any]]) -> None:
        # Not the end of its output: processes that the function started may hold that open.
        if hasattr(os, "waitid"):  # its number is its own until it is waited for, so the group is ended before that
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            end_group(self.process.pid)
        self.process.wait()
        self._reader.join(timeout=1.0)
        events.put((self, _DEAD))
