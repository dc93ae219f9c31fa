import copy
import gc
import pickle
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import (
    Anchor,
    ControlledLR,
    DampedCosine,
    Linear,
    SpecError,
    Static,
)
from tests.controlled import (
    Alignment,
    Nothing,
    Watch,
    controlled,
    loss_of,
    minibatches,
    perceptron,
    same,
    train,
    values,
)


def float_loss(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    return loss_of(model, x, y).item()


def backward(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    loss = loss_of(model, x, y)
    loss.backward()
    return loss


def sneaky_backward(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    with torch.enable_grad():
        return backward(model, x, y)


def many(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    return model(x)


def broken(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    raise KeyError("broken")


@pytest.mark.parametrize("controller", [Anchor(), Watch()])
@pytest.mark.parametrize(
    ("closure", "error", "message"),
    [
        (None, SpecError, "probes the loss at this step"),
        (float_loss, SpecError, "as a tensor of one element, got float"),
        (many, SpecError, "as a tensor of one element, got one of 48"),
        (backward, SpecError, "without backward"),
        (sneaky_backward, SpecError, "without backward"),
        (broken, KeyError, "broken"),
    ],
)
def test_step_is_taken_back_before_an_error(controller: Any, closure: Any, error: type, message: str) -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    x, y = minibatches(1)[0]
    loss = loss_of(model, x, y)
    loss.backward()
    optimizer.step()
    assert not same(start, values(model))
    with pytest.raises(error, match=message):
        scheduler.step(loss, None if closure is None else lambda: closure(model, x, y))
    assert same(start, values(model))
    assert scheduler.last_epoch == 0
    assert scheduler.applied_multiplier == 0.0
    train(model, optimizer, scheduler, [(x, y)])
    assert scheduler.last_epoch == 1


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "looks at the loss"),
        ("high", "the loss must be"),
        (torch.ones(2), r"the loss must be .* got a tensor of shape \[2\]"),
    ],
)
def test_a_loss_that_is_none(loss: Any, message: str) -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    x, y = minibatches(1)[0]
    loss_of(model, x, y).backward()
    optimizer.step()
    with pytest.raises(SpecError, match=message):
        scheduler.step(loss, lambda: loss_of(model, x, y))
    assert same(start, values(model))


def test_step_without_any_gradient() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    optimizer.step()
    with pytest.raises(SpecError, match="without any gradient"):
        scheduler.step(1.0, lambda: loss_of(model, *minibatches(1)[0]))


def test_sparse_gradients_are_refused_by_controllers_that_read_them() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = SGD(table.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Alignment())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(SpecError, match="sparse"):
        optimizer.step()
    scheduler = controlled(optimizer, Static())
    optimizer.step()
    scheduler.step(1.0)
    assert scheduler.last_epoch == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((DampedCosine(), "anchor"), TypeError, "controller must be"),
        ((DampedCosine(), Anchor), TypeError, "controller must be"),
        (([DampedCosine()], Anchor()), SpecError, "got a list"),
        (("cosine", Anchor()), TypeError, "schedule must be"),
        (({"weight_decay": Linear()}, Anchor()), SpecError, "schedule of lr"),
    ],
)
def test_wrong_arguments(arguments: Any, error: type, message: str) -> None:
    optimizer = SGD(perceptron().parameters(), lr=0.01)
    with pytest.raises(error, match=message):
        ControlledLR(optimizer, *arguments, total_steps=10)
    assert optimizer.param_groups[0]["lr"] == 0.01
    with pytest.raises(TypeError, match="optimizer must be"):
        ControlledLR(perceptron(), DampedCosine(), Anchor(), total_steps=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_are_refused_clearly(action: Any) -> None:
    scheduler = controlled(SGD(perceptron().parameters(), lr=0.01), Anchor())
    with pytest.raises(TypeError, match="use its state_dict"):
        action(scheduler)


def test_the_last_scheduler_of_an_optimizer_is_the_one_that_counts() -> None:
    runs = []
    for before in (0, 2):
        model = perceptron()
        optimizer = SGD(model.parameters(), lr=0.01)
        kept = [controlled(optimizer, Watch()) for _ in range(before)]
        runs.append(train(model, optimizer, controlled(optimizer, Anchor()), minibatches(20)))
        assert [one.last_epoch for one in kept] == [0] * before
    assert runs[0] == runs[1]


@pytest.mark.parametrize("steps", [0, 5, 50])
def test_a_scheduler_that_is_gone_leaves_no_hooks_behind(steps: int) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    train(model, optimizer, scheduler, minibatches(steps))
    hooks = len(nn.modules.module._global_forward_pre_hooks)
    here = weakref.ref(scheduler)
    gc.disable()  # it goes at once, with its copies of the parameters, and not when rubbish is next collected
    try:
        del scheduler
        assert here() is None
    finally:
        gc.enable()
    loss_of(model, *minibatches(1)[0])
    assert len(nn.modules.module._global_forward_pre_hooks) < hooks
    optimizer.param_groups[0]["lr"] = 0.5
    loss_of(model, *minibatches(1)[0]).backward()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_steps_that_its_hooks_do_not_see_are_told() -> None:
    model = perceptron()
    optimizer, other = SGD(model.parameters(), lr=0.01), SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    loss_of(model, *minibatches(1)[0]).backward()
    other.step()
    with pytest.warns(UserWarning, match="no optimizer.step\\(\\) was seen"):
        scheduler.step(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.step()
        scheduler.step(1.0)
    assert scheduler.last_epoch == 0


def test_probe_at_nothing_finds_the_training_loss() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())

    def compare(_: Tensor) -> None:
        seen = scheduler.readings()
        assert seen["probe_loss"] == pytest.approx(seen["loss"], rel=1e-9)

    train(model, optimizer, scheduler, minibatches(10), compare)
