"""Two controllers on the parts of one model are told of; on two models that are trained side by side, or against one another, they are not."""

import itertools
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import Anchor, ControlledLR, DampedCosine, ScheduledLR

STEPS = 6


class Pair:
    """A module with an optimizer and a controller."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.optimizer = SGD(module.parameters(), lr=0.01)
        self.scheduler = ControlledLR(self.optimizer, DampedCosine(), Anchor(), total_steps=100)

    def update(self, loss: Tensor, evaluate: object) -> None:
        self.optimizer.zero_grad()
        loss.backward(retain_graph=True)
        self.optimizer.step()
        self.scheduler.step(loss, evaluate)  # type: ignore[arg-type]


def layers() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 1)


def jointly(model: nn.Module, *pairs: Pair) -> None:
    """Both optimizers make a step of the same loss."""
    x = torch.randn(8, 3)

    def evaluate() -> Tensor:
        loss: Tensor = model(x).square().mean()
        return loss

    for _ in range(STEPS):
        loss = evaluate()
        for pair in pairs:
            pair.optimizer.zero_grad()
        loss.backward()
        for pair in pairs:
            pair.optimizer.step()
        for pair in pairs:
            pair.scheduler.step(loss, evaluate)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_controllers_on_one_model_are_told_of_once(order: tuple[int, int]) -> None:
    parts = layers()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        jointly(nn.Sequential(*parts), *(Pair(parts[index]) for index in order))
    messages = [str(warning.message) for warning in told if "two controllers" in str(warning.message)]
    assert len(messages) == 1
    assert "give one optimizer all parameter groups" in messages[0]


def test_two_models_side_by_side_are_their_own_matter() -> None:
    first, second = (Pair(nn.Linear(3, 1)) for _ in range(2))
    x = torch.randn(8, 3)

    def of_first() -> Tensor:
        loss: Tensor = first.module(x).square().mean()
        return loss

    def of_second() -> Tensor:
        loss: Tensor = second.module(x).square().mean()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(STEPS):
            losses = of_first(), of_second()
            for pair, loss in zip((first, second), losses, strict=True):
                pair.optimizer.zero_grad()
                loss.backward()
            for pair in (first, second):
                pair.optimizer.step()
            for pair, loss, evaluate in zip((first, second), losses, (of_first, of_second), strict=True):
                pair.scheduler.step(loss, evaluate)


def test_adversaries_have_a_controller_each() -> None:
    generator, critic = Pair(nn.Linear(2, 3)), Pair(nn.Linear(3, 1))
    source = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for turn in itertools.islice(itertools.cycle((critic, generator)), 2 * STEPS):
            z = torch.randn(8, 2, generator=source)
            sign = 1.0 if turn is critic else -1.0

            def evaluate(z: Tensor = z, sign: float = sign) -> Tensor:
                loss: Tensor = sign * torch.tanh(critic.module(generator.module(z))).mean()
                return loss

            turn.update(evaluate(), evaluate)


def test_a_plain_schedule_beside_a_controller_is_no_second_one() -> None:
    body, head = layers()
    model, pair = nn.Sequential(body, head), Pair(body)
    optimizer = SGD(head.parameters(), lr=0.01)
    scheduler = ScheduledLR(optimizer, DampedCosine(), total_steps=100)
    x = torch.randn(8, 3)

    def evaluate() -> Tensor:
        loss: Tensor = model(x).square().mean()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(STEPS):
            loss = evaluate()
            loss.backward()
            pair.optimizer.step()
            pair.scheduler.step(loss, evaluate)
            optimizer.step()
            scheduler.step()
            pair.optimizer.zero_grad()
            optimizer.zero_grad()
