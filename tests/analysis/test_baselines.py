"""The winner of a search against the best of the usual schedules."""

from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.baselines import ANY_GRID, MEASURES, TUNED, against_best, compare, costs, cut_off, expected
from adaptive_lr.analysis.robustness import RATIOS, Sweep
from adaptive_lr.analysis.stats import Array

RATES = 10.0 ** (np.arange(19) / 6.0)
"""Three decades."""


def sweep(selection: Array, report: Array, optimum: float | None = 0.0) -> Sweep:
    return Sweep.clipped(
        rates=RATES[: selection.shape[1]],
        selection=selection,
        report=report,
        initial=(1e9, 1e9),
        optimum=optimum,
        per_decade=6,
    )


def bowl(best: int = 9, level: float = 1.0, width: float = 6.0) -> Array:
    """A loss that doubles ``width`` rates from the best one, ``[19]``."""
    return level * (1.0 + ((np.arange(19) - best) / width) ** 2)


def simulated(generator: np.random.Generator, seeds: int, level: float = 1.0, best: int = 9) -> Array:
    """Losses of a schedule on so many seeds: noise of a seed in common, and of each run."""
    common, own = generator.normal(0.0, 0.2, (seeds, 1)), generator.normal(0.0, 0.1, (seeds, 19))
    return np.asarray(bowl(best, level) * np.exp(common + own))


def test_the_expected_loss_is_the_mean_over_every_ratio_and_offset() -> None:
    curve = np.random.default_rng(0).random(19)
    means = []
    for stride in (2, 3, 6, 12):
        means.append(np.mean([min(curve[index] for index in range(offset, 19, stride)) for offset in range(stride)]))
    found = expected(curve, 6)
    assert [found[label] for label in RATIOS] == pytest.approx(means, abs=1e-15)
    assert found[ANY_GRID] == pytest.approx(np.mean(means), abs=1e-15)
    assert found[TUNED] == curve.min()


def test_costs_are_those_of_whoever_tunes_on_such_a_grid_in_every_repetition() -> None:
    generator = np.random.default_rng(1)
    swept = sweep(generator.random((5, 19)), generator.random((5, 19)), optimum=0.25)
    cost = costs(swept)
    assert tuple(cost) == MEASURES
    for row, (curve, reported) in enumerate(zip(swept.selection, swept.report, strict=True)):
        for label, stride in zip(RATIOS, (2, 3, 6, 12), strict=True):
            grids = [range(offset, 19, stride) for offset in range(stride)]
            chosen = [min(grid, key=lambda index: curve[index]) for grid in grids]
            assert cost[label][row] == pytest.approx(reported[chosen].mean() - 0.25, abs=1e-15)
        assert cost[TUNED][row] == reported[int(np.argmin(curve))] - 0.25
    np.testing.assert_allclose(cost[ANY_GRID], np.mean([cost[label] for label in RATIOS], axis=0), rtol=1e-15)


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    paired.judge(rows)
    return rows


def against(ratios: dict[str, list[float]], seen: dict[str, float]) -> dict[str, Any]:
    """A winner with losses of 1 against baselines that its loss is these multiples of."""
    losses = {label: 1.0 / np.array(values) for label, values in ratios.items()}
    count = len(next(iter(ratios.values())))
    return judged([{**against_best(np.ones(count), losses, seen, ratio=True), "at_boundary": False}])[0]


def test_the_named_baseline_is_the_one_that_is_hardest_to_beat() -> None:
    row = against({"cosine": [0.5, 0.55], "linear": [0.8, 0.9]}, {"cosine": 1.0, "linear": 2.0})
    assert row["baseline"] == "linear"
    assert row["ratio"]["value"] == pytest.approx(np.sqrt(0.8 * 0.9))
    assert row["value"] == pytest.approx(np.sqrt(0.8 * 0.9) - 1.0)
    assert (row["n"], row["procedure"]) == (2, "t on log ratios, Holm")


def test_losses_without_a_known_optimum_are_compared_by_their_difference() -> None:
    mine, theirs = np.array([1.0, 1.2, 1.1, 1.3]), np.array([1.4, 1.5, 1.5, 1.6])
    row = against_best(mine, {"cosine": theirs}, {"cosine": 1.0}, ratio=False)
    assert row["value"] == pytest.approx(-0.35)
    assert row["procedure"] == "t on differences, Holm"
    assert row["p"] == pytest.approx(paired.t_interval(mine - theirs)["p"])
    assert row["ratio"]["value"] == pytest.approx(mine.mean() / theirs.mean())


def test_better_means_better_than_every_baseline() -> None:
    clear, doubtful = [0.80, 0.81, 0.79, 0.80], [0.5, 1.2, 0.4, 1.1]
    assert against({"cosine": clear}, {"cosine": 1.0})["verdict"] == "better"
    both = {"cosine": clear, "linear": doubtful}
    assert against(both, {"cosine": 1.0, "linear": 2.0})["verdict"] == "not better"
    assert against(both, {"cosine": 1.0, "linear": 2.0})["p"] == pytest.approx(paired.t_interval(np.log(doubtful))["p"])
    lower = {"cosine": clear, "linear": [1.01, 1.02, 1.03, 1.02]}
    assert against(lower, {"cosine": 1.0, "linear": 2.0})["p"] == 1.0


def test_worse_means_worse_than_the_baseline_that_was_best_where_the_search_looked() -> None:
    ratios = {"cosine": [0.9, 1.2, 1.1, 0.95], "linear": [1.20, 1.21, 1.19, 1.20]}
    row = against(ratios, {"cosine": 2.0, "linear": 1.0})
    assert (row["baseline"], row["verdict"]) == ("linear", "worse")
    row = against(ratios, {"cosine": 1.0, "linear": 2.0})
    assert (row["baseline"], row["verdict"]) == ("cosine", "not better")
    assert row["ratio"]["value"] == pytest.approx(np.exp(np.log(ratios["cosine"]).mean()))


def test_the_best_baseline_may_be_another_one_at_another_ratio() -> None:
    curves = {"tuned": bowl(level=0.9, width=60.0), "sharp": bowl(width=1.0), "flat": bowl(level=1.5, width=60.0)}
    sweeps = {label: sweep(np.tile(losses, (3, 1)), np.tile(losses, (3, 1))) for label, losses in curves.items()}
    seen = {label: expected(curve, 6) for label, curve in curves.items()}
    rows = judged(compare(sweeps, "tuned", ["sharp", "flat"], seen))
    assert {row["measure"]: row["baseline"] for row in rows} == {
        TUNED: "sharp",
        "10^(1/3)": "sharp",
        "10^(1/2)": "flat",
        "10": "flat",
        "100": "flat",
        ANY_GRID: "flat",
    }
    assert {row["verdict"] for row in rows} == {"better"}


@pytest.mark.parametrize(
    ("best", "edges"),
    [
        (9, set()),
        (3, {"100", ANY_GRID}),
        (2, {"10", "100", ANY_GRID}),
        (18, set(MEASURES)),
        (1, {"10^(1/2)", "10", "100", ANY_GRID}),
    ],
)
def test_a_best_rate_within_half_a_step_of_an_end_cannot_be_judged(best: int, edges: set[str]) -> None:
    swept, plain = (sweep(np.tile(bowl(place), (2, 1)), np.tile(bowl(place), (2, 1))) for place in (best, 9))
    assert {measure for measure in MEASURES if cut_off(swept, measure)} == edges
    seen = {"cosine": expected(bowl(), 6)}
    rows = judged(compare({"tuned": swept, "cosine": plain}, "tuned", ["cosine"], seen))
    assert {row["measure"] for row in rows if row["verdict"] == "cannot be judged"} == edges


def test_one_repetition_is_not_judged() -> None:
    swept = sweep(bowl()[None], bowl()[None])
    rows = compare({"tuned": swept, "cosine": swept}, "tuned", ["cosine"], {"cosine": expected(bowl(), 6)}, [TUNED])
    assert [row["verdict"] for row in judged(rows)] == ["cannot be judged"]


@pytest.mark.parametrize("repetitions", [5, 20])
def test_of_equal_schedules_hardly_any_winner_is_called_another(repetitions: int) -> None:
    generator, wrong, repeats = np.random.default_rng(3), 0, 300
    for _ in range(repeats):
        labels = ("a", "b", "c", "d", "cosine", "linear", "WSD")
        seen = {label: expected(simulated(generator, 5).mean(0), 6) for label in labels}
        sweeps = {
            label: sweep(simulated(generator, repetitions), simulated(generator, repetitions)) for label in labels
        }
        winner = min("abcd", key=lambda label: seen[label][ANY_GRID])
        rows = judged(compare(sweeps, winner, ["cosine", "linear", "WSD"], seen))
        wrong += any(row["verdict"] in ("better", "worse") for row in rows)
    assert wrong / repeats <= 0.06


def test_a_better_winner_is_called_better_and_a_worse_one_worse() -> None:
    generator = np.random.default_rng(4)
    for level, verdict in ((0.5, "better"), (2.0, "worse")):
        levels = {"tuned": level, "cosine": 1.0, "constant": 1.3}
        sweeps = {
            label: sweep(simulated(generator, 10, factor), simulated(generator, 10, factor))
            for label, factor in levels.items()
        }
        seen = {label: expected(bowl(level=factor), 6) for label, factor in levels.items()}
        rows = judged(compare(sweeps, "tuned", ["cosine", "constant"], seen))
        assert {(row["baseline"], row["verdict"]) for row in rows} == {("cosine", verdict)}
