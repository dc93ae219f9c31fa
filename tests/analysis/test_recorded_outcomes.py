import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis.direction import doubt
from adaptive_lr.analysis.recorded import Request, select
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.errors import InputError
from adaptive_lr.reporting.recorded_prose import answer
from tests.recorded_runs import REQUEST, sweep, sweep_lines, table

ERRORS = {
    "a": {0.1: [0.4, 0.5, 0.45], 0.2: [0.1, 0.12, 0.11], 0.4: [0.2, 0.3, 0.25], 0.8: [0.9, math.nan, 0.8]},
    "b": {0.1: [0.5, 0.6, 0.55], 0.2: [0.3, 0.31, 0.32], 0.4: [0.25, 0.2, 0.35]},
}
LEVELS = ("best", "curve", "limit", "least", "initial", "optimum")


def mirrored(losses: dict[str, dict[float, list[float]]]) -> dict[str, dict[float, list[float]]]:
    """What is less than 1 in the one is more than -1 in the other."""
    return {name: {rate: [-loss for loss in row] for rate, row in by.items()} for name, by in losses.items()}


def differences(numbers: Any) -> Any:
    """The numbers without levels and without words."""
    if isinstance(numbers, dict):
        return {
            name: differences(value)
            for name, value in numbers.items()
            if name not in (*LEVELS, "notes", "direction", "loss", "doubt")
        }
    return [differences(value) for value in numbers] if isinstance(numbers, list) else numbers


@pytest.mark.parametrize("more", [{}, {"initial": 0.7}, {"optimum": 0.05}, {"initial": 0.7, "optimum": 0.05}])
def test_metric_of_which_more_is_better_is_the_loss_in_a_mirror(tmp_path: Path, more: dict[str, float]) -> None:
    plain = replace(REQUEST, initial=more.get("initial"), optimum=more.get("optimum"))
    loss = summarise(table(tmp_path, *sweep_lines(ERRORS)), plain)
    request = replace(
        plain,
        direction="maximize",
        initial=None if plain.initial is None else -plain.initial,
        optimum=None if plain.optimum is None else -plain.optimum,
    )
    metric = summarise(table(tmp_path, *sweep_lines(mirrored(ERRORS))), request)
    assert differences(metric) == differences(loss)
    for label, row in loss["groups"].items():
        other = metric["groups"][label]
        assert other["best"]["value"] == -row["best"]["value"]
        assert other["best"]["low"] == -row["best"]["high"]
        assert other["basin"]["limit"] == -row["basin"]["limit"]
        assert other["curve"]["mean"] == [None if value is None else -value for value in row["curve"]["mean"]]
    assert metric["lowest"]["label"] == "a"
    assert metric["common"]["least"] == -loss["common"]["least"]


def test_words_of_a_metric_are_the_right_way_up(tmp_path: Path) -> None:
    numbers = summarise(
        table(tmp_path, *sweep_lines(mirrored(ERRORS))), replace(REQUEST, direction="maximize", initial=-0.7)
    )
    first = answer(numbers)[0].replace("\u00a0", " ")
    assert first.startswith("Each at its own best rate, a ends highest (-0.11".replace("-", "−"))
    assert "b ends lowest" in first
    assert any("falls least below its own highest" in sentence for sentence in answer(numbers))
    assert (
        "1 run diverged (no finite value), and 2 runs ended below the value before training, -0.7: counted as that value."
        in numbers["notes"]
    )
    assert numbers["doubt"] is None


@pytest.mark.parametrize(
    "name",
    [
        "val_acc",
        "eval/accuracy",
        "F1",
        "metrics.f1_score",
        "auc",
        "mIoU",
        "IoU",
        "valAccuracy",
        "score",
        "reward",
        "BLEU",
        "r2",
        "mAP",
        "top1",
        "acc@5",
        "test-acc1",
    ],
)
def test_metric_with_a_telling_name_is_doubted_until_somebody_says(name: str) -> None:
    said = doubt(name, None)
    assert said is not None
    assert "--direction maximize" in said
    assert doubt(name, "maximize") is None
    assert doubt(name, "minimize") is None


@pytest.mark.parametrize(
    "name", ["loss", "val_loss", "accuracy_loss", "error", "ppl", "value", "final", "nll_score", "x"]
)
def test_other_names_are_not_doubted(name: str) -> None:
    assert doubt(name, None) is None


def test_doubt_is_the_first_thing_that_is_said(tmp_path: Path) -> None:
    runs = table(tmp_path, "lr,val_acc", "0.1,0.5", "0.2,0.9", "0.4,0.6")
    numbers = summarise(runs, Request(rate="lr", loss="val_acc"))
    assert answer(numbers)[0].startswith("val_acc reads like a metric of which more is better")
    assert answer(summarise(runs, Request(rate="lr", loss="val_acc", direction="maximize")))[0].startswith(
        "All runs: highest value 0.9 at 0.2"
    )


@pytest.mark.parametrize("text", ["", "None", "null", "NA", "n/a"])
def test_blank_loss_is_no_result_and_never_a_divergence(tmp_path: Path, text: str) -> None:
    runs = table(tmp_path, "schedule,lr,seed,loss", "a,0.1,0,2.0", "a,0.2,0,1.0", "a,0.2,1,1.5", f"a,0.2,2,{text}")
    numbers = summarise(runs, REQUEST)
    row = numbers["groups"]["a"]
    assert row["curve"]["mean"] == [2.0, 1.25]
    assert row["counts"] == [1, 2]
    assert row["diverged"] == [0.0, 0.0]
    assert any("No result, since loss is blank: 1 run (line 5); left out." in note for note in numbers["notes"])


def test_blank_loss_is_a_divergence_if_somebody_says_so(tmp_path: Path) -> None:
    runs = table(tmp_path, "schedule,lr,seed,loss", "a,0.1,0,2.0", "a,0.2,0,1.0", "a,0.4,0,")
    row = summarise(runs, replace(REQUEST, diverged=(("loss", ""),)))["groups"]["a"]
    assert row["curve"]["mean"] == [2.0, 1.0, None]
    assert row["diverged"] == [0.0, 0.0, 1.0]


def test_table_without_any_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run has a result"):
        select(table(tmp_path, "lr,loss", "0.1,", "0.2,"), Request(rate="lr", loss="loss"))


STATES = (
    "schedule,lr,State,loss",
    "a,0.1,finished,2.0",
    "a,0.2,finished,1.0",
    "a,0.4,finished,3.0",
    "a,0.2,running,0.1",
    "a,0.2,crashed,0.2",
    "a,0.8,crashed,",
    "a,0.4,crashed,nan",
    "a,0.1,killed,0.3",
)
BY = Request(rate="lr", loss="loss", by=("schedule",))


def test_run_that_is_not_over_or_was_broken_off_is_no_result(tmp_path: Path) -> None:
    numbers = summarise(table(tmp_path, *STATES), BY)
    row = numbers["groups"]["a"]
    assert row["rates"] == [0.1, 0.2, 0.4]
    assert row["counts"] == [1, 1, 2]
    assert row["best"]["value"] == 1.0
    assert row["diverged"] == [0.0, 0.0, 0.5], "a crashed run whose loss is NaN diverged"
    assert "No result, since State is running: 1 run (line 5); left out." in numbers["notes"]
    assert any(
        "State is crashed: 2 runs (line 6, line 7); left out. If they diverged, say --diverged State=crashed." in note
        for note in numbers["notes"]
    )
    assert any("State is killed: 1 run (line 9)" in note for note in numbers["notes"])


def test_declared_state_is_a_divergence(tmp_path: Path) -> None:
    row = summarise(table(tmp_path, *STATES), replace(BY, diverged=(("State", "crashed"),)))["groups"]["a"]
    assert row["rates"] == [0.1, 0.2, 0.4, 0.8]
    assert row["counts"] == [1, 2, 2, 1]
    assert row["diverged"] == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("state", ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")),
        ("trial.state", ("TrialState.COMPLETE", "TrialState.PRUNED", "TrialState.FAIL")),
        ("status", ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")),
        ("Status", ("TERMINATED", "ERROR", "PENDING", "PAUSED")),
        ("run_state", ("COMPLETED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "PREEMPTED")),
    ],
)
def test_states_of_every_tracker(tmp_path: Path, name: str, states: Sequence[str]) -> None:
    done, *others = states
    lines = [f"lr,{name},loss", *(f"{rate},{done},{rate}" for rate in (0.1, 0.2, 0.3))]
    lines += [f"{0.4 + index},{state},0.01" for index, state in enumerate(others)]
    numbers = summarise(table(tmp_path, *lines), Request(rate="lr", loss="loss"))
    assert numbers["groups"]["all runs"]["rates"] == [0.1, 0.2, 0.3]
    assert sum(note.startswith(f"No result, since {name} is") for note in numbers["notes"]) == len(others)


def test_column_of_that_name_with_other_words_is_like_any_other(tmp_path: Path) -> None:
    lines = ("lr,state,loss", "0.1,Ohio,1", "0.1,Utah,2", "0.2,Ohio,1", "0.2,Utah,2")
    with pytest.raises(InputError, match=r"differ in state \(Ohio, Utah"):
        select(table(tmp_path, *lines), Request(rate="lr", loss="loss"))
    assert list(select(table(tmp_path, *lines), Request(rate="lr", loss="loss", by=("state",))).sweeps) == [
        "Ohio",
        "Utah",
    ]


@pytest.mark.parametrize("value", ["nan", "NaN"])
def test_value_that_is_no_number_can_be_asked_for(tmp_path: Path, value: str) -> None:
    runs = table(tmp_path, "lr,wd,loss", "0.1,nan,1", "0.2,nan,2", "0.1,0.1,3", "0.2,0.1,4")
    kept = select(runs, Request(rate="lr", loss="loss", where=(("wd", value),))).sweeps["all runs"]
    assert kept.losses.tolist() == [1.0, 2.0]


def test_declared_value_that_no_run_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run with State=crash; State is one of crashed, finished, killed, running"):
        select(table(tmp_path, *STATES), replace(BY, diverged=(("State", "crash"),)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rates_of_another_precision_are_one_everywhere(tmp_path: Path, dtype: Any) -> None:
    tolerated = dtype is np.float32
    lines = ["schedule,lr,seed,loss"]
    for rate in (0.001, 0.01, 0.1):
        lines += [f"a,{rate!r},0,{rate}", f"b,{float(dtype(rate))!r},0,{2 * rate}"]
    numbers = summarise(table(tmp_path, *lines), REQUEST)
    assert (numbers["common"] is not None) == tolerated
    assert any("No run at" in note for note in numbers["notes"]) != tolerated
    if tolerated:
        assert numbers["common"]["rates"] == [0.001, 0.01, 0.1]
        assert numbers["groups"]["b"]["rates"] == [0.001, 0.01, 0.1]


@pytest.mark.parametrize("text", ["0", "", "None", "nan"])
def test_baseline_without_a_rate_is_left_out_by_a_window(tmp_path: Path, text: str) -> None:
    runs = table(tmp_path, "lr,loss", f"{text},0.01", "0.1,2", "0.2,1", "0.4,3")
    with pytest.raises(InputError, match=r"line 2: lr is .* a learning rate must be above 0 .*--window LOWEST:HIGHEST"):
        select(runs, Request(rate="lr", loss="loss"))
    selection = select(runs, Request(rate="lr", loss="loss", window=(0.1, 0.4)))
    assert selection.sweeps["all runs"].losses.tolist() == [2.0, 1.0, 3.0]
    assert "Outside the window, and left out: 1 run." in selection.notes


@pytest.mark.parametrize(
    "request_",
    [
        Request(rate="lr", loss="lr"),
        Request(rate="lr", loss="loss", by=("lr",)),
        Request(rate="lr", loss="loss", seed="loss"),
        Request(rate="lr", loss="loss", by=("d", "d")),
    ],
)
def test_one_column_in_two_roles_is_refused(tmp_path: Path, request_: Request) -> None:
    with pytest.raises(InputError, match="one column is one thing"):
        select(table(tmp_path, "lr,loss,d", "0.1,1,x", "0.2,2,x"), request_)


def test_interpolated_regret_of_a_line_is_exact() -> None:
    """From 1 to 2 over a decade: a grid of ratio 10 has one rate, anywhere, and loses one half in the mean, 1 at worst."""
    mean, worst = sweep([1e-3, 1e-2], [1.0, 2.0]).interpolated(10.0)
    assert mean == pytest.approx(1.5, abs=1e-12)
    assert worst == pytest.approx(2.0, abs=1e-7)


@pytest.mark.parametrize("ratio", [2.0, 10**0.5, 7.0, 10.0, 50.0])
def test_interpolated_regret_is_the_mean_over_very_many_offsets(ratio: float) -> None:
    generator = np.random.default_rng(3)
    runs = sweep(np.sort(10 ** generator.uniform(-4, 0, 9)).tolist(), generator.uniform(1, 2, 9).tolist())
    offsets = ratio ** ((np.arange(200_000) + 0.5) / 200_000)
    tuned = np.full(len(offsets), np.inf)
    for step in range(int(np.log(runs.rates[-1] / runs.rates[0]) / np.log(ratio)) + 1):
        tuned = np.fmin(tuned, runs.loss_at(runs.rates[0] * offsets * ratio**step))
    mean, worst = runs.interpolated(ratio)
    assert mean == pytest.approx(tuned.mean(), abs=2e-4)
    assert worst == pytest.approx(tuned.max(), abs=2e-4)


def test_thousands_of_groups_are_refused_until_somebody_allows_them(tmp_path: Path) -> None:
    lines = ["g,lr,loss", *(f"g{index},{rate},{index}" for index in range(12) for rate in (0.1, 0.2))]
    request = Request(rate="lr", loss="loss", by=("g",), most_groups=11)
    with pytest.raises(InputError, match=r"g make 12 groups, more than 11; .*--most-groups 12"):
        select(table(tmp_path, *lines), request)
    assert len(select(table(tmp_path, *lines), replace(request, most_groups=12)).sweeps) == 12


@pytest.mark.parametrize("shift", [0, 10])
def test_groups_are_paired_over_seeds_of_the_same_names_only(tmp_path: Path, shift: int) -> None:
    """Both groups move with the seed, by far more than they differ: paired they are told apart, with other seeds not."""
    lines = ["schedule,lr,seed,loss"]
    for schedule, better, first in (("a", 0.0, 0), ("b", 0.01, shift)):
        for seed in range(4):
            lines += [
                f"{schedule},{rate},{first + seed},{1 + better + 0.3 * seed + (rate - 0.2) ** 2 + 1e-4 * better * seed}"
                for rate in (0.1, 0.2, 0.4)
            ]
    lowest = summarise(table(tmp_path, *lines), REQUEST)["lowest"]
    assert lowest["tied"] == ([] if shift == 0 else ["b"])
