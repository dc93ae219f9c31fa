"""What a probe says, and what it must not be taken to say."""

import math
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptive_lr import (
    AbstractController,
    Anchor,
    AnchorLift,
    Constant,
    ControlledLR,
    DampedCosine,
    DistanceAnchor,
    ProgressAnchor,
)
from adaptive_lr.controllers import Moment, Observation
from adaptive_lr.controllers.probe import judged, ordinary, typical

ANCHORS: list[Any] = [
    Anchor(),
    ProgressAnchor(),
    AnchorLift(),
    DistanceAnchor(probing=Anchor(fraction=0.12, least_steps=40)),
]
SINGLE = torch.tensor(torch.finfo(torch.float32).eps, dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def observed(loss: float, descent: float, probe: float, trial: float = 1.0, step: int = 0) -> Observation:
    now = Moment(step, 400, step / 400, column(1.0), lambda u: torch.ones_like(u))
    return Observation(
        now=now,
        trial=column(trial),
        loss=column(loss),
        descent=column(descent),
        probe_loss=column(probe),
        resolution=SINGLE,
    )


@pytest.mark.parametrize(
    ("loss", "descent", "probe", "expected"),
    [
        (1.0, 1.0, 0.4, (True, False, True)),
        (1.0, 1.0, 0.6, (True, False, False)),
        (1.0, 1.0, math.nan, (True, False, False)),
        (1.0, 1.0, math.inf, (True, False, False)),
        (1.0, 0.0, 1.0, (False, False, False)),  # no gradient
        (1.0, 0.0, 0.5, (False, False, False)),
        (0.0, 0.0, 0.0, (False, False, False)),
        (1.0, 1e-9, 1.0, (False, True, False)),  # the promise is lost in rounding, and nothing was seen
        (1.0, 1e-9, 1.1, (True, False, False)),  # the promise is, what happened is not
        (1.0, -1e-9, 1.0, (False, False, False)),
        (1e-8, 1e-9, 1e-8, (True, False, False)),
        (math.nan, 1.0, 1.0, (False, False, False)),
        (1.0, math.inf, 1.0, (False, False, False)),
    ],
)
def test_verdict(loss: float, descent: float, probe: float, expected: tuple[bool, bool, bool]) -> None:
    verdict = judged(observed(loss, descent, probe), 0.5)
    assert tuple(bool(value) for value in verdict) == expected


def test_one_bad_reading_hardly_moves_what_is_typical() -> None:
    known = torch.tensor([True])
    assert float(typical(column(0.0), column(1e9), known).exp()) == pytest.approx(100**0.1)
    assert float(typical(column(0.0), column(1e-9), known).exp()) == pytest.approx(100**-0.1)
    for useless in (0.0, -1.0, math.nan, math.inf):
        assert float(typical(column(3.0), column(useless), known)) == 3.0
    assert not ordinary(column(101.0), column(0.0))
    assert ordinary(column(99.0), column(0.0))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Loop:
    """Noisy least squares in single precision, some of whose minibatches are spoilt."""

    def __init__(
        self, controller: AbstractController, rate: float, steps: int = 200, dtype: Any = torch.float32
    ) -> None:
        source = torch.Generator().manual_seed(100)
        scales = torch.arange(1, 31).to(dtype).rsqrt()
        target = torch.randn(30, generator=source).to(dtype)
        self.inputs = torch.randn(steps, 8, 30, generator=source).to(dtype) * scales
        self.targets = self.inputs @ target + 0.5 * torch.randn(steps, 8, generator=source).to(dtype)
        self.w, self.scales, self.target = torch.nn.Parameter(torch.zeros(30, dtype=dtype)), scales, target
        self.optimizer = torch.optim.SGD([self.w], lr=rate)
        self.scheduler = ControlledLR(self.optimizer, DampedCosine(), controller, total_steps=steps)
        self.steps = steps

    def loss(self, step: int, mask: float, shift: float) -> Tensor:
        return mask * (self.inputs[step] @ self.w - self.targets[step]).square().mean() / 2 + shift

    def run(self, masked: Any = (), long: dict[int, float] | None = None, shift: float = 0.0) -> float:
        """The excess loss at the end; in ``masked`` steps the loss is constant, in ``long`` ones the gradient is multiplied."""
        for step in range(self.steps):
            mask = 0.0 if step in masked else 1.0
            self.optimizer.zero_grad()
            loss = self.loss(step, mask, shift)
            loss.backward()
            assert self.w.grad is not None
            self.w.grad.mul_((long or {}).get(step, 1.0))
            self.optimizer.step()
            self.scheduler.step(loss.detach(), closure=lambda: self.loss(step, mask, shift))  # noqa: B023
        return float(((self.w.detach() - self.target) * self.scales).square().sum() / 2)


@lru_cache
def sound(controller: AbstractController, rate: float) -> float:
    return Loop(controller, rate).run()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("controller", ANCHORS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("count", [10, 20, 30])
def test_minibatches_without_a_gradient_say_nothing(controller: AbstractController, count: int) -> None:
    for rate in (0.01, 0.2):
        # Of 40 probes 10 are left after 30, too few to come all the way from a start 30 times too low.
        factor = 4.0 if count <= 20 else 12.0
        assert Loop(controller, rate).run(masked=range(count)) < factor * sound(controller, rate)


@pytest.mark.parametrize("controller", ANCHORS, ids=lambda spec: spec.kind)
def test_minibatches_without_a_gradient_change_no_bit_of_the_state(controller: AbstractController) -> None:
    state = controller.init(1)
    for step in range(15):
        before = state
        state, _ = controller.update(state, observed(1.0, 0.0, 1.0, step=step))
        assert state == before


@pytest.mark.parametrize("controller", ANCHORS, ids=lambda spec: spec.kind)
def test_a_window_without_a_word_leaves_the_base_rate(controller: AbstractController) -> None:
    loop, made = Loop(controller, 0.05), []
    for step in range(60):
        loop.optimizer.zero_grad()
        loss = loop.loss(step, 0.0, 0.0)
        loss.backward()
        loop.optimizer.step()
        loop.scheduler.step(loss.detach(), closure=lambda: loop.loss(step, 0.0, 0.0))  # noqa: B023
        made.append(loop.scheduler.applied_multiplier)
    assert torch.equal(loop.w, torch.zeros_like(loop.w))
    expected = [float(DampedCosine()(step / loop.steps)) for step in range(60)]
    assert made[45:] == pytest.approx(expected[45:], rel=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("controller", ANCHORS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("step", [5, 25, 38])
def test_a_gradient_far_too_long_is_not_followed(controller: AbstractController, step: int) -> None:
    for rate in (0.01, 0.2):
        assert Loop(controller, rate).run(long={step: 1e3}) < 2.0 * sound(controller, rate)


@pytest.mark.parametrize("exponent", [-10, -8, -6, -4, -2, 0, 2, 4])
def test_the_start_is_forgotten_in_single_precision(exponent: int) -> None:
    assert Loop(Anchor(), 10.0**exponent).run() < 2.0 * sound(Anchor(), 0.1)


def test_a_start_without_a_bound_is_found_from_far_below_rounding() -> None:
    w = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([w], lr=1e-10)
    scheduler = ControlledLR(optimizer, Constant(), Anchor(), total_steps=2000)
    for _ in range(150):
        loss = w.square().sum() / 2 + 1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda: w.square().sum() / 2 + 1)
    assert float(w.detach().abs().max()) < 0.01
