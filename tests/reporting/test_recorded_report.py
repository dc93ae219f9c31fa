import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.cli import app
from adaptive_lr.experiment import RecordedRuns, RecordedStudy, load_experiment
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store
from tests.recorded_runs import sweep_lines, write

LOSSES = {
    "cosine": {0.01: [2.0, 2.1, 1.9], 0.05: [1.0, 1.1, 0.9], 0.1: [0.8, 0.9, 0.85], 0.4: [3.0, 2.0, 50.0]},
    "constant": {0.01: [1.9, 2.0, 2.1], 0.05: [1.3, 1.2, 1.1], 0.1: [1.6, 1.5, 1.4]},
}
OPTIONS = ("--lr", "lr", "--loss", "loss", "--by", "schedule", "--seed", "seed")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory with a small table of runs."""
    write(tmp_path / "runs.csv", *sweep_lines(LOSSES))
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["robustness", *arguments])


def test_tables_in_the_terminal(folder: Path) -> None:
    result = call("runs.csv", *OPTIONS, "--initial-loss", "4")
    assert result.exit_code == 0, result.output
    assert "Each at its own best rate, cosine ends lowest (0.85\u00a0±" in result.stdout
    assert "All groups on the rates they have in common: 0.01, 0.05, 0.1" in result.stdout
    assert "no runs diverged (no finite loss), and 1 run ended above the loss before training, 4" in result.stdout
    assert "No run at 0.4 in «constant»." in result.stdout
    assert not list(folder.glob("report*"))


def test_numbers_as_json(folder: Path) -> None:
    result = call("runs.csv", *OPTIONS, "--json")
    numbers = json.loads(result.stdout)
    assert numbers["groups"]["cosine"]["best_rate"] == 0.1
    assert numbers["groups"]["constant"]["resolution"]["2"] is not None


def test_page_is_one_file_with_the_figure_and_the_command(folder: Path) -> None:
    result = call("runs.csv", *OPTIONS, "--where", "seed=0", "--ratio", "5", "--window", "0.01:0.4", "--report", "out")
    assert result.exit_code == 0, result.output
    text = (folder / "out/index.html").read_text(encoding="utf-8")
    assert "Recorded runs" in text
    assert text.count("<svg") == 1
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)
    assert "regret ×5" in text
    assert "regret ×5, recorded grids" in text
    assert "adaptive-lr robustness runs.csv --lr lr --loss loss --by schedule --seed seed --where seed=0" in text
    numbers = json.loads((folder / "out/report.json").read_text())["experiments"]["recorded"]
    assert numbers["studies"]["runs"]["groups"]["cosine"]["counts"] == [1, 1, 1, 1]
    first = (folder / "out/index.html").read_bytes()
    call("runs.csv", *OPTIONS, "--where", "seed=0", "--ratio", "5", "--window", "0.01:0.4", "--report", "out")
    assert (folder / "out/index.html").read_bytes() == first


def test_text_of_the_file_is_escaped(folder: Path) -> None:
    write(folder / "odd.csv", "schedule,lr,loss", "<b>[red]x,0.1,1", "<b>[red]x,0.2,2", "y,0.1,1", "y,0.2,2")
    result = call("odd.csv", "--lr", "lr", "--loss", "loss", "--by", "schedule", "--report", "out")
    assert "<b>[red]x" in result.stdout
    assert "<b>" not in (folder / "out/index.html").read_text().replace("<b>Recorded", "").replace(
        "<b>Interpolated", ""
    )


def test_steps_become_runs_on_the_command_line(folder: Path) -> None:
    write(folder / "steps.csv", "id,step,lr,loss", "a,1,0.1,3", "a,2,0.05,1", "b,1,0.2,3", "b,2,0.1,2")
    result = call("steps.csv", "--lr", "lr", "--loss", "loss", "--run", "id", "--step", "step")
    assert result.exit_code == 0, result.output
    assert "4 rows of 2 runs: loss is the last of each run" in result.stdout
    assert "All runs: lowest loss 1 at 0.1, at the edge" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv", *OPTIONS], "there is no file absent.csv"),
        ([".", *OPTIONS], "there are no TensorBoard event files below ."),
        (["runs.csv", "--lr", "rate", "--loss", "loss"], "no column 'rate'; it has schedule, lr, seed, loss"),
        (["runs.csv", "--lr", "lr", "--loss", "lss"], "no column 'lss'; did you mean 'loss'"),
        (["runs.csv", "--lr", "lr", "--loss", "loss"], "runs of one group differ in schedule (constant, cosine"),
        (["runs.csv", "--lr", "lr", "--loss", "schedule"], "runs.csv, line 2: schedule is 'cosine', not a number"),
        (["runs.csv", *OPTIONS, "--where", "seed"], "--where takes column=value, got 'seed'"),
        (["runs.csv", *OPTIONS, "--where", "sed=1"], "no column 'sed'; did you mean 'seed'"),
        (["runs.csv", *OPTIONS, "--where", "lr=0.1"], "there is one learning rate only (lr = 0.1)"),
        (["runs.csv", *OPTIONS, "--window", "1"], "--window takes two rates, as in 1e-4:3e-3, got '1'"),
        (["runs.csv", *OPTIONS, "--window", "2:1"], "--window needs 0 < lowest < highest, got '2:1'"),
        (["runs.csv", *OPTIONS, "--ratio", "1"], "--ratio must be above 1, got 1.0"),
        (["runs.csv", *OPTIONS, "--tolerance", "nan"], "--tolerance must be above 0, got nan"),
        (["runs.csv", *OPTIONS, "--initial-loss", "inf"], "--initial-loss must be a finite number, got inf"),
        (
            ["runs.csv", *OPTIONS, "--run", "seed", "--reduce", "mean"],
            "its last or min, or max where more is better, got 'mean'",
        ),
    ],
)
def test_bad_input_is_one_clear_line(folder: Path, arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def experiment(folder: Path) -> RecordedRuns:
    request = Request(rate="lr", loss="loss", by=("schedule",), seed="seed", initial=4.0)
    return RecordedRuns(
        name="e98_recorded",
        title="Recorded",
        question="Does it read?",
        folder=folder,
        absent="Put it there.",
        about=("From a test.",),
        studies=[RecordedStudy(name="small", title="Small", file="runs.csv", request=request)],
    )


def test_experiment_without_trials_is_a_page_like_the_others(experiment: RecordedRuns, folder: Path) -> None:
    assert experiment.trials() == []
    assert experiment.smoke() == experiment
    with Store(folder / "store.sqlite", write=True) as store:
        numbers = experiment.analyse(store)
    assert experiment.runs_to_show(numbers, everything=True) == []
    text = write_report([numbers], [], folder / "out").read_text()
    assert "Experiment e98_recorded" in text
    assert "adaptive-lr run e98_recorded" in text


def test_experiment_is_skipped_with_a_reason_where_its_runs_are_absent(experiment: RecordedRuns, folder: Path) -> None:
    elsewhere = replace(experiment, folder=folder / "nowhere")
    with Store(folder / "store.sqlite", write=True) as store:
        numbers = elsewhere.analyse(store)
    assert numbers["studies"] == {}
    text = write_report([numbers], [], folder / "out").read_text()
    assert "Skipped: runs.csv is not there. Put it there." in text


def test_command_line_runs_it_without_the_recorded_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTIVE_LR_LLM_CURVES", str(folder / "nowhere"))
    declared = str(ROOT / "experiments/e06_recorded_language_models.py")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["run", declared])
    assert result.exit_code == 0, result.output
    assert "no trials: what it looks at was recorded elsewhere" in result.stdout
    assert "tensorboard" not in result.stdout
    assert "Skipped: convex-agreement/runs.csv is not there." in (folder / "report/index.html").read_text()
    again = CliRunner().invoke(app, ["report", declared])
    assert again.exit_code == 0, again.output


def test_recorded_language_models_are_declared(tmp_path: Path) -> None:
    experiment = load_experiment(str(ROOT / "experiments/e06_recorded_language_models.py"))
    assert isinstance(experiment, RecordedRuns)
    if not (experiment.folder / experiment.studies[0].file).is_file():
        pytest.skip(f"the recorded runs are not part of the repository, and {experiment.folder} is absent")
    with Store(tmp_path / "store.sqlite", write=True) as store:
        numbers = experiment.analyse(store)
    first = numbers["studies"]["slimpajama-50000"]
    assert first["lowest"]["label"] == "wsd 0.6 linear"
    assert set(first["lowest"]["tied"]) == {
        "wsd 0.4 linear",
        "wsd 0.8 linear",
        "wsd 0.9 linear",
        "linear",
        "cosine to 0",
    }
    assert first["common"]["groups"]["constant"]["best"]["value"] == pytest.approx(3.1102, abs=1e-4)
    said = {"wsd 0.4 linear": 0.022, "wsd 0.6 linear": 0.023, "linear": 0.037, "cosine to 0": 0.038, "constant": 0.170}
    page = (ROOT / "docs/choose.md").read_text(encoding="utf-8")
    for label, cost in said.items():
        exact = first["common"]["groups"][label]["resolution"]["10"]["cost_mean_interpolated"]
        assert exact == pytest.approx(cost, abs=0.0006)
        assert f"{cost:.3f}" in page
