"""Two things timed in turn, so that their ratio hardly depends on the machine, nor on who else uses it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch

from adaptive_lr.tasks import AbstractTask

Action = Callable[[], object]
Clock = Callable[[], float]


def seconds(action: Action, clock: Clock = time.process_time) -> float:
    """How long the action takes, in processor time of this process unless another clock is given."""
    started = clock()
    action()
    return clock() - started


def pairs(first: Action, second: Action, count: int, clock: Clock = time.process_time) -> list[tuple[float, float]]:
    """Seconds of both, ``count`` times; every other pair begins with the second, so that a drift favours neither."""
    timings = []
    for index in range(count):
        if index % 2:
            after = seconds(second, clock)
            timings.append((seconds(first, clock), after))
        else:
            before = seconds(first, clock)
            timings.append((before, seconds(second, clock)))
    return timings


def ratios(
    slow: Action, fast: Action, count: int, *, work: float = 1.0, clock: Clock = time.process_time
) -> list[float]:
    """Time of ``slow`` over time of ``fast``, times ``work``, of each pair, after one warm-up of both."""
    slow(), fast()
    return [work * before / after for before, after in pairs(slow, fast, count, clock)]


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """One thread on one core, for this thread and for those that it starts meanwhile; denormals count as zero, as in `run_trials`.

    Some libraries read the number of cores when they are imported: import them inside.
    """
    threads, cores = torch.get_num_threads(), _cores()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def _cores() -> set[int]:
    """The cores that this process may use; none where the system has no such calls."""
    return os.sched_getaffinity(0) if "sched_getaffinity" in dir(os) else set()


@contextlib.contextmanager
def without_evaluation(task: AbstractTask) -> Iterator[None]:
    """Steps alone: metrics of the task are zero and cost nothing.

    Short runs are evaluated as often as long ones: what is measured on them would be evaluation.
    """

    def nothing(self: AbstractTask, parameters: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        trials = len(next(iter(parameters.values())))
        names = dict.fromkeys((self.selection_metric, self.report_metric))
        return {name: torch.zeros(trials, dtype=torch.float64) for name in names}

    with patch.object(type(task), "evaluate", nothing):
        yield
