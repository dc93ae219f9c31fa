import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from adaptive_lr import WSD, AbstractSchedule, AdditiveKDecay, Constant, DampedCosine, GridAware, Linear, Polynomial
from adaptive_lr.analysis.bound import coefficients, suffix_bound
from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.meta.bound import (
    METHODS,
    best_cosine_power,
    last_iterate_bound,
    least_bound_schedule,
    minimax_schedule,
)

PRINTED: dict[str, tuple[AbstractSchedule, float]] = {
    "linear": (Linear(), 0.1006),
    "1-sqrt": (WSD(cooldown=1.0), 0.1012),
    "cosine^0.5": (DampedCosine(exponent=0.5), 0.1012),
    "cosine": (DampedCosine(), 0.1034),
    "k=1.5": (DampedCosine(k=1.5), 0.1025),
    "k=3": (DampedCosine(k=3.0), 0.1041),
    "(1-u)^2": (Polynomial(power=2.0), 0.1064),
    "(1-u)^4": (Polynomial(power=4.0), 0.12545),
    "wsd 0.2": (WSD(cooldown=0.2, shape="linear"), 0.1093),
    "cosine^2": (DampedCosine(exponent=2.0), 0.1134),
    "constant": (Constant(), 0.1375),
}
"""Bounds at the best rate for D = G = 1 and T = 400, of an independent program."""


@pytest.mark.parametrize("name", PRINTED)
def test_bound_at_the_best_rate_is_the_printed_one(name: str) -> None:
    schedule, printed = PRINTED[name]
    assert last_iterate_bound(schedule).best == pytest.approx(printed, abs=5.1e-5, rel=0)


@pytest.mark.parametrize(("schedule", "rate"), [(Linear(), 0.0496), (DampedCosine(), 0.0482), (Constant(), 0.0182)])
def test_best_rate_is_the_printed_one(schedule: AbstractSchedule, rate: float) -> None:
    bound = last_iterate_bound(schedule)
    assert bound.best_rate == pytest.approx(rate, abs=5.1e-5, rel=0)
    assert float(bound.at(bound.best_rate)) == pytest.approx(bound.best, rel=1e-12)
    for rho in (0.1, 3.0):
        assert float(bound.at(rho * bound.best_rate)) == pytest.approx(bound.best * (rho + 1 / rho) / 2, rel=1e-12)


def literal(multipliers: list[float], rate: float, norms: list[float], distance: float) -> float:
    """The theorem of Defazio et al. 2023 as it is written, with its sums as sums."""
    steps = len(multipliers)
    eta = [rate * m for m in multipliers]
    squares = [(eta[t] * norms[t]) ** 2 for t in range(steps)]
    total = sum(eta)
    later = sum(eta[k] / sum(eta[k + 1 :]) * sum(squares[k:]) / sum(eta[k:]) for k in range(steps - 1))
    return distance**2 / (2 * total) + sum(squares) / (2 * total) + later / 2


@pytest.mark.parametrize("schedule", [Constant(), DampedCosine(exponent=2.0), GridAware(ratio=30)], ids=repr)
def test_bound_is_the_theorem_as_written_with_any_gradient_norms(schedule: AbstractSchedule) -> None:
    steps = 25
    norms = np.random.default_rng(0).uniform(0.2, 4.0, steps)
    bound = last_iterate_bound(schedule, steps, norms, distance=3.0)
    multipliers = [schedule.at(step, steps) for step in range(steps)]
    for rate in (0.01, 0.5, 7.0):
        assert float(bound.at(rate)) == pytest.approx(literal(multipliers, rate, list(norms), 3.0), rel=1e-12)


def harmonic(count: int) -> float:
    return sum(1.0 / term for term in range(1, count + 1))


@pytest.mark.parametrize(("steps", "cooldown"), [(400, 0.2), (1000, 0.5)])
def test_a_hold_with_a_linear_end_is_below_the_theorem_on_it_and_not_far(steps: int, cooldown: float) -> None:
    hold = round(steps * (1 - cooldown))  # T0; Schaipp et al. 2025, arXiv:2501.18965, Theorem 9, an upper bound
    rest = steps - hold
    inside = (
        2 / 3
        + (steps + 2 * hold) / (3 * (steps + hold))
        + harmonic(steps + hold - 2)
        - harmonic(rest + 1)
        - rest * (hold - 1) / (3 * (rest + 2) * (steps + hold))
        + 1 / rest**2
        + harmonic(rest - 1) / (rest + 1)
    )
    theorem = math.sqrt(4 / (steps + hold) * inside)
    exact = last_iterate_bound(WSD(cooldown=cooldown, shape="linear"), steps).best
    assert exact <= theorem < 1.25 * exact


def test_worse_norms_late_in_the_run_call_for_an_earlier_decay() -> None:
    steps = 40
    norms = np.where(np.arange(steps) < steps // 2, 1.0, 3.0)
    plain, uneven = least_bound_schedule(steps), least_bound_schedule(steps, norms)
    assert uneven.multipliers[steps // 2 :].sum() / uneven.multipliers.sum() < 0.5 * (
        plain.multipliers[steps // 2 :].sum() / plain.multipliers.sum()
    )
    linear = last_iterate_bound(Linear(), steps, norms).best * math.sqrt(steps)
    assert uneven.bound < 0.9 * linear
    assert last_iterate_bound(uneven.schedule(), steps, norms).best * math.sqrt(steps) == pytest.approx(uneven.bound)


@pytest.mark.parametrize("method", METHODS)
def test_minimising_the_bound_gives_a_linear_decay(method: str) -> None:
    steps = 60
    result = least_bound_schedule(steps, method=method)
    linear = 1.0 - np.arange(steps) / steps
    assert (
        np.abs(result.multipliers - linear)[:54].max() < 0.025
    )  # the last step is worth more than a linear decay gives it
    assert result.bound <= last_iterate_bound(Linear(), steps).best * math.sqrt(steps)
    assert result.bound == pytest.approx(last_iterate_bound(Linear(), steps).best * math.sqrt(steps), rel=0.03)


def test_plain_and_torch_sums_agree_and_gradients_are_those_of_differences() -> None:
    multipliers = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    norms = torch.linspace(0.5, 2.0, 12, dtype=torch.float64)
    torch.autograd.gradcheck(lambda m: coefficients(m, norms), multipliers.requires_grad_())


@pytest.mark.parametrize(
    "ratio", [4.0, pytest.param(9.0, marks=pytest.mark.slow), pytest.param(100.0, marks=pytest.mark.slow)]
)
def test_gradients_and_scipy_find_the_same_least_worst_bound(ratio: float) -> None:
    mine, other = (minimax_schedule(ratio, 30, method=method) for method in METHODS)
    assert mine.bound == pytest.approx(other.bound, rel=1e-3)
    for result in (mine, other):
        assert np.diff(result.multipliers).max() <= 1e-12
        assert result.bound < suffix_bound(GridAware(ratio=ratio), 30).worst(ratio)


@pytest.mark.parametrize(("wrong", "gain"), [(2.0, 0.05), (3.0, 0.14), (10.0, 0.27), (100.0, 0.36)])
def test_the_schedule_for_a_grid_is_below_linear_cosine_and_every_cosine_power(wrong: float, gain: float) -> None:
    ratio = wrong**2
    mine = suffix_bound(GridAware(ratio=ratio)).worst(ratio)
    exponent, power = best_cosine_power(ratio)
    assert 0.25 < exponent < 16.0
    others = [suffix_bound(schedule).worst(ratio) for schedule in (Linear(), DampedCosine(), Constant())]
    assert mine < (1 - gain) * min(power, *others)
    for other in (0.5, 1.0, 2.0, 4.0):
        assert power <= suffix_bound(DampedCosine(exponent=other)).worst(ratio) * (1 + 1e-4)


def test_the_minimised_one_is_below_all_of_them_within_a_factor_ten_either_way() -> None:
    steps = 50
    least = minimax_schedule(100.0, steps)
    assert suffix_bound(least.schedule(), steps).worst(100.0) == pytest.approx(least.bound, rel=1e-9)
    _, power = best_cosine_power(100.0, steps)
    others = [suffix_bound(schedule, steps).worst(100.0) for schedule in (Linear(), DampedCosine())]
    assert least.bound < 0.73 * min(power, *others)


def any_schedule(ratio: float, stops: int) -> float:
    """Least worst bound, in the limit of many steps, of any schedule, rising or not, that lets a run count from so many steps only.

    With y = sqrt(S) the bound of a run that counts from x is at most V for rates in a window about as wide as t says; the next window begins
    where it ends, and the way there takes the time that a straight y takes.
    """

    def time(values: Array) -> float:
        shares = np.exp(values - values.max())
        t = np.tanh(0.5 * math.log(ratio) * shares / shares.sum())
        ways = (1 / np.sqrt(1 - t[1:]) - 1 / np.sqrt(1 + t[:-1])) ** 2 / (t[1:] + t[:-1])
        return float(1 / (1 - t[0] ** 2) + ways.sum())

    return 2 * math.sqrt(float(minimize(time, np.zeros(stops), method="BFGS").fun))


@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.0, 9.0, 30.0, 100.0, 1000.0])
def test_closed_form_is_within_a_hundredth_of_what_any_schedule_can_have(ratio: float) -> None:
    least = min(any_schedule(ratio, stops) for stops in (1, 2, 3, 6, 12, 24, 40))
    worst = suffix_bound(GridAware(ratio=ratio)).worst(ratio)
    assert least * 0.999 < worst < 1.01 * least
    assert worst == pytest.approx(math.sqrt(max(4.0, 3.75 + math.log(ratio))), rel=0.02)


def test_ratio_near_one_is_a_linear_decay() -> None:
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.equal(GridAware(ratio=1.0001)(u), Linear()(u))
    assert (GridAware(ratio=1.3)(u) - Linear()(u)).abs().max() < 0.03


def test_without_a_bounded_domain_a_wrong_rate_costs_the_same_with_every_schedule() -> None:
    rho = np.array([0.1, 2.0, 30.0])
    for schedule in (Linear(), GridAware(), AdditiveKDecay(k=3.0, sign="minus")):
        bound = last_iterate_bound(schedule)
        assert bound.at(rho * bound.best_rate) / bound.best == pytest.approx((rho + 1 / rho) / 2)


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="above 1, got 1"):
        minimax_schedule(1.0)
    with pytest.raises(InputError, match="take at least 2"):
        minimax_schedule(4.0, 1)
    with pytest.raises(InputError, match="one of gradient, scipy, got 'newton'"):
        least_bound_schedule(10, method="newton")
    with pytest.raises(InputError, match=r"norms must be positive numbers, got nan at step 3"):
        last_iterate_bound(Linear(), 5, np.array([1, 1, 1, np.nan, 1]))
    with pytest.raises(InputError, match="one number for each of the 5 steps"):
        least_bound_schedule(5, np.ones(4))
    with pytest.raises(InputError, match="distance"):
        last_iterate_bound(Linear(), 5, distance=0.0)
