"""What a vector stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import (
    CONTROLLERS,
    SCHEDULES,
    DampedCosine,
    LearnedDamping,
    ProgressAnchor,
    SpecError,
    Static,
    Warmup,
    table,
)
from adaptive_lr.meta.learners import LEARNERS, AbstractLearner, learner
from adaptive_lr.spec import decode, encode

EVERY = pytest.mark.parametrize("which", LEARNERS.values(), ids=lambda one: one.name)


def test_zero_vectors_are_what_they_should_be() -> None:
    assert learner("shape").recipe([0.0] * 4) == (DampedCosine(), Static())
    schedule, controller = learner("constants").recipe([0.0] * 5)
    assert schedule == DampedCosine()
    expected = ProgressAnchor()
    assert controller.leaves() == pytest.approx(expected.leaves(), rel=1e-15)
    schedule, controller = learner("policy").recipe([0.0] * 20)
    assert (schedule, controller) == (DampedCosine(), LearnedDamping(weights=(0.0,) * 20))
    assert not any(controller.signals(step, 100) for step in range(100))


@EVERY
def test_learning_begins_at_a_vector_of_its_length_that_is_legal(which: AbstractLearner) -> None:
    assert which.start().shape == (len(which.numbers),)
    assert len(set(which.numbers)) == len(which.numbers)
    which.recipe(which.start())
    assert learner(which.name) is which


@EVERY
@given(data=st.data())
def test_every_vector_is_a_legal_recipe(which: AbstractLearner, data: st.DataObject) -> None:
    count = len(which.numbers)
    vector = data.draw(st.lists(st.floats(-5.0, 5.0), min_size=count, max_size=count))
    schedule, controller = which.recipe(vector)
    assert which.recipe(np.array(vector)) == (schedule, controller)
    assert decode(encode(schedule), SCHEDULES) == schedule
    assert decode(encode(controller), CONTROLLERS) == controller
    multipliers = table([schedule], 50)
    assert bool((multipliers.isfinite() & (multipliers >= 0.0) & (multipliers <= 1.0 + 1e-12)).all())


def test_each_number_changes_something() -> None:
    for which in LEARNERS.values():
        begin = which.recipe(which.start())
        for place in range(len(which.numbers)):
            vector = which.start()
            vector[place] -= 0.5
            assert which.recipe(vector) != begin, which.numbers[place]


def test_a_shape_has_its_warm_up_around_it() -> None:
    schedule, _ = learner("shape").recipe([np.log(2.0), np.log(3.0), -0.4, 2.0])
    assert isinstance(schedule, Warmup)
    assert schedule.fraction == pytest.approx(0.2)
    assert schedule.then.leaves() == pytest.approx({"k": 2.0, "exponent": 3.0, "floor": 0.04})


def test_the_weights_of_a_policy_are_its_vector_within_what_is_legal() -> None:
    vector = np.arange(20.0) * 10.0 - 120.0
    _, controller = learner("policy").recipe(vector)
    assert isinstance(controller, LearnedDamping)
    assert controller.weights == tuple(np.clip(vector, -100.0, 100.0))


def test_another_name_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'policy'"):
        learner("polcy")
