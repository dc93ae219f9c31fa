"""Search spaces rounded to a lattice, and searches that are read off it."""

from typing import Any

import numpy as np
import optuna
import pytest

from adaptive_lr import DampedCosine, Warmup
from adaptive_lr.errors import SpecError
from adaptive_lr.shapes.lattice import Lattice, visited

LATTICE = Lattice(
    schedule=Warmup(fraction=0.0, then=DampedCosine()),
    levels={"then.k": (0.5, 1.0, 2.0, 4.0), "then.exponent": (0.5, 1.0, 2.0, 4.0, 8.0), "fraction": (0.0, 0.1)},
)
VALUES = [(index // 10 - 1) ** 2 + (index // 2 % 5 - 3) ** 2 + 0.5 * (index % 2) for index in range(len(LATTICE))]
"""A bowl, least at k = 1, exponent 4 and no warm-up: shape 16."""


def searched(sampler: str, seed: int = 0, **changes: Any) -> tuple[int, ...]:
    options: dict[str, Any] = {"trials": 32}
    return visited(LATTICE, VALUES, sampler=sampler, seed=seed, **options | changes)


def test_every_combination_of_levels_is_a_shape() -> None:
    shapes = list(LATTICE)
    assert len(set(shapes)) == len(shapes) == len(LATTICE) == 40
    assert shapes[16] == Warmup(fraction=0.0, then=DampedCosine(exponent=4.0))
    assert LATTICE.numbers(39) == {"then.k": 4.0, "then.exponent": 8.0, "fraction": 0.1}
    assert LATTICE.numbers(0) == {"then.k": 0.5, "then.exponent": 0.5, "fraction": 0.0}


def test_numbers_follow_the_levels_as_a_reference_loop_has_them() -> None:
    expected = [
        (k, exponent, fraction)
        for k in (0.5, 1.0, 2.0, 4.0)
        for exponent in (0.5, 1.0, 2.0, 4.0, 8.0)
        for fraction in (0.0, 0.1)
    ]
    assert [tuple(LATTICE.numbers(index).values()) for index in range(40)] == expected


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_search_is_the_same_every_time_and_another_one_with_another_seed(sampler: str) -> None:
    assert searched(sampler) == searched(sampler)
    assert searched(sampler) != searched(sampler, seed=1)
    assert len(searched(sampler)) == 32
    assert len(searched(sampler, trials=13)) == 13
    assert set(searched(sampler)) <= set(range(40))


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_points_of_a_list_do_not_depend_on_the_values(sampler: str) -> None:
    other = visited(LATTICE, VALUES[::-1], sampler=sampler, seed=0, trials=32)
    assert searched(sampler) == other


def test_tpe_learns_from_every_trial_before_and_from_no_later_one() -> None:
    other = visited(LATTICE, VALUES[::-1], sampler="tpe", seed=0, trials=32)
    assert searched("tpe")[:10] == other[:10]  # ten results are waited for
    assert searched("tpe")[:20] == searched("tpe", trials=20)
    assert searched("tpe")[10:] != other[10:]
    late = [np.mean([VALUES[index] for index in searched("tpe", seed)[16:]]) for seed in range(5)]
    assert np.mean(late) < 0.7 * np.mean(VALUES)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_points_are_those_that_optuna_asks_for(sampler: str) -> None:
    made = {
        "tpe": optuna.samplers.TPESampler(seed=3, multivariate=True),
        "random": optuna.samplers.RandomSampler(seed=3),
        "qmc": optuna.samplers.QMCSampler(seed=3, scramble=True),
    }[sampler]
    study, points = optuna.create_study(sampler=made), []
    for _ in range(20):
        trial = study.ask()
        k, exponent, fraction = (trial.suggest_int(f"axis {axis}", 0, top) for axis, top in enumerate((3, 4, 1)))
        points.append(10 * k + 2 * exponent + fraction)
        study.tell(trial, VALUES[points[-1]])
    assert searched(sampler, 3, trials=20) == tuple(points)


def test_a_search_that_knows_nothing_spreads_evenly() -> None:
    counts = np.bincount(np.array(searched("qmc", trials=40 * 16)), minlength=40)
    assert counts.min() >= 12
    assert counts.max() <= 20


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({}, "the levels of at least one number"),
        ({"then.p": (1.0,)}, "has no number 'then.p'; it has then.k"),
        ({"then.k": ()}, "the levels of 'then.k' must ascend and be at least one, got"),
        ({"then.k": (1.0, 1.0)}, "the levels of 'then.k' must ascend"),
        ({"then.k": (2.0, 1.0)}, "the levels of 'then.k' must ascend"),
    ],
)
def test_a_lattice_that_is_declared_wrongly_is_refused(levels: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Lattice(schedule=LATTICE.schedule, levels=levels)
