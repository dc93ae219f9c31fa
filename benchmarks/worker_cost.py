"""Two processes against one."""

from __future__ import annotations

import os
import tempfile
import time
from functools import cache
from pathlib import Path

from rows import Aim, Case, LeftOutError, Measured
from trainer_cost import Load, perceptron

from adaptive_lr.training import Trial
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store

TITLE = "Two processes against one"
ABOUT = """`run_trials` on one process against two, each into a new store; starting the processes is in it. Whoever else uses the machine
costs two processes more wall time than one, so on a busy machine the first row is a lower bound. The second is what two free cores
would give, from processor time: an upper bound."""

STEPS = 1000


def into_new_store(trials: list[Trial], workers: int) -> tuple[float, float]:
    """Run all trials on so many processes: seconds of wall time, and of the processors, of the workers too."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite", write=True) as store:
        wall, spent = time.perf_counter(), sum(os.times()[:4])
        run_trials(trials, store, workers=workers)
        return time.perf_counter() - wall, sum(os.times()[:4]) - spent


@cache
def speedups(steps: int, count: int) -> tuple[Measured, Measured]:
    """Wall time on one process over that on two, and twice the same ratio of processor time, for each pair.

    Raises:
        LeftOutError: there is one core.
    """
    if (os.cpu_count() or 1) < 2:
        raise LeftOutError("the machine has one core")
    trials = Load(what="", task=perceptron(100), count=256, steps=steps).trials()
    load = f"load average {os.getloadavg()[0]:.1f} before" if "getloadavg" in dir(os) else ""
    wall, spent = [], []
    for index in range(count):
        order = (1, 2) if index % 2 == 0 else (2, 1)
        timings = {workers: into_new_store(trials, workers) for workers in order}
        wall.append(timings[1][0] / timings[2][0])
        spent.append(2.0 * timings[1][1] / timings[2][1])
    return Measured(wall, load), Measured(spent)


def cases(*, quick: bool) -> list[Case]:
    """Wall time, and processor time."""
    steps = STEPS // 10 if quick else STEPS
    what = f"MNIST-1D perceptron, batch 100, 256 trials of {STEPS} steps"
    return [
        Case(what=f"{what}, wall time", aim=Aim(1.8), measure=lambda count: speedups(steps, min(count, 3))[0]),
        Case(
            what=f"{what}, twice the processor time of one over that of two",
            aim=Aim(1.8),
            measure=lambda count: speedups(steps, min(count, 3))[1],
        ),
    ]
