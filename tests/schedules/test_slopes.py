from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adaptive_lr import (
    REX,
    WSD,
    AbstractSchedule,
    AdditiveKDecay,
    Chebyshev,
    Cyclic,
    DampedCosine,
    ExponentialCosine,
    InverseTime,
    Linear,
    OneCycle,
    Polynomial,
    Tanh,
    Trapezoid,
)
from adaptive_lr.spec import stack
from tests.conftest import EXAMPLES
from tests.schedules.test_schedules import assert_close

FLOORED: list[Callable[[float], AbstractSchedule]] = [
    lambda floor: Linear(floor=floor),
    lambda floor: Polynomial(k=1.7, power=0.4, floor=floor),
    lambda floor: DampedCosine(k=1.7, exponent=0.4, floor=floor),
    lambda floor: REX(floor=floor, bend=0.9),
    lambda floor: Tanh(floor=floor, low=-3.3, high=1.7),
    lambda floor: ExponentialCosine(rate=1.3, floor=floor),
    lambda floor: AdditiveKDecay(k=1.3, floor=floor),
    lambda floor: WSD(shape="exponential", cooldown=0.3, floor=floor),
    lambda floor: Trapezoid(up=0.1, down=0.3, floor=floor),
    lambda floor: OneCycle(end=floor),
]


@pytest.mark.parametrize("make", FLOORED, ids=lambda make: type(make(0.5)).kind)
@pytest.mark.parametrize("floor", [1 / 3, 0.1, 1e-7, 0.9999])
def test_last_value_is_exactly_the_floor(make: Callable[[float], AbstractSchedule], floor: float) -> None:
    for total_steps in (1, 3, 10, 97):
        assert make(floor).at(total_steps, total_steps) == floor


def columns(schedule: AbstractSchedule) -> dict[str, Tensor]:
    """Two rows of every number that is not a count, as leaves of a graph."""
    return {
        name: torch.tensor([[value], [value]], dtype=torch.float64, requires_grad=True)
        for name, value in schedule.resolve(10).leaves().items()
        if isinstance(value, float)
    }


SLOPES = [
    *EXAMPLES.values(),
    Polynomial(power=0.5, k=0.5),
    DampedCosine(k=0.5, exponent=0.25),
    WSD(shape="exponential", floor=0.1),
    OneCycle(up=0.0),
    OneCycle(up=1.0),
    OneCycle(up=0.5, phases="three", anneal="linear"),
    Trapezoid(up=0.0, down=0.0),
    Cyclic(up=0.2, mode="exp_range"),
    AdditiveKDecay(k=2, sign="plus"),
    Chebyshev(condition=1, levels=0),
]


@pytest.mark.parametrize("schedule", SLOPES, ids=repr)
def test_gradients_are_finite_in_columns(schedule: AbstractSchedule) -> None:
    resolved, leaves = schedule.resolve(10), columns(schedule)
    u = (torch.arange(11, dtype=torch.float64) / 10).reshape(1, -1)
    multipliers = resolved.with_leaves(leaves).multiplier(u)
    assert_close(multipliers.expand(2, -1)[1], stack([resolved]).multiplier(u).expand(1, -1)[0].tolist(), atol=1e-15)
    if multipliers.requires_grad:
        multipliers.sum().backward()
        for name, leaf in leaves.items():
            assert leaf.grad is None or leaf.grad.isfinite().all(), name


def test_gradient_of_a_rate_is_the_derivative() -> None:
    rate = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    InverseTime(rate=rate).multiplier(u).sum().backward()
    assert rate.grad is not None
    assert rate.grad.item() == pytest.approx(-0.25 / 1.5**2 - 0.5 / 2**2)
