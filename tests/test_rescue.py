"""What a rescue puts back besides the parameters."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from adaptive_lr import Constant, ControlledLR, NanRescue


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
