"""Columns that vary inside a group, in tables like those that people export."""

from pathlib import Path

import numpy as np
import pytest

from adaptive_lr.analysis.recorded import Request, select
from adaptive_lr.analysis.tables import Table
from adaptive_lr.errors import InputError
from tests.recorded_runs import table

RATES = (0.00013, 0.00041, 0.0011, 0.0027, 0.0093, 0.031, 0.077)
PLAIN = Request(rate="lr", loss="loss")
OPTUNA = Request(rate="params_lr", loss="value")


def columns(folder: Path, **columns: object) -> Table:
    """One run a rate, with the given columns beside rate and loss."""
    values = {
        name: list(given) if isinstance(given, list | tuple) else [given] * len(RATES)
        for name, given in columns.items()
    }
    lines = [",".join(values), *(",".join(str(cell) for cell in row) for row in zip(*values.values(), strict=True))]
    return table(folder, *lines)


LOSSES = [5.0, 3.0, 2.0, 1.0, 1.5, 2.5, 9.0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("optimizer", ["adam", "sgd", "adam", "adam", "sgd", "adam", "sgd"]),
        ("batch_size", [32, 64, 32, 32, 64, 128, 32]),
        ("batch_size", [32, 32, 32, 64, 64, 64, 64]),
        ("layers", [1, 2, 3, 1, 2, 3, 4]),
        ("weight_decay", [0.013, 0.4, 0.002, 0.0071, 0.05, 0.3, 0.0004]),
        ("dropout", [0.1, 0.2, "", 0.1, 0.2, 0.3, 0.1]),
        ("aux_loss_weight", [0.13, 0.4, 0.02, 0.71, 0.5, 0.3, 0.04]),
        ("amp", ["True", "False", "True", "True", "False", "False", "True"]),
        ("top_k", [13, 40, 2, 71, 50, 3, 4]),
        ("negative_slope", [0.013, 0.4, 0.002, 0.0071, 0.05, 0.3, 0.0004]),
    ],
)
def test_setting_of_a_random_search_is_asked_about(tmp_path: Path, name: str, values: list[object]) -> None:
    runs = columns(tmp_path, lr=RATES, loss=LOSSES, **{name: values})
    with pytest.raises(InputError, match=f"runs of one group differ in {name} "):
        select(runs, PLAIN)
    assert select(runs, Request(rate="lr", loss="loss", ignore=(name,))).notes[0].endswith(f"not to matter: {name}.")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("min_lr", [f"{rate / 10:.4g}" for rate in RATES]),
        ("warmup_steps", [round(1e-1 / rate) * 10 for rate in RATES]),
        ("log_lr", [float(np.log10(rate)) for rate in RATES]),
    ],
)
def test_what_the_rate_determines_moves_with_it(tmp_path: Path, name: str, values: list[object]) -> None:
    notes = select(columns(tmp_path, lr=RATES, loss=LOSSES, **{name: values}), PLAIN).notes
    assert f"Moves with lr, and cannot be told apart from it: {name}." in notes


def test_few_runs_do_not_make_a_rising_column_the_rates_own(tmp_path: Path) -> None:
    lines = ("lr,width,min_lr,loss", "0.1,8,0.01,1", "0.2,9,0.02,2", "0.4,16,0.04,3")
    with pytest.raises(InputError, match="differ in width"):
        select(table(tmp_path, *lines), PLAIN)
    lines = ("lr,min_lr,loss", "0.1,0.01,1", "0.2,0.02,2", "0.4,0.04,3")
    assert "Moves with lr, and cannot be told apart from it: min_lr." in select(table(tmp_path, *lines), PLAIN).notes


def test_rates_with_several_runs_that_agree_determine_a_column(tmp_path: Path) -> None:
    lines = ["lr,seed,batch,loss"]
    lines += [f"{rate},{seed},{batch},1" for rate, batch in ((0.1, 32), (0.2, 64), (0.4, 32)) for seed in (0, 1)]
    request = Request(rate="lr", loss="loss", seed="seed")
    assert "Moves with lr, and cannot be told apart from it: batch." in select(table(tmp_path, *lines), request).notes
    with pytest.raises(InputError, match="differ in batch"):
        select(table(tmp_path, *lines[:-1]), request)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("val_acc", [0.91, 0.93, 0.93, 0.95, 0.94, 0.91, 0.4]),
        ("last.train_score", [1.1, 1.2, 1.2, 1.3, 1.4, 1.5, 1.6]),
        ("runtime_seconds", [31, 32, 31, 35, 36, 30, 33]),
        ("summary.grad", [0.1, 0.2, 0.2, 0.4, 0.3, 0.6, 0.7]),
        ("Created", ["2024-01-01T10:00", "2024-01-01T10:00", *(f"2024-01-0{day}T11:00" for day in range(2, 7))]),
    ],
)
def test_measured_column_with_ties_needs_no_word(tmp_path: Path, name: str, values: list[object]) -> None:
    notes = select(columns(tmp_path, lr=RATES, loss=LOSSES, **{name: values}), PLAIN).notes
    assert f"Not looked at, since it reads like something measured: {name}." in notes


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("name", [f"run-{index}" for index in range(7)]),
        ("number", list(range(7))),
        ("job_id", [812, 99, 4, 31, 77, 5, 2]),
        ("animal", ["swift-fox", "lazy-dog", "red-cat", "old-owl", "shy-elk", "big-bee", "odd-ant"]),
    ],
)
def test_name_of_a_run_needs_no_word(tmp_path: Path, name: str, values: list[object]) -> None:
    notes = select(columns(tmp_path, lr=RATES, loss=LOSSES, **{name: values}), PLAIN).notes
    assert f"Not looked at, since every run has its own value: {name}." in notes


def test_export_of_an_optuna_study_is_asked_about_each_parameter(tmp_path: Path) -> None:
    runs = columns(
        tmp_path,
        number=list(range(7)),
        value=LOSSES,
        datetime_start=[f"2024-05-0{day} 10:11:12.5" for day in range(1, 8)],
        duration=[f"0 days 00:0{minute}:11" for minute in (1, 2, 1, 3, 4, 5, 6)],
        params_lr=RATES,
        params_optimizer=["adam", "sgd", "adam", "adam", "sgd", "adam", "sgd"],
        params_n=[1, 2, 3, 4, 5, 6, 7],
        params_score=[0.3, 0.1, 0.2, 0.5, 0.4, 0.7, 0.6],
        user_attrs_test_acc=[0.3, 0.1, 0.2, 0.5, 0.5, 0.7, 0.6],
        state="COMPLETE",
    )
    with pytest.raises(
        InputError,
        match=r"differ in params_optimizer .*; params_score .*--ignore params_optimizer --ignore params_score",
    ):
        select(runs, OPTUNA)
    notes = select(runs, Request(rate="params_lr", loss="value", ignore=("params_optimizer", "params_score"))).notes
    assert "Not looked at, since every run has its own value: number, datetime_start." in notes
    assert "Moves with params_lr, and cannot be told apart from it: params_n." in notes
    assert "Not looked at, since it reads like something measured: duration, user_attrs_test_acc." in notes


def test_split_by_what_was_mixed_gives_other_numbers(tmp_path: Path) -> None:
    """All runs with one layer end at about 40 and all with four at 25: mixed, that would be the rate's doing."""
    layers = [1, 4, 1, 4, 4, 1, 4]
    losses = [41.0, 25.2, 38.0, 25.0, 25.1, 36.0, 25.4]
    runs = columns(tmp_path, params_lr=RATES, value=losses, params_layers=layers)
    with pytest.raises(InputError, match=r"differ in params_layers \(1, 4 in «all runs»\).*--where params_layers=4"):
        select(runs, OPTUNA)
    kept = select(runs, Request(rate="params_lr", loss="value", where=(("params_layers", "4"),))).sweeps["all runs"]
    spread = kept.sensitivity_log()["value"]
    assert spread is not None
    assert spread < 0.3


def test_row_a_step_is_recognised(tmp_path: Path) -> None:
    lines = ["config_hash,lr,docs,loss"]
    lines += [
        f"h{run},{rate},{docs},{1 / docs}" for run, rate in enumerate((0.1, 0.2)) for docs in (29952, 59904, 89856)
    ]
    with pytest.raises(InputError, match="if a row is a step and not a run, say --run config_hash --step docs"):
        select(table(tmp_path, *lines), PLAIN)


@pytest.mark.parametrize(
    "name",
    ["eval_recall", "eval_precision", "eval_specificity", "valAccuracies", "mean_returns", "wins", "eval_top5_acc"],
)
def test_every_metric_whose_direction_is_known_reads_like_something_measured(tmp_path: Path, name: str) -> None:
    values = [0.91, 0.87, 0.88, 0.93, 0.86, 0.9, 0.7]
    assert f"Not looked at, since it reads like something measured: {name}." in (
        select(columns(tmp_path, lr=RATES, loss=LOSSES, **{name: values}), PLAIN).notes
    )
