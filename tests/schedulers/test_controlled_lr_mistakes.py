"""What may go wrong in a training loop is told, and does no harm."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import Anchor, MomoCap, NoiseScaleDamping, ProgressAnchor, SpecError, Static
from tests.controlled import Alignment, Watch, controlled, loss_of, minibatches, perceptron, same, train, values


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


@pytest.mark.filterwarnings("ignore:the closure finds")  # as it does: the loss is that of the next minibatch
@pytest.mark.parametrize("controller", [Anchor(), Alignment(), Static()])
def test_scheduler_that_is_stepped_before_the_optimizer_is_told_once(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)

    def wrongly(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        scheduler.step(loss, closure=lambda: loss_of(model, x, y))
        optimizer.step()

    first, *others = minibatches(5)
    with pytest.warns(UserWarning, match="called before optimizer") as caught:
        wrongly(*first)
    assert [one.filename for one in caught] == [__file__]
    for one in others:  # a second warning would be an error
        wrongly(*one)


@pytest.mark.parametrize("controller", [Anchor(), ProgressAnchor()])
def test_scheduler_that_is_stepped_before_the_backward_pass_is_told(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    x, y = minibatches(1)[0]
    loss = loss_of(model, x, y)
    scheduler.step(loss, closure=lambda: loss_of(model, x, y))
    loss.backward()
    with pytest.warns(UserWarning, match="called before optimizer"):
        optimizer.step()


@pytest.mark.parametrize("why", ["said", "not finite", "cleared"])
def test_first_update_may_be_left_out(why: str) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    loss = loss_of(model, *minibatches(1)[0])
    (loss * (float("inf") if why == "not finite" else 1.0)).backward()
    if why == "cleared":
        optimizer.zero_grad()
    scheduler.step(loss, skipped=why == "said")
    assert scheduler.last_epoch == 0
    train(model, optimizer, scheduler, minibatches(3))
    assert scheduler.last_epoch == 3


@pytest.mark.parametrize("controller", [Alignment(), NoiseScaleDamping()])
def test_step_that_stays_after_an_error_is_shown_as_it_was_made(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    start = values(model)
    loss_of(model, *minibatches(1)[0]).backward()
    optimizer.step()
    made = values(model)
    assert not same(start, made)
    with pytest.raises(SpecError, match=r"; the step stays as it was made, but does not count$"):
        scheduler.step()
    assert same(made, values(model))
    assert (scheduler.applied_multiplier, scheduler.last_epoch) == (1.0, 0)


@pytest.mark.parametrize("controller", [Alignment(), Static()])
def test_step_that_is_said_to_be_skipped_is_none(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    loss_of(model, *minibatches(1)[0]).backward()
    optimizer.step()
    scheduler.step(skipped=True)
    assert scheduler.applied_multiplier == 0.0


def test_errors_say_that_the_step_was_taken_back() -> None:
    def broken() -> Tensor:
        raise KeyError("broken")

    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    for arguments, error in (((), SpecError), ((1.0,), SpecError), ((1.0, broken), KeyError)):
        optimizer.zero_grad()
        loss_of(model, *minibatches(1)[0]).backward()
        optimizer.step()
        with pytest.raises(error) as caught:
            scheduler.step(*arguments)
        told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
        assert sum("the step was taken back" in one for one in told) == 1
        assert same(start, values(model))


def other_minibatch(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return loss_of(model, *minibatches(1, seed=9)[0])


def other_noise(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return loss_of(model, x + torch.randn_like(x), y)


@pytest.mark.parametrize("closure", [other_minibatch, other_noise])
@pytest.mark.parametrize("controller", [Anchor(), ProgressAnchor(), MomoCap()])
def test_closure_of_another_loss_is_told_once(controller: Any, closure: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)

    def update(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        torch.rand(3)
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda: closure(model, x, y))

    first, *others = minibatches(4)
    if not scheduler.probes:
        return
    with pytest.warns(UserWarning, match="the closure finds a loss of .* before this optimizer's step") as told:
        update(*first)
    assert [warning.filename for warning in told] == [__file__]
    for batch in others:  # a second warning would be an error
        update(*batch)
    again = perceptron()
    optimizer = SGD(again.parameters(), lr=0.01)
    resumed = controlled(optimizer, controller)
    resumed.load_state_dict(scheduler.state_dict())
    model, scheduler = again, resumed
    update(*first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_is_no_other_loss(dtype: torch.dtype) -> None:
    model = perceptron(dtype=torch.float32, drop=0.5)
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    for x, y in minibatches(3, dtype=torch.float32):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = loss_of(model, x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                return loss_of(model, x, y) * (1.0 + 1e-6)

        scheduler.step(round(loss.item(), 4), closure)
    assert scheduler.last_epoch == 3


def test_scheduler_that_another_one_took_the_place_of_says_so() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    first = controlled(optimizer, Anchor())
    last = controlled(optimizer, Anchor())
    with pytest.raises(SpecError, match="another ControlledLR was built on this optimizer after this one"):
        first.step(1.0)
    train(model, optimizer, last, minibatches(3))
    assert (first.last_epoch, last.last_epoch) == (0, 3)
