"""The winner of a search and the usual schedules, on grids of four ratios and on seeds that the search did not see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import WSD, Constant, DampedCosine, Linear, Range
from adaptive_lr.analysis.baselines import ANY_GRID, TUNED
from adaptive_lr.analysis.robustness import RATIOS
from adaptive_lr.errors import SpecError
from adaptive_lr.search.result import SearchResult, TrialRecord
from adaptive_lr.search.space import Point
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.judge import BASELINES, judge
from adaptive_lr.shapes.losses import Objective, read_losses
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.shapes.verdict import Judged, Verdict
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.trials.store import Store
from tests.shapes.test_batched import GRID, shapes

FEW = {"cosine": DampedCosine(), "linear": Linear(), "constant": Constant()}


def found_at(searched: ShapeSearch, point: Point, folder: Path) -> SearchResult:
    """What a search would hand over that found this point."""
    values = (1.0, 1.0) if searched.objective == "best and worst" else (1.0,)
    return SearchResult(
        trials=(TrialRecord(number=0, point=point, values=values, state="complete"),),
        directions=("minimize",) * len(values),  # type: ignore[arg-type]
        directory=folder,
        storage="",
        ran=1,
        space=searched.searched,
    )


def test_the_winner_and_the_baselines_go_through_all_four_ratios(tmp_path: Path) -> None:
    searched = shapes(task=StreamingLeastSquares(dimension=20, noise=1.0), steps=200)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        result = search_shapes(searched, trials=8, directory=tmp_path / "search", store=store)
        verdict = judge(searched, result, store)
        before = len(store)
        assert judge(searched, result, store) == verdict
        assert len(store) == before
    assert [judged.label for judged in (verdict.winner, *verdict.baselines)] == ["tuned", *BASELINES]
    assert {"cosine", "linear", "constant", "WSD"} < set(BASELINES)
    assert [row["measure"] for row in verdict.comparisons] == [TUNED, *RATIOS]
    assert verdict.repetitions == 2  # of five report seeds, the odd one out is not used
    assert all(row["baseline"] in BASELINES and row["n"] == 2 for row in verdict.comparisons)
    assert {row["procedure"] for row in verdict.comparisons} == {"t on log ratios, Holm"}
    for judged in (verdict.winner, *verdict.baselines):
        assert list(judged.costs) == [TUNED, *RATIOS]
        assert all(cost["low"] <= cost["value"] <= cost["high"] for cost in judged.costs.values())
        assert not judged.at_boundary
    assert verdict.winner.schedule == searched.shape(result.best)


def test_numbers_are_those_of_the_trials(tmp_path: Path) -> None:
    searched = shapes(dtype="float64")
    with Store(tmp_path / "store.sqlite", write=True) as store:
        verdict = judge(searched, found_at(searched, {"k": 1.0, "exponent": 3.0}, tmp_path), store, baselines=FEW)
        rates = [float(f"{0.01 * 10 ** (step / 6):.12g}") for step in range(-6, 25)]
        everything = store.finished(
            trial.digest() for row in searched.trials(Linear(), range(5), rates) for trial in row
        )
        rates = [
            rate
            for index, rate in enumerate(rates)
            if searched.trials(Linear(), range(1), rates)[0][index].digest() in everything
        ]
        tuned, linear = (
            [read_losses(store, searched.trials(schedule, seeds, rates), "excess")[0] for seeds in ((3, 4), (0, 1))]
            for schedule in (DampedCosine(exponent=3.0), Linear())
        )
    chosen = [losses[1][np.arange(2), losses[0].argmin(1)] for losses in (tuned, linear)]
    assert rates[int(np.argmin(tuned[0].mean(0)))] == pytest.approx(verdict.winner.rate)
    assert verdict.winner.costs[TUNED]["value"] == pytest.approx(np.exp(np.log(chosen[0]).mean()), rel=1e-12)
    by_label = {judged.label: judged for judged in verdict.baselines}
    assert by_label["linear"].costs[TUNED]["value"] == pytest.approx(np.exp(np.log(chosen[1]).mean()), rel=1e-12)
    row = verdict.comparisons[0]
    assert row["baseline"] == "linear"
    assert row["ratio"]["value"] == pytest.approx(np.exp(np.mean(np.log(chosen[0] / chosen[1]))), rel=1e-12)


def test_no_seed_of_the_search_reports_or_chooses_a_reported_rate(tmp_path: Path) -> None:
    point: Point = {"k": 1.0, "exponent": 3.0}
    with Store(tmp_path / "store.sqlite", write=True) as store:
        one, other = (
            judge(searched, found_at(searched, point, tmp_path), store, baselines={"cosine": DampedCosine()})
            for searched in (shapes(), shapes(selection_seeds=range(200, 203)))
        )
    assert one.winner == other.winner
    assert one.comparisons == other.comparisons
    with (
        Store(tmp_path / "store.sqlite", write=True) as store,
        pytest.raises(SpecError, match="at least 2 report_seeds, one to choose rates and one to report, got 1"),
    ):
        judge(shapes(report_seeds=range(1)), found_at(shapes(), point, tmp_path), store)


def test_the_window_reaches_a_decade_beyond_every_best_rate(tmp_path: Path) -> None:
    searched = shapes(rates=(0.3, 0.6))
    with Store(tmp_path / "store.sqlite", write=True) as store:
        narrow = judge(searched, found_at(searched, {"k": 1.0, "exponent": 2.0}, tmp_path), store, baselines=FEW)
        wide = judge(shapes(), found_at(searched, {"k": 1.0, "exponent": 2.0}, tmp_path), store, baselines=FEW)
    for verdict in (narrow, wide):
        assert all(row["verdict"] != "cannot be judged" for row in verdict.comparisons)
    ratios = [judged.rate / other.rate for judged, other in zip(narrow.baselines, wide.baselines, strict=True)]
    assert max(ratios) < 1.5
    assert min(ratios) > 1 / 1.5


def test_a_rate_that_falls_nowhere_leaves_the_verdict_open(tmp_path: Path) -> None:
    searched = shapes(rates=(1e30,), steps=3, selection_seeds=range(100, 101), report_seeds=range(2))
    with Store(tmp_path / "store.sqlite", write=True) as store:
        verdict = judge(searched, found_at(searched, {"k": 1.0, "exponent": 2.0}, tmp_path), store, baselines=FEW)
    assert verdict.winner.at_boundary
    assert {row["verdict"] for row in verdict.comparisons} == {"cannot be judged"}


def test_a_base_rate_that_was_searched_is_inside_the_window(tmp_path: Path) -> None:
    searched = shapes(space={"base_lr": Range(1e-3, 100.0, log=True), "exponent": Range(0.5, 4.0)}, steps=20)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        judge(searched, found_at(searched, {"base_lr": 50.0, "exponent": 1.0}, tmp_path), store, baselines=FEW)
        trial = searched.trials(Linear(), range(1), [0.01 * 10 ** (23 / 6)])[0][0]
        assert store.finished([trial.digest()])


def test_a_baseline_itself_is_not_better_than_the_best_baseline(tmp_path: Path) -> None:
    searched = shapes(steps=200)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        verdict = judge(searched, found_at(searched, {"k": 1.0, "exponent": 1.0}, tmp_path), store, baselines=FEW)
        alone = judge(
            searched,
            found_at(searched, {"k": 1.0, "exponent": 1.0}, tmp_path),
            store,
            baselines={"cosine": DampedCosine()},
        )
    assert not verdict.better
    assert {(row["value"], row["p"], row["verdict"]) for row in alone.comparisons} == {(0.0, 1.0, "not better")}


@pytest.mark.parametrize(
    ("objective", "first"),
    [
        ("best", TUNED),
        ("grids", ANY_GRID),
        ("worst", "worst loss within a factor of 4"),
        ("best and worst", "worst loss within a factor of 4"),
        ("mean", "mean loss within a factor of 4"),
    ],
)
def test_what_was_searched_for_is_judged_first(objective: Objective, first: str, tmp_path: Path) -> None:
    rates = tuple(float(f"{rate:.12g}") for rate in np.logspace(-2, 1, 19))
    searched = shapes(objective=objective, window=4.0, rates=rates)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        verdict = judge(searched, found_at(searched, {"k": 1.0, "exponent": 2.0}, tmp_path), store, baselines=FEW)
        wide = [float(f"{0.01 * 10 ** (step / 6):.12g}") for step in range(19)]
        selection, report = (
            read_losses(store, searched.trials(DampedCosine(exponent=2.0), seeds, wide), "excess")[0]
            for seeds in ((3, 4), (0, 1))
        )
    assert verdict.comparisons[0]["measure"] == first
    assert [row["measure"] for row in verdict.comparisons if row["measure"] in RATIOS] == list(RATIOS)
    reported = []
    for choosing, reporting in zip(selection, report, strict=True):
        best = int(np.argmin(choosing))
        around = slice(best - 3, best + 4)
        worst = int(np.argmax(choosing[around]))
        reported.append(reporting[around].mean() if first.startswith("mean") else reporting[around][worst])
    if "loss" in first:
        assert verdict.winner.costs[first]["value"] == pytest.approx(np.exp(np.log(reported).mean()))


def verdict_of(**changes: Any) -> Verdict:
    row = {
        "measure": TUNED,
        "baseline": "linear",
        "ratio": {"value": 0.97, "low": 0.95, "high": 0.99},
        "procedure": "t on log ratios, Holm",
        "n": 8,
        "adjusted": 0.012,
        "at_boundary": changes.get("verdict") == "cannot be judged",
        "verdict": "better",
    }
    judged = Judged(label="tuned", schedule=DampedCosine(exponent=2.0), rate=0.1, at_boundary=False, costs={})
    rows = (row | changes, row | {"measure": "10", "baseline": "WSD", "verdict": "not better"})
    return Verdict(winner=judged, baselines=(judged,), comparisons=rows, repetitions=8)


@pytest.mark.parametrize("word", ["better", "worse", "not better"])
def test_the_sentence_names_the_best_baseline(word: str) -> None:
    verdict = verdict_of(verdict=word)
    assert (verdict.better, verdict.worse) == (word == "better", word == "worse")
    sentence = verdict.sentence()
    assert sentence.startswith(
        f"Each schedule at its own best rate, the tuned DampedCosine(exponent=2) is {word} than the best baseline (linear), 0.97 [0.95, 0.99] times its loss"
    )
    assert "(t on log ratios, Holm, n = 8, p = 0.012)" in sentence
    assert "n = 8 repetitions, each on two seeds that the search did not see" in sentence
    assert "10: not better (WSD, 0.97 [0.95, 0.99])" in sentence
    assert "Holm's correction over these 2" in sentence


def test_a_best_rate_near_the_end_of_the_window_is_said() -> None:
    sentence = verdict_of(verdict="cannot be judged", measure=ANY_GRID).sentence()
    assert sentence.startswith(
        "On grids of a random ratio and offset, the tuned DampedCosine(exponent=2) cannot be judged"
    )
    assert "near an end of the window" in sentence


def test_the_usual_schedules_are_at_their_usual_numbers() -> None:
    assert BASELINES["WSD"] == WSD()
    assert all(rate > 0.0 for rate in GRID)
