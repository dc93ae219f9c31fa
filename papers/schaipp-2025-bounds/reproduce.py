"""Measures for Schaipp et al. 2025: the last-iterate bound of schedules, and recorded runs that it should tell something about."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from adaptive_lr.meta.bound import last_iterate_bound as bound
from adaptive_lr.meta.bound import least_bound_schedule
from adaptive_lr.papers.language_models import losses_by_rate
from adaptive_lr.schedules import WSD, AbstractSchedule, Constant, DampedCosine, Linear

PEPIT_LINEAR = 0.100038
"""The exact worst case of a linear decay after 100 steps, D = G = 1, from performance estimation; in the authors' repository."""
PEPIT_COSINE = 0.1332
"""That of a cosine after 60."""

SCHEDULES: dict[str, AbstractSchedule] = {
    "constant": Constant(),
    "cosine to 0": DampedCosine(),
    "linear": Linear(),
} | {f"wsd {cooldown} linear": WSD(cooldown=cooldown, shape="linear") for cooldown in (0.1, 0.2, 0.4, 0.6, 0.8, 0.9)}
"""By their labels in the recorded runs."""


def linear_bound() -> float:
    """Omega* of a linear decay."""
    return bound(Linear()).best


def cosine_bound() -> float:
    """Omega* of the cosine."""
    return bound(DampedCosine()).best


def wsd_bound() -> float:
    """Omega* of WSD with a linear cooldown of a fifth."""
    return bound(WSD(cooldown=0.2, shape="linear")).best


def constant_bound() -> float:
    """Omega* of a constant rate."""
    return bound(Constant()).best


def linear_rate() -> float:
    """gamma* of a linear decay."""
    return bound(Linear()).best_rate


def cosine_rate() -> float:
    """gamma* of the cosine."""
    return bound(DampedCosine()).best_rate


def constant_rate() -> float:
    """gamma* of a constant rate."""
    return bound(Constant()).best_rate


def above_exact_worst_case() -> float:
    """The lesser of bound over exact worst case, of a linear decay and of a cosine."""
    return min(bound(Linear(), 100).best / PEPIT_LINEAR, bound(DampedCosine(), 60).best / PEPIT_COSINE)


def wsd_theorem() -> float:
    """The largest of bound over the theorem's closed form, over horizons and cooldowns."""
    return max(
        bound(WSD(cooldown=cooldown, shape="linear"), steps).best / _theorem(steps, round(steps * (1 - cooldown)))
        for steps in (100, 400, 1600)
        for cooldown in (0.1, 0.2, 0.5, 0.8)
    )


def horizon_root() -> float:
    """The power of T with which the bound of a cosine falls, between 400 and 6400 steps."""
    return math.log(bound(DampedCosine(), 6400).best / bound(DampedCosine(), 400).best) / math.log(16.0)


def constant_loses_log() -> float:
    """By what factor the gap between constant and linear grows from 400 to 6400 steps."""
    ratios = [bound(Constant(), steps).best / bound(Linear(), steps).best for steps in (400, 6400)]
    return ratios[1] / ratios[0]


def best_is_linear() -> float:
    """The largest distance of the minimiser from a linear decay, over all of 100 steps."""
    return float(np.abs(least_bound_schedule(100).multipliers - (1.0 - np.arange(100) / 100)).max())


def best_is_hardly_lower() -> float:
    """The minimum over the bound of a linear decay, at 100 steps."""
    return least_bound_schedule(100).bound / (bound(Linear(), 100).best * 10.0)


def ranks_recorded_runs(folder: Path) -> float:
    """Spearman's correlation of the bound with the recorded loss, each at its best rate, over nine schedules."""
    losses = losses_by_rate(folder)
    recorded = [min(losses[label].values()) for label in SCHEDULES]
    return float(spearmanr([bound(schedule).best for schedule in SCHEDULES.values()], recorded).statistic)


def wsd_rate_in_theory() -> float:
    """gamma* of WSD with a linear cooldown of a fifth over that of the cosine."""
    return bound(SCHEDULES["wsd 0.2 linear"]).best_rate / bound(DampedCosine()).best_rate


def wsd_rate_recorded(folder: Path) -> float:
    """The best recorded peak rate of WSD over that of the cosine."""
    losses = losses_by_rate(folder)
    wsd, cosine = (min(losses[label], key=losses[label].__getitem__) for label in ("wsd 0.2 linear", "cosine to 0"))
    return wsd / cosine


def _theorem(steps: int, hold: int) -> float:
    rest = steps - hold
    inside = (
        2 / 3
        + (steps + 2 * hold) / (3 * (steps + hold))
        + _harmonic(steps + hold - 2)
        - _harmonic(rest + 1)
        - rest * (hold - 1) / (3 * (rest + 2) * (steps + hold))
        + 1 / rest**2
        + _harmonic(rest - 1) / (rest + 1)
    )
    return math.sqrt(4 / (steps + hold) * inside)


def _harmonic(count: int) -> float:
    return sum(1.0 / term for term in range(1, count + 1))
