import math

import numpy as np
import pytest
from numpy.typing import NDArray

from adaptive_lr.analysis.robustness import RATIOS, Sweep
from adaptive_lr.analysis.stats import mean_interval, seeds_interval
from adaptive_lr.analysis.summary import headline, summarise
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment import geometric_grid

Array = NDArray[np.float64]
RATES = geometric_grid(1e-3, 10.0, 6)


def sweep(
    mean: Array, *, optimum: float | None = 0.0, initial: float = 1e6, noise: float = 0.0, seeds: int = 6
) -> Sweep:
    generator = np.random.default_rng(0)

    def draws(count: int) -> Array:
        return mean * np.exp(noise * generator.standard_normal((count, len(mean))))

    return Sweep.clipped(
        rates=RATES,
        selection=draws(3),
        report=draws(seeds),
        initial=(initial, initial),
        optimum=optimum,
        per_decade=6,
    )


def power_law(best: float, slope: float, *, below: float = 1.0) -> Array:
    """Excess 1 at ``best``, growing like rho^slope above it and rho^-below under it."""
    rho = RATES / best
    return np.where(rho >= 1.0, rho**slope, rho**-below)


def test_grid_has_both_ends_and_the_rates_between() -> None:
    grid = geometric_grid(1e-3, 10.0, 6)
    assert len(grid) == 25
    np.testing.assert_allclose(grid[[0, 6, 24]], [1e-3, 1e-2, 10.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("low", "high", "per_decade"),
    [(1.0, 1.0, 6), (1.0, 0.1, 6), (0.0, 1.0, 6), (math.nan, 1.0, 6), (0.1, math.inf, 6), (0.1, 1.0, 0), (0.1, 0.5, 6)],
)
def test_empty_or_uneven_grid_is_refused_by_name(low: float, high: float, per_decade: int) -> None:
    with pytest.raises(ExperimentError, match=r"learning-rate grid|whole number of steps"):
        geometric_grid(low, high, per_decade)


def test_regret_of_a_grid_with_every_second_rate_is_the_literal_mean_over_both_offsets() -> None:
    mean = power_law(0.1, 0.5)
    one = sweep(mean)
    literal = [min(mean[offset::2]) - min(mean) for offset in range(2)]
    found = one.regret(RATIOS["10^(1/3)"])
    assert found.shape == (2, 6)
    np.testing.assert_allclose(found.mean(1), literal, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ratio", "stride"), [("10^(1/3)", 2), ("10^(1/2)", 3), ("10", 6), ("100", 12)])
def test_every_ratio_is_a_nested_grid_at_every_offset(ratio: str, stride: int) -> None:
    mean = power_law(0.2, 0.3)
    tuned = sweep(mean).tuned(RATIOS[ratio])
    literal = [min(mean[offset::stride]) for offset in range(stride)]
    np.testing.assert_allclose(tuned.mean(1), literal, rtol=1e-12)


def test_ratio_that_is_no_sub_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be taken from 6 rates a decade"):
        sweep(power_law(0.1, 0.5)).tuned(5.0)


def test_rate_is_chosen_on_selection_seeds_and_reported_on_others() -> None:
    selection, report = power_law(0.1, 1.0), power_law(1.0, 1.0)
    one = Sweep.clipped(
        rates=RATES,
        selection=selection[None],
        report=report[None],
        initial=(1e6, 1e6),
        optimum=0.0,
        per_decade=6,
    )
    assert RATES[one.best] == pytest.approx(0.1)
    assert one.report[0, one.best] == pytest.approx(10.0)


def test_slope_and_misspecification_of_a_power_law() -> None:
    one = sweep(power_law(0.01, 0.2))
    found = one.slope()
    assert found is not None
    assert found[0] == pytest.approx(0.2, abs=1e-9)
    excess = one.misspecification()
    assert excess["10^1"] == pytest.approx(10**0.2)
    assert excess["10^2"] == pytest.approx(100**0.2)
    assert excess["10^-1"] == pytest.approx(10.0)
    assert excess["10^-2"] is None  # outside the window


def test_slope_stops_where_training_is_dead() -> None:
    one = sweep(power_law(0.01, 1.0), initial=30.0)
    found = one.slope()
    assert found is not None
    assert found[0] == pytest.approx(1.0, abs=1e-9)
    assert RATES[one.slope_places()[-1]] / RATES[one.best] < 30.0


def test_slope_is_missing_with_too_few_rates_above_the_best() -> None:
    assert sweep(power_law(RATES[-3], 1.0)).slope() is None


def test_basin_width_of_a_power_law_is_known() -> None:
    one = sweep(power_law(0.1, 0.5))
    assert one.basin_width() == pytest.approx(math.log10(4.0) + math.log10(2.0), abs=1e-9)


def test_basin_ends_at_the_window() -> None:
    assert sweep(power_law(0.1, 0.01, below=0.01)).basin_width() == pytest.approx(4.0)


@pytest.mark.parametrize(("best", "expected"), [(RATES[0], True), (RATES[1], False), (RATES[-1], True)])
def test_optimum_at_the_edge_is_said(best: float, expected: bool) -> None:
    assert sweep(power_law(best, 1.0)).at_boundary is expected


def test_diverged_and_worse_than_untrained_count_as_untrained() -> None:
    mean = power_law(0.1, 1.0)
    report = np.stack([mean, mean])
    report[0, -1], report[1, -2] = np.nan, 1e9
    one = Sweep.clipped(rates=RATES, selection=report, report=report, initial=(50.0, 40.0), optimum=0.0, per_decade=6)
    assert one.report[0, -1] == 40.0
    assert one.report[1, -2] == 40.0
    assert one.selection[0, -1] == 50.0
    np.testing.assert_array_equal(one.diverged, [0.0] * 24 + [0.5])


def test_sensitivity_is_the_definition_of_wortsman() -> None:
    mean = power_law(0.1, 1.0) + 2.0
    one = sweep(mean, initial=20.0, optimum=None)
    literal = np.mean([min(loss, 20.0) - min(mean) for loss in mean])
    assert one.sensitivity().mean() == pytest.approx(literal, rel=1e-12)


def test_excess_counts_from_a_known_optimum_only() -> None:
    mean = power_law(0.1, 1.0) + 2.0
    assert sweep(mean, optimum=2.0).excess().min() == pytest.approx(1.0)
    assert sweep(mean, optimum=None).excess().min() == pytest.approx(3.0)


def test_intervals_are_the_same_every_time_and_cover_the_mean() -> None:
    samples = np.random.default_rng(3).standard_normal((4, 12)) + 5.0
    low, high = mean_interval(samples)
    again = mean_interval(samples)
    np.testing.assert_array_equal(low, again[0])
    np.testing.assert_array_equal(high, again[1])
    assert np.all(low < samples.mean(1))
    assert np.all(samples.mean(1) < high)


def test_interval_has_about_the_width_of_the_normal_one() -> None:
    samples = np.random.default_rng(4).standard_normal(400)
    low, high = mean_interval(samples)
    assert float(high - low) == pytest.approx(2 * 1.96 / 20.0, rel=0.15)


def test_interval_of_equal_values_is_the_value() -> None:
    low, high = mean_interval(np.full((2, 5), 0.25))
    np.testing.assert_array_equal([low, high], np.full((2, 2), 0.25))
    assert seeds_interval(lambda seeds: np.asarray(seeds.shape[-1], dtype=float) * np.ones(seeds.shape[:-1]), 7) == (
        7.0,
        7.0,
    )


def test_one_seed_has_no_spread() -> None:
    low, high = mean_interval(np.array([[3.0]]))
    assert (float(low[0]), float(high[0])) == (3.0, 3.0)


GROUPS = {"cosine": "damped cosine", "constant": "fixed", "step": "stepwise"}


def test_summary_finds_the_schedule_that_depends_less_on_the_rate() -> None:
    sweeps = {
        "cosine": sweep(power_law(0.1, 0.2), noise=0.02),
        "constant": sweep(power_law(0.1, 1.0), noise=0.02),
        "step": sweep(power_law(0.1, 0.2), noise=0.02),
    }
    numbers = summarise(sweeps, GROUPS, "cosine")
    verdicts = {
        one["against"]: one["depends"] for one in numbers["answer"]["comparisons"] if one["damped"] == "damped cosine"
    }
    assert verdicts == {"fixed": "less", "stepwise": "no clear difference"}
    costs = numbers["schedules"]["cosine"]["resolution"]
    assert costs["10^(1/3)"]["cost_mean"]["value"] < costs["100"]["cost_mean"]["value"]
    assert headline({"one": numbers})["damped cosine against fixed"] == {"less": 1, "ends better": 1}


def test_summary_refuses_to_judge_at_the_edge() -> None:
    sweeps = {
        "cosine": sweep(power_law(0.1, 0.2)),
        "constant": sweep(power_law(RATES[-1], 1.0)),
        "step": sweep(power_law(0.1, 0.5)),
    }
    answer = summarise(sweeps, GROUPS, "cosine")["answer"]
    assert answer["at_boundary"] == ["constant"]
    verdicts = {one["against"]: one["depends"] for one in answer["comparisons"] if one["damped"] == "damped cosine"}
    assert verdicts == {"fixed": "cannot be judged", "stepwise": "less"}


def test_group_is_represented_by_what_selection_seeds_prefer() -> None:
    good, bad = power_law(0.1, 0.2), power_law(0.1, 0.9)

    def made(selection: Array, report: Array) -> Sweep:
        return Sweep.clipped(
            rates=RATES,
            selection=selection[None],
            report=report[None],
            initial=(1e6, 1e6),
            optimum=0.0,
            per_decade=6,
        )

    sweeps = {
        "cosine": sweep(good),
        "step a": made(good, bad),  # looks good on selection only
        "step b": made(bad, good),
        "constant": sweep(bad),
    }
    groups = {"cosine": "damped cosine", "step a": "stepwise", "step b": "stepwise", "constant": "fixed"}
    assert summarise(sweeps, groups, "cosine")["answer"]["chosen"]["stepwise"] == "step a"
