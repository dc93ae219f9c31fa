"""A state is loaded where the same model trains fewer parameters or more, and refused by that of another model."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from adaptive_lr import (
    AbstractController,
    DistanceAnchor,
    Hypergradient,
    MomoCap,
    NanRescue,
    ProgressAnchor,
    ShrinkageDamping,
    SpecError,
)
from tests.controlled import Alignment, Watch, controlled, loss_of, minibatches, same, train, values

BATCHES = minibatches(70)
CONTROLLERS: list[AbstractController] = [
    ProgressAnchor(),
    DistanceAnchor(until=0.9, begin=0.02, spacing=1),
    NanRescue(every=20, then=ProgressAnchor()),
    Hypergradient(until=1.0),
    MomoCap(),
    Alignment(),
    Watch(),
    ShrinkageDamping(every=10),
]


class Run:
    def __init__(self, controller: AbstractController, *, frozen: bool = False, hidden: int = 8) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()
        self.set_frozen(frozen)
        self.optimizer = SGD(self.model.parameters(), lr=0.01, momentum=0.5)
        self.scheduler = controlled(self.optimizer, controller)

    def set_frozen(self, frozen: bool) -> None:
        self.model[0].requires_grad_(not frozen)
        self.model.zero_grad()

    def train(self, start: int, stop: int) -> list[str]:
        told: list[str] = []
        train(
            self.model,
            self.optimizer,
            self.scheduler,
            BATCHES[start:stop],
            lambda _: told.append(repr(self.scheduler.readings())),
        )
        return told

    def saved(self) -> list[dict[str, Any]]:
        return copy.deepcopy([part.state_dict() for part in (self.model, self.optimizer, self.scheduler)])

    def load(self, saved: list[dict[str, Any]]) -> None:
        self.model.load_state_dict(saved[0])
        self.optimizer.load_state_dict(saved[1])
        self.scheduler.load_state_dict(saved[2])


@pytest.mark.parametrize("frozen", [True, False], ids=["freeze", "thaw"])
@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda controller: controller.kind)
@pytest.mark.filterwarnings("ignore:the window of", "ignore:the losses are below")
def test_freezing_at_a_resume_is_freezing_on_the_way(controller: AbstractController, frozen: bool) -> None:
    whole = Run(controller, frozen=not frozen)
    whole.train(0, 25)
    resumed = Run(controller, frozen=frozen)
    resumed.load(whole.saved())
    whole.set_frozen(frozen)
    assert whole.train(25, 70) == resumed.train(25, 70)
    assert same(values(whole.model), values(resumed.model))


@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda controller: controller.kind)
@pytest.mark.filterwarnings("ignore:the losses are below")
def test_the_state_of_another_model_is_refused_and_training_goes_on(controller: AbstractController) -> None:
    wide, runs = Run(controller, hidden=9), [Run(controller) for _ in range(2)]
    wide.train(0, 12)
    for run in runs:
        run.train(0, 12)
    with pytest.raises(SpecError, match=r"remembers 4 parameters.* the optimizer trains 4 others.*start afresh"):
        runs[0].scheduler.load_state_dict(wide.scheduler.state_dict())
    assert runs[0].train(12, 20) == runs[1].train(12, 20)


def test_the_state_of_a_longer_model_is_refused() -> None:
    longer, run = Run(Watch()), Run(Watch())
    longer.model.append(nn.Linear(3, 3).double())
    longer.optimizer = SGD(longer.model.parameters(), lr=0.01)
    longer.scheduler = controlled(longer.optimizer, Watch())
    longer.train(0, 5)
    with pytest.raises(SpecError, match=r"remembers 6 parameters.* the optimizer trains 4"):
        run.scheduler.load_state_dict(longer.scheduler.state_dict())


def test_a_step_that_is_not_judged_is_of_the_very_parameters() -> None:
    run, other = Run(Watch()), Run(Watch(), frozen=True)
    run.train(0, 5)
    loss_of(run.model, *BATCHES[5]).backward()
    run.optimizer.step()
    with pytest.raises(SpecError, match=r"update\.gradients are those of other parameters"):
        other.scheduler.load_state_dict(run.scheduler.state_dict())


def test_a_group_that_the_optimizer_does_not_have_yet_may_wait() -> None:
    run, other = Run(ProgressAnchor()), Run(ProgressAnchor())
    extra = nn.Parameter(torch.ones(2, dtype=torch.float64))
    run.optimizer.add_param_group({"params": [extra], "lr": 0.01})
    run.train(0, 25)
    other.scheduler.load_state_dict(run.scheduler.state_dict())
    other.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, dtype=torch.float64))], "lr": 0.01})
    other.train(25, 40)
    assert other.scheduler.last_epoch == 40
