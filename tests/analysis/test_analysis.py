import math

import numpy as np
import pytest
from numpy.typing import NDArray

from adaptive_lr.analysis.robustness import RATIOS, Sweep, diverged, pairs
from adaptive_lr.analysis.summary import headline, judge, summarise
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment import geometric_grid
from adaptive_lr.reporting.prose import regret_percent

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
        selection=draws(seeds),
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
    found = one.tuned(RATIOS["10^(1/3)"]) - one.fine()
    assert found.shape == (2, 6)
    np.testing.assert_allclose(found.mean(1), literal, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.coarse(RATIOS["10^(1/3)"]) - one.fine(), np.mean(literal), rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.worst(RATIOS["10^(1/3)"]) - one.fine(), np.max(literal), rtol=0, atol=1e-12)


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
    assert found["value"] == pytest.approx(0.2, abs=1e-9)
    assert found["up_to"] == pytest.approx(100.0)
    excess = one.misspecification()
    assert excess["10^1"] == pytest.approx(10**0.2)
    assert excess["10^2"] == pytest.approx(100**0.2)
    assert excess["10^-1"] == pytest.approx(10.0)
    assert excess["10^-2"] is None  # outside the window


def test_slope_stops_where_training_is_dead() -> None:
    one = sweep(power_law(0.01, 1.0), initial=30.0)
    found = one.slope()
    assert found is not None
    assert found["value"] == pytest.approx(1.0, abs=1e-9)
    assert 10.0 < found["up_to"] < 30.0


def test_slope_is_the_mean_over_repetitions_each_from_its_own_best_rate() -> None:
    first, second = power_law(0.01, 0.2), power_law(0.1, 0.4)
    one = Sweep.clipped(
        rates=RATES,
        selection=np.stack([first, second]),
        report=np.stack([first, second]),
        initial=(1e6, 1e6),
        optimum=0.0,
        per_decade=6,
    )
    found = one.slope()
    assert found is not None
    assert found["value"] == pytest.approx(0.3, abs=1e-9)
    # t_1 at 97.5 % is 12.706, and the standard error of 0.2 and 0.4 is 0.1
    assert found["high"] - found["value"] == pytest.approx(12.706 * 0.1, rel=1e-4)


def test_slope_is_missing_with_too_few_rates_above_the_best() -> None:
    assert sweep(power_law(RATES[-3], 1.0)).slope() is None


def test_basin_of_a_power_law_is_known() -> None:
    basin = sweep(power_law(0.1, 0.5)).basin()
    assert basin["decades"] == pytest.approx(math.log10(4.0) + math.log10(2.0), abs=1e-9)
    assert not basin["cut_below"]
    assert not basin["cut_above"]


def test_basin_that_the_window_cuts_says_so() -> None:
    assert sweep(power_law(0.1, 0.01, below=0.01)).basin() == {
        "decades": pytest.approx(4.0),
        "cut_below": True,
        "cut_above": True,
    }
    above = sweep(power_law(RATES[-2], 0.01)).basin()
    assert (above["cut_below"], above["cut_above"]) == (False, True)


@pytest.mark.parametrize(("best", "expected"), [(RATES[0], True), (RATES[1], False), (RATES[-1], True)])
def test_optimum_at_the_edge_is_said(best: float, expected: bool) -> None:
    assert sweep(power_law(best, 1.0)).at_boundary is expected


@pytest.mark.parametrize(("ratio", "inside"), [("10^(1/3)", 1), ("10^(1/2)", 2), ("10", 3), ("100", 6)])
def test_a_best_rate_within_half_a_stride_of_an_end_is_cut_off(ratio: str, inside: int) -> None:
    # strides of 2, 3, 6 and 12 steps of the fine grid: half of them are 1, 1.5, 3 and 6
    for place in (inside, len(RATES) - 1 - inside):
        assert not sweep(power_law(RATES[place], 1.0)).cut_off(RATIOS[ratio])
    for place in (inside - 1, len(RATES) - inside):
        assert sweep(power_law(RATES[place], 1.0)).cut_off(RATIOS[ratio])


def test_diverged_and_worse_than_untrained_count_as_untrained() -> None:
    mean = power_law(0.1, 1.0)
    report = np.stack([mean, mean])
    report[0, -1], report[1, -2] = np.nan, 1e9
    one = Sweep.clipped(rates=RATES, selection=report, report=report, initial=(50.0, 40.0), optimum=0.0, per_decade=6)
    assert one.report[0, -1] == 40.0
    assert one.report[1, -2] == 40.0
    assert one.selection[0, -1] == 50.0
    expected = np.where(mean > 40.0 * 1.05, 0.5, 0.0) + np.where(
        mean > 50.0 * 1.05, 0.5, 0.0
    )  # of report and selection
    expected[-1], expected[-2] = 1.0, max(expected[-2], 0.5)
    np.testing.assert_array_equal(one.diverged, expected)


def test_a_finite_loss_that_is_absurd_counts_as_diverged_and_one_near_the_untrained_does_not() -> None:
    losses = np.array([1.0, 2.0, 2.09, 2.11, 1e20, np.inf, np.nan])
    assert diverged(losses, 2.0, None).tolist() == [False, False, False, True, True, True, True]
    # above an optimum of 1 the bound is 1 + 1.05 x (2 - 1)
    assert diverged(losses, 2.0, 1.0).tolist() == [False, False, True, True, True, True, True]


@pytest.mark.parametrize(("few", "many"), [(1, 1), (1, 2), (2, 6), (4, 8), (5, 10), (3, 10), (6, 6), (6, 2)])
def test_no_seed_is_in_two_repetitions_and_half_of_them_choose(few: int, many: int) -> None:
    selection, report = list(range(100, 100 + few)), list(range(many))
    found = pairs(selection, report)
    seeds = [seed for pair in found for seed in pair]
    assert len(set(seeds)) == len(seeds)
    assert set(seeds) <= {*selection, *report}
    assert len(found) == (few + many) // 2
    if few == many:
        assert found == list(zip(selection, report, strict=True))


def test_a_repetition_chooses_by_its_own_seed_alone() -> None:
    selection = np.array([power_law(0.1, 1.0), power_law(1.0, 1.0)])
    report = np.stack([np.arange(25.0), 100.0 + np.arange(25.0)])
    one = Sweep.clipped(rates=RATES, selection=selection, report=report, initial=(1e6, 1e6), optimum=None, per_decade=6)
    assert one.choices().tolist() == [12, 18]
    assert one.fine().tolist() == [12.0, 118.0]
    # one rate a decade from offset 0: places 0, 6, 12, 18, 24, which hold both
    assert one.tuned(10.0)[0].tolist() == [12.0, 118.0]
    assert one.coarse(10.0).tolist() == [
        np.mean([range(0, 25, 1)[min(range(offset, 25, 6), key=lambda place: row[place])] for offset in range(6)])
        + first
        for row, first in zip(selection, (0.0, 100.0), strict=True)
    ]
    with pytest.raises(ValueError, match="a row to choose by and one to report"):
        Sweep.clipped(
            rates=RATES, selection=selection[:1], report=report, initial=(1.0, 1.0), optimum=None, per_decade=6
        )


def test_sensitivity_is_the_definition_of_wortsman() -> None:
    mean = power_law(0.1, 1.0) + 2.0
    one = sweep(mean, initial=20.0, optimum=None)
    literal = np.mean([min(loss, 20.0) - min(mean) for loss in mean])
    assert one.sensitivity().mean() == pytest.approx(literal, rel=1e-12)


def test_excess_counts_from_a_known_optimum_only() -> None:
    mean = power_law(0.1, 1.0) + 2.0
    assert sweep(mean, optimum=2.0).excess().min() == pytest.approx(1.0)
    assert sweep(mean, optimum=None).excess().min() == pytest.approx(3.0)


GROUPS = {"cosine": "damped cosine", "constant": "fixed", "step": "stepwise"}


def test_summary_finds_the_schedule_that_depends_less_on_the_rate() -> None:
    sweeps = {
        "cosine": sweep(power_law(0.1, 0.2), noise=0.02),
        "constant": sweep(power_law(0.1, 1.0), noise=0.02),
        "step": sweep(power_law(0.1, 0.2), noise=0.02),
    }
    numbers = summarise(sweeps, GROUPS, "cosine")
    assert judge({"one": numbers}) == {"verdicts": 4, "repetitions": [6, 6]}
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
    numbers = summarise(sweeps, GROUPS, "cosine")
    judge({"one": numbers})
    answer = numbers["answer"]
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


def arrays(fine: list[float], coarse: list[float], *, optimum: float | None, initial: float = 10.0) -> Sweep:
    """A sweep whose repetitions end with given losses: best at the middle rate, and at the same loss wherever a coarse grid puts them."""
    report = np.repeat(np.array(coarse)[:, None], len(RATES), axis=1)
    report[:, 12] = fine
    selection = np.full(report.shape, 2.0)
    selection[:, 12] = 1.0
    return Sweep.clipped(
        rates=RATES, selection=selection, report=report, initial=(10.0, initial), optimum=optimum, per_decade=6
    )


def test_numbers_above_a_known_optimum_are_geometric_means_of_ratios() -> None:
    # one grid of six has the middle rate: the coarse loss is (fine + 5 coarse) / 6
    reference = arrays([1.0, 1.0], [1.0, 1.0], optimum=0.0)
    other = arrays([1.0, 4.0], [4.6, 8.8], optimum=0.0)  # coarse: 4 and 8
    cell = summarise({"cosine": reference, "constant": other}, GROUPS, "cosine")["schedules"]["constant"]["resolution"][
        "10"
    ]
    assert cell["loss"]["value"] == pytest.approx(np.sqrt(4.0 * 8.0))
    assert cell["cost_mean"]["value"] == pytest.approx(np.sqrt(4.0 * 8.0) - 1.0)
    assert cell["regret_own"]["value"] == pytest.approx(np.sqrt(4.0 / 1.0 * 8.0 / 4.0) - 1.0)
    assert cell["regret_mean"]["value"] == pytest.approx((3.0 + 4.0) / 2.0)
    assert cell["lost"] is None
    # log ratios 0 and log 2 of the regrets: mean .3466, standard error .3466, t_1 = 12.706
    assert cell["regret_own"]["high"] == pytest.approx(
        np.exp(np.log(8.0) / 2 + 12.7062 * np.log(2.0) / 2) - 1.0, rel=1e-4
    )


def test_numbers_without_an_optimum_are_differences_and_lost_shares() -> None:
    reference = arrays([1.0, 2.0], [1.0, 2.0], optimum=None)
    other = arrays([1.5, 2.0], [3.3, 4.4], optimum=None)  # coarse: 3 and 4
    numbers = summarise({"cosine": reference, "constant": other}, GROUPS, "cosine")
    cell = numbers["schedules"]["constant"]["resolution"]["10"]
    assert cell["loss"]["value"] == pytest.approx(3.5)
    assert cell["difference"]["value"] == pytest.approx(2.0)
    assert cell["lost"]["value"] == pytest.approx((2.0 / 9.0 + 2.0 / 8.0) / 2.0)
    assert cell["cost_mean"]["value"] == pytest.approx(2.0 / 1.5)
    assert cell["regret_own"]["value"] == pytest.approx(1.75 / 1.75)
    assert cell["regret_mean"]["value"] == pytest.approx(1.75 / 1.5)
    judge({"one": numbers})
    comparison = numbers["answer"]["comparisons"][0]
    assert comparison["tests"]["ends"]["value"] == pytest.approx(2.0)
    assert comparison["tests"]["depends"]["value"] == pytest.approx(1.75)
    assert comparison["tests"]["ends"]["procedure"] == "t on differences, Holm"


def test_negative_regret_is_flagged() -> None:
    reference = arrays([2.0, 2.0], [1.0, 1.0], optimum=None)
    cell = summarise({"cosine": reference}, GROUPS, "cosine")["schedules"]["cosine"]["resolution"]["10"]
    assert cell["regret_own"]["value"] < 0.0
    assert cell["regret_own"]["selection_noise"]
    assert regret_percent(cell["regret_own"]).startswith("‡")
    assert not regret_percent({"value": 0.1, "low": -0.2, "high": 0.4, "selection_noise": False}).count("−")


def test_each_repetition_chooses_the_schedule_of_its_group() -> None:
    def made(promised: list[float], reported: list[float]) -> Sweep:
        shape = np.where(np.arange(len(RATES)) == 12, 1.0, 2.0)
        return Sweep.clipped(
            rates=RATES,
            selection=np.array(promised)[:, None] * shape,
            report=np.repeat(np.array(reported)[:, None], len(RATES), axis=1),
            initial=(100.0, 100.0),
            optimum=None,
            per_decade=6,
        )

    sweeps = {
        "cosine": made([1.0, 1.0], [5.0, 5.0]),
        "step a": made([1.0, 2.0], [1.0, 10.0]),
        "step b": made([2.0, 1.0], [10.0, 3.0]),
    }
    groups = {"cosine": "damped cosine", "step a": "stepwise", "step b": "stepwise"}
    ends = summarise(sweeps, groups, "cosine")["answer"]["comparisons"][0]["tests"]["ends"]
    assert ends["value"] == pytest.approx(((1.0 - 5.0) + (3.0 - 5.0)) / 2.0)


def test_verdicts_are_corrected_over_all_studies() -> None:
    sweeps = {
        "cosine": sweep(power_law(0.1, 0.2), noise=0.3, seeds=4),
        "constant": sweep(power_law(0.1, 0.32), noise=0.3, seeds=4),
    }
    alone = summarise(sweeps, GROUPS, "cosine")
    judge({"one": alone})
    again = summarise(sweeps, GROUPS, "cosine")
    assert (
        judge({"one": again} | {f"{index}": summarise(sweeps, GROUPS, "cosine") for index in range(8)})["verdicts"]
        == 18
    )
    tests = alone["answer"]["comparisons"][0]["tests"], again["answer"]["comparisons"][0]["tests"]
    for name in ("ends", "depends"):
        assert tests[0][name]["p"] == tests[1][name]["p"]
        assert tests[1][name]["adjusted"] >= tests[0][name]["adjusted"]
    least = min(test["p"] for test in tests[1].values())
    assert min(test["adjusted"] for test in tests[1].values()) == pytest.approx(min(18 * least, 1.0))
