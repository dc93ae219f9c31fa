"""What candidates lose on lanes: hundreds of trials, those of a situation trained together, on several processes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.meta.learners import Recipe
from adaptive_lr.meta.objective import Lane
from adaptive_lr.training import Trial
from adaptive_lr.training.batched import batches
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.runner import as_it_was, run_batch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """Trials that are trained together, and where their losses belong: candidate and lane of each."""

    trials: list[Trial]
    places: list[tuple[int, int]]


Losses = tuple[list[tuple[int, int]], list[float]]
"""Places and losses."""


def do(work: Work) -> Losses:
    """The final losses; what a worker process does."""
    metric = work.trials[0].task.report_metric
    with as_it_was():
        return work.places, [result.metrics[metric] for result in run_batch(work.trials)]


def planned(recipes: Sequence[Recipe], lanes: Sequence[Lane]) -> list[Work]:
    """All trials of candidates on lanes, in batches, the dearest first."""
    places: dict[Trial, list[tuple[int, int]]] = {}
    for column, lane in enumerate(lanes):
        trial = lane.situation.trial
        rate = float(f"{trial.base_lr * lane.wrong:.6g}")
        for row, (schedule, controller) in enumerate(recipes):
            candidate = replace(trial, schedule=schedule, controller=controller, base_lr=rate)
            places.setdefault(candidate, []).append((row, column))
    work = [
        Work([trial for trial in batch for _ in places[trial]], [place for trial in batch for place in places[trial]])
        for batch in batches(list(places))
    ]
    return sorted(work, key=lambda one: -len(one.trials) * one.trials[0].steps)


def penalties(
    recipes: Sequence[Recipe], lanes: Sequence[Lane], processes: Processes[Work, Losses] | None = None
) -> Array:
    """What each candidate loses on each lane, in tolerances, ``[C, N]``; a `RunError` where training raises an error."""
    losses = np.full((len(recipes), len(lanes)), np.nan)
    work = planned(recipes, lanes)
    results: Generator[Losses, None, None] = (do(one) for one in work) if processes is None else processes.results(work)
    with closing(results):
        for places, values in results:
            for (row, column), value in zip(places, values, strict=True):
                losses[row, column] = value
    return np.stack([lane.situation.penalty(losses[:, column]) for column, lane in enumerate(lanes)], axis=1)


def cost(recipes: Sequence[Recipe], lanes: Sequence[Lane]) -> float:
    """The training steps of all candidates on all lanes, what controllers evaluate included."""
    total = 0.0
    for _, controller in recipes:
        for steps in (lane.situation.trial.steps for lane in lanes):
            total += steps + controller.extra_steps(steps)
    return total
