"""Antithetic evolution strategies on functions whose minimum is known."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from adaptive_lr.errors import InputError
from adaptive_lr.meta.evolution import Evolution

Array = NDArray[np.float64]
TARGET = np.array([0.6, -0.4, 0.0, 0.3, -0.8])


def noisy(candidates: Array, generation: int) -> Array:
    """A quadratic with as much noise as a step of 0.3 to the side makes."""
    source = np.random.default_rng([9, generation])
    values: Array = ((candidates - TARGET) ** 2).sum(1) + 0.1 * source.standard_normal(len(candidates))
    return values


def run(evolution: Evolution, generations: int, values: Callable[[Array, int], Array] = noisy) -> Evolution:
    for _ in range(generations):
        evolution.tell(values(evolution.ask(), evolution.generation))
    return evolution


def begun(seed: int = 0) -> Evolution:
    return Evolution(np.zeros(5), seed=seed)


def test_the_same_is_asked_until_it_is_told() -> None:
    evolution = begun()
    candidates = evolution.ask()
    np.testing.assert_array_equal(candidates, evolution.ask())
    np.testing.assert_array_equal(candidates, begun().ask())
    assert not np.array_equal(candidates, begun(1).ask())
    evolution.tell(noisy(candidates, 0))
    assert not np.array_equal(candidates, evolution.ask())


def test_candidates_are_pairs_around_the_centre() -> None:
    evolution = Evolution(TARGET.copy(), spread=0.2, pairs=2000)
    candidates = evolution.ask()
    assert candidates.shape == (4000, 5)
    np.testing.assert_allclose(candidates[:2000] + candidates[2000:], 2 * np.tile(TARGET, (2000, 1)), atol=1e-14)
    assert (candidates - TARGET).std() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_the_minimum_of_a_noisy_quadratic_is_found(seed: int) -> None:
    evolution = run(begun(seed), 120)
    assert np.linalg.norm(evolution.centre - TARGET) < 0.25 * np.linalg.norm(TARGET)


def test_the_first_step_is_adams_along_the_slope() -> None:
    slope = np.array([3.0, -2.0, 1.0])
    evolution = run(Evolution(np.zeros(3), pairs=500), 1, lambda candidates, _: candidates @ slope)
    np.testing.assert_allclose(evolution.centre, -0.05 * np.sign(slope), rtol=1e-6)


def test_neither_a_shift_nor_a_factor_of_the_values_changes_anything() -> None:
    plain = run(begun(), 20)
    for changed in (
        lambda x, t: noisy(x, t) + 1000.0,
        lambda x, t: 1e-3 * noisy(x, t),
        lambda x, t: 50 * noisy(x, t) - 7,
    ):
        np.testing.assert_allclose(run(begun(), 20, changed).centre, plain.centre, rtol=1e-6, atol=1e-9)


def test_values_that_are_all_the_same_move_nothing() -> None:
    evolution = run(Evolution(TARGET.copy()), 3, lambda candidates, _: np.ones(len(candidates)))
    np.testing.assert_array_equal(evolution.centre, TARGET)


def test_json_and_back_in_the_middle() -> None:
    half = run(begun(), 10)
    resumed = Evolution.decoded(json.loads(json.dumps(half.encoded())))
    np.testing.assert_array_equal(run(resumed, 10).centre, run(half, 10).centre)
    assert resumed.encoded() == half.encoded()


@pytest.mark.parametrize("values", [np.zeros(23), np.zeros((24, 1)), np.full(24, math.nan), np.full(24, math.inf)])
def test_values_that_are_none_are_refused(values: Array) -> None:
    evolution = begun()
    with pytest.raises(InputError, match="evolution needs 24 finite values"):
        evolution.tell(values)
    assert evolution.generation == 0
