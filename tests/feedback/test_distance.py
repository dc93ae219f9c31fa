"""How far the parameters went, how long a step is, and what the optimizer remembers, as a controller sees them."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaptive_lr import Constant, ControlledLR, DistanceAnchor
from adaptive_lr.controllers.base import AbstractController, Moment, Observation, Signal, zeros
from adaptive_lr.feedback.momentum import momentum_of
from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.spec import spec
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Clipped, Muon, Peer, ProjectedSGD
from adaptive_lr.training.peer_packages import DOCUMENTED

BEGIN = 3


@spec
class Measure(AbstractController):
    """Looks at every step how far the parameters are from where they were at step ``BEGIN``, and halves it."""

    kind = "test-measure"
    needs = Signal.STEP | Signal.START | Signal.DISTANCE

    def signals(self, step: int, total_steps: int) -> Signal:
        return self.needs if step >= BEGIN else Signal.NONE

    def init(self, trials: int) -> tuple[Tensor, ...]:
        return (zeros(trials),)

    def multiplier(self, state: Any, now: Moment) -> Tensor:
        return now.scheduled

    def update(self, state: Any, seen: Observation) -> tuple[Any, Tensor]:
        return (seen.memory.expand_as(seen.trial),), seen.trial / 2

    def readings(self, state: Any) -> dict[str, Tensor]:
        return {"beta": state[0]}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def test_distance_and_direction_are_those_of_the_parameters() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    scheduler = ControlledLR(optimizer, Constant(), Measure(), total_steps=20)
    x = torch.randn(20, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = torch.zeros(0)

    def evaluate(step: int) -> Tensor:
        loss: Tensor = model(x[step]).square().mean()
        return loss

    for step in range(20):
        theta = torch.cat([p.detach().flatten() for p in model.parameters()])
        if step == BEGIN:
            start = theta
        optimizer.zero_grad()
        loss = evaluate(step)
        loss.backward()
        optimizer.step()
        moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - theta
        scheduler.step(loss.detach(), closure=partial(evaluate, step))
        seen = scheduler.readings()
        if step < BEGIN:
            assert "distance_square" not in seen
            continue
        assert seen["distance_square"] == pytest.approx(float((theta - start).square().sum()), rel=1e-12, abs=1e-30)
        assert seen["direction_square"] == pytest.approx(float(moved.square().sum()), rel=1e-12)
        assert seen["beta"] == 0.5
    assert set(scheduler.control.statistics.buffers) == {"initial", "start", "step"}


OPTIMIZERS: list[AbstractOptimizer] = [
    SGD(),
    SGD(momentum=0.7),
    SGD(momentum=0.9, nesterov="on"),
    AdamW(),
    AdamW(beta1=0.5, decayed="matrices"),
    ProjectedSGD(),
    Clipped(then=SGD(momentum=0.3)),
    Clipped(then=AdamW()),
    Muon(),
    Muon(momentum=0.5),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_batch_of_trials_sees_the_memory_that_a_loop_of_ones_own_does(optimizer: AbstractOptimizer) -> None:
    parameters = list(network().parameters())
    assert ModuleSpace(optimizer.literal(parameters, 0.1)).memory == optimizer.memory


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_peer_remembers_by_its_momentum(name: str) -> None:
    assert Peer(name=name).memory == DOCUMENTED[name].momentum


@pytest.mark.parametrize(
    ("group", "beta"),
    [
        ({}, 0.0),
        ({"momentum": 0.9}, 0.9),
        ({"betas": (0.8, 0.99)}, 0.8),
        ({"betas": [torch.tensor(0.5), 0.9]}, 0.5),
        ({"betas": None, "momentum": 0.4}, 0.4),
        ({"betas": (), "momentum": None}, 0.0),
        ({"momentum": 1.0}, 0.0),
        ({"momentum": float("nan")}, 0.0),
    ],
    ids=str,
)
def test_what_a_group_says_of_its_momentum(group: dict[str, Any], beta: float) -> None:
    assert momentum_of(group) == beta


def test_of_several_groups_the_largest_of_those_that_are_trained_is_taken() -> None:
    model = network()
    optimizer = torch.optim.SGD(
        [
            {"params": model[0].parameters(), "momentum": 0.9},
            {"params": model[2].parameters(), "momentum": 0.5},
        ],
        lr=0.1,
    )
    space = ModuleSpace(optimizer)
    assert space.memory == 0.9
    model[0].requires_grad_(False)
    assert space.memory == 0.5
    optimizer.param_groups[1]["momentum"] = 0.6  # as a scheduler of the momentum does
    assert space.memory == 0.6


def test_where_the_parameters_began_follows_groups_that_come_and_go() -> None:
    model, extra = network(), nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    controller = DistanceAnchor(until=1.0, spacing=1, every=0.01)
    scheduler = ControlledLR(optimizer, Constant(), controller, total_steps=60)
    x = torch.randn(60, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(step: int) -> Tensor:
        value: Tensor = (model(x[step]) * extra.mean() - 1.0).square().mean()
        return value

    starts: dict[int, Tensor] = {}
    for step in range(50):
        if step == 30:
            model[0].requires_grad_(False)
            model[0].zero_grad()
        if step == 35:
            optimizer.add_param_group({"params": [extra], "lr": 0.05})
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        for p in trained if step >= 20 else []:
            starts.setdefault(id(p), p.detach().clone())
        expected = sum(float((p.detach() - starts[id(p)]).square().sum()) for p in trained) if starts else None
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        optimizer.step()
        scheduler.step(value.detach(), closure=partial(loss, step))
        if step > 20:
            assert scheduler.readings()["distance_square"] == pytest.approx(expected, rel=1e-12)
    assert len(starts) == 5
