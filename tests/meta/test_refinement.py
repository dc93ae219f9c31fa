"""The refined schedule is that of the paper, and its bound is no worse than a linear decay's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import Constant, DampedCosine, Linear, Points, from_json, from_yaml, table, to_json, to_yaml
from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.errors import InputError
from adaptive_lr.meta.norms import Norms, norms_of
from adaptive_lr.meta.refinement import (
    LOW,
    TOLERANCE,
    last_iterate_bound,
    refine,
    refined_multipliers,
    regret_bound,
    smooth,
    thinned,
)

NORMS = st.lists(st.floats(1e-6, 1e6), min_size=10, max_size=60)


def noisy(steps: int, start: float, end: float, spread: float = 0.4, seed: int = 0) -> np.ndarray:
    source = np.random.default_rng(seed)
    u = np.arange(steps) / steps
    return np.asarray((end + (start - end) * np.exp(-u / 0.05)) * np.exp(spread * source.standard_normal(steps)))


def median_by_hand(norms: list[float]) -> list[float]:
    """Width 2 floor(0.1 T / 2) + 1; before the beginning the first norm, beyond the end as in a mirror."""
    steps, half = len(norms), math.floor(0.1 * len(norms) / 2)
    result = []
    for t in range(steps):
        window = []
        for s in range(t - half, t + half + 1):
            window.append(norms[0] if s < 0 else norms[s] if s < steps else norms[2 * (steps - 1) - s])
        result.append(sorted(window)[half])
    return result


def schedule_by_hand(norms: list[float], optimizer: str) -> list[float]:
    """eta_t = w_t sum_{s>t} w_s over iterates 0 … T, the norm at the last of them that of the last update; the largest is 1."""
    values = [*norms, norms[-1]]
    weights = [norm**-2 if optimizer == "sgd" else 1 / norm for norm in values]
    rates = [weights[t] * math.fsum(weights[t + 1 :]) for t in range(len(values))]
    return [rate / max(rates) for rate in rates]


def bound_by_hand(rates: list[float], norms: list[float]) -> float:
    """2 sqrt(A B) of A / gamma + gamma B, with D = 1."""
    total = sum(rates)
    noise = sum((rate * norm) ** 2 for rate, norm in zip(rates, norms, strict=True)) / (2 * total)
    for k in range(len(rates) - 1):
        after, here = sum(rates[k + 1 :]), sum(rates[k:])
        noise += 0.5 * rates[k] / after * sum((rates[t] * norms[t]) ** 2 for t in range(k, len(rates))) / here
    return 2 * math.sqrt(noise / (2 * total))


@given(norms=NORMS)
def test_smoothing_is_the_median_filter_of_the_paper(norms: list[float]) -> None:
    assert smooth(np.array(norms)).tolist() == median_by_hand(norms)


@given(norms=NORMS, optimizer=st.sampled_from(["sgd", "adam"]))
def test_multipliers_are_those_of_a_plain_loop(norms: list[float], optimizer: str) -> None:
    result = refined_multipliers(np.array(norms), optimizer)
    assert result == pytest.approx(schedule_by_hand(norms, optimizer), rel=1e-9, abs=1e-15)
    assert result.max() == 1.0
    assert result[-1] == 0.0
    assert (result[:-1] > 0.0).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("level", [1e-30, 2.5, 1e30])
def test_constant_norms_give_exactly_a_linear_decay(optimizer: str, level: float) -> None:
    result = refine(norms_of(range(1000), [level] * 1000), optimizer=optimizer)
    assert result.schedule == Points(u=(0.0, 1.0), m=(1.0, 0.0))
    assert result.gain == pytest.approx(1.0, abs=1e-12)
    ours, linear = table([result.schedule], 1000), table([Linear()], 1000)
    assert float((ours - linear).abs().max()) < 1e-15


def test_norms_that_fall_at_first_give_a_warm_up() -> None:
    schedule = refine(norms_of(range(1000), noisy(1000, 10.0, 1.0))).schedule
    values = [schedule.at(step, 1000) for step in range(0, 1001, 50)]
    assert values[0] < 0.05
    peak = values.index(max(values))
    assert 2 <= peak <= 8
    assert values[-1] == 0.0


def test_norms_that_rise_at_the_end_give_an_earlier_decay() -> None:
    rising = np.linspace(1.0, 3.0, 1000)
    schedule = refine(norms_of(range(1000), rising)).schedule
    assert all(schedule.at(step, 1000) < 1.0 - step / 1000 for step in range(100, 1000, 100))


def test_a_single_outlier_changes_nothing() -> None:
    norms = [2.0] * 200
    norms[100] = 1e6
    assert refine(norms_of(range(200), norms)).schedule == Points(u=(0.0, 1.0), m=(1.0, 0.0))


@given(norms=NORMS)
def test_the_bound_of_the_theorem_is_no_worse_than_that_of_linear_decay(norms: list[float]) -> None:
    values = np.array(norms)
    weights = (values.min() / values) ** 2
    assert regret_bound(weights, values) <= regret_bound(np.ones_like(values), values) * (1 + 1e-12)
    assert regret_bound(weights, values) == pytest.approx(1.0 / math.sqrt(sum(norm**-2 for norm in norms)), rel=1e-9)
    result = refine(Norms(values, len(values)))
    assert result.gain <= 1.0 + 1e-12
    closed = 1.0 / math.sqrt(np.mean(result.smoothed**2) * np.mean(result.smoothed**-2.0))
    assert result.gain == pytest.approx(closed, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("start", "end"), [(10.0, 1.0), (1.0, 1.0), (1.0, 4.0), (100.0, 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_of_the_last_iterate_is_no_worse_than_that_of_linear_decay(
    optimizer: str, start: float, end: float, seed: int
) -> None:
    steps = 600
    result = refine(norms_of(range(steps), noisy(steps, start, end, seed=seed)), optimizer=optimizer)
    linear = 1.0 - np.arange(steps) / steps
    ours = table([result.schedule], steps)[0, :steps].numpy()
    before = last_iterate_bound(refined_multipliers(result.smoothed, optimizer)[:-1], result.smoothed)
    assert last_iterate_bound(ours, result.smoothed) <= last_iterate_bound(linear, result.smoothed)
    assert last_iterate_bound(ours, result.smoothed) == pytest.approx(before, rel=1e-3)  # thinning loses nothing


@given(norms=st.lists(st.floats(0.1, 10.0), min_size=2, max_size=12), seed=st.integers(0, 100))
def test_the_bound_is_that_of_a_plain_loop(norms: list[float], seed: int) -> None:
    rates = np.random.default_rng(seed).uniform(0.1, 1.0, len(norms))
    assert last_iterate_bound(rates, np.array(norms)) == pytest.approx(bound_by_hand(rates.tolist(), norms), rel=1e-9)


@pytest.mark.parametrize("schedule", [Constant(), Linear(), DampedCosine(exponent=2)])
def test_with_constant_norms_the_bound_is_the_known_one(schedule: Linear) -> None:
    steps = 500
    known = suffix_bound(schedule, steps)
    ours = last_iterate_bound(table([schedule], steps)[0, :steps].numpy(), np.ones(steps))
    assert ours == pytest.approx(2.0 * math.sqrt(known.distance[0] * known.noise[0]), rel=1e-12)


def test_rates_that_are_zero_have_no_bound() -> None:
    with pytest.raises(InputError, match="the rates are 0 throughout"):
        last_iterate_bound(np.zeros(3), np.ones(3))


@pytest.mark.parametrize("steps", [100, 1000, 20_000])
def test_points_are_few_and_within_the_tolerance(steps: int) -> None:
    result = refine(norms_of(range(steps), noisy(steps, 10.0, 1.0)))
    exact = refined_multipliers(result.smoothed)
    read = table([result.schedule], steps)[0].numpy()
    assert (np.abs(read - exact) <= TOLERANCE * np.maximum(exact, LOW) + 1e-6).all()
    assert len(result.schedule.u) < min(steps, 400)
    coarse = refine(norms_of(range(steps), noisy(steps, 10.0, 1.0)), tolerance=0.1).schedule
    assert len(coarse.u) < len(result.schedule.u)


def test_thinning_leaves_the_corners() -> None:
    values = np.interp(np.arange(101), [0, 20, 70, 100], [0.0, 1.0, 0.5, 0.0])
    assert thinned(values, np.full(101, 1e-9)) == [0, 20, 70, 100]


def test_the_schedule_survives_json_and_yaml() -> None:
    schedule = refine(norms_of(range(300), noisy(300, 5.0, 1.0))).schedule
    assert from_json(to_json(schedule)) == schedule
    assert from_yaml(to_yaml(schedule)) == schedule


def test_what_cannot_be_meant_is_refused() -> None:
    norms = norms_of(range(20), [1.0] * 20)
    with pytest.raises(InputError, match="the optimizer must be sgd or adam, got 'lion'"):
        refine(norms, optimizer="lion")
    for tolerance in (0.0, -1.0, 0.2, math.nan):
        with pytest.raises(InputError, match=r"the tolerance must lie in \(0, 0.1\]"):
            refine(norms, tolerance=tolerance)
