"""Measures for Attia & Koren 2025: what a rate that is too high costs, in the bound and in training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.analysis.stats import Array
from adaptive_lr.papers import Measured
from adaptive_lr.papers.training import final_losses, ratio
from adaptive_lr.schedules import Constant, DampedCosine, Linear, Polynomial
from adaptive_lr.tasks import StreamingLeastAbsolute
from adaptive_lr.training import ProjectedSGD

SELECTION = 10
PER_DECADE = 4
DECADES = 4


def linear_exponent() -> float:
    """Slope of log bound against log rate, 30 to 1000 times the best rate, p = 1."""
    return suffix_bound(Linear()).exponent()


def square_exponent() -> float:
    """The same with p = 2."""
    return suffix_bound(Polynomial(power=2.0)).exponent()


def fourth_power_exponent() -> float:
    """The same with p = 4."""
    return suffix_bound(Polynomial(power=4.0)).exponent()


def cosine_exponent() -> float:
    """The same of the cosine."""
    return suffix_bound(DampedCosine()).exponent()


def cosine_square_exponent() -> float:
    """The same of the squared cosine."""
    return suffix_bound(DampedCosine(exponent=2.0)).exponent()


def constant_exponent() -> float:
    """The same of a constant rate."""
    return suffix_bound(Constant()).exponent()


def constant_exponent_tends_up() -> float:
    """The exponent of a constant rate at ten times the steps, minus that at the usual number."""
    return suffix_bound(Constant(), 200_000).exponent() - suffix_bound(Constant()).exponent()


def constant_at_ten() -> float:
    """The bound of a constant rate at ten times its best rate, over the best."""
    return float(suffix_bound(Constant()).factor(10.0))


def cosine_at_ten() -> float:
    """The same of the cosine."""
    return float(suffix_bound(DampedCosine()).factor(10.0))


def too_low_costs_alike() -> float:
    """The factor at a tenth of the best rate: the largest over the smallest of constant, linear and cosine."""
    factors = [float(suffix_bound(schedule).factor(0.1)) for schedule in (Constant(), Linear(), DampedCosine())]
    return max(factors) / min(factors)


def gentler_ends_peak_higher() -> float:
    """The best bound of (1 - u)^4 over that of a linear decay: what the robustness costs."""
    return suffix_bound(Polynomial(power=4.0)).best / suffix_bound(Linear()).best


def constant_against_linear_in_training(results: Path) -> Measured:
    """The factor that ten times the best rate costs a constant rate, over that of a linear decay."""
    factors = _factors(results)
    return ratio(factors[0], factors[1])


def linear_against_cosine_in_training(results: Path) -> Measured:
    """The same of a linear decay, over the cosine's."""
    factors = _factors(results)
    return ratio(factors[1], factors[2])


def cosine_against_its_square_in_training(results: Path) -> Measured:
    """The same of the cosine, over that of its square."""
    factors = _factors(results)
    return ratio(factors[2], factors[3])


def cosine_at_ten_in_training(results: Path) -> Measured:
    """The factor that ten times its best rate costs the cosine."""
    return ratio(_factors(results)[2], np.ones(20))


@lru_cache
def _factors(results: Path) -> Array:
    """Loss at ten times the best rate over that at the best, of constant, linear, cosine and squared cosine, ``[4, seeds]``.

    The best rate is chosen on other seeds. All conditions of the theorem: bounded gradients, and a ball of twice the norm of the optimum.
    """
    task = StreamingLeastAbsolute()
    optimizer = ProjectedSGD(radius=float(f"{2.0 * task.target_norm:.6g}"))
    rates = [float(f"{rate:.4g}") for rate in 0.01 * 10.0 ** (np.arange(PER_DECADE * DECADES + 1) / PER_DECADE)]
    schedules = [Constant(), Linear(), DampedCosine(), DampedCosine(exponent=2.0)]
    losses = final_losses(schedules, rates, range(30), task=task, optimizer=optimizer, steps=2000, results=results)
    best = losses[:, :-PER_DECADE, :SELECTION].mean(axis=2).argmin(axis=1)
    report = losses[:, :, SELECTION:]
    rows = np.arange(len(schedules))
    factors: Array = report[rows, best + PER_DECADE] / report[rows, best]
    return factors
