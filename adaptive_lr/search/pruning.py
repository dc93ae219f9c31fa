"""When to give a run up. What is decided depends on the results that the trial may know, so not on who finishes first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FACTOR = 3
"""One in so many goes on at each rung."""

ALPHA = 0.05
"""The chance that a point is given up at any of its looks although it is as good as the one that it is compared with."""

LEAST_SEEDS = 6
"""With fewer seeds no look has a p as small as what may be spent by then, and nothing would ever be given up."""


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
    """The lengths of the short runs in which shapes that are trained side by side are compared: a ninth and a third of the steps.

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


@lru_cache(maxsize=32)
def levels(seeds: int) -> tuple[float, ...]:
    """The p up to which a point is given up after 1, 2, … seeds: alpha spending over the looks, the last seed is none.

    Up to look k the levels sum to at most ``ALPHA`` k / seeds, and a level is a p that the signed-rank test can have at that look: what an
    early look cannot spend is left to the later ones. So the chance of any wrong end is at most ``ALPHA`` whatever the number of looks
    (Bonferroni's inequality; spending as in Lan & DeMets 1983, Biometrika 70).

    The best known point has been lucky, which no level knows of: among points that are all alike, compared with the best of 20 of them, 10 to
    16 % are given up with 6 to 20 seeds. With a p of 0.1 at every look it was 41 to 66 %.

    >>> [round(level, 4) for level in levels(8)]
    [0.0, 0.0, 0.0, 0.0, 0.0312, 0.0, 0.0078]
    >>> levels(5)
    (0.0, 0.0, 0.0, 0.0)
    """
    spent, result = 0.0, []
    for look in range(1, seeds):
        attainable = np.cumsum(_signed_rank(look))
        allowed = attainable[attainable <= ALPHA * look / seeds - spent + 1e-12]
        result.append(float(allowed[-1]) if len(allowed) else 0.0)
        spent += result[-1]
    return tuple(result)


def _signed_rank(count: int) -> NDArray[np.float64]:
    """The distribution of the sum of the ranks of one sign, of so many differences without ties."""
    chances = np.zeros(count * (count + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, count + 1):
        chances[rank:] += chances[:-rank].copy()
    return chances / 2.0**count


def hopeless(values: Sequence[float], reference: Sequence[float], *, maximise: bool) -> bool:
    """Whether a point is worse than the best known one, by a one-sided signed-rank test over the seeds that both have.

    The test may be repeated after each seed, see `levels`. Infinite values count as the largest differences.

    Args:
        values: of the point so far, by seed.
        reference: of the best known point, one a seed of the search.
        maximise: whether more is better.

    >>> hopeless([2.0, 2.1, 2.3, 2.6, 2.2], [1.0] * 8, maximise=False)
    True
    >>> hopeless([2.0, 2.1, 2.3, 2.6], [1.0] * 8, maximise=False)
    False
    """
    count = min(len(values), len(reference))
    if not 2 <= count < len(reference) or not levels(len(reference))[count - 1]:
        return False
    with np.errstate(invalid="ignore"):
        worse = np.asarray(values[:count]) - np.asarray(reference[:count])
    worse = np.nan_to_num(-worse if maximise else worse, nan=0.0, posinf=1e300, neginf=-1e300)
    if not worse.any() or worse.mean() <= 0:
        return False
    from scipy.stats import wilcoxon  # slow to import, and seldom needed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p = wilcoxon(worse, alternative="greater", zero_method="zsplit").pvalue
    return bool(p <= levels(len(reference))[count - 1] + 1e-12)
