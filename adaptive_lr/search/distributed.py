"""The same tasks on a Dask cluster, whose scheduler and workers come and go as they like."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from adaptive_lr.errors import RunError, SpecError
from adaptive_lr.search.executor import ATTEMPTS
from adaptive_lr.search.task import Outcome, Task, run_task

PATIENCE = 120.0
"""For so many seconds there may be no scheduler, or no worker."""

_LOOK = 2.0
"""How often, in seconds, to see whether they are there when nothing arrives."""


class Cluster:
    """Sends tasks to a Dask scheduler; those that it or a worker loses are sent again, under a new key.

    Args:
        address: of the scheduler, as in ``tcp://host:8786``.
        say: is told what is waited for.

    Raises:
        SpecError: Dask is not installed, or the address is none.
        RunError: no scheduler answers.
    """

    def __init__(self, address: str, say: Callable[[str], None] = lambda text: None) -> None:
        try:
            import distributed
        except ImportError:
            raise SpecError("a cluster needs Dask: pip install 'adaptive-lr[cluster]'") from None
        for name in ("distributed.client", "distributed.core", "distributed.comm"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what they complain of is put right here
        self._dask: Any = distributed
        self._address, self._say = address, say
        self._events: SimpleQueue[str] = SimpleQueue()
        self._doing: dict[str, tuple[Task, Any]] = {}
        self._deaths: dict[str, int] = {}
        self._sent = 0
        self._client = self._connected()

    def room(self) -> int:
        """See `Executor`: the scheduler has a queue of its own."""
        return 1

    def submit(self, task: Task) -> None:
        """See `Executor`."""
        self._sent += 1
        key = f"{task.key}-{self._client.id}-{self._sent}"
        future = self._client.submit(run_task, task, key=key, pure=False, retries=0)
        self._doing[key] = task, future
        future.add_done_callback(lambda done: self._events.put(done.key))

    def collect(self) -> list[tuple[Task, Outcome]]:
        """See `Executor`."""
        outcomes: list[tuple[Task, Outcome]] = []
        lonely: float | None = None
        while not outcomes:
            try:
                key = self._events.get(timeout=_LOOK)
            except Empty:
                lonely = self._looked(lonely)
                continue
            lonely = None
            if key in self._doing:
                outcomes += self._taken(key)
        return outcomes

    def close(self) -> None:
        """See `Executor`."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=2.0)

    def _taken(self, key: str) -> list[tuple[Task, Outcome]]:
        task, future = self._doing[key]
        if future.status == "finished":
            try:
                outcome = future.result(timeout=PATIENCE)
            except (self._dask.TimeoutError, TimeoutError, OSError, self._dask.client.FutureCancelledError):
                self._again(key)
                return []
            del self._doing[key]
            self._deaths.pop(task.key, None)
            return [(task, outcome)]
        if future.status != "error":  # the scheduler is gone, or has forgotten it
            self._again(key)
            return []
        error = future.exception(timeout=PATIENCE)
        if not isinstance(error, self._dask.scheduler.KilledWorker):
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise RunError(f"the workers at {self._address} cannot do the runs: {reason}") from error
        deaths = self._deaths[task.key] = self._deaths.get(task.key, 0) + 1
        if deaths >= ATTEMPTS:
            del self._doing[key]
            return [(task, Outcome(error=f"ended its worker {deaths} times over, perhaps for want of memory"))]
        self._again(key)
        return []

    def _again(self, key: str) -> None:
        """Do a task once more, and all of them if the scheduler is not the one that got them."""
        if self._client.status == "running" and self._answers():
            task, _ = self._doing.pop(key)
            self.submit(task)
            return
        self._say(f"the scheduler at {self._address} is gone: waiting for another one")
        lost, self._doing = [task for task, _ in self._doing.values()], {}
        self.close()
        self._client = self._connected()
        for task in lost:
            self.submit(task)

    def _answers(self) -> bool:
        try:
            self._client.nthreads()
        except Exception:
            return False
        return True

    def _looked(self, lonely: float | None) -> float | None:
        """See that somebody is there; since when there has been no worker, or None.

        Raises:
            RunError: it has been for too long.
        """
        if self._client.status != "running" or not self._answers():
            self._again(next(iter(self._doing)))
            return None
        if self._client.nthreads():
            return None
        now = time.monotonic()
        if lonely is None:
            self._say(f"there are no workers at {self._address}: waiting for some")
            return now
        if now - lonely > PATIENCE:
            raise RunError(f"there was no worker at {self._address} for {PATIENCE:.0f} s; finished trials are kept")
        return lonely

    def _connected(self) -> Any:
        deadline = time.monotonic() + PATIENCE
        announced = False
        while True:
            try:
                return self._dask.Client(self._address, timeout=5.0, set_as_default=False)
            except ValueError as error:
                raise SpecError(f"{self._address!r} is no address of a scheduler, as in tcp://host:8786") from error
            except (OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise RunError(f"no Dask scheduler answers at {self._address}; finished trials are kept") from error
                if not announced:
                    self._say(f"waiting for a scheduler at {self._address}")
                announced = True
                time.sleep(0.5)
