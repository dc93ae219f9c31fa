"""Estimates with Student's t over repetitions, and Holm's correction for a family of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis.stats import LEVEL, TINY, Array, t_intervals

ALPHA = 0.05
"""A verdict falls if its p, corrected by Holm over all verdicts of the experiment, is at most this."""

RATIO, DIFFERENCE = "t on log ratios, Holm", "t on differences, Holm"
"""The names of the procedure."""

UNCLEAR, UNJUDGED = "no clear difference", "cannot be judged"


def t_interval(samples: Array) -> dict[str, float]:
    """The mean of independent samples ``[S]``, its 95 % interval and the two-sided p of a mean of zero.

    See `adaptive_lr.analysis.stats.t_intervals`.

    Args:
        samples: one number a repetition.

    Returns:
        ``value``, ``low``, ``high`` and ``p``.

    >>> {name: round(number, 3) for name, number in t_interval(np.array([1.0, 2.0, 3.0])).items()}
    {'value': 2.0, 'low': -0.484, 'high': 4.484, 'p': 0.074}
    """
    return {name: float(end) for name, end in zip(("value", "low", "high", "p"), t_intervals(samples), strict=True)}


def estimate(samples: Array) -> dict[str, float]:
    """Mean and interval of ``[S]``, without a test."""
    interval = t_interval(samples)
    return {name: interval[name] for name in ("value", "low", "high")}


def logarithms(samples: Array) -> Array:
    """Log max(x, 1e-300), elementwise: a run that ends at the optimum to the last bit is as good as any number can say."""
    return np.asarray(np.log(np.maximum(samples, TINY)), dtype=np.float64)


def geometric(samples: Array) -> dict[str, float]:
    """Exp of the mean logarithm, and of the ends of its interval: of positive samples ``[S]``.

    >>> {name: round(number, 3) for name, number in geometric(np.array([1.0, 2.0, 4.0])).items()}
    {'value': 2.0, 'low': 0.357, 'high': 11.19}
    """
    return {name: float(np.exp(end)) for name, end in estimate(logarithms(samples)).items()}


def share(parts: Array, wholes: Array) -> dict[str, float]:
    """mean(parts) / mean(wholes) of paired samples ``[S]``, with an interval that allows for the spread of both.

    Student's t on parts - ratio x wholes, whose mean is zero, over the mean of the wholes: the linearised ratio (Cochran 1977, Sampling
    Techniques, section 6.3).

    >>> {name: round(number, 3) for name, number in share(np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 40.0])).items()}
    {'value': 0.1, 'low': 0.1, 'high': 0.1}
    """
    middle = max(float(wholes.mean()), TINY)
    ratio = float(parts.mean()) / middle
    residuals = estimate(parts - ratio * wholes)
    half = (residuals["high"] - residuals["value"]) / middle
    return {"value": ratio, "low": ratio - half, "high": ratio + half}


def level(samples: Array, *, ratio: bool) -> dict[str, float]:
    """A loss over repetitions ``[S]``: the geometric mean of what is counted in ratios, the mean of what is not."""
    return geometric(samples) if ratio else estimate(samples)


def gap(theirs: Array, mine: Array, *, ratio: bool) -> dict[str, Any]:
    """By how much ``theirs`` is above ``mine``, paired by repetition, ``[S]`` each: a test, before `judge`.

    With ``ratio`` theirs/mine - 1, from the t-test on log(theirs/mine); without, theirs - mine.

    Returns:
        ``value``, ``low``, ``high``, ``p``, ``n`` and ``procedure``.

    >>> {name: round(number, 3) for name, number in gap(np.array([2.0, 4.4]), np.array([1.0, 2.0]), ratio=True).items() if name != "procedure"}
    {'value': 1.098, 'low': 0.145, 'high': 2.843, 'p': 0.041, 'n': 2}
    """
    if not ratio:
        return {**t_interval(theirs - mine), "n": len(mine), "procedure": DIFFERENCE}
    test = t_interval(logarithms(theirs) - logarithms(mine))
    ends = {name: float(np.expm1(test[name])) for name in ("value", "low", "high")}
    return {**ends, "p": test["p"], "n": len(mine), "procedure": RATIO}


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


def judge(family: Sequence[dict[str, Any]]) -> int:
    """Write ``adjusted`` and ``verdict`` into every test of an experiment's family; the number of tests.

    Args:
        family: tests with ``p``, ``n``, ``value``, ``at_boundary`` (it is not judged if that holds) and ``words``: what it is called
            when the value is clearly below and clearly above zero, and, if a third one is given, when it is not clear. ``words`` are
            taken out.
    """
    for test, adjusted in zip(family, holm([test["p"] for test in family]), strict=True):
        below, above, unclear = (*test.pop("words"), UNCLEAR)[:3]
        test["adjusted"] = adjusted
        if test["at_boundary"] or test["n"] < 2:
            test["verdict"] = UNJUDGED
        elif adjusted > ALPHA:
            test["verdict"] = unclear
        else:
            test["verdict"] = below if test["value"] < 0.0 else above
    return len(family)


def grounds(test: Mapping[str, Any]) -> str:
    """By what a verdict fell: the procedure, the number of repetitions, and p.

    >>> grounds({"procedure": "t on log ratios, Holm", "n": 6, "adjusted": 0.0123})
    't on log ratios, Holm, n = 6, p = 0.012'
    """
    p = test["adjusted"]
    return f"{test['procedure']}, n = {test['n']}, p {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'}"


def repetitions(family: Sequence[Mapping[str, Any]]) -> list[int]:
    """The least and the greatest number of repetitions that a verdict of a family rests on; none of an empty one."""
    counts = [int(test["n"]) for test in family]
    return [min(counts), max(counts)] if counts else []


__all__ = [
    "ALPHA",
    "DIFFERENCE",
    "LEVEL",
    "RATIO",
    "UNCLEAR",
    "UNJUDGED",
    "estimate",
    "gap",
    "geometric",
    "grounds",
    "holm",
    "judge",
    "level",
    "logarithms",
    "repetitions",
    "share",
    "t_interval",
]
