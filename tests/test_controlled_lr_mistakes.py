"""What may go wrong in a training loop is told, and does no harm."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from adaptive_lr import Anchor, SpecError
from tests.controlled import Watch, controlled, loss_of, minibatches, perceptron, same, values


@pytest.mark.parametrize("controller", [Anchor(), Watch()])
@pytest.mark.parametrize("retained", [False, True])
def test_closure_that_returns_the_loss_it_has_is_refused(controller: Any, retained: bool) -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    loss = loss_of(model, *minibatches(1)[0])
    loss.backward(retain_graph=retained)
    optimizer.step()
    with pytest.raises(SpecError, match="must evaluate the loss again, not return the one it has"):
        scheduler.step(loss, closure=lambda: loss)
    assert same(start, values(model))


@pytest.mark.parametrize("controller", [Anchor(), Watch()])
def test_loss_with_a_gradient_in_it_may_be_evaluated_with_gradients(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)

    @torch.enable_grad()
    def penalised(x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        loss = loss_of(model, x, y)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return loss + slope.square().sum()

    for x, y in minibatches(5):
        optimizer.zero_grad()
        loss = penalised(x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda x=x, y=y: penalised(x, y))  # type: ignore[misc]
    assert scheduler.last_epoch == 5
