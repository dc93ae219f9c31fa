"""What a rescue puts back besides the parameters."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaptive_lr import Constant, ControlledLR, NanRescue

pytestmark = pytest.mark.filterwarnings("ignore:step .* loss or gradient is not finite:UserWarning")


def rescuing(optimizer: torch.optim.Optimizer, **fields: Any) -> ControlledLR:
    return ControlledLR(optimizer, Constant(), NanRescue(**fields), total_steps=40)


def copies(state: dict[str, Any]) -> dict[str, Any]:
    return {name: [one.clone() for one in state[name]] for name in ("old_dirs", "old_stps", "ro")}


def test_lists_in_the_state_of_an_optimizer_are_put_back() -> None:
    w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = torch.optim.LBFGS([w], lr=0.1, max_iter=1)
    scheduler, factor, kept = rescuing(optimizer, every=4), 1.0, {}

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = factor * (w.square() * torch.tensor([1.0, 3.0, 9.0])).sum() + w.pow(4).sum()
        loss.backward()
        return loss

    for step in range(7):
        factor = math.nan if step == 6 else 1.0
        if step == 4:
            kept = copies(optimizer.state[w])
        optimizer.step(closure)
        scheduler.step()
    assert len(kept["old_dirs"]) > 0
    found = copies(optimizer.state[w])
    assert list(found) == list(kept)
    for name, value in kept.items():
        assert len(found[name]) == len(value), name
        assert all(torch.equal(one, other) for one, other in zip(found[name], value, strict=True))


def told_by(scheduler: ControlledLR) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler.step(1.0)
    return [str(one.message) for one in caught]


def test_the_first_and_the_tenth_rescue_are_told_of_also_after_a_resumption() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer: torch.optim.Optimizer = torch.optim.SGD([w], lr=0.1)
    scheduler, told = rescuing(optimizer, every=1), {}
    for step in range(30):
        w.grad = torch.full((2,), math.nan if step >= 5 else 0.1)
        optimizer.step()
        if found := told_by(scheduler):
            told[step] = found
        if step == 8:
            state = scheduler.state_dict()
            scheduler = rescuing(torch.optim.SGD([w], lr=0.1), every=1)
            scheduler.load_state_dict(state)
            optimizer = scheduler.optimizer
    assert list(told) == [5, 14]
    assert "step 5: " in told[5][0]
    assert "multiplied by 0.5 from" in told[5][0]
    assert "for the 10th time" in told[14][0]
    assert "multiplied by 0.000976562 from" in told[14][0]
