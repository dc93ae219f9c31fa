"""What a shape is worth: its loss at the best of its rates, or around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.baselines import ANY_GRID, expected
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store

Objective = Literal["best", "worst", "mean", "best and worst", "grids"]
OBJECTIVES: tuple[Objective, ...] = ("best", "worst", "mean", "best and worst", "grids")

Array = NDArray[np.float64]


def read_losses(store: Store, rows: Sequence[Sequence[Trial]], metric: str) -> tuple[Array, float, float]:
    """Losses ``[seed, rate]`` of stored trials, the mean loss before training, and the processor time that the training took.

    A trial that diverged, or stands worse than it began, counts as no training at all.
    """
    digests = [[trial.digest() for trial in row] for row in rows]
    records = store.read(digest for row in digests for digest in row)
    losses = np.array([[records[digest].metrics[metric] for digest in row] for row in digests])
    first = np.array([records[row[0]].initial[metric] for row in digests])
    seconds = sum(records[digest].seconds for row in digests for digest in row)
    return np.fmin(losses, first[:, None]), float(first.mean()), seconds


def score(losses: Array, objective: Objective, *, reach: int, outside: float, per_decade: int = 0) -> tuple[float, ...]:
    """What the search is told of a shape, from its mean losses ``[rate]``.

    Args:
        losses: at the rates of the grid.
        objective: what counts.
        reach: how many rates to either side of the best one lie within the window.
        outside: the loss beyond the grid: that before training.
        per_decade: rates a decade; only ``grids`` needs it.

    >>> curve = np.array([3.0, 1.0, 2.0])
    >>> score(curve, "best", reach=1, outside=9.0), score(curve, "worst", reach=1, outside=9.0)
    ((1.0,), (3.0,))
    >>> score(curve, "worst", reach=2, outside=9.0)
    (9.0,)
    """
    best = int(np.argmin(losses))
    if objective == "grids":
        return (expected(losses, per_decade)[ANY_GRID],)
    if objective == "best":
        return (float(losses[best]),)
    around = np.pad(losses, reach, constant_values=outside)[best : best + 2 * reach + 1]
    if objective == "mean":
        return (float(around.mean()),)
    return (float(around.max()),) if objective == "worst" else (float(losses[best]), float(around.max()))
