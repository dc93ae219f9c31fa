"""A loss that cannot be evaluated where a probe led is an answer; one that cannot be evaluated at all is an error."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import (
    AbstractController,
    Anchor,
    ControlledLR,
    CurvatureCap,
    DampedCosine,
    DistanceAnchor,
    ProgressAnchor,
)

HIGHEST = 50.0

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1).double()


def minibatch(step: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(step)
    x = torch.randn(16, 4, generator=source, dtype=torch.float64)
    return x, x.sum(1, keepdim=True)


def checked(model: nn.Module, x: Tensor, y: Tensor, error: type[Exception]) -> Tensor:
    """A loss that refuses predictions above a bound."""
    prediction = model(x)
    if not float(prediction.detach().abs().max()) <= HIGHEST:
        raise error("a prediction is out of range")
    return nn.functional.mse_loss(prediction, y)


def infinite(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The same loss, infinite instead."""
    prediction = model(x)
    if not float(prediction.detach().abs().max()) <= HIGHEST:
        return torch.full_like(prediction.sum(), torch.inf).requires_grad_()
    return nn.functional.mse_loss(prediction, y)


def rates(loss_of: Loss, lr: float, controller: AbstractController) -> list[float]:
    model = network()
    optimizer = SGD(model.parameters(), lr=lr)
    scheduler = ControlledLR(optimizer, DampedCosine(), controller, total_steps=100)
    made = []
    for step in range(60):
        x, y = minibatch(step)
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, functools.partial(loss_of, model, x, y))
        made.append(optimizer.param_groups[0]["lr"])
    return made


@pytest.mark.parametrize("error", [AssertionError, ValueError, RuntimeError, FloatingPointError])
@pytest.mark.parametrize(
    "controller", [Anchor(), ProgressAnchor(), DistanceAnchor()], ids=lambda controller: controller.kind
)
def test_loss_that_refuses_a_probe_trains_as_one_that_is_infinite_there(
    controller: AbstractController, error: type[Exception]
) -> None:
    expected = rates(infinite, 1e3, controller)
    with pytest.warns(UserWarning, match="cannot be evaluated where a probe led") as told:
        found = rates(lambda model, x, y: checked(model, x, y, error), 1e3, controller)
    assert found == expected
    assert sum("where a probe led" in str(warning.message) for warning in told) == 1
    assert "out of range" in str(told[0].message)


def test_loss_that_raises_where_the_step_began_is_an_error() -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = ControlledLR(optimizer, DampedCosine(), Anchor(), total_steps=100)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    x, y = minibatch(0)
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()

    def broken() -> Tensor:
        model(x)
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        scheduler.step(loss, broken)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_mistake_that_is_none_of_numbers_is_an_error_at_the_probe_alone() -> None:
    def mistaken(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if not float(model(x).detach().abs().max()) <= HIGHEST:
            raise TypeError("of its own")
        return nn.functional.mse_loss(model(x), y)

    with pytest.raises(TypeError, match="of its own"):
        rates(mistaken, 1e3, Anchor())


def test_probe_of_loss_and_gradient_that_is_refused_gives_no_gradient() -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=1e6)
    scheduler = ControlledLR(optimizer, DampedCosine(), CurvatureCap(every=1), total_steps=100)
    x, y = minibatch(0)
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    with pytest.warns(UserWarning, match="counts as one that failed"):
        scheduler.step(loss, lambda: checked(model, x, y, ValueError))
    seen = scheduler.control.seen
    assert (float(seen["probe_loss"][0]), float(seen["probe_descent"][0])) == (float("inf"), 0.0)
