"""When to give a run up. What is decided depends on the results that the trial may know, so not on who finishes first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

FACTOR = 3
"""One in so many goes on at each rung."""

P_THRESHOLD = 0.1


def cuts(curves: Sequence[Sequence[float]], *, maximise: bool) -> tuple[tuple[int, float], ...]:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): bounds after 1, 3, 9, … yields.

    Args:
        curves: what the runs that may be known have yielded.
        maximise: whether more is better.

    Returns:
        Pairs ``(step, bound)``: a run goes on after ``step`` yields if it is among the best third of those that came so far.

    >>> cuts([[0.5, 0.3, 0.1], [0.9, 0.8, 0.8], [0.7]], maximise=False)
    ((1, 0.5),)
    """
    bounds: list[tuple[int, float]] = []
    step = 1
    while True:
        values = sorted((curve[step - 1] for curve in curves if len(curve) >= step), reverse=maximise)
        if len(values) < FACTOR:
            return tuple(bounds)
        bounds.append((step, values[len(values) // FACTOR - 1]))
        step *= FACTOR


def rungs(steps: int) -> tuple[int, ...]:
    """The steps at which runs that are trained side by side are compared: a ninth and a third of the way.

    >>> rungs(2000), rungs(3)
    ((222, 667), (1,))
    """
    candidates = {round(steps / FACTOR**2), round(steps / FACTOR)}
    return tuple(sorted(step for step in candidates if 0 < step < steps))


def ahead(values: Sequence[float]) -> list[int]:
    """The places of the least third, rounded up, of which the first of equals: synchronous successive halving.

    Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1.

    >>> ahead([0.4, 0.1, 0.3, 0.2])
    [1, 3]
    """
    order = np.argsort(np.asarray(values), kind="stable")
    return sorted(order[: -(-len(values) // FACTOR)].tolist())


def hopeless(values: Sequence[float], reference: Sequence[float], *, maximise: bool) -> bool:
    """Whether a point is worse than the best known one, by a one-sided signed-rank test over the seeds that both have.

    With a threshold of 0.1 that takes at least four seeds; infinite values count as the largest differences.

    >>> hopeless([2.0, 2.1, 2.3, 2.6], [1.0, 1.0, 1.0, 1.0], maximise=False)
    True
    >>> hopeless([2.0, 2.1, 2.3], [1.0, 1.0, 1.0], maximise=False)
    False
    """
    from scipy.stats import wilcoxon  # slow to import, and seldom needed

    count = min(len(values), len(reference))
    with np.errstate(invalid="ignore"):
        worse = np.asarray(values[:count]) - np.asarray(reference[:count])
    worse = np.nan_to_num(-worse if maximise else worse, nan=0.0, posinf=1e300, neginf=-1e300)
    if count < 2 or not worse.any() or worse.mean() <= 0:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p = wilcoxon(worse, alternative="greater", zero_method="zsplit").pvalue
    return bool(p < P_THRESHOLD)
