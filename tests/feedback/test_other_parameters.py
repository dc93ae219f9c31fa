"""What is remembered goes on where other parameters are trained than before: frozen, thawed, added or taken out on the way."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import (
    AbstractController,
    ControlledLR,
    DampedCosine,
    DampingWarp,
    DistanceAnchor,
    Hypergradient,
    MomoCap,
    NanRescue,
    ProgressAnchor,
    ShrinkageDamping,
)

END = 90
CHANGES = ("freeze", "thaw", "add", "remove")
CONTROLLERS: list[AbstractController] = [
    ProgressAnchor(),
    DistanceAnchor(until=0.9),
    NanRescue(every=30, then=ProgressAnchor()),
    Hypergradient(until=1.0),
    DampingWarp(),
    MomoCap(),
]


class Run:
    """Noisy regression with a model of which one parameter is not used: it is trained or not, in the middle of the others or behind them."""

    def __init__(self, controller: AbstractController, change: str, when: int, *, zero_grad: bool = True) -> None:
        # All as long as inner products take in at once, so that those of zeros do not change the order of the others, nor their rounding.
        self.first, self.other, self.last = (nn.Parameter(torch.zeros(32, dtype=torch.float64)) for _ in range(3))
        self.other.requires_grad_(change != "thaw")
        self.change, self.when, self.zero_grad = change, when, zero_grad
        self.groups: list[dict[str, Any]] = [{"params": [self.first, self.other, self.last]}]
        if change in ("add", "remove"):
            self.groups = [{"params": [self.first, self.last]}, {"params": [self.other]}]
        self.optimizer = SGD(self.groups[: 1 if change == "add" else None], lr=0.001, momentum=0.5)
        self.scheduler = ControlledLR(self.optimizer, DampedCosine(floor=0.01), controller, total_steps=END)
        source = torch.Generator().manual_seed(1)
        self.x = torch.randn(END, 4, 32, generator=source, dtype=torch.float64)
        self.y = 0.3 * self.x.sum(2) + torch.randn(END, 4, generator=source, dtype=torch.float64)

    def prediction(self, x: Tensor) -> Tensor:
        return x @ self.first + x.sin() @ self.last

    def alter(self) -> None:
        if self.change == "freeze":
            self.other.requires_grad_(False)
            self.other.grad = None
        elif self.change == "thaw":
            self.other.requires_grad_(True)
        elif self.change == "add":
            self.optimizer.add_param_group(self.groups[1])
        elif self.change == "remove":
            del self.optimizer.param_groups[1]

    def update(self, step: int) -> None:
        def evaluate() -> Tensor:
            return nn.functional.mse_loss(self.prediction(self.x[step]), self.y[step])

        if step == self.when:
            self.alter()
        self.optimizer.zero_grad(set_to_none=self.zero_grad)
        loss = evaluate()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step(loss, closure=evaluate)

    def made(self) -> list[str]:
        """Every number of every step."""
        told = []
        for step in range(END):
            self.update(step)
            told.append(repr((self.optimizer.param_groups[0]["lr"], self.scheduler.readings())))
        return told


@functools.cache
def plain(controller: AbstractController) -> list[str]:
    return Run(controller, "nothing", END).made()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda controller: controller.kind)
@pytest.mark.filterwarnings("ignore:the window of", "ignore:the losses are below")
def test_a_parameter_that_is_not_used_changes_no_number(controller: AbstractController, change: str) -> None:
    for when, zero_grad in ((15, True), (60, True), (60, False)):
        assert Run(controller, change, when, zero_grad=zero_grad).made() == plain(controller)


def test_training_began_where_it_began_and_a_new_parameter_where_it_joined() -> None:
    run = Run(ProgressAnchor(), "nothing", END)
    run.prediction = lambda x: x @ run.first + x.sin() @ run.last + x.cos() @ run.other  # type: ignore[method-assign]
    with torch.no_grad():
        for number, parameter in enumerate((run.first, run.other, run.last)):
            parameter.fill_(0.1 * (number + 1))
    begun = [value.detach().clone() for value in (run.first, run.last)]
    joined, seen = run.other.detach().clone(), []
    for step in range(45):
        if step == 10:
            run.other.requires_grad_(False)
            run.other.grad = None
        if step == 30:
            run.other.requires_grad_(True)
        if step <= 30:
            joined = run.other.detach().clone()
        run.update(step)
        readings = run.scheduler.readings()
        if step > 10 and "start_loss" in readings:
            seen.append(step)
            x = run.x[step]
            predicted = x @ begun[0] + x.sin() @ begun[1] + x.cos() @ joined
            expected = (predicted - run.y[step]).square().mean().item()
            assert readings["start_loss"] == pytest.approx(expected, rel=1e-12)
    assert not torch.equal(joined, run.other)
    assert seen == [20, 32]


def test_curvature_along_another_direction_is_not_compared() -> None:
    run, changes = Run(ShrinkageDamping(every=10), "freeze", 30), []
    for step in range(60):
        run.update(step)
        if step % 10 == 0:
            changes.append("curvature_change" in run.scheduler.readings())
    assert changes == [False, True, True, False, True, True]
