import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from adaptive_lr.analysis.recorded import Request, select
from adaptive_lr.analysis.recorded_noise import Noise
from adaptive_lr.analysis.recorded_summary import best_group, summarise
from adaptive_lr.analysis.recorded_sweep import RecordedSweep
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.simulated import Basin, World
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.errors import InputError
from tests.recorded_runs import COINCIDENTAL, CURVES, REQUEST, sweep, sweep_lines, table

PRINTED: dict[str, tuple[list[float | None], float, float]] = {
    "constant": ([3.1299, 3.1102, 3.1407, 3.1927, 3.2421], 3.1102, 0.0529),
    "cosine to 0": ([3.1344, 2.9830, 2.9627, 2.9543, 2.9693], 2.9543, 0.0465),
    "cosine to 10%": ([3.1250, 2.9903, 2.9819, 2.9911, None], 2.9819, 0.0401),
    "linear": ([3.1347, 2.9812, 2.9605, 2.9535, 2.9654], 2.9535, 0.0456),
    "wsd 0.1 linear": ([3.0659, 2.9849, 2.9825, 2.9954, 3.0176], 2.9825, 0.0267),
    "wsd 0.2 linear": ([3.0645, 2.9721, 2.9668, 2.9733, 2.9941], 2.9668, 0.0273),
    "wsd 0.2 sqrt": ([3.0667, 2.9687, 2.9607, 2.9636, 2.9819], 2.9607, 0.0277),
    "wsd 0.4 linear": ([3.0729, 2.9659, 2.9548, 2.9579, 2.9743], 2.9548, 0.0304),
    "wsd 0.6 linear": ([3.0879, 2.9670, 2.9529, 2.9513, 2.9668], 2.9513, 0.0339),
    "wsd 0.8 linear": ([3.1087, 2.9743, 2.9550, 2.9523, 2.9656], 2.9523, 0.0389),
    "wsd 0.9 linear": ([3.1218, 2.9771, 2.9580, 2.9532, 2.9644], 2.9532, 0.0417),
}
"""By hand from the recorded runs: the mean loss at 1e-4, 5e-4, 1e-3, 2e-3 and 3e-3, the best, and the mean excess over it."""


def recorded_request(window: tuple[float, float] | None = (1e-4, 3e-3)) -> Request:
    where = (("dataset", "slimpajama"), ("parameters", "123587328"), ("total_steps", "50000"))
    return Request(
        rate="peak_lr",
        loss="final_val_loss",
        by=("label",),
        seed="seed",
        where=where,
        ignore=COINCIDENTAL,
        window=window,
    )


def recorded_table() -> Any:
    if not CURVES.is_file():
        pytest.skip(f"the recorded runs are not part of the repository, and {CURVES} is absent")
    return read_table(CURVES)


def test_language_models_are_those_of_the_printed_table() -> None:
    groups = summarise(recorded_table(), recorded_request())["groups"]
    assert set(groups) == set(PRINTED)
    for label, (losses, best, excess) in PRINTED.items():
        row = groups[label]
        found = dict(zip(row["rates"], row["curve"]["mean"], strict=True))
        assert [found.get(rate) for rate in (1e-4, 5e-4, 1e-3, 2e-3, 3e-3)] == [
            one if one is None else pytest.approx(one, abs=1e-4, rel=0) for one in losses
        ]
        assert row["best"]["value"] == pytest.approx(best, abs=1e-4, rel=0)
        assert row["sensitivity"]["value"] == pytest.approx(excess, abs=1e-4, rel=0)


def test_language_model_that_went_wrong_stays_visible() -> None:
    row = summarise(recorded_table(), recorded_request(None))["groups"]["cosine to 0"]
    assert row["rates"][-1] == 5e-3
    assert row["curve"]["mean"][-1] == pytest.approx(7.5850, abs=1e-4, rel=0)


def test_language_models_are_not_mixed_in_silence() -> None:
    with pytest.raises(
        InputError, match=r"cooldown_shape \(linear, sqrt in «cosine to 0»\); last_logged_lr_ratio .*--ignore"
    ):
        select(recorded_table(), replace(recorded_request(), ignore=()))
    with pytest.raises(InputError, match="differ in dataset"):
        select(recorded_table(), replace(recorded_request(), where=()))


@pytest.mark.parametrize("ratio", [10 ** (1 / 3), 10**0.5, 10.0])
def test_regular_grid_gives_the_same_regret_as_an_experiment(ratio: float) -> None:
    rates = 1e-3 * 10 ** (np.arange(19) / 6)
    losses = np.random.default_rng(0).uniform(1.0, 2.0, 19)
    theirs = Sweep(
        rates=rates,
        selection=losses[None],
        report=losses[None],
        optimum=None,
        initial=9.0,
        per_decade=6,
        diverged=np.zeros(19),
    )
    found = sweep(rates.tolist(), losses.tolist()).resolution(ratio)
    assert found is not None
    assert found["grids"] == len(theirs.tuned(ratio))
    assert found["regret_mean"]["value"] == pytest.approx((theirs.coarse(ratio) - theirs.fine()).mean())
    assert found["regret_worst"]["value"] == pytest.approx((theirs.tuned(ratio) - theirs.fine()).max())


def test_grids_on_irregular_rates() -> None:
    one = sweep([1e-4, 5e-4, 1e-3, 2e-3, 3e-3], [5.0, 3.0, 2.0, 1.0, 4.0])
    assert [grid.tolist() for grid in one.subgrids(10.0)] == [[0, 2], [1], [0, 3], [0, 4]]
    assert [grid.tolist() for grid in one.subgrids(2.0)] == [[0, 1, 2, 3], [0, 1, 2, 4]]
    found = one.resolution(10.0)
    assert found is not None
    assert found["regret_mean"]["value"] == pytest.approx(np.mean([2.0, 3.0, 1.0, 4.0]) - 1.0)
    assert found["regret_worst"]["value"] == pytest.approx(3.0)


@pytest.mark.parametrize("ratio", [1.4, 31.0])
def test_grid_that_the_rates_do_not_hold_has_no_regret(ratio: float) -> None:
    assert sweep([1e-4, 5e-4, 1e-3, 2e-3, 3e-3], [5.0, 3.0, 2.0, 1.0, 4.0]).resolution(ratio) is None


def test_interpolated_grid_is_what_a_line_says() -> None:
    """|log10 rate| on both sides of the best: a grid of ratio 10 is off by a quarter of a decade in the mean, half at worst."""
    one = sweep([0.01, 0.1, 1.0, 10.0, 100.0], [2.0, 1.0, 0.0, 1.0, 2.0])
    mean, worst = one.interpolated(10.0)
    assert mean == pytest.approx(0.25, abs=0.01)
    assert worst == pytest.approx(0.5, abs=0.01)
    assert one.loss_at(np.array([10**0.25, 1e-3])) == pytest.approx([0.25, np.nan], nan_ok=True)


def test_misspecification_is_marked_where_it_is_interpolated() -> None:
    found = sweep([0.1, 1.0, 2.0, 100.0], [3.0, 1.0, 1.5, 4.0]).misspecification()
    assert found["2"] == {"difference": pytest.approx(0.5), "half": None, "ratio": None, "interpolated": False}
    assert found["10"] is not None
    assert found["10"]["interpolated"]
    assert found["0.01"] is None


def test_sensitivity_by_rate_and_by_logarithm() -> None:
    one = sweep([1.0, 10.0, 100.0, 101.0], [2.0, 1.0, 3.0, 3.0])
    assert one.sensitivity()["value"] == pytest.approx((1 + 0 + 2 + 2) / 4)
    assert one.sensitivity_log()["value"] == pytest.approx((0.5 + 1.0 + 0.01) / 2.0, abs=0.01)


def test_basin_and_slope_of_a_known_optimum() -> None:
    rates = [10**place for place in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    one = sweep(rates, [1.0 + 9.0, 1.0 + 3.0, 1.0 + 1.0, 1.0 + 10**0.5, 1.0 + 10.0], optimum=1.0)
    assert one.slope() == pytest.approx(0.5)
    basin = one.basin(0.01)
    assert basin["limit"] == pytest.approx(3.0)
    assert not basin["cut_below"]
    assert not basin["cut_above"]
    assert replace(one, optimum=None).slope() is None
    flat = sweep([1.0, 10.0], [1.0, 1.001]).basin(0.01)
    assert flat["cut_below"]
    assert flat["cut_above"]
    assert flat["decades"] == pytest.approx(1.0)


def test_interval_over_paired_seeds_is_students() -> None:
    paired = np.array([[2.0, 1.0, 3.0], [2.2, 1.4, 3.1], [1.9, 0.7, 3.4]])
    found = sweep([1.0, 2.0, 4.0], paired.mean(0).tolist(), paired=paired).sensitivity()
    values = paired.mean(1) - paired[:, 1]
    low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert found == {
        "value": pytest.approx(values.mean()),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }


def test_interval_from_pooled_noise_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    truth, covered, trials = np.array([2.0, 1.0, 1.5, 3.0]), 0, 400
    for _ in range(trials):
        cells = [mean + 0.1 * generator.standard_normal(2) for mean in truth]
        one = sweep(
            [1.0, 2.0, 4.0, 8.0],
            [cell.mean() for cell in cells],
            counts=np.full(4, 2),
            noise=Noise.pooled([cells]),
        )
        found = one.sensitivity()
        assert found["low"] is not None
        assert found["high"] is not None
        covered += found["low"] <= truth.mean() - 1.0 <= found["high"]
    assert abs(covered / trials - 0.95) < 0.03


def test_one_run_a_rate_has_no_interval(tmp_path: Path) -> None:
    found = summarise(table(tmp_path, *sweep_lines({"cosine": {0.1: [2.0], 0.2: [1.0], 0.4: [3.0]}})), REQUEST)
    assert found["groups"]["cosine"]["best"] == {"value": 1.0, "low": None, "high": None}
    assert any("nothing is known of the noise" in note for note in found["notes"])
    assert found["noise"] is None


def test_seeds_are_averaged_and_paired(tmp_path: Path) -> None:
    losses = {"cosine": {0.1: [2.0, 2.2, 2.4], 0.2: [1.0, 1.1, 1.5], 0.4: [3.0, 3.1, 3.2]}}
    row = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)["groups"]["cosine"]
    assert row["paired_seeds"] == 3
    assert row["best"]["value"] == pytest.approx(1.2)
    assert row["best"]["low"] < 1.2 < row["best"]["high"]


def test_missing_seed_gives_pooled_intervals(tmp_path: Path) -> None:
    losses = {"cosine": {0.1: [2.0, 2.2], 0.2: [1.0, 1.1, 1.5], 0.4: [3.0]}}
    found = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)
    assert found["groups"]["cosine"]["paired_seeds"] is None
    assert found["noise"]["freedom"] == 3
    assert found["groups"]["cosine"]["counts"] == [2, 3, 1]


def test_forgotten_seed_is_asked_for(tmp_path: Path) -> None:
    losses = {"cosine": {0.1: [2.0, 2.2], 0.2: [1.0, 1.1]}}
    with pytest.raises(InputError, match="if seed is the seed, say --seed seed"):
        select(table(tmp_path, *sweep_lines(losses)), replace(REQUEST, seed=None))


def test_interval_at_good_rates_survives_a_divergence_elsewhere(tmp_path: Path) -> None:
    losses = {"cosine": {0.1: [2.0, 2.2, 2.1], 0.2: [1.0, 1.1, 1.2], 0.4: [5.0, 1e30, math.nan]}}
    row = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)["groups"]["cosine"]
    half = scipy.stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert row["best"] == {
        "value": pytest.approx(1.1),
        "low": pytest.approx(1.1 - half),
        "high": pytest.approx(1.1 + half),
    }


def test_noise_is_not_taken_from_bad_rates(tmp_path: Path) -> None:
    losses = {"cosine": {0.1: [2.0], 0.2: [1.0, 1.1], 0.4: [5.0, 4e9], 0.8: [1e12, 1e13]}}
    found = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)
    assert found["noise"] == {"deviation": pytest.approx(0.1 / math.sqrt(2)), "freedom": 1}
    assert any("differ much more than those at good ones" in note for note in found["notes"])
    assert any("3 runs ended with more than 1000 times the median loss" in note for note in found["notes"])


def test_same_seed_twice_is_said(tmp_path: Path) -> None:
    lines = ["schedule,lr,seed,loss", "a,0.1,0,2.0", "a,0.1,0,2.1", "a,0.2,0,1.0"]
    notes = summarise(table(tmp_path, *lines), REQUEST)["notes"]
    assert any("share their seed" in note for note in notes)


@pytest.mark.parametrize("text", ["nan", "inf", "NaN", "-inf", "+Infinity", "1e400"])
def test_divergence_without_an_initial_loss_makes_a_rate_useless(tmp_path: Path, text: str) -> None:
    lines = ["schedule,lr,seed,loss", "a,0.1,0,2.0", "a,0.2,0,1.0", f"a,0.4,0,{text}"]
    found = summarise(table(tmp_path, *lines), REQUEST)
    row = found["groups"]["a"]
    assert row["curve"]["mean"] == [2.0, 1.0, None]
    assert row["diverged"] == [0.0, 0.0, 1.0]
    assert row["sensitivity"]["value"] is None
    assert row["resolution"]["2"]["regret_mean"]["value"] == 0.0
    assert any("1 run diverged (no finite loss): their rates count as useless" in note for note in found["notes"])
    json.dumps(found, allow_nan=False)


def test_divergence_counts_as_untrained_where_the_initial_loss_is_known(tmp_path: Path) -> None:
    lines = ["schedule,lr,seed,loss", "a,0.1,0,2.0", "a,0.2,0,1.0", "a,0.4,0,nan", "a,0.8,0,77"]
    found = summarise(table(tmp_path, *lines), replace(REQUEST, initial=3.0))
    assert found["groups"]["a"]["curve"]["mean"] == [2.0, 1.0, 3.0, 3.0]
    assert found["groups"]["a"]["diverged"] == [0.0, 0.0, 1.0, 1.0]
    assert found["groups"]["a"]["sensitivity"]["value"] == pytest.approx(5 / 4)
    assert any(
        "1 run diverged" in note and "1 run ended above the loss before training, 3" in note for note in found["notes"]
    )


def test_everything_diverged_is_said(tmp_path: Path) -> None:
    lines = ["schedule,lr,seed,loss", "a,0.1,0,nan", "a,0.2,0,nan", "b,0.1,0,1", "b,0.2,0,2"]
    found = summarise(table(tmp_path, *lines), REQUEST)
    assert list(found["groups"]) == ["b"]
    assert "«a» diverged at every rate and is left out." in found["notes"]
    with pytest.raises(InputError, match="every group diverged"):
        summarise(table(tmp_path, *lines[:3]), REQUEST)


def test_columns_that_vary_are_refused_or_said(tmp_path: Path) -> None:
    lines = [
        "name,schedule,lr,min_lr,steps,width,seed,loss",
        "r1,a,0.1,0.01,100,8,0,2.0",
        "r2,a,0.2,0.02,200,8,0,1.0",
        "r3,a,0.2,0.02,100,8,1,1.1",
        "r4,b,0.1,0.01,100,16,0,2.5",
        "r5,b,0.2,0.02,100,16,0,1.5",
    ]
    runs = table(tmp_path, *lines)
    with pytest.raises(
        InputError, match=r"differ in steps \(100, 200 in «a»\).*--where steps=100.*--by steps.*--ignore steps"
    ):
        select(runs, REQUEST)
    notes = select(runs, replace(REQUEST, where=(("steps", "100.0"),))).notes
    assert "Not looked at, since every run has its own value: name." in notes
    assert "Moves with lr, and cannot be told apart from it: min_lr." in notes
    assert "Differs between groups too, so that it may be what makes their difference: width." in notes
    notes = select(runs, replace(REQUEST, ignore=("steps",))).notes
    assert "Varies inside groups and was declared not to matter: steps." in notes
    notes = select(runs, replace(REQUEST, by=("schedule", "steps"))).notes
    assert any("«schedule=a, steps=200» has one learning rate only (0.2)" in note for note in notes)


def test_several_columns_make_a_label(tmp_path: Path) -> None:
    lines = ["schedule,steps,lr,loss", *(f"a,{steps},{rate},{rate}" for steps in (1, 2) for rate in (0.1, 0.2))]
    request = Request(rate="lr", loss="loss", by=("schedule", "steps"))
    assert list(select(table(tmp_path, *lines), request).sweeps) == ["schedule=a, steps=1", "schedule=a, steps=2"]


def test_groups_are_compared_on_the_rates_in_common(tmp_path: Path) -> None:
    losses = {
        "a": {0.1: [3.0], 0.2: [2.0], 0.4: [1.0], 0.8: [5.0]},
        "b": {0.1: [2.0], 0.2: [1.5], 0.4: [2.5]},
    }
    found = summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)
    common = found["common"]
    assert common["rates"] == [0.1, 0.2, 0.4]
    assert common["groups"]["a"]["at_boundary"]
    assert not found["groups"]["a"]["at_boundary"]
    assert common["least"] == 1.0
    assert common["groups"]["b"]["resolution"]["2"]["cost_mean"] == pytest.approx(0.5)
    assert "No run at 0.8 in «b»." in found["notes"]
    assert any("best rates differ between groups, from 0.2 to 0.4" in note for note in found["notes"])


def test_nothing_in_common_is_not_compared(tmp_path: Path) -> None:
    losses = {"a": {0.1: [3.0], 0.2: [2.0]}, "b": {0.3: [2.0], 0.6: [1.5]}}
    assert summarise(table(tmp_path, *sweep_lines(losses)), REQUEST)["common"] is None


def test_edge_is_said(tmp_path: Path) -> None:
    found = summarise(table(tmp_path, *sweep_lines({"a": {0.1: [3.0], 0.2: [2.0]}})), REQUEST)
    assert found["groups"]["a"]["at_boundary"]
    assert any("at the edge of the recorded ones in «a»" in note for note in found["notes"])


def test_window_leaves_runs_out_and_says_so(tmp_path: Path) -> None:
    runs = table(tmp_path, *sweep_lines({"a": {0.1: [3.0], 0.2: [2.0], 0.4: [9.0]}}))
    found = summarise(runs, replace(REQUEST, window=(0.1, 0.2)))
    assert found["groups"]["a"]["rates"] == [0.1, 0.2]
    assert "Outside the window, and left out: 1 run." in found["notes"]
    with pytest.raises(InputError, match="no run has lr between 5 and 6"):
        summarise(runs, replace(REQUEST, window=(5.0, 6.0)))


@pytest.mark.parametrize(
    ("lines", "request_", "message"),
    [
        (["lr,loss", "0.1,1", "0.1,2"], Request(rate="lr", loss="loss"), r"one learning rate only \(lr = 0.1\)"),
        (["lr,loss", "0.1,1", "-0.2,2"], Request(rate="lr", loss="loss"), "line 3: lr is '-0.2', a learning rate must be above 0"),
        (["lr,loss", "0.1,1", ",2"], Request(rate="lr", loss="loss"), "line 3: lr is '', a learning rate must be above 0"),
        (["lr,loss", "0.1,1", "0.2,low"], Request(rate="lr", loss="loss"), "line 3: loss is 'low', not a number"),
        (["lr,loss", "0.1,1", "0.2,2"], Request(rate="lr", loss="los"), "no column 'los'; did you mean 'loss'"),
        (["peak_lr,loss", "0.1,1", "0.2,2"], Request(rate="lr", loss="loss"), "no column 'lr'; did you mean 'peak_lr'"),
        (["lr,loss", "0.1,1", "0.2,2"], Request(rate="lr", loss="zzzzzz"), "no column 'zzzzzz'; it has lr, loss"),
        (
            ["lr,loss,d", "0.1,1,x", "0.2,2,y"],
            Request(rate="lr", loss="loss", where=(("d", "z"),)),
            "no run with d=z; d is one of x, y",
        ),
        (
            ["lr,loss,d", "0.1,1,x", "0.2,2,y"],
            Request(rate="lr", loss="loss", by=("d",)),
            "no group has two learning rates; group by fewer columns than d",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(tmp_path: Path, lines: list[str], request_: Request, message: str) -> None:
    with pytest.raises(InputError, match=message):
        summarise(table(tmp_path, *lines), request_)


@pytest.mark.parametrize(("seeds", "paired"), [(3, True), (6, True), (3, False)])
def test_identical_groups_are_seldom_told_apart(seeds: int, paired: bool) -> None:
    world, source, repeats = World(optimum_known=False, per_decade=2), np.random.default_rng(seeds), 500
    wrong = 0
    for _ in range(repeats):
        losses = world.losses([Basin()] * 3, seeds, source)
        noise = Noise.pooled([[np.sort(column) for column in group.T] for group in losses])
        sweeps = {
            f"{index}": RecordedSweep(
                rates=world.rates,
                losses=group.mean(0),
                counts=np.full(len(world.rates), seeds),
                diverged=np.zeros(len(world.rates)),
                paired=group if paired else None,
                noise=noise,
                seeds=tuple(map(str, range(seeds))),
            )
            for index, group in enumerate(losses)
        }
        lowest = best_group(sweeps)
        assert (lowest["pairs"], lowest["known"]) == (3, True)
        wrong += len(lowest["tied"]) < 2
    assert wrong / repeats <= 0.05 + 3.7 * (0.05 * 0.95 / repeats) ** 0.5
