"""Losses, probes and gradients that are NaN, infinite, zero, denormal or huge, in a real loop of 60 steps under every controller."""

import copy
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptive_lr import CONTROLLERS, AbstractController, ControlledLR, DampedCosine, NanRescue, ProgressAnchor, Static
from adaptive_lr.controllers import Signal

HOSTILE = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, 5e-324, 1e-38, 1e38, -1e38, 3e4, 1e300)
SPOILT = (("loss",), ("gradient",), ("probe",), ("loss", "probe"), ("loss", "gradient", "probe"), ("masked",), ())
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
OPTIMIZERS = ("sgd", "momentum", "adamw")
STEPS, RATE = 60, 0.05
TESTED: list[Any] = [*(kind() for kind in CONTROLLERS), NanRescue(then=ProgressAnchor())]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the losses are below:UserWarning"),
    pytest.mark.filterwarnings("ignore:step .* loss or gradient is not finite:UserWarning"),
]


@dataclass
class Attack:
    """One pattern: what is spoilt with what at which step of the training of a small perceptron."""

    seed: int
    dtype: torch.dtype
    optimizer: str

    def __post_init__(self) -> None:
        source = random.Random(self.seed)
        spoilt, share = SPOILT[self.seed % len(SPOILT)], source.choice((0.05, 0.3, 0.9))
        self.plan = [{what: source.choice(HOSTILE) for what in spoilt if source.random() < share} for _ in range(STEPS)]
        generator = torch.Generator().manual_seed(self.seed)
        self.inputs = torch.randn(STEPS, 6, 4, generator=generator).to(self.dtype)
        self.targets = torch.randn(STEPS, 6, 1, generator=generator).to(self.dtype)
        self.initial = [
            (torch.randn(shape, generator=generator) / 2).to(self.dtype) for shape in ((8, 4), (8,), (1, 8))
        ]

    def begin(self, controller: AbstractController) -> "Run":
        parameters = [torch.nn.Parameter(value.clone()) for value in self.initial]
        made: dict[str, Any] = {
            "sgd": lambda: torch.optim.SGD(parameters, lr=RATE),
            "momentum": lambda: torch.optim.SGD(parameters, lr=RATE, momentum=0.9),
            "adamw": lambda: torch.optim.AdamW(parameters, lr=RATE / 10),
        }
        optimizer = made[self.optimizer]()
        return Run(self, parameters, optimizer, ControlledLR(optimizer, DampedCosine(), controller, total_steps=STEPS))


@dataclass
class Run:
    attack: Attack
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    scheduler: ControlledLR

    def loss(self, step: int) -> Tensor:
        first, bias, second = self.parameters
        outputs = torch.tanh(self.attack.inputs[step] @ first.T + bias) @ second.T
        return (outputs - self.attack.targets[step]).square().float().mean().to(self.attack.dtype)

    def step(self, step: int) -> None:
        spoilt, dtype = self.attack.plan[step], self.attack.dtype

        def value(name: str) -> Tensor:
            return torch.tensor(spoilt[name], dtype=torch.float64).to(dtype)

        def closure() -> Tensor:
            loss = self.loss(step)
            if "masked" in spoilt:
                return loss * 0.0
            return loss * 0.0 + value("probe") if "probe" in spoilt else loss

        self.optimizer.zero_grad()
        loss = self.loss(step) * (0.0 if "masked" in spoilt else 1.0)
        loss.backward()
        for parameter in self.parameters:
            assert parameter.grad is not None
            if "gradient" in spoilt:
                parameter.grad.copy_(value("gradient"))
        if Signal.HALF in self.scheduler.controller.signals(step, STEPS):
            self.scheduler.micro_batch()
        self.optimizer.step()
        self.scheduler.step(value("loss") if "loss" in spoilt else loss.detach(), closure=closure)

    @property
    def rate(self) -> float:
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @property
    def finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.parameters)

    def resumed(self) -> "Run":
        other = self.attack.begin(self.scheduler.controller)
        with torch.no_grad():
            for mine, theirs in zip(self.parameters, other.parameters, strict=True):
                theirs.copy_(mine)
        other.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))  # torch would share the tensors
        other.scheduler.load_state_dict(copy.deepcopy(self.scheduler.state_dict()))
        return other


@lru_cache
def stays_finite(seed: int, dtype: torch.dtype, optimizer: str) -> list[bool]:
    """After each step of the run without control."""
    plain = Attack(seed, dtype, optimizer).begin(Static())
    finite = []
    for step in range(STEPS):
        plain.step(step)
        finite.append(plain.finite)
    return finite


def withstand(controller: AbstractController, attack: Attack, *, resume: bool) -> None:
    run, plain = attack.begin(controller), stays_finite(attack.seed, attack.dtype, attack.optimizer)
    resumed: Run | None = None
    for step in range(STEPS):
        if resume and step == STEPS // 3:
            resumed = run.resumed()
        run.step(step)
        assert math.isfinite(run.rate), (attack, step)
        assert run.rate > 0.0 or step == STEPS - 1, (attack, step)
        assert run.finite or not plain[step], (attack, step)
        if resumed is not None:
            resumed.step(step)
            assert resumed.rate == run.rate, (attack, step)
            for mine, theirs in zip(run.parameters, resumed.parameters, strict=True):
                assert torch.equal(mine.nan_to_num(), theirs.nan_to_num()), (attack, step)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("controller", TESTED, ids=repr)
def test_hostile_numbers_spoil_no_rate_and_no_parameter(controller: AbstractController) -> None:
    for seed in (0, 2, 5):
        withstand(controller, Attack(seed, DTYPES[seed % 4], OPTIMIZERS[seed % 3]), resume=seed == 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("controller", TESTED, ids=repr)
def test_two_thousand_hostile_patterns(controller: AbstractController, dtype: torch.dtype) -> None:
    for seed in range(100, 136):  # with 16 controllers in four precisions, 2304 patterns
        withstand(controller, Attack(seed, dtype, OPTIMIZERS[seed % 3]), resume=seed % 6 == 0)
