"""Two processes against one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from pairs import Action, ratios
from rows import Aim, Case, LeftOutError, Measured
from trainer_cost import Load, perceptron

from adaptive_lr.training import Trial
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store

TITLE = "Two processes against one"
ABOUT = """Wall time of `run_trials` on one process over that on two, each into a new store; starting the processes is in it. Whoever
else uses the machine costs two processes more than one: on a busy machine this is a lower bound."""

STEPS = 1500


def into_new_store(trials: list[Trial], workers: int) -> Action:
    """Run all trials on so many processes."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite", write=True) as store:
            run_trials(trials, store, workers=workers)

    return run


def speedup(steps: int, count: int) -> Measured:
    """Wall time on one process over that on two, for each pair.

    Raises:
        LeftOutError: there is one core.
    """
    if (os.cpu_count() or 1) < 2:
        raise LeftOutError("the machine has one core")
    trials = Load(what="", task=perceptron(100), count=256, steps=steps).trials()
    single, double = (into_new_store(trials, workers) for workers in (1, 2))
    load = f"load average {os.getloadavg()[0]:.1f} before" if "getloadavg" in dir(os) else ""
    return Measured(ratios(single, double, count, clock=time.perf_counter), load)


def cases(*, quick: bool) -> list[Case]:
    """One row."""
    steps = STEPS // 10 if quick else STEPS
    return [
        Case(
            what=f"MNIST-1D perceptron, batch 100, 256 trials of {STEPS} steps",
            aim=Aim(1.8),
            measure=lambda count: speedup(steps, min(count, 3)),
        )
    ]
