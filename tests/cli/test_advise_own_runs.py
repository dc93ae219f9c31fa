"""``adaptive-lr advise --runs``: what a person's own runs say comes first; what a folder holds is never executed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.analysis.advice import KINDS
from adaptive_lr.cli import app
from adaptive_lr.trials.store import Store
from tests.recorded_runs import sweep_lines, write

RUNS = {
    "linear": {0.01: [1.0, 1.1], 0.1: [0.9, 1.0], 1.0: [1.9, 2.0]},
    "constant": {0.01: [0.4, 0.41], 0.1: [0.1, 0.11], 1.0: [0.3, 0.31]},
    "damped cosine": {0.01: [1.4, 1.5], 0.1: [1.7, 1.8], 1.0: [2.0, 2.1]},
}
OPTIONS = ("--lr", "lr", "--loss", "loss", "--by", "schedule", "--seed", "seed")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "500"}).invoke(app, ["advise", "--grid-ratio", "10", *arguments])


@pytest.mark.parametrize("kind", KINDS)
def test_own_runs_win_whatever_the_kind_of_task(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "runs.csv", *sweep_lines(RUNS))
    result = call("--task-kind", kind, "--runs", "runs.csv", *OPTIONS)
    assert result.exit_code == 0, result.output
    short = result.stdout.splitlines()
    assert len(short) == 5
    assert short[1] == "Begin with constant, from your own runs."
    assert short[2].startswith("Such a grid ends above the lowest loss of 18 runs by: constant ")
    assert "Evidence: runs.csv, " in short[4]
    lines = call("--task-kind", kind, "--runs", "runs.csv", *OPTIONS, "--verbose").stdout.splitlines()
    assert lines[1] == "Begin with constant, from your own runs."
    assert lines[3].startswith("• From 18 runs of your own (runs.csv), rates 0.01 to 1: constant.")
    assert lines[4].startswith("• Without your runs, ")
    assert "take what your own runs say." in lines[4]


def test_rank_of_what_the_package_would_say_is_told(tmp_path: Path) -> None:
    write(tmp_path / "runs.csv", *sweep_lines(RUNS))
    result = call("--task-kind", "convex", "--runs", "runs.csv", *OPTIONS, "--verbose")
    recommended = json.loads(call("--task-kind", "convex", "--json").stdout)["measured"]
    spec = recommended["schedules"][recommended["first"]]["spec"]
    assert f"would say {spec}" in result.stdout
    ranks = {"Linear": "linear 2", "DampedCosine": "damped cosine 3", "Constant": "constant 1"}
    rank = ranks.get(spec.partition("(")[0])
    assert rank is None or f"Your runs rank {rank} of 3." in result.stdout


def test_own_metric_is_the_right_way_up(tmp_path: Path) -> None:
    accuracies = {name: {rate: [1 - loss / 4 for loss in row] for rate, row in by.items()} for name, by in RUNS.items()}
    lines = [line.replace("loss", "val_acc") for line in sweep_lines(accuracies)]
    write(tmp_path / "runs.csv", *lines)
    options = [word.replace("loss", "val_acc") if word == "loss" else word for word in OPTIONS]
    result = call("--runs", "runs.csv", *options, "--direction", "maximize", "--verbose")
    assert "Begin with constant, from your own runs." in result.stdout
    assert "How far below the highest val_acc of all such a grid ends" in result.stdout
    assert "val_acc reads" in call("--runs", "runs.csv", *options).stdout.splitlines()[2]
    doubted = call("--runs", "runs.csv", *options, "--verbose")
    assert "• val_acc reads like a metric of which more is better" in doubted.stdout


def test_groups_that_the_noise_does_not_tell_apart_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "runs.csv", *sweep_lines(RUNS | {"wsd": {0.01: [0.4, 0.42], 0.1: [0.11, 0.1], 1.0: [0.31, 0.3]}}))
    result = call("--runs", "runs.csv", *OPTIONS)
    assert (
        "Begin with constant, or wsd, which the noise does not tell apart from it, from your own runs." in result.stdout
    )


def test_own_runs_may_be_steps_states_and_divergences(tmp_path: Path) -> None:
    lines = ["id,kind,lr,step,State,loss"]
    for kind, factor in (("a", 1.0), ("b", 2.0)):
        for rate, loss in ((0.1, 0.5), (1.0, 0.2), (10.0, 0.9)):
            lines += [f"{kind}{rate},{kind},{rate},{step},finished,{factor * loss * 10 / step}" for step in (5, 10)]
        lines += [f"{kind}x,{kind},100,5,crashed,0.1"]
    write(tmp_path / "steps.csv", *lines)
    options = ("--runs", "steps.csv", "--lr", "lr", "--loss", "loss", "--by", "kind", "--run", "id", "--step", "step")
    result = call(*options)
    assert result.exit_code == 0, result.output
    assert "Begin with a, from your own runs." in result.stdout
    assert "on your runs. Evidence: steps.csv" in result.stdout
    result = call(*options, "--verbose")
    assert "State is crashed: 2 runs (run ax, run bx)" in result.stdout
    declared = json.loads(call(*options, "--diverged", "State=crashed", "--initial-loss", "3", "--json").stdout)
    assert declared["recorded"][0]["rates"] == [0.1, 1.0, 10.0, 100.0]
    long = json.loads(call(*options, "--least-step", "10", "--json").stdout)
    assert any("Ended before step 10, and left out: ax, bx." in note for note in long["notes"])


def test_nothing_of_the_folder_is_executed(tmp_path: Path) -> None:
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    for name in ("e01_grid_resolution", "e02_any_learning_rate", "e99_mine"):
        write(
            experiments / f"{name}.py",
            "from pathlib import Path",
            "Path('executed').write_text('x')",
            "EXPERIMENT = None",
        )
    with Store(tmp_path / "results/store.sqlite", write=True):
        pass
    assert call().exit_code == 0
    assert not (tmp_path / "executed").exists()


FOREIGN = (
    "[]",
    "[" * 100_000,
    '{"experiments": 3}',
    '{"experiments": {"a": 3}}',
    '{"experiments": {"a": {"kind": "grid_resolution", "name": "a"}}}',
    '{"experiments": {"a": {"kind": "recorded", "name": "a", "title": "t", "studies": {"x": {"title": "y"}}}}}',
    '{"experiments": {"a": {"kind": "recorded", "name": "a", "title": "t", "studies": {"x": {"title": "y", "common": null, "noise": null, '
    '"loss": "l", "runs": 3, "ratios": ["many"]}}}}}',
    '{"total": 12, "passed": 12}',
)


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_report_of_something_else_is_said_and_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.json").write_text(text)
    result = call()
    assert result.exit_code == 0, result.output
    assert "report.json is not the report.json of a report" in result.stderr
    assert "what ships with the package is used" in result.stderr
    assert "Evidence: e01_grid_resolution" in result.stdout


@pytest.mark.parametrize("budget", ["1000001", "1" + "0" * 400], ids=["seven", "hundreds"])
def test_enormous_budget_is_one_clear_line(budget: str) -> None:
    result = CliRunner().invoke(app, ["advise", "--budget", budget])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: a budget must be at most 1000000 trials")
    assert result.stderr.count("\n") == 1
