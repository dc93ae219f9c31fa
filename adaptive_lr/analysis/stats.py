"""Student's t over independent repetitions, of many rows at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int_]

LEVEL = 0.95

TINY = 1e-300
"""The least number whose logarithm is taken."""


def t_intervals(samples: Array) -> tuple[Array, Array, Array, Array]:
    """Mean, the ends of its 95 % interval and the two-sided p of a mean of zero: ``[..., S] -> [...]`` four times.

    mean ± t_(S-1) s / sqrt(S): 95 % also for three normal samples, where the BCa bootstrap covers 72 %. With one sample nothing is
    known of the spread: the interval is the point, and p is 1. Samples that are all alike have no spread: p is 1 if they are zero, else 0.

    Args:
        samples: the independent repetitions are the last axis.

    >>> mean, low, high, p = t_intervals(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    >>> [[round(float(number), 3) for number in row] for row in (mean, low, high, p)]
    [[2.0, 5.0], [-0.484, 5.0], [4.484, 5.0], [0.074, 0.0]]
    """
    count = samples.shape[-1]
    mean = np.asarray(samples.mean(-1))
    if count < 2:
        return mean, mean, mean, np.ones_like(mean)
    quantile, distribution = _student(count - 1)
    alike = (samples == samples[..., :1]).all(-1)
    mean = np.where(alike, samples[..., 0], mean)  # without the rounding of a sum
    squares = np.square(samples - mean[..., None]).sum(-1)
    error = np.where(alike, 0.0, np.sqrt(squares / ((count - 1) * count)))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(mean == 0.0, 1.0, 2.0 * distribution(-np.abs(mean) / error))
    return mean, mean - quantile * error, mean + quantile * error, p


@lru_cache(maxsize=64)
def _student(freedom: int) -> tuple[float, Callable[[Any], Any]]:
    """Student's quantile for a 95 % interval, and the distribution function."""
    from scipy.special import stdtr, stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(freedom, 0.5 + LEVEL / 2.0)), partial(stdtr, freedom)
