import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr import DampedCosine, Warmup
from adaptive_lr.cli import app
from adaptive_lr.cli.search_schedule import _optimizer, _schedule
from adaptive_lr.errors import SpecError
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.judge import judge
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.tasks import CharacterModel, Perceptron, SoftmaxRegression, StreamingLeastSquares
from adaptive_lr.training import SGD, AdamW, Trial
from adaptive_lr.trials.store import Store
from tests.searched import interrupted, states

pytestmark = pytest.mark.usefixtures("folder")

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["streaming_least_squares", "dimension=20", "--steps", "60", "--low", "0.1", "--high", "10"]
QUICK = [*SMALL, "--per-decade", "2", "--seeds", "2", "--report-seeds", "4", "--together", "4"]


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["search-schedule", *arguments])


def test_a_search_ends_with_a_verdict_and_the_baselines(folder: Path) -> None:
    first = call(*QUICK, "--trials", "8")
    assert first.exit_code == 0, first.output
    assert "8 trials finished, 8 runs done now\nbest " in first.stdout
    assert "8 of 8 trials; best" in first.stderr
    assert f"optuna-dashboard sqlite:///{folder}/search/study.db" in first.stdout
    rates = tuple(float(f"{10 ** (place / 2 - 1):.12g}") for place in range(5))
    shapes = ShapeSearch(
        task=StreamingLeastSquares(dimension=20),
        optimizer=SGD(),
        schedule=DampedCosine(),
        steps=60,
        rates=rates,
        selection_seeds=range(100, 102),
        report_seeds=range(4),
        together=4,
    )
    with Store(folder / "results/store.sqlite", write=True) as store:
        found = search_shapes(shapes, trials=8, directory=folder / "search", store=store)
        before = len(store)
        verdict = judge(shapes, found, store)
        assert (found.ran, len(store)) == (0, before)  # it was this very search, judged in this very way
    assert verdict.sentence() in first.stdout
    best = verdict.comparisons[0]["baseline"]
    assert f"than the best baseline ({best}), " in first.stdout
    *_, table = first.stdout.partition("excess over 2 repetitions, each on other seeds")
    labels = ["schedule", "tuned", "cosine", "linear", "square", "WSD", "step", "constant"]
    assert [line.split()[0] for line in table.splitlines()[1:9]] == labels
    *_, ratios = table.partition("The tuned one against the best baseline")
    rows = ratios.splitlines()[1:7]
    assert [line.split()[0] for line in rows] == ["measure", "tuned", "10^(1/3)", "10^(1/2)", "10", "100"]
    for row, line in zip(verdict.comparisons, rows[1:], strict=True):
        assert row["baseline"] in line
        assert line.rstrip().endswith(row["verdict"])
    again = call(*QUICK, "--trials", "8")
    assert "8 trials finished, 0 runs done now" in again.stdout
    assert again.stdout.partition("best ")[2] == first.stdout.partition("best ")[2]
    assert "12 trials finished, 4 runs done now" in call(*QUICK, "--trials", "12").stdout


def test_options_reach_the_search(folder: Path) -> None:
    (folder / "space.yaml").write_text("exponent: {low: 0.5, high: 4, log: true}\n")
    words = ["--schedule", "cosine k=2 warmup=0.1", "--optimizer", "sgd momentum=0.5", "--objective", "worst"]
    words += ["--window", "4", "--sampler", "random", "--seed", "3", "--results", "elsewhere", "--directory", "mine"]
    words += ["--storage", f"sqlite:///{folder}/other.db"]
    found = call(*QUICK, "--trials", "4", "--space", "space.yaml", *words)
    assert found.exit_code == 2, found.output
    assert "has no number 'exponent'; it has then.k, then.exponent, " in found.stderr
    (folder / "space.yaml").write_text("then.exponent: {low: 0.5, high: 4, log: true}\n")
    found = call(*QUICK, "--trials", "4", "--space", "space.yaml", *words)
    assert found.exit_code == 0, found.output
    assert "the tuned Warmup(then=DampedCosine(k=2, exponent=" in found.stdout
    assert "worst loss within a factor of 4" in found.stdout
    assert f"optuna-dashboard sqlite:///{folder}/other.db" in found.stdout
    assert (folder / "elsewhere/store.sqlite").exists()
    held = json.loads((folder / "mine/search.json").read_text())
    assert (held["sampler"], held["seed"], held["in_flight"], held["window"]) == ("random", 3, 4, 4.0)
    assert held["optimizer"] == {
        "kind": "sgd",
        "momentum": 0.5,
        "weight_decay": 0.0,
        "nesterov": "off",
        "decayed": "all",
    }
    assert (held["objective"], held["selection_seeds"], held["steps"]) == ("worst", [100, 101], 60)
    assert held["rates"] == [0.1, 0.316227766017, 1.0, 3.16227766017, 10.0]


def test_shapes_are_ended_early_if_that_is_asked_for(folder: Path) -> None:
    found = call(*QUICK, "--trials", "8", "--pruner", "halving")
    assert found.exit_code == 0, found.output
    assert "8 trials finished (6 pruned), 8 runs done now" in found.stdout
    assert sorted(states(folder / "search")) == ["COMPLETE"] * 2 + ["PRUNED"] * 6


def test_with_two_objectives_the_front_is_shown_and_the_worst_loss_is_judged() -> None:
    found = call(*QUICK, "--trials", "8", "--objective", "best and worst", "--window", "3.2")
    assert found.exit_code == 0, found.output
    assert " at k=" in found.stdout
    assert "worst loss within a factor of 3.2" in found.stdout


def test_a_report_has_the_verdict_and_is_never_over_the_search(folder: Path) -> None:
    refused = call(*QUICK, "--trials", "4", "--report", "search")
    assert refused.exit_code == 2
    assert "give the report a folder of its own, say search/report" in refused.stderr
    assert not (folder / "search").exists()
    done = call(*QUICK, "--trials", "4", "--report", "search/report")
    assert done.exit_code == 0, done.output
    assert "report: search/report/index.html" in done.stdout
    page = json.loads((folder / "search/report/search.json").read_text())
    assert page["title"] == "Search of DampedCosine() on StreamingLeastSquares(dimension=20)"
    assert page["verdict"] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["perceptrn"], "unknown task 'perceptrn'; did you mean 'perceptron'?"),
        (["perceptron", "datset=digits"], "unknown field of Perceptron 'datset'; did you mean 'dataset'?"),
        (["perceptron", "batch=5", "batch=6"], "perceptron has batch twice"),
        (["perceptron", "dataset=cifar"], "Perceptron.dataset must be one of"),
        ([*QUICK, "--schedule", "cosin"], "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ([*QUICK, "--schedule", "cosine linear"], "--schedule takes one schedule, got 'cosine linear'"),
        ([*QUICK, "--schedule", ""], "--schedule takes one schedule, got ''"),
        ([*QUICK, "--optimizer", "adam"], "unknown optimizer 'adam'; did you mean 'adamw'?"),
        ([*QUICK, "--optimizer", ""], "the optimizer has no name"),
        ([*QUICK, "--high", "5"], "0.1 to 5 is not a whole number of steps at 2 a decade"),
        ([*QUICK, "--low", "20"], "low"),
        ([*QUICK, "--objective", "least"], "unknown objective 'least'"),
        ([*QUICK, "--objective", "grids"], "objective 'grids' needs 6 rates a decade"),
        ([*QUICK, "--sampler", "best"], "unknown sampler 'best'"),
        ([*QUICK, "--trials", "0"], "trials must be a whole number of at least 1, got 0"),
        ([*QUICK, "--pruner", "wilcoxon"], "unknown pruner 'wilcoxon'"),
        ([*QUICK, "--pruner", "halving", "--trials", "6"], "must be a multiple of together, 4, got 6"),
        ([*QUICK, "--report-seeds", "200"], "selection_seeds and report_seeds must be disjoint"),
        ([*QUICK, "--space", "absent.yaml"], "cannot read the search space absent.yaml"),
        ([*QUICK, "--storage", "x"], "'x' is no address of a storage"),
        ([*QUICK, "--seeds", "0"], "'--seeds'"),
    ],
)
def test_what_is_asked_for_wrongly_is_exit_code_2(arguments: list[str], message: str) -> None:
    found = call(*arguments)
    assert found.exit_code == 2, found.output
    assert message in found.stderr
    assert "Traceback" not in found.output


def test_a_run_that_fails_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trials: list[Trial]) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr("adaptive_lr.trials.runner.train_batch", broken)
    found = call(*QUICK, "--trials", "4")
    assert found.exit_code == 1
    assert "failed: ValueError: no luck" in found.stderr


@pytest.mark.slow
def test_a_search_that_is_interrupted_is_exit_code_130_and_goes_on(folder: Path) -> None:
    arguments = ["perceptron", "--steps", "300", "--seeds", "2", "--together", "4", "--trials", "40"]
    interrupted(folder, "search-schedule", *arguments)


def test_a_network_has_momentum_unless_another_optimizer_is_asked_for() -> None:
    assert _optimizer(None, Perceptron()) == _optimizer(None, CharacterModel()) == SGD(momentum=0.9)
    assert _optimizer(None, StreamingLeastSquares()) == _optimizer(None, SoftmaxRegression()) == SGD()
    assert _optimizer("adamw weight_decay=0.1", Perceptron()) == AdamW(weight_decay=0.1)


def test_a_schedule_is_read_as_for_plot() -> None:
    assert _schedule("cosine exponent=2 warmup=0.05") == Warmup(fraction=0.05, then=DampedCosine(exponent=2))
    with pytest.raises(SpecError, match="takes one schedule"):
        _schedule("cosine linear")


def test_help_is_there() -> None:
    found = call("--help")
    assert found.exit_code == 0
    assert "adaptive-lr search-schedule streaming_logistic" in found.stdout
    assert "--report-seeds" in found.stdout
