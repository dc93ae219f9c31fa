"""A probe repeats the passes that the loss came from, and no others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from tests.controlled import Nothing, controlled, loss_of, minibatches, perceptron, probed_equals_trained


def network_with_masks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3)).double()


def teacher_detached(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    target = teacher(x).detach()
    return lambda: loss_of(student, x, target)


def teacher_inside(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        with torch.no_grad():
            target = teacher(x)
        return loss_of(student, x, target)

    return loss


def own_teacher(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """Pseudo-labels of a weakly changed minibatch, of the very model that is trained."""

    def loss() -> Tensor:
        with torch.no_grad():
            target = student(x)
        return loss_of(student, x + 0.1, target)

    return loss


def own_teacher_detached(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    return lambda: loss_of(student, x + 0.1, student(x).detach())


def logged_before(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    float(student(x).mean().detach())
    return lambda: loss_of(student, x, y)


def validated_in_training_mode(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    with torch.no_grad():
        student(x)
    return lambda: loss_of(student, x, y)


def part_called_alone(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    assert isinstance(student, nn.Sequential)
    return lambda: loss_of(student, x, y) + student[:3](x).square().mean() + student[2](x).mean()


def inline_dropout(teacher: nn.Module, student: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    return lambda: loss_of(student, nn.Dropout(0.3)(x), nn.Dropout(0.3)(y))


@pytest.mark.parametrize(
    "losses",
    [
        teacher_detached,
        teacher_inside,
        own_teacher,
        own_teacher_detached,
        logged_before,
        validated_in_training_mode,
        part_called_alone,
        inline_dropout,
    ],
)
def test_probe_repeats_the_passes_that_the_loss_came_from(losses: Callable[..., Callable[[], Tensor]]) -> None:
    student, teacher = network_with_masks(), network_with_masks()
    optimizer = SGD(student.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    for x, y in minibatches(6):
        torch.rand(2)  # the loader shuffles
        closure = losses(teacher, student, x, y)
        optimizer.zero_grad()
        loss = closure()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure)
        probed_equals_trained(scheduler)
        float(student(x).detach().mean())  # for a log


def test_passes_of_gradients_that_were_thrown_away_do_not_count() -> None:
    model = network_with_masks()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    for x, y in minibatches(4):
        loss_of(model, x, y).backward()  # what was left of the last epoch
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        probed_equals_trained(scheduler)


def test_loss_function_that_draws_random_numbers_is_repeated() -> None:
    model = perceptron(drop=0.5)
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())

    def noisy(x: Tensor, y: Tensor) -> Tensor:
        return loss_of(model, x + torch.randn_like(x), y) / 2

    repeated, batches = scheduler.repeated(noisy), minibatches(12)
    assert repeated.__name__ == "noisy"
    for index in range(0, 12, 2):
        parts, total = batches[index : index + 2], 0.0
        optimizer.zero_grad()
        for x, y in parts:
            torch.rand(3)  # the loader augments
            loss = repeated(x, y)
            loss.backward()
            total += loss.item()
        optimizer.step()
        scheduler.step(total, lambda parts=parts: torch.stack([repeated(x, y) for x, y in parts]).sum())  # type: ignore[misc]
        probed_equals_trained(scheduler)
    state = torch.get_rng_state()
    repeated(*batches[0])
    assert not torch.equal(state, torch.get_rng_state())
