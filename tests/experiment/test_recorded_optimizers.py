import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from adaptive_lr.cli import app
from adaptive_lr.errors import InputError
from adaptive_lr.experiment import Names, RecordedRuns, load_experiment
from adaptive_lr.reporting import recorded_prose as prose
from adaptive_lr.reporting.evidence_prose import recorded_sets
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store
from tests.recorded_runs import table
from tests.step_back import FOLDER, Cells, write_runs

ROOT = Path(__file__).parents[2]
FILE = ROOT / "experiments/e15_recorded_optimizers.py"
DECADES = [10.0**power for power in range(-6, 4)]
CENTRES = {("sgd-m", "none"): -2.0, ("momo", "0.9"): -1.0, ("adamw", "none"): -3.0}
"""Where the synthetic loss 2 + (log10 rate - centre)^2 / 4 is least."""


def experiment(folder: Path) -> RecordedRuns:
    loaded = load_experiment(str(FILE))
    assert isinstance(loaded, RecordedRuns)
    return replace(loaded, folder=folder)


def analysed(folder: Path, store: Path) -> dict[str, Any]:
    with Store(store / "store.sqlite", write=True) as opened:
        return experiment(folder).analyse(opened)


def synthetic_loss(rate: float, centre: float) -> float:
    return 2.0 + (math.log10(rate) - centre) ** 2 / 4.0


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the same names and format, with losses that are known."""
    folder = tmp_path_factory.mktemp("step-back")
    cells: dict[tuple[str, ...], dict[float, float | None]] = {}
    for decay in ("0.0001", "0.0"):
        for (name, bound), centre in CENTRES.items():
            cells[(name, bound, decay)] = {rate: synthetic_loss(rate, centre) for rate in DECADES}
        cells[("sgd-m", "none", decay)] |= {100.0: None, 1000.0: None}
    write_runs(folder / "imagenet32_resnet18.csv.gz", ("name", "lb", "weight_decay"), cells)
    scores: Cells = {
        ("lion",): {1e-5: 0.5, 1e-4: 0.8, 1e-3: 0.7, 1e-2: 0.1},
        ("adam",): {1e-4: 0.6, 1e-3: 0.75, 1e-2: 0.2},
    }
    write_runs(
        folder / "cifar10_vit.csv.gz", ("name",), scores, loss="val_score", deviation=lambda rate: 0.02 * (1.0 + rate)
    )
    losses: Cells = {("momo",): {0.1: 0.09, 1.0: 0.08, 10.0: 0.2}, ("sgd-m",): {0.1: 0.08, 1.0: 0.14, 10.0: None}}
    write_runs(folder / "mnist_mlp.csv.gz", ("name",), losses, deviation=lambda rate: 0.003)
    return folder


@pytest.fixture(scope="module")
def numbers(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return analysed(synthetic, tmp_path_factory.mktemp("store"))


def cost_of_grids(rates: list[float], losses: list[float], least: float) -> float:
    """One rate a decade placed at 20 000 offsets, by definition: linear in log rate, the best of each grid, their mean."""
    axis = np.log10(rates)
    offsets = (np.arange(20_000) + 0.5) / 20_000
    points = axis[0] + offsets[:, None] + np.arange(len(rates) - 1)
    return float(np.interp(points, axis, losses).min(1).mean() - least)


def test_synthetic_files_of_the_format_give_the_known_answer(numbers: dict[str, Any]) -> None:
    study = numbers["studies"]["imagenet32-decay-0.0001"]
    labels = {"SGD-M": -2.0, "MoMo bound 0.9": -1.0, "AdamW": -3.0}
    assert set(study["groups"]) == set(labels)
    for label, centre in labels.items():
        row = study["groups"][label]
        untrained = {100.0, 1000.0} if label == "SGD-M" else set()
        losses = [
            math.log(1000.0) if rate in untrained else min(synthetic_loss(rate, centre), math.log(1000.0))
            for rate in DECADES
        ]
        assert row["curve"]["mean"] == pytest.approx(losses)
        assert row["best_rate"] == pytest.approx(10.0**centre)
        assert row["resolution"]["10"]["cost_mean_interpolated"] == pytest.approx(
            cost_of_grids(DECADES, losses, 2.0), abs=1e-6
        )
        assert row["resolution"]["10"]["half"] == {"regret_mean_interpolated": None, "cost_mean_interpolated": None}
    assert study["groups"]["SGD-M"]["diverged"][-2:] == [1.0, 1.0]
    assert prose.answer(study)[-1].startswith("There are no intervals: each rate has one run")


def test_means_of_three_runs_have_intervals_of_their_own_deviation(numbers: dict[str, Any]) -> None:
    study = numbers["studies"]["cifar10"]
    assert study["direction"] == "maximize"
    row = study["groups"]["Lion"]
    assert row["counts"] == [3, 3, 3, 3]
    best = row["best"]
    half = 4.302652729911275 * 0.02 * (1.0 + 1e-4) / math.sqrt(3.0)  # t at 2 degrees of freedom
    assert best["value"] == pytest.approx(0.8)
    assert best["high"] - best["value"] == pytest.approx(half)
    assert prose.answer(study)[-1].startswith("± is half a 95 % interval: Welch's t, from the recorded deviation")


def test_row_that_counts_as_untrained_has_no_spread(numbers: dict[str, Any]) -> None:
    row = numbers["studies"]["mnist"]["groups"]["SGD-M"]
    assert row["diverged"] == [0.0, 0.0, 1.0]
    assert row["curve"]["low"][2] == row["curve"]["high"][2] == pytest.approx(math.log(10.0))


def test_page_of_the_synthetic_files(numbers: dict[str, Any], tmp_path: Path) -> None:
    text = write_report([numbers], [], tmp_path).read_text(encoding="utf-8")
    for words in (
        "diverged where val_loss is blank",
        "How many decades the rate may be off",
        "of the gain</th>",
        "MoMo bound 0.9",
        "There are no intervals",
    ):
        assert words in text


def test_command_line_says_where_the_files_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTIVE_LR_STEP_BACK", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["run", str(FILE)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report/index.html").read_text()
    assert "Skipped: imagenet32_resnet18.csv.gz is not there." in page
    assert "ADAPTIVE_LR_STEP_BACK" in page


def test_names_take_the_place_of_their_columns(tmp_path: Path) -> None:
    runs = table(tmp_path, "name,lb,lr", "a,0,1", "a,1,1", "b,0,2")
    named = Names(column="label", of=("name", "lb"), words={("a", "1"): "A with 1"}).applied(runs)
    assert dict(named.columns) == {"lr": ["1", "1", "2"], "label": ["a 0", "A with 1", "b 0"]}
    with pytest.raises(InputError, match="no column 'nme'; did you mean 'name'"):
        Names(column="label", of=("nme",), words={}).applied(runs)


REFERENCE = {"MoMo bound 0.9": 0.023, "SGD-M": 0.048, "AdamW": 0.317}
"""Final validation loss above the lowest of all, one rate a decade placed anywhere, weight decay 1e-4: as given with the files."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    missing = [study.file for study in experiment(FOLDER).studies if not (FOLDER / study.file).is_file()]
    if missing:
        pytest.skip(f"the recorded runs are not part of the repository, and {FOLDER / missing[0]} is absent")
    return analysed(FOLDER, tmp_path_factory.mktemp("store"))


def test_recorded_runs_give_the_reference_figures(recorded: dict[str, Any]) -> None:
    study = recorded["studies"]["imagenet32-decay-0.0001"]
    assert study["runs"] == 80
    assert study["common"]["rates"] == pytest.approx(DECADES)
    for label, cost in REFERENCE.items():
        row = study["common"]["groups"][label]
        exact = row["resolution"]["10"]["cost_mean_interpolated"]
        assert exact == pytest.approx(cost, abs=0.0005)
        assert cost_of_grids(DECADES, row["curve"]["mean"], study["common"]["least"]) == pytest.approx(exact, abs=1e-5)


def test_docs_say_what_the_recorded_runs_give(recorded: dict[str, Any]) -> None:
    page = (ROOT / "docs/choose.md").read_text(encoding="utf-8")
    assert recorded_sets(recorded) in page
    study = recorded["studies"]["imagenet32-decay-0.0001"]
    costs = {
        label: row["resolution"]["10"]["cost_mean_interpolated"] for label, row in study["common"]["groups"].items()
    }
    assert min(costs, key=costs.__getitem__) == "MoMo bound 0.9"
    assert [round(costs[label], 3) for label in ("MoMo bound 0.9", "SGD-M", "AdamW")] == [0.023, 0.048, 0.317]
    for label in ("MoMo bound 0.9", "SGD-M", "AdamW"):
        width = study["groups"][label]["tolerance"]["lost 0.1"]
        assert not width["cut_below"]
        assert not width["cut_above"]


def test_recorded_accuracies_are_means_over_three_seeds(recorded: dict[str, Any]) -> None:
    assert recorded["skipped"] is None
    for name in ("cifar10", "mnist"):
        assert all(set(row["counts"]) == {3} for row in recorded["studies"][name]["groups"].values())
    scores = [
        score
        for row in recorded["studies"]["cifar10"]["groups"].values()
        for score in row["curve"]["mean"]
        if score > 0.1
    ]
    images = np.array(scores) * 30_000.0
    assert np.abs(images - np.round(images)).max() < 1e-3
    assert np.abs(images / 3.0 - np.round(images / 3.0)).max() > 0.3
