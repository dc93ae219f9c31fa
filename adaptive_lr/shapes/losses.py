"""What a shape is worth: its loss at the best of its rates, or around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store

Objective = Literal["best", "worst", "mean", "best and worst"]
OBJECTIVES: tuple[Objective, ...] = ("best", "worst", "mean", "best and worst")

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """A trial: its loss now and before training, and the processor time that it has taken."""

    loss: float
    initial: float
    seconds: float


def read_losses(store: Store, rows: Sequence[Sequence[Trial]], metric: str) -> tuple[Array, float, float]:
    """The same as `losses_of` of stored trials."""
    digests = {trial: trial.digest() for row in rows for trial in row}
    records = store.read(digests.values())
    by_trial = {trial: records[digest] for trial, digest in digests.items()}
    return losses_of(
        rows,
        {
            trial: Measured(record.metrics[metric], record.initial[metric], record.seconds)
            for trial, record in by_trial.items()
        },
    )


def losses_of(rows: Sequence[Sequence[Trial]], measured: Mapping[Trial, Measured]) -> tuple[Array, float, float]:
    """Losses ``[seed, rate]``, the mean loss before training, and the time that the training took.

    A trial that diverged, or stands worse than it began, counts as no training at all.
    """
    raw = np.array([[measured[trial].loss for trial in row] for row in rows])
    first = np.array([measured[row[0]].initial for row in rows])
    seconds = sum(measured[trial].seconds for row in rows for trial in row)
    return np.fmin(raw, first[:, None]), float(first.mean()), seconds


def score(losses: Array, objective: Objective, *, reach: int, outside: float) -> tuple[float, ...]:
    """What the search is told of a shape, from its mean losses ``[rate]``.

    >>> curve = np.array([3.0, 1.0, 2.0])
    >>> score(curve, "best", reach=1, outside=9.0), score(curve, "worst", reach=1, outside=9.0)
    ((1.0,), (3.0,))
    >>> score(curve, "worst", reach=2, outside=9.0)
    (9.0,)
    """
    best = int(np.argmin(losses))
    if objective == "best":
        return (float(losses[best]),)
    around = np.pad(losses, reach, constant_values=outside)[best : best + 2 * reach + 1]
    if objective == "mean":
        return (float(around.mean()),)
    return (float(around.max()),) if objective == "worst" else (float(losses[best]), float(around.max()))
