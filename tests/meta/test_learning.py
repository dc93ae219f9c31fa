"""A learning that is stopped goes on where it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr.errors import InputError, SpecError
from adaptive_lr.meta.evaluation import penalties
from adaptive_lr.meta.learners import learner
from adaptive_lr.meta.learning import SAMPLED_AT_ONCE, WAYS, Learning
from adaptive_lr.meta.objective import Objective
from tests.meta.learned import SITUATIONS

OBJECTIVE = Objective(SITUATIONS[:2], at_once=1, rates=2)

BUDGET = {"evolution": 7000.0, "tpe": 4000.0, "cmaes": 4000.0}
"""Three generations or more."""


class StoppedError(Exception):
    """As if by Ctrl-C."""


def learning(path: Path, way: str = "evolution", budget: float = 12_000.0, **changed: Any) -> Learning:
    settings: dict[str, Any] = {"learner": learner("shape"), "objective": OBJECTIVE, "seed": 1} | changed
    return Learning(way=way, budget=budget, path=path, **settings)


def stop_after_one(state: Learning) -> None:
    """Stop it once another generation is written down."""

    def advance(steps: float) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        state.run(advance=advance)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_was_stopped_learns_the_same(way: str, tmp_path: Path) -> None:
    if way == "cmaes":
        pytest.importorskip("cmaes", reason="pip install cmaes for this sampler")
    whole = learning(tmp_path / "whole.state", way, budget=BUDGET[way])
    expected = whole.run()
    assert whole.steps >= BUDGET[way]
    assert len(whole.history) >= 3
    for _ in range(2):  # stopped after the first and the second generation
        stop_after_one(learning(tmp_path / "stopped.state", way, budget=BUDGET[way]))
    resumed = learning(tmp_path / "stopped.state", way, budget=BUDGET[way])
    assert len(resumed.history) == 2
    np.testing.assert_array_equal(resumed.run(), expected)
    assert resumed.history == whole.history
    assert (tmp_path / "stopped.state").read_bytes() == (tmp_path / "whole.state").read_bytes()


def test_more_budget_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = learning(path, budget=2000.0)
    first.run()
    more = learning(path, budget=8000.0)
    more.run()
    assert more.history[: len(first.history)] == first.history
    assert len(more.history) > len(first.history)
    spent: list[float] = []
    learning(path, budget=8000.0).run(advance=spent.append)
    assert spent == []


def test_evolution_lowers_what_is_lost(tmp_path: Path) -> None:
    policy = learner("policy")
    # From the plain schedule, on one task with rates that are up to a hundred times wrong.
    state = learning(tmp_path / "state", objective=Objective(SITUATIONS[:1], rates=4), budget=60_000.0, learner=policy)
    spent: list[float] = []
    vector = state.run(advance=spent.append)
    assert spent == [row[0] for row in state.history] == sorted(spent)
    lanes = Objective(SITUATIONS[:1], rates=20).lanes(77, 0)
    begin, end, still = Objective.value(
        penalties([policy.recipe(x) for x in (policy.start(), vector, 0 * vector)], lanes)
    )
    assert end < begin < still


def test_a_sampler_gives_its_best_point(tmp_path: Path) -> None:
    state = learning(tmp_path / "state", "tpe", budget=3000.0)
    np.testing.assert_array_equal(state.vector, learner("shape").start())
    vector = state.run()
    assert len(state.values) % SAMPLED_AT_ONCE == 0
    assert vector.tolist() == state.points[int(np.argmin(state.values))]
    assert min(state.values) == min(row[2] for row in state.history)


@pytest.mark.parametrize(
    "changed",
    [
        {"way": "tpe"},
        {"seed": 2},
        {"learner": learner("constants")},
        {"objective": replace(OBJECTIVE, rates=4)},
        {"objective": replace(OBJECTIVE, at_once=2)},
        {"objective": replace(OBJECTIVE, situations=SITUATIONS)},
    ],
    ids=lambda changed: "".join(changed),
)
def test_the_file_of_another_learning_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "state"
    learning(path, budget=1.0).run()
    before = path.read_bytes()
    with pytest.raises(InputError, match="state is of another learning: name another file, or move it away"):
        learning(path, **({"way": "evolution"} | changed))
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"key": 1}', "damaged"])
def test_a_damaged_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text(content)
    with pytest.raises(InputError, match=r"state (cannot be read as the state of|is of another) .*learning"):
        learning(path)
    learning(tmp_path / "good", budget=1.0).run()
    data = json.loads((tmp_path / "good").read_text())
    del data["evolution"]["centre"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="cannot be read as the state of a learning"):
        learning(path)


def test_another_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="way to learn"):
        learning(tmp_path / "state", "evolutin")
