"""What measures train with: trials that are kept in a store, so that a measure which was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.stats import Array
from adaptive_lr.papers.judging import Measured
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, RunResult, Trial
from adaptive_lr.trials.runner import Training, do, run_trials
from adaptive_lr.trials.store import Store


def final_losses(
    schedules: Sequence[AbstractSchedule],
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    task: AbstractTask,
    optimizer: AbstractOptimizer,
    steps: int,
    results: Path,
) -> Array:
    """The report metric of ``task`` after every run, ``[schedules, rates, seeds]``; of a run that diverged, that before training.

    Args:
        schedules: each trained at every rate from every seed.
        rates: base rates.
        seeds: paired: those of a seed see the same minibatches.
        task: what is trained.
        optimizer: with which.
        steps: T.
        results: the folder of the store; trials that it has are not trained again.
    """
    trials = [
        Trial(task=task, schedule=schedule, optimizer=optimizer, base_lr=rate, steps=steps, seed=seed, dtype="float64")
        for schedule in schedules
        for rate in rates
        for seed in seeds
    ]
    digests = [trial.digest() for trial in trials]
    with Store(results / "store.sqlite", write=True) as store:
        run_trials(trials, store, workers=1, run=_together)
        records = store.read(digests)
    losses = [
        np.fmin(records[digest].metrics[task.report_metric], records[digest].initial[task.report_metric])
        for digest in digests
    ]
    return np.reshape(losses, (len(schedules), len(rates), len(seeds)))


def tuned(losses: Array, selection: int) -> Array:
    """Losses at each schedule's own best rate, ``[schedules, seeds - selection]``, of ``[schedules, rates, seeds]``.

    The rate is the one with the least mean over the first ``selection`` seeds; the other seeds report.
    """
    best = losses[:, :, :selection].mean(axis=2).argmin(axis=1)
    return np.take_along_axis(losses[:, :, selection:], best[:, None, None], axis=1)[:, 0]


def ratio(first: Array, second: Array) -> Measured:
    """The geometric mean of first/second, paired by seed, ``[S]`` each, with Student's 95 % interval of its logarithm."""
    interval = paired.geometric(first / second)
    return Measured(interval["value"], interval["low"], interval["high"], len(first))


def mean(samples: Array) -> Measured:
    """The mean of ``[S]`` with Student's 95 % interval."""
    interval = paired.estimate(samples)
    return Measured(interval["value"], interval["low"], interval["high"], len(samples))


def _together(batches: Sequence[list[Trial]]) -> Generator[list[RunResult], None, None]:
    """Each batch as a batch: which way to train is fastest need not be measured, so numbers do not depend on that.

    Yields:
        The results of a batch.
    """
    for batch in batches:
        yield do(Training(batch))
