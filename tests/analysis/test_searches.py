"""Best-so-far curves, winners against the best baseline, and samplers against each other."""

import numpy as np
import pytest

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.baselines import ANY_GRID, MEASURES, TUNED, costs, expected
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.searches import EXHAUSTIVE, Searched, checkpoints, family, incumbents, summarise
from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.transfer import transferred
from tests.analysis.test_baselines import bowl, sweep

LEVELS = (2.0, 0.5, 1.0, 4.0)
"""The losses of four shapes at their best rate."""


def noisy(level: float, seed: int, optimum: float | None = 0.0) -> Sweep:
    report: Array = bowl(level=level) * np.exp(np.random.default_rng(seed).normal(0.0, 0.02, (8, 1)))
    return sweep(np.tile(bowl(level=level), (8, 1)), report, optimum)


def searched(optimum: float | None = 0.0, **paths: list[tuple[int, ...]]) -> Searched:
    worth = [expected(bowl(level=level), 6) for level in LEVELS]
    return Searched(
        values={objective: [row[objective] for row in worth] for objective in (TUNED, ANY_GRID)},
        visited=dict.fromkeys((TUNED, ANY_GRID), paths),
        shapes={index: noisy(level, index, optimum) for index, level in enumerate(LEVELS)},
        baselines={"cosine": noisy(1.0, 10, optimum), "constant": noisy(1.5, 11, optimum)},
        seen={"cosine": expected(bowl(), 6), "constant": expected(bowl(level=1.5), 6)},
    )


def test_a_search_is_looked_at_after_powers_of_two_and_at_its_end() -> None:
    assert checkpoints(1) == (1,)
    assert checkpoints(2) == (1, 2)
    assert checkpoints(48) == (1, 2, 4, 8, 16, 32, 48)


def test_the_incumbent_is_the_best_so_far_and_the_first_of_equals() -> None:
    values = [3.0, 1.0, 2.0, 1.0]
    assert incumbents(values, (0, 2, 3, 1)) == (0, 2, 3)
    assert incumbents(values, (3, 1)) == (3, 3)


def test_curves_are_geometric_means_over_the_repeats_of_the_ratio_on_other_seeds() -> None:
    both = searched(tpe=[(0, 2, 1, 1), (3, 0, 3, 3)], random=[(3, 3, 3, 3), (2, 2, 2, 2)])
    numbers = summarise(both)
    curve = numbers["objectives"][TUNED]["samplers"]["tpe"]["curve"]
    assert curve["trials"] == [1, 2, 4]
    best = costs(both.baselines["cosine"])[TUNED]
    for column, shapes in enumerate(((0, 3), (2, 0), (1, 0))):
        logs = [np.log(costs(both.shapes[shape])[TUNED] / best).mean() for shape in shapes]
        assert curve["value"][column] == pytest.approx(np.exp(np.mean(logs)))
        seen = [LEVELS[shape] for shape in shapes]
        assert curve["seen"][column] == pytest.approx(np.sqrt(np.prod(seen)))
    assert numbers["objectives"][TUNED]["samplers"]["tpe"]["distinct"] == 2.5


def test_winners_are_compared_with_the_best_baseline_by_every_measure() -> None:
    both = searched(tpe=[(1, 1), (1, 0)], random=[(0, 0), (3, 3)])
    numbers = summarise(both)
    assert numbers["best_baseline"] == dict.fromkeys(MEASURES, "cosine")
    rows = numbers["objectives"][TUNED]["samplers"]["tpe"]["rows"]
    assert [row["measure"] for row in rows] == list(MEASURES)
    for row in rows:
        mine, theirs = costs(both.shapes[1])[row["measure"]], costs(both.baselines["cosine"])[row["measure"]]
        assert row["ratio"]["value"] == pytest.approx(np.exp(np.log(mine / theirs).mean()))
        assert (row["lower"], row["of"], row["n"], row["baseline"]) == (2, 2, 8, "cosine")
    paired.judge(family({"task": numbers}))
    assert {row["verdict"] for row in rows} == {"better"}
    assert {row["verdict"] for row in numbers["objectives"][TUNED]["samplers"]["random"]["rows"]} == {"worse"}
    assert numbers["objectives"][TUNED][EXHAUSTIVE]["shape"] == 1
    assert numbers["objectives"][TUNED][EXHAUSTIVE]["seen"] == pytest.approx(0.5)


def test_winners_of_several_repeats_are_averaged_in_each_repetition() -> None:
    for optimum in (0.0, None):
        both = searched(optimum, tpe=[(1,), (2,), (2,)])
        row = summarise(both)["objectives"][TUNED]["samplers"]["tpe"]["rows"][0]
        ends = np.stack([costs(both.shapes[index])[TUNED] for index in (1, 2, 2)])
        mine = ends.mean(0) if optimum is None else np.exp(np.log(ends).mean(0))
        theirs = costs(both.baselines["cosine"])[TUNED]
        test = paired.gap(mine, theirs, ratio=optimum is not None)
        assert {name: row[name] for name in ("value", "low", "high", "n", "procedure")} == pytest.approx(
            {name: test[name] for name in ("value", "low", "high", "n", "procedure")}
        )


def test_all_comparisons_of_an_experiment_are_one_family() -> None:
    numbers = summarise(searched(tpe=[(1,), (1,)], random=[(0,), (3,)], qmc=[(2,), (2,)]))
    rows = family({"a": numbers, "b": numbers})
    assert len(rows) == 2 * 2 * (3 * len(MEASURES) + len(MEASURES) + 2)


def test_samplers_are_compared_with_random_search_over_the_repeats() -> None:
    both = searched(tpe=[(1,), (2,), (1,)], random=[(0,), (0,), (0,)], qmc=[(0,), (0,), (0,)])
    tpe, qmc = summarise(both)["objectives"][TUNED]["comparisons"]
    assert (tpe["sampler"], tpe["against"], tpe["n"]) == ("tpe", "random", 3)
    ends = [np.log(costs(both.shapes[shape])[TUNED] / costs(both.shapes[0])[TUNED]).mean() for shape in (1, 2, 1)]
    assert tpe["ratio"]["value"] == pytest.approx(np.exp(np.mean(ends)))
    assert (qmc["value"], qmc["p"]) == (0.0, 1.0)
    assert summarise(searched(tpe=[(1,)]))["objectives"][TUNED]["comparisons"] == []


def test_the_same_sampler_twice_shows_no_difference() -> None:
    generator, wrong = np.random.default_rng(5), 0
    for _ in range(200):
        tpe, random = (list[tuple[int, ...]](zip(generator.integers(0, 4, 20).tolist())) for _ in range(2))
        wrong += summarise(searched(tpe=tpe, random=random))["objectives"][TUNED]["comparisons"][0]["p"] <= 0.05
    assert wrong <= 18  # 5 % of 200, and 2.6 standard errors


def test_a_winner_near_an_end_of_the_window_is_marked_for_the_coarse_grids_only() -> None:
    both = searched(tpe=[(1,), (2,)])
    edge = sweep(np.tile(bowl(4, 1.0), (8, 1)), np.tile(bowl(4, 1.0), (8, 1)))
    numbers = summarise(Searched(both.values, both.visited, {**both.shapes, 2: edge}, both.baselines, both.seen))
    rows = numbers["objectives"][TUNED]["samplers"]["tpe"]["rows"]
    assert [row["measure"] for row in rows if row["at_boundary"]] == ["100", ANY_GRID]


def test_what_was_found_elsewhere_is_compared_with_the_best_baseline_there() -> None:
    seen = {"cosine": expected(bowl(), 6), "constant": expected(bowl(level=1.4), 6)}
    matrix = transferred(
        {"a": {"a": noisy(0.5, 1), "b": noisy(2.0, 2)}, "b": {"a": noisy(1.0, 3), "b": noisy(0.9, 4)}},
        {"a": {"cosine": noisy(1.0, 5), "constant": noisy(1.4, 6)}, "b": {"cosine": noisy(1.0, 3)}},
        {"a": seen, "b": seen},
    )
    assert {target: list(row) for target, row in matrix.items()} == {"a": ["b"], "b": ["a"]}
    paired.judge([cell for row in matrix.values() for cell in row.values()])
    assert matrix["a"]["b"]["verdict"] == "worse"
    assert (matrix["b"]["a"]["verdict"], matrix["b"]["a"]["value"]) == ("not better", 0.0)
