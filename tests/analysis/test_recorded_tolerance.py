import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_noise import Noise
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.analysis.run_steps import Steps, one_row_a_run
from adaptive_lr.errors import InputError
from adaptive_lr.reporting import recorded_prose as prose
from tests.recorded_runs import REQUEST, sweep, sweep_lines, table

DECADES = [10.0**power for power in range(-4, 5)]
VALLEY = [2.0 + abs(power) for power in range(-4, 5)]
"""A loss that rises by 1 a decade on both sides of rate 1."""

SWEEPS = st.lists(
    st.tuples(st.integers(-40, 40), st.floats(0.0, 10.0, allow_subnormal=False)),
    min_size=2,
    max_size=10,
    unique_by=lambda cell: cell[0],
)


def test_decades_to_a_share_of_the_loss_and_of_the_gain() -> None:
    runs = sweep(DECADES, VALLEY, initial=12.0)
    for share in (0.05, 0.1, 0.2):
        of_loss, of_gain = runs.tolerance(share), runs.tolerance(share, lost=True)
        assert of_loss is not None
        assert of_gain is not None
        assert of_loss["decades"] == pytest.approx(2.0 * share * 2.0)  # 2 is the loss, 1 a decade
        assert of_gain["decades"] == pytest.approx(2.0 * share * 10.0)  # 12 - 2 is the gain
        assert of_gain["below"] == pytest.approx(of_gain["above"]) == pytest.approx(10.0 * share)
        assert not of_gain["cut_below"]
        assert not of_gain["cut_above"]


def test_decades_count_from_the_optimum_where_it_is_known() -> None:
    width = sweep(DECADES, VALLEY, optimum=1.0).tolerance(0.2)
    assert width is not None
    assert width["decades"] == pytest.approx(0.4)  # the excess is 1


def test_no_gain_without_the_loss_before_training() -> None:
    assert sweep(DECADES, VALLEY).tolerance(0.1, lost=True) is None
    assert sweep([1.0, 10.0], [3.0, 3.0], initial=3.0).tolerance(0.1, lost=True) is None


def test_window_that_ends_first_is_said_on_its_side() -> None:
    width = sweep([0.1, 1.0, 10.0, 100.0], [2.05, 2.0, 2.1, 4.0]).tolerance(0.1)
    assert width is not None
    assert (width["cut_below"], width["cut_above"]) == (True, False)
    row = {"tolerance": {"loss 0.1": width}}
    assert prose.tolerance(row, "loss 0.1") == f"≥{width['decades']:.2f}"
    assert prose.sides(row, "loss 0.1").startswith("≥1.00\u00a0↓ 1.0")


@given(cells=SWEEPS, scale=st.floats(0.01, 100.0), shift=st.floats(-50.0, 50.0))
def test_lost_share_does_not_depend_on_zero_and_unit_of_the_loss(
    cells: list[tuple[int, float]], scale: float, shift: float
) -> None:
    rates, losses = [10 ** (power / 10) for power, _ in sorted(cells)], [round(loss, 3) for _, loss in sorted(cells)]
    mine = sweep(rates, losses, initial=11.0).tolerance(0.107, lost=True)
    theirs = sweep(rates, [scale * loss + shift for loss in losses], initial=11.0 * scale + shift).tolerance(
        0.107, lost=True
    )
    assert mine is not None
    assert theirs is not None
    assert mine["decades"] == pytest.approx(theirs["decades"], abs=1e-6)


@pytest.mark.parametrize(("ratio", "near"), [(2.0, False), (10.0, False), (99.0, False), (101.0, True), (1e4, True)])
def test_nearness_to_an_end_is_judged_for_each_ratio(ratio: float, near: bool) -> None:
    runs = sweep([0.1, 1.0, 10.0, 100.0, 1000.0], [3.0, 1.0, 1.5, 2.0, 3.0])  # a decade from the lower end
    assert runs.near_boundary(ratio) is near
    assert not runs.at_boundary
    assert sweep([1.0, 10.0, 100.0], [1.0, 2.0, 3.0]).near_boundary(1.1)


@given(cells=SWEEPS, ratio=st.floats(1.1, 1e3))
def test_weights_of_an_interpolated_grid_make_up_its_mean(cells: list[tuple[int, float]], ratio: float) -> None:
    rates, losses = [10 ** (power / 10) for power, _ in sorted(cells)], [loss for _, loss in sorted(cells)]
    runs = sweep(rates, losses)
    weights = runs.interpolated_weights(ratio)
    mean, _ = runs.interpolated(ratio)
    if math.isfinite(mean):
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ np.array(losses) == pytest.approx(mean, abs=1e-6)


def test_interval_of_a_cost_is_students_over_paired_seeds(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    means = {"a": [3.0, 1.0, 1.4, 2.0, 4.0], "b": [3.5, 1.6, 1.2, 1.9, 3.0]}
    rates = [0.01, 0.1, 1.0, 10.0, 100.0]
    draws = {label: np.array(levels) + 0.05 * generator.standard_normal((5, 5)) for label, levels in means.items()}
    losses = {
        label: {rate: seeds[:, index].tolist() for index, rate in enumerate(rates)} for label, seeds in draws.items()
    }
    study = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST, ratios=(10.0,))
    weights = sweep(rates, draws["b"].mean(0).tolist()).interpolated_weights(10.0)
    values = draws["b"] @ weights - draws["a"][:, 1]
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values))
    cell = study["common"]["groups"]["b"]["resolution"]["10"]
    assert cell["cost_mean_interpolated"] == pytest.approx(values.mean(), abs=1e-4)
    assert cell["half"]["cost_mean_interpolated"] == pytest.approx((high - low) / 2.0)
    assert prose.answer(study)[-1] == "± is half a 95 % interval: Student's t over 5 seeds, which all rates have."


def test_interval_of_a_misspecified_rate_is_of_the_difference(tmp_path: Path) -> None:
    losses = {"a": {0.1: [2.0, 2.2, 2.1], 1.0: [1.0, 1.1, 1.2], 2.0: [1.5, 1.4, 1.9]}}
    row = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)["groups"]["a"]
    values = np.array(losses["a"][2.0]) - np.array(losses["a"][1.0])
    low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert row["misspecification"]["2"]["half"] == pytest.approx((high - low) / 2.0)


MEANS = Request(rate="lr", loss="loss", by=("g",), deviation="std", repeats=3)


def test_interval_of_recorded_deviations_is_welchs(tmp_path: Path) -> None:
    lines = ["g,lr,loss,std", "a,0.1,2.0,0.3", "a,1,1.0,0.1", "a,10,3.0,0.2"]
    row = summarise(table(tmp_path, *lines), MEANS)["groups"]["a"]
    test = scipy.stats.ttest_ind_from_stats(2.0, 0.3, 3, 1.0, 0.1, 3, equal_var=False)
    error = math.sqrt((0.3**2 + 0.1**2) / 3.0)
    freedom = error**4 / ((0.3**2 / 3.0) ** 2 / 2.0 + (0.1**2 / 3.0) ** 2 / 2.0)
    half = row["misspecification"]["0.1"]["half"]
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, freedom) * error)
    assert test.pvalue == pytest.approx(2.0 * scipy.stats.t.sf(1.0 / error, freedom))
    assert row["counts"] == [3, 3, 3]


def test_welchs_interval_covers_where_bad_rates_are_noisier() -> None:
    """Ten times the spread at the bad rate: the pooled deviation of the good ones covers in a fifth of the cases."""
    generator = np.random.default_rng(0)
    truth, spread = np.array([1.0, 1.2, 3.0]), np.array([0.05, 0.05, 0.5])
    covered = {"own": 0, "pooled": 0}
    trials = 600
    for _ in range(trials):
        draws = truth + spread * generator.standard_normal((3, 3))
        means, variances = draws.mean(0), draws.var(0, ddof=1) / 3.0
        noise = Noise.pooled([[draws[:, index] for index in range(3)]])
        runs = sweep([1.0, 10.0, 100.0], means.tolist(), counts=np.full(3, 3), noise=noise, variances=variances)
        best = runs.best
        for name, kind in (("own", runs), ("pooled", replace(runs, variances=None))):
            interval = kind.sensitivity()
            assert interval["low"] is not None
            assert interval["high"] is not None
            covered[name] += interval["low"] <= truth.mean() - truth[best] <= interval["high"]
    assert 0.93 <= covered["own"] / trials <= 0.99
    assert covered["pooled"] / trials < 0.6


def test_deviation_goes_with_the_step_of_the_loss(tmp_path: Path) -> None:
    runs = table(tmp_path, "id,step,lr,loss,std", "a,1,0.1,3,0.3", "a,2,0.1,1,0.1", "a,3,0.1,2,0.2", "b,1,0.2,,")
    last, notes = one_row_a_run(runs, rate="lr", loss="loss", steps=Steps(run="id", step="step"), beside=("std",))
    assert list(last.column("std")) == ["0.2", ""]
    assert not any("std" in note for note in notes)
    least, _ = one_row_a_run(
        runs, rate="lr", loss="loss", steps=Steps(run="id", step="step", reduce="min"), beside=("std",)
    )
    assert list(least.column("std")) == ["0.1", ""]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"repeats": 1}, "--deviation, .* and --repeats, .* go together"),
        ({"deviation": None}, "--deviation, .* and --repeats, .* go together"),
        ({"seed": "seed"}, "such rows have no --seed"),
        ({"deviation": "loss"}, "'loss' is both --loss and --deviation"),
    ],
)
def test_deviations_that_cannot_be_meant_are_one_clear_line(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    runs = table(tmp_path, "g,lr,loss,std,seed", "a,0.1,2.0,0.3,0", "a,1,1.0,0.1,1")
    with pytest.raises(InputError, match=message):
        summarise(runs, replace(MEANS, **changed))  # type: ignore[arg-type]


def test_deviation_below_zero_is_named(tmp_path: Path) -> None:
    runs = table(tmp_path, "g,lr,loss,std", "a,0.1,2.0,0.3", "a,1,1.0,-0.1")
    with pytest.raises(InputError, match=r"line 3: std is -0\.1, a standard deviation is not below 0"):
        summarise(runs, MEANS)


def test_groups_are_told_apart_by_their_own_deviations(tmp_path: Path) -> None:
    """The good rates of b are noisy: pooled with them, a and c could not be told apart."""
    lines = ["g,lr,loss,std"]
    for group, level, spread in (("a", 1.0, 0.01), ("b", 1.2, 0.8), ("c", 1.1, 0.01)):
        lines += [f"{group},0.1,{level},{spread}", f"{group},1,{level + 1.0},{spread}"]
    lowest = summarise(table(tmp_path, *lines), MEANS)["lowest"]
    assert lowest["label"] == "a"
    assert lowest["tied"] == ["b"]
    assert lowest["known"]
