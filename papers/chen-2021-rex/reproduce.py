"""Measures for Chen, Wolfe & Kyrillidis 2021: the reflected exponential, and REX against others at small and large budgets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.bound import last_iterate_bound
from adaptive_lr.papers import Measured
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import REX, DampedCosine, Linear, table
from adaptive_lr.tasks import StreamingLogistic
from adaptive_lr.training import SGD

SMALL, LARGE = 60, 1200
"""Updates of the two budgets."""


def halfway() -> float:
    """The multiplier at half of the budget."""
    return REX().at(1, 2)


def above_linear() -> float:
    """The least difference from a linear decay inside the run."""
    rows = table([REX(), Linear()], 1000)[:, 1:1000]
    return float((rows[0] - rows[1]).min())


def ends_like_twice_linear() -> float:
    """The multiplier over 1 - u, a thousandth before the end."""
    return REX().at(999, 1000) / Linear().at(999, 1000)


def bound() -> float:
    """Omega* at T = 400, D = G = 1."""
    return last_iterate_bound(REX()).best


def exponent() -> float:
    """The exponent with which the suffix bound grows with the rate."""
    return suffix_bound(REX()).exponent()


def small_budget_against_linear(results: Path) -> Measured:
    """The excess over that of linear decay after 60 updates, each at its own best rate."""
    losses = _trained(SMALL, results)
    return ratio(losses[0], losses[1])


def small_budget_against_cosine(results: Path) -> Measured:
    """The same over the cosine's."""
    losses = _trained(SMALL, results)
    return ratio(losses[0], losses[2])


def large_budget_against_linear(results: Path) -> Measured:
    """The excess over that of linear decay after 1200 updates."""
    losses = _trained(LARGE, results)
    return ratio(losses[0], losses[1])


@lru_cache
def _trained(steps: int, results: Path) -> Array:
    """Of REX, linear decay and the cosine, ``[3, seeds]``."""
    rates = [float(f"{rate:.4g}") for rate in 0.3 * 10.0 ** (np.arange(13) / 8.0)]
    schedules = [REX(), Linear(), DampedCosine()]
    task = StreamingLogistic()
    losses = final_losses(schedules, rates, range(30), task=task, optimizer=SGD(), steps=steps, results=results)
    return tuned(losses, 10)
