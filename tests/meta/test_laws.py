from typing import Any

import numpy as np
import pytest

from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_changes import gathered
from adaptive_lr.meta.laws import LAWS, AbstractLaw, AnnealingLaw, MultiPowerLaw
from tests.loss_curves import ANNEALING, MULTI_POWER, path
from tests.reference.laws import annealing, multi_power

REFERENCES: dict[str, Any] = {"multi_power": multi_power, "annealing": annealing}
EVERY = pytest.mark.parametrize("law", [MULTI_POWER, ANNEALING], ids=lambda law: law.kind)


def wild(steps: int = 60) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    fall = np.sort(generator.uniform(0.0, 3e-4, steps - 9))[::-1]
    return np.concatenate([np.linspace(0.0, 3e-4, 10), np.repeat(fall[::3], 3)[: steps - 9]])


@EVERY
def test_losses_are_those_of_a_plain_loop(law: AbstractLaw) -> None:
    rates = wild()
    steps = np.array([1, 5, 9, 10, 11, 30, 59])
    loop = [REFERENCES[law.kind](rates.tolist(), step, **law.parameters()) for step in steps.tolist()]
    np.testing.assert_allclose(law.losses(rates, steps), loop, rtol=1e-13)


@EVERY
def test_every_step_is_the_default(law: AbstractLaw) -> None:
    rates = wild()[3:]
    np.testing.assert_array_equal(law.losses(rates), law.losses(rates, np.arange(len(rates))))


@EVERY
@pytest.mark.parametrize("shape", ["cosine", "constant", "0.3"])
def test_gathered_changes_are_off_by_little(law: AbstractLaw, shape: str) -> None:
    rates, steps = path(shape), np.arange(160, 3001, 80)
    changes = gathered(rates, steps)
    np.testing.assert_allclose(law.evaluate(changes)[0], law.losses(rates, steps), atol=1e-4, rtol=0)
    every = gathered(rates, np.arange(1, 3001))  # a row a step: no two changes share a group near a row
    assert np.abs(law.evaluate(every)[0] - law.losses(rates, np.arange(1, 3001))).max() < 1e-4


@EVERY
def test_derivatives_are_differences(law: AbstractLaw) -> None:
    changes = gathered(path("cosine"), np.arange(200, 3001, 100))
    _, derivatives = law.evaluate(changes)
    for index, name in enumerate(law.names()):
        ends = []
        for factor in (1.0 + 1e-6, 1.0 - 1e-6):
            values = law.parameters()
            ends.append(type(law)(**values | {name: values[name] * factor}).evaluate(changes)[0])
        difference = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(derivatives[:, index], difference, atol=1e-5 * np.abs(difference).max())


@EVERY
def test_gradient_of_the_final_loss_is_that_of_differences(law: AbstractLaw) -> None:
    rates = np.maximum(wild(), 1e-6)
    loss, gradient = law.final_gradient(rates)
    assert loss == pytest.approx(law.losses(rates)[-1], rel=1e-13)
    for step in (0, 1, 9, 10, 30, 58, 59):
        ends = []
        for shift in (1e-10, -1e-10):
            moved = rates.copy()
            moved[step] += shift
            ends.append(law.final_gradient(moved)[0])
        assert gradient[step] == pytest.approx((ends[0] - ends[1]) / 2e-10, rel=1e-3)


@EVERY
def test_units_of_the_rate_do_not_matter(law: AbstractLaw) -> None:
    rates, steps = path("0.3"), np.array([200, 1600, 3000])
    np.testing.assert_allclose(law.rescaled(3e-4).losses(rates / 3e-4, steps), law.losses(rates, steps), rtol=1e-12)


@EVERY
def test_a_rate_of_zero_at_the_end_is_finite(law: AbstractLaw) -> None:
    rates = np.concatenate([path("constant", 1000), np.linspace(3e-4, 0.0, 200), np.zeros(5)])
    assert np.isfinite(law.losses(rates, np.arange(1, len(rates)))).all()
    assert np.isfinite(law.evaluate(gathered(rates, np.arange(1, len(rates))))[0]).all()


def test_increments_of_the_warm_up_belong_to_the_drop() -> None:
    rates = path("constant")
    flat = np.full_like(rates, rates[-1])
    late = np.array([3000])
    assert MULTI_POWER.drop(rates, late)[0] == pytest.approx(-400.0 * 3e-4, rel=0.2)  # without them it would be 0
    assert MULTI_POWER.drop(flat, late)[0] == 0.0


def test_long_runs_are_evaluated_in_pieces() -> None:
    rates = 3e-4 * np.linspace(1.0, 0.1, 72_001)
    steps = np.arange(72, 72_001, 720)
    losses = MULTI_POWER.losses(rates, steps)
    assert np.abs(losses - MULTI_POWER.evaluate(gathered(rates, steps))[0]).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_parameters_must_be_positive(value: float) -> None:
    with pytest.raises(InputError, match=r"AnnealingLaw.C must be a finite number above 0, got"):
        AnnealingLaw(L0=1.0, A=1.0, alpha=0.5, C=value, forgetting=0.1)


def test_forgetting_lies_below_one() -> None:
    with pytest.raises(InputError, match=r"forgetting must be below 1, got 1\.0"):
        AnnealingLaw(L0=1.0, A=1.0, alpha=0.5, C=1.0, forgetting=1.0)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([1.0, -1.0], "must be a finite number of at least 0, got -1.0 at step 1"),
        ([1.0, float("nan")], "got nan at step 1"),
        ([], "at least one number"),
        ([0.0, 0.0], "the rates are 0 up to the first step"),
    ],
)
def test_rates_are_checked(rates: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MULTI_POWER.losses(np.array(rates))


def test_laws_have_names_of_their_own_and_bounds_for_each_parameter() -> None:
    assert len({law.kind for law in LAWS}) == len(LAWS)
    for law in LAWS:
        assert set(law.bounds) == set(law.names())
    assert MultiPowerLaw.names() == ("L0", "A", "alpha", "B", "C", "beta", "gamma")
