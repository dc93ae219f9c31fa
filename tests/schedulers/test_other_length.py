"""A state of a run of another length goes on as `extend` would, where the constructor says how."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from adaptive_lr import Anchor, ControlledLR, DampedCosine, DistanceAnchor, NanRescue, ProgressAnchor, SpecError, Static
from tests.controlled import loss_of, minibatches, perceptron

SAVED, DONE = 20, 12
BATCHES = minibatches(32, dtype=torch.float32)
SCHEDULE = DampedCosine(exponent=2, floor=0.01)


class Run:
    def __init__(self, controller: Any, total_steps: int = SAVED, on_longer: str | None = None) -> None:
        torch.manual_seed(0)
        self.model = perceptron(dtype=torch.float32)
        optimizer = SGD(self.model.parameters(), lr=0.01)
        self.scheduler = ControlledLR(optimizer, SCHEDULE, controller, total_steps=total_steps, on_longer=on_longer)

    def loss(self, step: int) -> Tensor:
        return loss_of(self.model, *BATCHES[step])

    def train(self, start: int, stop: int) -> list[float]:
        rates = []
        for step in range(start, stop):
            self.scheduler.optimizer.zero_grad()
            loss = self.loss(step)
            loss.backward()
            self.scheduler.optimizer.step()
            self.scheduler.step(loss, partial(self.loss, step))
            rates += [float(rate) for rate in self.scheduler.get_last_lr()]
        return rates


def load(run: Run, source: Run) -> None:
    run.model.load_state_dict(source.model.state_dict())
    run.scheduler.load_state_dict(source.scheduler.state_dict())


@pytest.mark.parametrize(
    "controller", [Static(), Anchor(), ProgressAnchor(), DistanceAnchor(until=0.9), NanRescue(then=Anchor())]
)
@pytest.mark.parametrize(
    ("how", "total_steps"), [("hold", 32), ("stretch", 32), ("continue", 32), ("stretch", 15), ("continue", 15)]
)
def test_another_length_is_reached_as_by_extend(controller: Any, how: str, total_steps: int) -> None:
    whole = Run(controller)
    whole.train(0, DONE)
    resumed = Run(controller, total_steps, on_longer=how)
    load(resumed, whole)
    whole.scheduler.extend(total_steps, how)
    assert resumed.scheduler.horizon == whole.scheduler.horizon
    assert resumed.train(DONE, total_steps) == whole.train(DONE, total_steps)
    again = Run(controller, total_steps, on_longer=how)
    load(again, resumed)
    assert again.scheduler.state_dict()["changes"] == [[DONE, total_steps, how]]


def test_a_run_of_the_same_length_is_not_changed() -> None:
    whole = Run(Anchor())
    whole.train(0, DONE)
    resumed = Run(Anchor(), on_longer="continue")
    load(resumed, whole)
    assert resumed.scheduler.horizon == whole.scheduler.horizon
    assert resumed.train(DONE, SAVED) == whole.train(DONE, SAVED)


@pytest.mark.parametrize(
    ("how", "total_steps", "told"),
    [
        ("hold", 15, r"how='hold' cannot shorten the run from 20 to 15 steps"),
        ("stretch", DONE, rf"total_steps must be above the {DONE} steps already done, got {DONE}"),
        (None, 32, r"the controller has planned for them, got total_steps=32: say how to go on with on_longer="),
    ],
)
def test_what_cannot_be_reached_is_refused_and_changes_nothing(how: str | None, total_steps: int, told: str) -> None:
    whole, resumed = Run(Anchor()), Run(Anchor(), total_steps, on_longer=how)
    whole.train(0, DONE)
    before = str(resumed.scheduler.state_dict())
    with pytest.raises(SpecError, match=told):
        resumed.scheduler.load_state_dict(whole.scheduler.state_dict())
    assert str(resumed.scheduler.state_dict()) == before


def test_an_unknown_way_is_refused_at_construction() -> None:
    with pytest.raises(SpecError, match="on_longer must be one of stretch, hold, continue, got 'longer'"):
        Run(Anchor(), on_longer="longer")
