import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.analysis.advice import KINDS, Question, advise
from adaptive_lr.analysis.evidence import (
    as_shipped,
    completed,
    evidence_from_numbers,
    evidence_from_report,
    shipped_evidence,
)
from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.cli import app
from adaptive_lr.errors import InputError
from adaptive_lr.experiment import run_experiment
from adaptive_lr.experiment.recorded import page_numbers
from adaptive_lr.reporting.advice_prose import headline, sentences
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store
from tests.recorded_runs import sweep_lines, write
from tests.tiny import EXPERIMENT

RUNS = {"slow": {0.01: [1.0], 0.1: [0.5], 1.0: [0.9]}, "fast": {0.01: [1.4], 0.1: [0.7], 1.0: [2.0]}}
OPTIONS = ("--lr", "lr", "--loss", "loss", "--by", "schedule")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a small experiment on two convex tasks found."""
    with Store(tmp_path_factory.mktemp("results") / "store.sqlite", write=True) as store:
        run_experiment(EXPERIMENT, store, workers=1)
        return EXPERIMENT.analyse(store)


@pytest.fixture(scope="module")
def report(numbers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its report."""
    return write_report([numbers], [], tmp_path_factory.mktemp("report")).parent


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["advise", *arguments])


def test_cheapest_schedule_of_the_experiment_comes_first(numbers: dict[str, Any]) -> None:
    found = advise(Question(10.0, "convex"), evidence_from_numbers([numbers]))
    measured = found["measured"]
    costs = {
        label: [1.0 + study["schedules"][label]["resolution"]["10"]["cost_mean"]["value"] for study in numbers["studies"].values()]
        for label in EXPERIMENT.by_label
    }  # fmt: skip
    geometric = {label: (one * other) ** 0.5 for label, (one, other) in costs.items()}
    assert measured["first"] == min(geometric, key=lambda label: geometric[label])
    for label, row in measured["schedules"].items():
        assert row["value"] == pytest.approx(geometric[label], rel=1e-3)
        assert row["worst"] == pytest.approx(max(costs[label]), rel=1e-3)
        assert row["low"] < row["value"] < row["high"]
    assert measured["same_ratio"]
    assert len(measured["tasks"]) == 2
    assert any("Not told apart" in one or "clearly cheaper" in one for one in sentences(found))
    assert measured["schedules"][measured["first"]]["spec"] in headline(found)


def test_ratio_between_those_of_the_experiment_takes_the_coarser_and_says_so(numbers: dict[str, Any]) -> None:
    found = advise(Question(5.0, "convex"), evidence_from_numbers([numbers]))
    assert found["measured"]["ratio"] == 10.0
    assert "No experiment was made at the ratio 5; the costs are those of the coarser 10." in found["unknown"]


@pytest.mark.parametrize("ratio", [1.5, 300.0])
def test_ratio_outside_the_experiment_has_the_bound_alone(numbers: dict[str, Any], ratio: float) -> None:
    found = advise(Question(ratio, "convex"), evidence_from_numbers([numbers]))
    assert found["measured"] is None
    assert "from a bound alone" in headline(found)
    assert any(
        f"The evidence at hand covers the ratios 2.15, 3.16, 10 and 100, not {ratio:g}" in one
        for one in found["unknown"]
    )


@pytest.mark.parametrize("kind", ["network", "language"])
def test_kind_without_a_task_gets_no_advice(numbers: dict[str, Any], kind: str) -> None:
    found = advise(Question(10.0, kind), evidence_from_numbers([numbers]))
    assert headline(found).startswith("No advice: there is no evidence on")
    assert any("a hint at best" in one for one in found["unknown"])


def test_bound_prefers_more_damping_for_coarser_grids() -> None:
    found = {ratio: advise(Question(ratio), shipped_evidence())["predicted"] for ratio in (2.0, 10.0, 100.0)}
    powers = []
    for one in found.values():
        best = one["best_of_family"]["worst"]["polynomial"]["spec"]
        powers.append(float(best.removeprefix("Polynomial(power=").removesuffix(")")))
        assert one["schedules"]["Linear()"]["tuned"] == pytest.approx(1.0)
        assert (
            one["best_of_family"]["worst"]["constant"]["worst"]
            > one["best_of_family"]["worst"]["damped cosine"]["worst"]
        )
    assert powers == sorted(powers)
    assert powers[0] < powers[-1]
    assert found[2.0]["first"]["worst"] == "Linear()"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [3.0, 10.0, 100.0])
def test_what_ships_covers_the_tasks_of_its_experiments(kind: str, ratio: float) -> None:
    shipped = shipped_evidence()
    advice = advise(Question(ratio, kind), shipped)
    kinds = [task["kind"] for task in shipped["tasks"].values()]
    assert {"convex", "network"} <= set(kinds)
    measured = advice["measured"]
    assert (len(measured["tasks"]) if measured else 0) == (len(kinds) if kind == "any" else kinds.count(kind))
    assert headline(advice).startswith("No advice" if kind == "language" else "Begin with")
    assert advice["controllers"]["take"] in {None, *advice["controllers"]["rows"]}


def test_evidence_from_a_report_is_what_the_experiment_gave(numbers: dict[str, Any], report: Path) -> None:
    evidence = evidence_from_report(report / "report.json")
    assert evidence["tasks"] == evidence_from_numbers([numbers])["tasks"]
    shipped = json.loads(as_shipped([numbers]))
    assert (
        advise(Question(10.0, "convex"), shipped)["measured"] == advise(Question(10.0, "convex"), evidence)["measured"]
    )


def test_what_a_report_lacks_is_taken_from_what_ships(numbers: dict[str, Any]) -> None:
    both = completed(evidence_from_numbers([numbers]))
    assert both["tasks"] == evidence_from_numbers([numbers])["tasks"]
    assert both["controllers"] == shipped_evidence()["controllers"]
    assert both["sources"]["tasks"] == numbers["name"]


def test_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", '{"experiments": {}}'):
        path = write(tmp_path / "report.json", text)
        with pytest.raises(InputError, match="report"):
            evidence_from_report(path)


def test_budget_is_turned_into_a_ratio() -> None:
    question, words = Question.afforded(ratio=None, budget=8, decades=4.0, kind="any")
    assert question.ratio == pytest.approx(10**0.5)
    assert words.startswith("8 trials over 4 decades of uncertainty")
    question, words = Question.afforded(ratio=10.0, budget=3, decades=4.0, kind="any")
    assert question.ratio == 10.0
    assert "3 trials cover 3 decades" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what can be afforded: a grid ratio, or a budget of trials"),
        (["--grid-ratio", "1"], "a grid ratio must be above 1 and at most 1e6, got 1.0"),
        (["--grid-ratio", "nan"], "a grid ratio must be above 1 and at most 1e6, got nan"),
        (["--budget", "0"], "a budget must be at least 1 trial, got 0"),
        (["--budget", "1", "--decades", "9"], "1 trials over 9 decades leave a ratio of 1e+09"),
        (["--budget", "3", "--decades", "-1"], "decades must be above 0 and at most 20, got -1.0"),
        (
            ["--grid-ratio", "10", "--task-kind", "vision"],
            "a task is one of convex, network, language, any, got 'vision'",
        ),
        (["--grid-ratio", "10", "--runs", "runs.csv"], "--runs needs --lr and --loss"),
        (["--grid-ratio", "10", "--runs", "runs.csv", "--lr", "a", "--loss", "b"], "there is no file runs.csv"),
    ],
)
def test_bad_question_is_one_clear_line(folder: Path, arguments: list[str], message: str) -> None:
    found = call(*arguments)
    assert found.exit_code == 2, found.output
    assert message in found.stderr
    assert found.stderr.count("\n") == 1


def test_recorded_runs_of_a_report_speak_for_language_models(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "runs.csv", *sweep_lines(RUNS)))
    study = summarise(table, Request(rate="lr", loss="loss", by=("schedule",), seed="seed"))
    page = page_numbers(name="e98", title="Recorded:", question="?", about=[], rerun="")
    evidence = evidence_from_numbers([page | {"studies": {"small": {"title": "small", **study}}}])
    found = advise(Question(10.0, "language"), evidence)
    assert headline(found) == "Begin with slow, from recorded runs."
    assert found["recorded"][0]["name"] == "Recorded: small"
    assert advise(Question(10.0, "convex"), evidence)["recorded"] == []
    assert headline(advise(Question(7.0, "language"), evidence)).startswith("No advice")


def test_own_runs_are_asked(folder: Path) -> None:
    write(folder / "runs.csv", *sweep_lines(RUNS))
    found = call("--grid-ratio", "10", "--task-kind", "language", "--runs", "runs.csv", *OPTIONS)
    assert found.exit_code == 0, found.output
    assert "Begin with slow, from your own runs." in found.stdout
    found = call("--grid-ratio", "10", "--task-kind", "language", "--runs", "runs.csv", *OPTIONS, "--verbose")
    assert "How much of that is noise is not known." in found.stdout
    assert "holds for their models, data and numbers of steps" in found.stdout
    coarse = call("--grid-ratio", "1000", "--task-kind", "language", "--runs", "runs.csv", *OPTIONS, "--verbose")
    assert "hold no grid of ratio 1e+03" in coarse.stdout
    assert "No advice" in coarse.stdout


def test_report_is_preferred_to_what_ships(folder: Path, report: Path) -> None:
    before = json.loads(call("--grid-ratio", "10", "--json").stdout)
    assert len(before["measured"]["tasks"]) == len(shipped_evidence()["tasks"])
    after = call("--grid-ratio", "10", "--report", str(report), "--verbose")
    assert "Experiments: loss over the tuned cosine's" in after.stdout
    assert "Evidence: report.json" in after.stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", ["1.5", "10", "300"])
def test_advice_is_at_most_five_lines_unless_everything_is_asked_for(folder: Path, kind: str, ratio: str) -> None:
    short = call("--grid-ratio", ratio, "--task-kind", kind)
    assert short.exit_code == 0, short.output
    assert len(short.stdout.splitlines()) <= 5
    long = call("--grid-ratio", ratio, "--task-kind", kind, "--verbose")
    assert len(long.stdout.splitlines()) > 10
    assert short.stdout.splitlines()[1] in long.stdout
    take = advise(Question(10.0), shipped_evidence())["controllers"]["take"]
    assert ("Controller: none." if take is None else "Rate unknown by decades? ") in short.stdout
    assert ("Controller: none." if take is None else "When not: ") in long.stdout


def test_store_of_something_else_is_passed_over(folder: Path) -> None:
    with Store(folder / "results/store.sqlite", write=True):
        pass
    found = call("--grid-ratio", "10")
    assert found.exit_code == 0, found.output
    assert "Evidence: e01_grid_resolution" in found.stdout
