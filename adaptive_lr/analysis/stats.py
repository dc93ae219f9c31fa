"""Intervals by resampling seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int_]

RESAMPLES = 2000
LEVEL = 0.95


def mean_interval(samples: Array) -> tuple[Array, Array]:
    """Bootstrap interval of the mean over seeds, which are the last axis: ``[..., S] -> [...], [...]``.

    All rows are resampled with the same seeds, so that comparisons between them stay paired.

    >>> low, high = mean_interval(np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]]))
    >>> bool(low[0] < 2.5 < high[0]), float(low[1]), float(high[1])
    (True, 5.0, 5.0)
    """
    return _bootstrap(samples, np.mean)


def seeds_interval(statistic: Callable[[Places], Array], seeds: int) -> tuple[float, float]:
    """Bootstrap interval of any statistic of the seeds.

    Args:
        statistic: from places of seeds, ``[..., S]``, to one number for each row, ``[...]``.
        seeds: S, how many there are.
    """
    low, high = _bootstrap(np.arange(seeds), lambda indices, axis: statistic(indices))
    return float(low), float(high)


def _bootstrap(samples: NDArray[Any], statistic: Callable[..., Any]) -> tuple[Array, Array]:
    """95 %, seeded; BCa, where that is not defined the percentiles, and with one seed the point itself."""
    point = np.asarray(statistic(samples, axis=-1), dtype=np.float64)
    if samples.shape[-1] < 2:
        return point, point
    from scipy.stats import bootstrap  # half a second to import

    low, high = point.copy(), point.copy()
    missing = np.ones_like(point, dtype=bool)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # degenerate data: the percentiles take over
            bootstrapped = bootstrap(
                (samples,),
                statistic,
                axis=-1,
                vectorized=True,
                n_resamples=RESAMPLES,
                confidence_level=LEVEL,
                method=method,
                rng=np.random.default_rng(0),
            ).confidence_interval
        usable = missing & np.isfinite(bootstrapped.low) & np.isfinite(bootstrapped.high)
        low, high = np.where(usable, bootstrapped.low, low), np.where(usable, bootstrapped.high, high)
        missing &= ~usable
        if not missing.any():
            break
    return low, high
