"""Whatever a state is: it is loaded whole, or refused in one line and nothing has changed."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given

from adaptive_lr import ControlledLR, DampedCosine, ScheduledLR
from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.errors import SpecError
from tests.fuzz.driving import assert_raises_only
from tests.fuzz.nasty import fuzzed, mutated, sized

Scheduler = Any


def trained(make: Callable[[torch.optim.Optimizer], Scheduler]) -> tuple[torch.optim.Optimizer, Scheduler]:
    """Eight steps on a little regression."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    inputs, targets = torch.randn(16, 4), torch.randn(16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = make(optimizer)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        return loss

    for _ in range(8):
        if isinstance(scheduler, ControlledLR):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            scheduler.step(loss)
        else:
            optimizer.step(closure)
            scheduler.step()
    return optimizer, scheduler


def controlled(kind: type) -> Callable[[torch.optim.Optimizer], Scheduler]:
    def make(optimizer: torch.optim.Optimizer) -> Scheduler:
        return ControlledLR(optimizer, DampedCosine(), total_steps=40, controller=kind())

    return make


def scheduled(optimizer: torch.optim.Optimizer) -> Scheduler:
    return ScheduledLR(optimizer, DampedCosine(), total_steps=40)


MAKERS = {"ScheduledLR": scheduled, **{kind.__name__: controlled(kind) for kind in CONTROLLERS}}


@fuzzed(2, 250)
@pytest.mark.parametrize("name", MAKERS)
def test_a_changed_state_is_loaded_whole_or_refused(name: str, examples: int) -> None:
    try:
        optimizer, scheduler = trained(MAKERS[name])
    except SpecError as error:
        pytest.skip(str(error))
    saved = copy.deepcopy(scheduler.state_dict())

    @sized(examples)
    @given(mutated(saved))
    def check(state: Any) -> None:
        scheduler.load_state_dict(copy.deepcopy(saved))
        before = repr(scheduler.state_dict()), repr(optimizer.state_dict()["param_groups"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = assert_raises_only(SpecError, lambda: (scheduler.load_state_dict(copy.deepcopy(state)), True))
        if loaded is None:
            assert (repr(scheduler.state_dict()), repr(optimizer.state_dict()["param_groups"])) == before
        for group in optimizer.param_groups:
            assert torch.isfinite(torch.as_tensor(group["lr"])).all()

    check()
