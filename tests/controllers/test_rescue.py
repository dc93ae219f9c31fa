"""What a rescue puts back besides the parameters."""

import gc
import math
import warnings
import weakref
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


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


class Training:
    """A network with batch norm, whose minibatches may be corrupt; ``call`` is its forward pass."""

    def __init__(self, *, every: int = 3, whole: bool = True) -> None:
        self.model = network()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.scheduler = rescuing(self.optimizer, every=every, factor=1.0)
        self.parts = [self.model] if whole else list(self.model)

    def step(self, seed: int, *, corrupt: bool = False) -> None:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
        self.optimizer.zero_grad()
        for part in self.parts:
            x = part(math.nan * x if corrupt and part is self.parts[0] else x)
        loss = x.square().mean()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step(loss)

    def numbers(self) -> list[Tensor]:
        return [one.clone() for one in self.model.state_dict().values() if one.is_floating_point()]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "layer by layer"])
@pytest.mark.parametrize("corrupt", [0, 1, 5, 6])
def test_running_means_of_batch_norm_are_put_back(whole: bool, corrupt: int) -> None:
    run = Training(whole=whole)
    kept = run.numbers()
    for step in range(10):
        # Copied between forward pass and update, so that the running means are those after it.
        if step == corrupt:
            run.step(step, corrupt=True)
            assert bool(run.scheduler.control.restored[0])
            found = run.numbers()
            assert all(bool(one.isfinite().all()) for one in found)
            if corrupt < 3:  # before the second copy
                assert all(torch.equal(one, other) for one, other in zip(found[:2], kept[:2], strict=True))
        else:
            run.step(step)
    assert all(bool(one.isfinite().all()) for one in run.numbers())


def test_running_means_are_put_back_in_a_resumed_run() -> None:
    run, other = Training(), Training()
    for step in range(5):
        run.step(step)
    other.model.load_state_dict(run.model.state_dict())
    other.optimizer.load_state_dict(run.optimizer.state_dict())
    other.scheduler.load_state_dict(run.scheduler.state_dict())
    for one in (run, other):
        one.step(5, corrupt=True)
    for mine, theirs in zip(run.numbers(), other.numbers(), strict=True):
        assert bool(mine.isfinite().all())
        assert torch.equal(mine, theirs)


def test_modules_are_neither_kept_alive_nor_watched_once_they_are_known() -> None:
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    before, run = set(hooks), Training(every=1)
    assert len(set(hooks) - before) == 1
    run.step(0)
    assert not set(hooks) - before
    model = weakref.ref(run.model)
    run.parts, run.model = [], network()
    gc.collect()
    assert model() is None
