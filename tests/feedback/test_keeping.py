"""A rescue goes back to what was, also where other parameters are trained than before."""

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from adaptive_lr import AbstractController, ControlledLR, DampedCosine, NanRescue, ProgressAnchor
from tests.controlled import same

END = 60


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(x))
        return result


class Run:
    """A thaw, a freeze or a new group at step 25, and a minibatch that is not finite at step 30."""

    def __init__(self, change: str, controller: AbstractController) -> None:
        self.model, self.change = Network().double(), change
        self.extra = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        if change in ("thaw", "add"):
            self.model.body.requires_grad_(False)
        trained = self.model.head if change == "add" else self.model
        self.optimizer = AdamW(trained.parameters(), lr=0.01)
        self.scheduler = ControlledLR(self.optimizer, DampedCosine(), controller, total_steps=END)
        source = torch.Generator().manual_seed(1)
        self.x = torch.randn(END, 16, 4, generator=source, dtype=torch.float64)

    def alter(self) -> None:
        if self.change in ("thaw", "add"):
            self.model.body.requires_grad_(True)
        if self.change == "add":
            self.optimizer.add_param_group({"params": list(self.model.body.parameters())})
        if self.change == "freeze":
            self.model.body.requires_grad_(False)
            for parameter in self.model.body.parameters():
                parameter.grad = None

    def update(self, step: int, *, broken: bool = False) -> None:
        x = self.x[step]
        y = x.sum(1, keepdim=True).sin() * (float("nan") if broken else 1.0)

        def loss_of() -> Tensor:
            return nn.functional.mse_loss(self.model(x), y)

        self.optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step(loss, closure=loss_of)

    def everything(self) -> list[Tensor]:
        return [value.clone() for value in self.model.state_dict().values() if value.is_floating_point()]

    def moments(self) -> list[Tensor]:
        states = [self.optimizer.state[p] for p in self.model.head.parameters()]
        return [value.clone() for state in states for value in state.values()]


CONTROLLERS = [NanRescue(every=20), NanRescue(every=20, then=ProgressAnchor())]


@pytest.mark.parametrize("controller", CONTROLLERS, ids=["alone", "progress"])
@pytest.mark.parametrize("change", ["nothing", "thaw", "add", "freeze"])
def test_rescue_soon_after_other_parameters_are_trained_goes_back_to_the_last_copy(
    change: str, controller: AbstractController
) -> None:
    run = Run(change, controller)
    kept: list[Tensor] = []
    moments: list[Tensor] = []
    for step in range(30):
        if step == 25:
            run.alter()
        if step == 20:
            kept, moments = run.everything(), run.moments()
        run.update(step)
    assert not same(kept[:1], run.everything()[:1])
    with pytest.warns(UserWarning, match="went back to the last copy"):
        run.update(30, broken=True)
    assert same(moments, run.moments())
    floating = {name: value for name, value in zip(run.model.state_dict(), run.everything(), strict=False)}
    assert all(bool(value.isfinite().all()) for value in floating.values())
    weights = [
        index
        for index, name in enumerate(n for n, v in run.model.state_dict().items() if v.is_floating_point())
        if "running" not in name
    ]
    assert same([kept[index] for index in weights], [run.everything()[index] for index in weights])
    for step in range(31, END):
        run.update(step)
    assert all(bool(value.isfinite().all()) for value in run.everything())
    assert run.scheduler.readings()["ignored"] == 1.0


@pytest.mark.parametrize("change", ["thaw", "freeze"])
@pytest.mark.parametrize("stop", [22, 27])
def test_rescue_after_a_resume_goes_back_to_the_same_copy(change: str, stop: int) -> None:
    whole = Run(change, NanRescue(every=20))
    for step in range(stop):
        if step == 25:
            whole.alter()
        whole.update(step)
    file = io.BytesIO()
    torch.save({name: getattr(whole, name).state_dict() for name in ("model", "optimizer", "scheduler")}, file)
    file.seek(0)
    resumed, saved = Run(change, NanRescue(every=20)), torch.load(file, weights_only=True)
    if stop > 25:
        resumed.alter()
    for name in ("model", "optimizer", "scheduler"):
        getattr(resumed, name).load_state_dict(copy.deepcopy(saved[name]))
    for run in (whole, resumed):
        for step in range(stop, 31):
            if step == 25:
                run.alter()
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                run.update(step, broken=step == 30)
            assert len(told) == (step == 30)
    pairs = zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True)
    assert all(torch.equal(a, b) for (_, a), (_, b) in pairs)


def test_scalar_parameters_are_read_like_others() -> None:
    from adaptive_lr import MomoCap, PolyakReanchor

    controllers: list[Callable[[], Any]] = [MomoCap, PolyakReanchor, ProgressAnchor]
    for make in controllers:
        scale, weight = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.ones(2))
        optimizer = AdamW([scale, weight], lr=0.01)
        scheduler = ControlledLR(optimizer, DampedCosine(), make(), total_steps=20)

        def loss_of(scale: Tensor = scale, weight: Tensor = weight) -> Tensor:
            return (scale.exp() * weight - 1.0).square().sum()

        for _ in range(20):
            loss = loss_of()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step(loss, closure=loss_of)
        assert scheduler.last_epoch == 20
        assert scale.shape == ()
