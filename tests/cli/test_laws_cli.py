import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr import from_json
from adaptive_lr.cli import app
from tests.loss_curves import write_curve
from tests.recorded_runs import write

NAMES = {"lr": "rate", "loss": "val_loss"}


def call(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curves")
    for shape in ("cosine", "constant", "0.3", "0.2"):
        write_curve(path / f"{shape}.csv", shape, columns=NAMES)
    return path


@pytest.fixture(scope="module")
def law(folder: Path) -> Path:
    files = [folder / f"{shape}.csv" for shape in ("cosine", "constant", "0.3")]
    options = ("--lr", "rate", "--loss", "val_loss", "--warmup", 150, "--replicates", 20, "--starts", 3)
    result = call("fit-law", *files, *options, "-o", folder / "law.json")
    assert result.exit_code == 0, result.output
    assert "The multi-power law" in result.stdout
    assert "rows of 3 curves" in result.stdout
    assert re.search(r"L0 +[0-9.]+ +[0-9.]+ to [0-9.]+", result.stdout)
    assert "wrote" in result.stdout
    return folder / "law.json"


def test_the_file_of_a_fit_says_where_it_is_from(law: Path) -> None:
    document = json.loads(law.read_text())
    assert [source["name"] for source in document["sources"]] == ["cosine.csv", "constant.csv", "0.3.csv"]
    assert document["rows"] == 3 * 115
    assert document["law"] == "multi_power"
    assert document["losses"][0] < document["losses"][1]


def test_a_held_out_run_is_compared(law: Path, folder: Path) -> None:
    columns = ("--lr", "rate", "--loss", "val_loss", "--warmup", 150)
    result = call(
        "predict-loss", law, "--table", folder / "0.2.csv", *columns, "-o", folder / "curve.png", "--terminal"
    )
    assert result.exit_code == 0, result.output
    assert "Against 115 recorded rows: mean error 0.00" in result.stdout
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "below the lowest of the curves, 3e-05" not in result.stdout
    numbers = json.loads(call("predict-loss", law, "--table", folder / "0.2.csv", *columns, "--json").stdout)
    assert numbers["against"]["worst"] < 0.01


def test_schedules_are_predicted_as_plot_takes_them(law: Path, folder: Path) -> None:
    words = ("wsd", "cooldown=0.2", "warmup=150", "cosine", "warmup=150", "floor=0.1")
    result = call("predict-loss", law, *words, "--steps", 3000, "-o", folder / "curve.csv")
    assert result.exit_code == 0, result.output
    assert "cosine warmup=150 floor=0.1" in result.stdout
    assert "The rate falls to 0, below the lowest of the curves" in result.stdout
    lines = (folder / "curve.csv").read_text().splitlines()
    assert lines[0] == "schedule,step,loss,low,high"
    assert lines[1].startswith('"wsd cooldown=0.2 warmup=150",150,')
    assert len(lines) == 401


def test_a_plan_without_losses_is_predicted(law: Path, tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.csv", "step,lr", "0,0", "150,3e-4", "2000,3e-4", "3000,3e-5")
    result = call("predict-loss", law, "--table", plan)
    assert result.exit_code == 0, result.output
    assert "plan.csv" in result.stdout
    assert "Against" not in result.stdout


def test_a_design_is_a_schedule_that_can_be_read(law: Path, tmp_path: Path) -> None:
    output = tmp_path / "schedule.json"
    result = call("design-schedule", law, "--steps", 3000, "--warmup", 150, "--floor", 0.1, "-o", output)
    assert result.exit_code == 0, result.output
    assert "The design stays above 95 % of the peak for" in result.stdout
    assert "WSD, sqrt, cooldown" in result.stdout
    schedule = from_json(output.read_text())
    assert schedule.at(150, 3000) == 1.0
    assert 0.1 <= schedule.at(3000, 3000) < 0.2
    numbers = json.loads(call("design-schedule", law, "--steps", 3000, "--warmup", 150, "-o", output, "--json").stdout)
    assert numbers["loss"][0] < min(rival["loss"] for rival in numbers["rivals"].values())


def test_the_fit_can_be_printed_as_json(folder: Path, tmp_path: Path) -> None:
    files = [folder / f"{shape}.csv" for shape in ("cosine", "constant", "0.3")]
    options = (
        "--law",
        "annealing",
        "--lr",
        "rate",
        "--loss",
        "val_loss",
        "--warmup",
        150,
        "--replicates",
        20,
        "--json",
    )
    result = call("fit-law", *files, *options, "-o", tmp_path / "law.json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "law.json").read_text())


def test_mistakes_are_one_line(law: Path, folder: Path, tmp_path: Path) -> None:
    cosine = folder / "cosine.csv"
    named = ("--lr", "rate", "--loss", "val_loss", "-o", tmp_path / "none.json")
    assert "has no column 'lr'" in refused("fit-law", cosine)
    assert "the warm-up of cosine.csv is missing" in refused("fit-law", cosine, *named)
    assert "the rate is constant after its warm-up" in refused(
        "fit-law", folder / "constant.csv", *named, "--warmup", 150
    )
    assert "--law is multi_power or annealing, got 'cubic'" in refused("fit-law", cosine, "--law", "cubic")
    assert "there is no file" in refused("fit-law", tmp_path / "no.csv")
    assert "say which schedule" in refused("predict-loss", law)
    assert "a schedule needs --steps" in refused("predict-loss", law, "cosine")
    assert "unknown schedule 'cosin'" in refused("predict-loss", law, "cosin", "--steps", 100)
    assert "the rate rises" in refused("predict-loss", law, "cyclic", "up=0.1", "--steps", 1000)
    assert "--warmup goes with --table" in refused("predict-loss", law, "cosine", "--steps", 100, "--warmup", 5)
    assert "written as .png or .svg" in refused("predict-loss", law, "cosine", "--steps", 100, "-o", "curve.gif")
    assert "make one with fit-law" in refused("predict-loss", tmp_path / "no.json", "cosine", "--steps", 100)
    assert "must leave at least 10" in refused("design-schedule", law, "--steps", 100, "--warmup", 95)
    assert not (tmp_path / "none.json").exists()


def test_help_has_an_example() -> None:
    for command in ("fit-law", "predict-loss", "design-schedule"):
        result = call(command, "--help")
        assert result.exit_code == 0
        assert "Example: adaptive-lr" in result.stdout
