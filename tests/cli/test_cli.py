import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app

TINY = str(Path(__file__).parents[1] / "tiny.py")

SMALL = """
from dataclasses import replace
from tests.tiny import EXPERIMENT as TINY
from tests.tiny import STUDY

EXPERIMENT = replace(TINY, studies=[STUDY])
"""


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, list(arguments))


def refused(*arguments: str) -> str:
    found = call(*arguments)
    assert found.exit_code == 2, found.output
    assert "Traceback" not in found.output
    return found.stderr


def test_run_writes_report_and_events_and_a_second_run_reuses_everything(folder: Path) -> None:
    (folder / "small.py").write_text(SMALL)
    first = call("run", "small.py", "--workers", "1")
    assert first.exit_code == 0, first.output
    assert "625 trials, 0 of them finished before" in first.stdout
    assert "report/index.html" in first.stdout
    assert "tensorboard --logdir runs" in first.stdout
    numbers = (folder / "report/report.json").read_bytes()
    assert json.loads(numbers)["experiments"]["e99_tiny"]["trials"] == 625
    assert list((folder / "runs/e99_tiny").rglob("events.out.*"))
    second = call("run", "small.py", "--workers", "1")
    assert "625 of them finished before" in second.stdout
    assert (folder / "report/report.json").read_bytes() == numbers
    (folder / "report/report.json").unlink()
    assert call("report", "small.py").exit_code == 0
    assert (folder / "report/report.json").read_bytes() == numbers


def test_unknown_experiment_is_named(folder: Path) -> None:
    assert "unknown experiment 'e77'" in refused("run", "e77")


def test_report_without_results_says_what_to_do(folder: Path) -> None:
    assert "there is no store at results/store.sqlite: run an experiment first" in refused("report", TINY)


def test_report_with_nothing_declared_says_so(folder: Path) -> None:
    assert "no experiment is finished in report: run one, or name those to analyse anew" in refused("report")


def test_report_leaves_out_what_is_not_finished(folder: Path) -> None:
    (folder / "experiments").mkdir()
    (folder / "experiments/e94_tiny.py").write_text(SMALL)
    (folder / "experiments/e910_tiny_rates.py").write_text(Path(TINY).with_name("tiny_rates.py").read_text())
    assert call("run", "e94_tiny", "--workers", "1", "--smoke").exit_code == 0
    found = call("report", "--smoke")
    assert found.exit_code == 0, found.output
    assert "left out: e910_tiny_rates, which is not in report/smoke/report.json" in found.stderr
    assert list(json.loads((folder / "report/smoke/report.json").read_bytes())["experiments"]) == ["e99_tiny"]
    assert "no experiment is finished" in refused("report")
    assert "run the experiment first" in refused("report", TINY)


def test_damaged_store_is_named_and_left_alone(folder: Path) -> None:
    path = folder / "results/store.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"this is not a database " * 100)
    before = path.read_bytes()
    assert "results/store.sqlite is damaged" in refused("run", TINY)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["damped_cosin"], "did you mean 'damped_cosine'"),
        (["wsd", "cooldwn=0.1"], "did you mean 'cooldown'"),
        (["damped_cosine", "exponent=-1"], "DampedCosine.exponent must lie in (0, 64], got -1"),
        (["damped_cosine", "exponent=nan"], "DampedCosine.exponent must lie in (0, 64], got nan"),
        (["wsd", "shape=round"], "WSD.shape must be one of linear, sqrt, cosine, exponential, got 'round'"),
        (["exponent=2"], "stands before any schedule"),
        (["cosine", "warmup=2000"], "Warmup.steps must be below total_steps=1000, got 2000"),
    ],
)
def test_bad_schedule_is_one_clear_line(folder: Path, words: list[str], message: str) -> None:
    text = refused("plot", *words)
    assert message in text
    assert text.count("\n") == 1


def test_plot_writes_a_picture(folder: Path) -> None:
    assert call("plot", "cosine", "damped_cosine", "k=2", "wsd", "warmup=0.1").exit_code == 0
    assert (folder / "schedule.png").read_bytes().startswith(b"\x89PNG")
    assert call("plot", "cosine", "-o", "curve.svg").exit_code == 0
    assert "<svg" in (folder / "curve.svg").read_text()


def test_plot_refuses_other_formats(folder: Path) -> None:
    assert "a figure is written as .png or .svg, got curve.bmp" in refused("plot", "cosine", "-o", "curve.bmp")


def test_plot_draws_in_the_terminal(folder: Path) -> None:
    found = call("plot", "cosine", "linear", "--terminal")
    assert found.exit_code == 0
    assert "progress u = t/T" in found.stdout
    assert "●" in found.stdout
    assert not list(folder.iterdir())


def test_list_names_everything() -> None:
    found = call("list").stdout
    for name in ("damped_cosine", "wsd", "streaming_logistic", "perceptron", "e01_grid_resolution"):
        assert name in found


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plot", "--help"], ["report", "-h"]])
def test_help_is_there(arguments: list[str]) -> None:
    found = call(*arguments)
    assert found.exit_code == 0
    assert "Usage" in found.stdout


def test_module_is_the_same_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "adaptive_lr", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "0.1.0"


def test_controllers_are_listed_by_the_names_that_a_user_types_and_cannot_be_drawn(folder: Path) -> None:
    assert "ProgressAnchor" in call("list").stdout
    for name in ("progress_anchor", "Anchor"):
        assert f"{name} is a controller: what it does depends on training" in refused("plot", name)
