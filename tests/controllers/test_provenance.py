"""What the constants of controllers were chosen on is named, in words that can be looked up."""

import re

import pytest

from adaptive_lr import CONTROLLERS, AbstractController
from adaptive_lr.experiment import AnyRate, load_experiment

CELL = re.compile(r"[a-z0-9_-]+( \d+\.\.\d+)? seeds? \d+(\.\.\d+)?")
"""Such as «random-network 0..21 seed 100»."""


@pytest.fixture(scope="module")
def studies() -> set[str]:
    """The names of all studies of the two experiments on controllers."""
    names: set[str] = set()
    for name in ("e02_any_learning_rate", "e03_controller_ablation"):
        experiment = load_experiment(name)
        assert isinstance(experiment, AnyRate)
        names |= {study.name for study in experiment.studies}
    return names


@pytest.mark.parametrize("kind", CONTROLLERS, ids=lambda kind: kind.kind)
def test_constants_name_the_studies_or_cells_that_they_were_chosen_on(
    kind: type[AbstractController], studies: set[str]
) -> None:
    assert len(set(kind.tuned_on)) == len(kind.tuned_on)
    for name in kind.tuned_on:
        assert name in studies or CELL.fullmatch(name), f"{kind.__name__}.tuned_on: unknown cell {name!r}"


def test_every_anchor_was_tuned_on_something() -> None:
    anchors = [kind for kind in CONTROLLERS if kind.__name__.endswith(("Anchor", "Lift"))]
    assert len(anchors) >= 3
    assert all(kind.tuned_on for kind in anchors)
