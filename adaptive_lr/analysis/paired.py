"""Paired differences over few seeds: Student's t, and Holm's correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptive_lr.analysis.stats import LEVEL, Array


def t_interval(samples: Array) -> dict[str, float]:
    """The mean of independent samples ``[S]``, its 95 % interval and the two-sided p of a mean of zero.

    mean ± t_(S-1) s / sqrt(S): 95 % also for three normal samples, where the BCa bootstrap covers 72 %. With one sample nothing is
    known of the spread: the interval is the point, and p is 1. Samples that are all alike have no spread: p is 1 if they are zero, else 0.

    Args:
        samples: one number a seed.

    Returns:
        ``value``, ``low``, ``high`` and ``p``.

    >>> {name: round(number, 3) for name, number in t_interval(np.array([1.0, 2.0, 3.0])).items()}
    {'value': 2.0, 'low': -0.484, 'high': 4.484, 'p': 0.074}
    """
    value = float(samples.mean())
    if len(samples) < 2:
        return {"value": value, "low": value, "high": value, "p": 1.0}
    if np.ptp(samples) == 0.0:
        return {"value": value, "low": value, "high": value, "p": 1.0 if value == 0.0 else 0.0}
    from scipy.special import stdtr, stdtrit  # scipy.stats takes half a second to import

    error, freedom = float(samples.std(ddof=1) / np.sqrt(len(samples))), len(samples) - 1
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2.0)) * error
    p = 2.0 * float(stdtr(freedom, -abs(value) / error))
    return {"value": value, "low": value - half, "high": value + half, "p": p}


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p of a family: max over j <= i of min(1, (m - j + 1) p_(j)), p_(1) <= … <= p_(m).

    Those of at most .05 can be called differences, and the chance that any such call is wrong is at most 5 %, however the tests depend
    on one another. Holm 1979, Scandinavian Journal of Statistics 6.

    Args:
        values: the p of each test, in any order.

    Returns:
        The adjusted ones, in the same order.

    >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(values, kind="stable")
    factors = len(order) - np.arange(len(order))
    adjusted = np.minimum(np.maximum.accumulate(factors * np.asarray(values, dtype=np.float64)[order]), 1.0)
    result = np.empty(len(order))
    result[order] = adjusted
    return [float(p) for p in result]
