import math

import numpy as np
import pytest

from adaptive_lr import (
    REX,
    WSD,
    AbstractSchedule,
    AdditiveKDecay,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Points,
    Polynomial,
    Scaled,
    Step,
)
from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.errors import InputError

RHO = (2.0, 5.0, 10.0, 30.0, 100.0, 1000.0)

PRINTED: dict[str, tuple[AbstractSchedule, tuple[str, ...], str]] = {
    "constant": (Constant(), ("1.25", "2.55", "4.49", "10.61", "24.8", "53.6"), "3.39"),
    "1/sqrt(t)": (InverseSqrt(steps=1), ("1.21", "2.22", "3.83", "9.13", "22.2", "52.4"), "2.82"),
    "step x0.1": (Step(), ("1.24", "1.72", "1.48", "1.85", "2.59", "12.8"), "2.50"),
    "exp to 1e-2": (Exponential(rate=math.log(100.0)), ("1.06", "1.22", "1.47", "2.41", "5.24", "28.5"), "2.30"),
    "wsd 0.2": (WSD(cooldown=0.2, shape="linear"), ("1.25", "2.03", "2.59", "3.74", "5.60", "12.3"), "2.16"),
    "linear": (Linear(), ("1.19", "1.62", "2.04", "2.94", "4.40", "9.57"), "2.00"),
    "1-sqrt": (WSD(cooldown=1.0), ("1.15", "1.50", "1.87", "2.67", "3.98", "8.61"), "2.01"),
    "rex": (REX(), ("1.22", "1.76", "2.27", "3.35", "5.08", "11.2"), "2.02"),
    "(1-u)^2": (Polynomial(power=2.0), ("1.13", "1.35", "1.55", "1.94", "2.46", "3.91"), "2.12"),
    "(1-u)^4": (Polynomial(power=4.0), ("1.07", "1.19", "1.28", "1.45", "1.66", "2.14"), "2.50"),
    "cosine": (DampedCosine(), ("1.19", "1.49", "1.74", "2.20", "2.81", "4.47"), "2.06"),
    "cosine^0.5": (DampedCosine(exponent=0.5), ("1.22", "1.71", "2.16", "3.13", "4.69", "10.2"), "2.01"),
    "cosine^2": (DampedCosine(exponent=2.0), ("1.16", "1.38", "1.53", "1.78", "2.07", "2.71"), "2.26"),
    "cosine^4": (DampedCosine(exponent=4.0), ("1.15", "1.32", "1.44", "1.60", "1.77", "2.10"), "2.58"),
    "k=1.5": (DampedCosine(k=1.5), ("1.22", "1.61", "1.92", "2.45", "3.17", "5.08"), "2.04"),
    "k=3": (DampedCosine(k=3.0), ("1.24", "1.81", "2.23", "2.94", "3.86", "6.27"), "2.07"),
    "k=5": (DampedCosine(k=5.0), ("1.25", "1.95", "2.47", "3.34", "4.44", "7.28"), "2.12"),
}
"""Factors of the bound for D = G = 1 and T = 20 000, by hand and by an independent program, and the best bound times sqrt T."""


@pytest.mark.parametrize("name", PRINTED)
def test_factors_are_those_of_the_table(name: str) -> None:
    schedule, factors, best = PRINTED[name]
    bound = suffix_bound(schedule)
    for rho, printed in zip(RHO, factors, strict=True):
        digits = len(printed.partition(".")[2])
        assert float(bound.factor(rho)) == pytest.approx(float(printed), abs=0.51 * 10**-digits, rel=0)
    assert bound.best == pytest.approx(float(best), abs=0.006, rel=0)


def test_additive_k_decay_is_near_the_table_that_does_not_cut_it_off() -> None:
    bound = suffix_bound(AdditiveKDecay(k=3.0, sign="minus"))
    assert np.asarray(bound.factor(np.array(RHO))) == pytest.approx([1.23, 1.73, 2.19, 3.18, 4.77, 10.4], rel=0.01)


def literal_bound(multipliers: list[float], rate: float) -> float:
    """The formula as it is written, with its sums as sums."""
    steps, eta = len(multipliers), [rate * m for m in multipliers]
    least = math.inf
    for s in range(steps):
        total, squares = sum(eta[s:]), sum(one**2 for one in eta[s:])
        inner = sum(
            eta[k] / sum(eta[k + 1 :]) * sum(one**2 for one in eta[k:]) / sum(eta[k:]) for k in range(s, steps - 1)
        )
        least = min(least, 1.0 / (2.0 * total) + squares / (2.0 * total) + 0.5 * inner)
    return least


@pytest.mark.parametrize("schedule", [Constant(), DampedCosine(exponent=2.0), Step()], ids=repr)
def test_bound_is_the_formula_as_written(schedule: AbstractSchedule) -> None:
    steps = 30
    bound = suffix_bound(schedule, steps)
    multipliers = [schedule.at(step, steps) for step in range(steps)]
    best = literal_bound(multipliers, bound.best_rate)
    assert bound.best / math.sqrt(steps) == pytest.approx(best, rel=1e-12)
    for rho in (0.1, 0.7, 3.0, 40.0):
        expected = literal_bound(multipliers, rho * bound.best_rate) / best
        assert float(bound.factor(rho)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "tail"),
    [
        (Linear(), 1.0),
        (DampedCosine(), 2.0),
        (DampedCosine(exponent=0.5), 1.0),
        (DampedCosine(exponent=2.0), 4.0),
        (DampedCosine(exponent=4.0), 8.0),
        (Polynomial(power=2.0), 2.0),
        (Polynomial(power=4.0), 4.0),
    ],
    ids=repr,
)
def test_exponent_is_one_over_twice_the_tail_plus_one(schedule: AbstractSchedule, tail: float) -> None:
    assert suffix_bound(schedule).exponent() == pytest.approx(1.0 / (2.0 * tail + 1.0), abs=0.02)


def test_too_small_a_rate_costs_the_same_with_every_schedule() -> None:
    for schedule in (Constant(), Linear(), DampedCosine(exponent=4.0)):
        assert suffix_bound(schedule).factor(np.array([0.5, 0.1])) == pytest.approx([1.25, 5.05], abs=0.005)


def test_scale_of_a_schedule_moves_its_best_rate_and_nothing_else() -> None:
    plain, half = suffix_bound(DampedCosine()), suffix_bound(Scaled(then=DampedCosine(), factor=0.5))
    assert half.best_rate == pytest.approx(2.0 * plain.best_rate)
    assert half.best == pytest.approx(plain.best)


def test_steps_without_a_rate_at_the_end_do_nothing() -> None:
    assert np.isfinite(suffix_bound(Points(u=(0.0, 0.5, 1.0), m=(1.0, 0.0, 0.0))).factor(10.0))


def test_schedule_that_never_moves_is_refused() -> None:
    with pytest.raises(InputError, match="0 throughout"):
        suffix_bound(Scaled(then=Linear(), factor=0.0))


def test_coarser_grid_costs_more_and_the_worst_place_more_than_the_mean() -> None:
    bound = suffix_bound(DampedCosine())
    found = [bound.grid(ratio) for ratio in (2.0, 10.0, 100.0)]
    assert found == sorted(found)
    for mean, worst in found:
        assert 1.0 <= mean <= worst
    with pytest.raises(InputError, match="above 1, got 1"):
        bound.grid(1.0)
