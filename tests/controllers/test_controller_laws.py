"""Each controller against its literal loop, against what others published of it, and what it is there for."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptive_lr import (
    CONTROLLERS,
    AbstractController,
    AbstractSchedule,
    Anchor,
    AnchorLift,
    Constant,
    ControlledLR,
    CurvatureCap,
    DampedCosine,
    DampingWarp,
    DistanceAnchor,
    Greedy,
    Hypergradient,
    LearnedDamping,
    LossPlateau,
    MomoCap,
    NanRescue,
    NoiseScaleDamping,
    PolyakReanchor,
    ProgressAnchor,
    ShrinkageDamping,
    Static,
    StationarityDrop,
)
from adaptive_lr.controllers import Observation, Signal
from tests.controllers.moments import column, moment
from tests.learned import FULL, WEIGHTS
from tests.reference.controllers import LOOPS
from tests.reference.walk import Walk

pytestmark = pytest.mark.filterwarnings("ignore:step .* loss or gradient is not finite:UserWarning")
STEPS, EXAMPLES, DIMENSION = 240, 8, 5


class Descent:
    """A torch loop over the same data as a `Walk`, with the controller in it."""

    def __init__(self, controller: AbstractController, schedule: AbstractSchedule, walk: Walk) -> None:
        self.controller = controller
        self.w = torch.nn.Parameter(torch.zeros(walk.inputs.shape[2], dtype=torch.float64))
        optimizer = torch.optim.SGD([self.w], lr=walk.base_lr, momentum=walk.momentum)
        self.data = torch.from_numpy(walk.inputs), torch.from_numpy(walk.targets)
        self.scheduler = ControlledLR(optimizer, schedule, controller, total_steps=walk.steps)
        walk.probe = self.scheduler._space.direction()[0].numpy()

    def loss(self, step: int, examples: slice = slice(None)) -> Tensor:
        inputs, targets = (one[step][examples] for one in self.data)
        return (inputs @ self.w - targets).square().mean() / 2

    def made(self) -> list[float]:
        """The multiplier of every update."""
        found = []
        for step in range(len(self.data[0])):
            self.scheduler.optimizer.zero_grad()
            if Signal.HALF in self.controller.signals(step, len(self.data[0])):
                (self.loss(step, slice(EXAMPLES // 2)) / 2).backward()
                self.scheduler.micro_batch()
                (self.loss(step, slice(EXAMPLES // 2, None)) / 2).backward()
            else:
                self.loss(step).backward()
            loss = self.loss(step).detach()
            if Signal.METRIC in self.controller.signals(step, len(self.data[0])):
                self.scheduler.observe(self.loss(0).detach())
            self.scheduler.optimizer.step()
            self.scheduler.step(loss, closure=lambda step=step: self.loss(step))  # type: ignore[misc]
            found.append(self.scheduler.applied_multiplier)
        return found


def walk(
    base_lr: float = 0.1, momentum: float = 0.9, noise: float = 0.5, schedule: Any = None, steps: int = STEPS
) -> Walk:
    source = np.random.default_rng(1)
    inputs = source.normal(size=(steps, EXAMPLES, DIMENSION)) / np.sqrt(np.arange(1, DIMENSION + 1))
    targets = inputs @ np.ones(DIMENSION) + noise * source.normal(size=(steps, EXAMPLES))
    shown = DampedCosine() if schedule is None else schedule
    return Walk(inputs, targets, base_lr, momentum, lambda u: float(shown(u)), np.zeros(DIMENSION))


CASES: dict[type[AbstractController], list[AbstractController]] = {
    AnchorLift: [AnchorLift(start=0.2, alignment=-0.5), AnchorLift(every=3, alignment=0.05)],
    DistanceAnchor: [
        DistanceAnchor(),
        DistanceAnchor(until=0.9, every=0.03, target=0.7, begin=0.02, most=0.5),
        DistanceAnchor(until=0.9, down=2.0, decrease=0.9, begin=0.9),
    ],
    LearnedDamping: [
        FULL,
        LearnedDamping(weights=tuple(-weight for weight in WEIGHTS), every=0.01),
        LearnedDamping(weights=(0.0, -1.0, *(0.0,) * 18), until=1.0),
    ],
    Hypergradient: [Hypergradient(), Hypergradient(gain=0.03, reference="gradient")],
    PolyakReanchor: [PolyakReanchor(k=0.3), PolyakReanchor(target=0.05, until=0.05)],
    MomoCap: [MomoCap(), MomoCap(target=0.1), MomoCap(estimate_target="on")],
    CurvatureCap: [CurvatureCap(sigma=0.2), CurvatureCap(every=7, until=0.05)],
    NoiseScaleDamping: [NoiseScaleDamping(), NoiseScaleDamping(every=3, decay=0.6, floor=0.1)],
    StationarityDrop: [StationarityDrop(recent=0.5), StationarityDrop(every=2, factor=0.3, recent=0.5)],
    ShrinkageDamping: [ShrinkageDamping(every=10), ShrinkageDamping(every=7, limit=0.5)],
    DampingWarp: [DampingWarp(), DampingWarp(gain=5.0, decay=0.9)],
    LossPlateau: [LossPlateau(patience=2), LossPlateau(factor=0.3, patience=0, cooldown=1, floor=0.01)],
    Greedy: [
        Greedy(patience=3),
        Greedy(window=20, patience=2, cooldown=2, warmup=1, most=1.1),
        Greedy(patience=1, factor=0.5, least=0.2, reset=5),
    ],
    NanRescue: [NanRescue(every=7, factor=0.3)],
}
"""Fields with which a rule does something in this walk; the defaults for any other controller."""

CAPS = (PolyakReanchor, MomoCap, CurvatureCap)
"""They only act where the base rate is too high."""


def cases() -> list[AbstractController]:
    return [controller for kind in CONTROLLERS for controller in CASES.get(kind, [kind()])]


def test_every_controller_has_a_literal_loop() -> None:
    assert set(LOOPS) == set(CONTROLLERS), "write its rule as a loop in tests/reference/controllers.py"


@pytest.mark.sampled(2)
@pytest.mark.filterwarnings("ignore:the losses are below")
@pytest.mark.parametrize(
    ("controller", "momentum"),
    [
        pytest.param(
            controller, momentum, marks=[pytest.mark.slow] if (index + half) % 2 else [], id=f"{controller}-{momentum}"
        )
        for index, controller in enumerate(cases())
        for half, momentum in enumerate((0.0, 0.9))
    ],
)
def test_multipliers_are_those_of_the_literal_loop(controller: AbstractController, momentum: float) -> None:
    base_lr = 3.0 * (1.0 - 0.8 * momentum) if isinstance(controller, CAPS) else 0.3
    literal = walk(base_lr=base_lr, momentum=momentum)
    if isinstance(controller, NanRescue):
        literal.targets[[0, 30, 31, 120, 239]] = np.nan
    descent = Descent(controller, DampedCosine(), literal)
    expected = list(LOOPS[type(controller)](controller, literal))
    assert descent.made() == pytest.approx(expected, rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(descent.w.detach().numpy(), literal.theta, rtol=0, atol=1e-9)
    changed = any(made != pytest.approx(literal.m(t)) for t, made in enumerate(expected))
    assert changed or isinstance(controller, Static)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("start", [10.0**exponent for exponent in range(-4, 5)])
@pytest.mark.parametrize("curvature", [0.01, 7.0])
def test_anchor_finds_one_over_the_curvature_from_any_start(start: float, curvature: float) -> None:
    w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=start / curvature)
    scheduler = ControlledLR(optimizer, Constant(), Anchor(), total_steps=1000)
    for _ in range(60):
        loss = curvature * w.square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda: curvature * w.square().sum() / 2)
    assert optimizer.param_groups[0]["lr"] / 0.25 * curvature == pytest.approx(1.0, rel=0.15)


def test_anchor_probes_a_twentieth_of_a_run() -> None:
    assert Anchor().extra_steps(2000) == 100 / 3
    assert NanRescue(then=Anchor()).extra_steps(2000) == 100 / 3
    assert CurvatureCap().extra_steps(2000) == 100
    assert ShrinkageDamping().extra_steps(2000) == 40
    assert NoiseScaleDamping().extra_steps(2000) == 0


@pytest.mark.filterwarnings("ignore:the losses are below")
def test_first_step_of_both_caps_is_the_polyak_step() -> None:
    steps = []
    for controller in (PolyakReanchor(target=0.1), MomoCap(target=0.1)):
        found = walk(base_lr=50.0, momentum=0.0)
        made = Descent(controller, Constant(), found).made()[0]
        g = found.gradient(0, np.zeros(DIMENSION))
        assert made * 50.0 == pytest.approx((found.loss(0, np.zeros(DIMENSION)) - 0.1) / (g @ g), rel=1e-9)
        steps.append(made)
    assert steps[0] == pytest.approx(steps[1], rel=1e-12)


@pytest.mark.parametrize("estimated", ["on", "off"])
def test_momo_cap_is_momo_along_the_mean_gradient(estimated: str) -> None:
    momo = pytest.importorskip("momo", reason="pip install 'adaptive-lr[peers]' installs momo")
    rate, data = 2.0, walk(noise=0.5)
    w = torch.zeros(DIMENSION, dtype=torch.float64, requires_grad=True)
    theirs = momo.Momo([w], lr=rate, bias_correction=True, use_fstar=estimated == "on")
    controller = MomoCap(estimate_target=estimated)
    state, theta, mean = controller.init(1), np.zeros(DIMENSION), np.zeros(DIMENSION)
    for t in range(100):
        g = data.gradient(t, theta)
        mean = 0.9 * mean + 0.1 * g
        D = rate * mean / (1 - 0.9 ** (t + 1))
        seen = Observation(
            now=moment(t),
            trial=column(1.0),
            loss=column(data.loss(t, theta)),
            descent=column(g @ D),
            gradient_dot_parameters=column(g @ theta),
            average_dot_parameters=column(mean @ theta),
            average_dot_direction=column(mean @ D),
        )
        state, decided = controller.update(state, seen)
        theta = theta - float(decided) * D
        w.grad = torch.from_numpy(data.gradient(t, w.detach().numpy()))
        theirs.step(loss=column(data.loss(t, w.detach().numpy())))
        # theirs keeps gamma in single precision
        np.testing.assert_allclose(w.detach().numpy(), theta, rtol=0, atol=1e-6)
    assert float(state.target) == pytest.approx(float(theirs.lb), abs=1e-6)


def test_caps_do_nothing_at_a_rate_that_is_low() -> None:
    for kind in CAPS:
        assert Descent(kind(), Constant(), walk(base_lr=1e-4, momentum=0.0)).made() == [1.0] * STEPS


def test_reanchored_polyak_starts_the_schedule_anew_from_its_bound() -> None:
    data = walk(base_lr=1e3, momentum=0.0)
    made = Descent(PolyakReanchor(), DampedCosine(), data).made()
    quarter, late = made[STEPS // 4] / data.m(STEPS // 4), made[-1] / data.m(STEPS - 1)
    assert late == pytest.approx(quarter, rel=1e-9)
    assert quarter < 1e-2


def test_rescue_equals_the_run_up_to_the_first_bad_step_and_goes_on_after_it() -> None:
    plain, sound = walk(momentum=0.9), walk(momentum=0.9)
    plain.targets[100], sound.targets[100] = np.nan, sound.targets[100]
    descent = Descent(NanRescue(), DampedCosine(), plain)
    made, alone = descent.made(), Descent(Static(), DampedCosine(), sound).made()
    assert made[:100] == alone[:100]
    assert made[100] == 0.0
    assert made[101:] == [one / 2 for one in alone[101:]]
    assert np.linalg.norm(descent.w.detach().numpy() - 1.0) < 0.3


@pytest.mark.parametrize("controller", [one[0] for one in CASES.values()], ids=lambda one: one.kind)
def test_rescued_twice_is_a_base_rate_a_quarter_as_large(controller: AbstractController) -> None:
    base_lr = 3.0 if isinstance(controller, CAPS) else 0.3
    small = Descent(controller, DampedCosine(), walk(base_lr=base_lr / 4, momentum=0.0, steps=120)).made()
    rescued = Descent(NanRescue(then=controller), DampedCosine(), walk(base_lr=base_lr, momentum=0.0, steps=120))
    rescued.scheduler.control.state = rescued.scheduler.control.state._replace(scale=column(0.25))
    assert rescued.made() == pytest.approx([one / 4 for one in small], rel=1e-8, abs=1e-12)


def test_rescue_lets_the_inner_controller_work_in_units_of_its_own() -> None:
    data = walk(base_lr=30.0, momentum=0.0)
    data.targets[5] = np.nan  # inside the anchor's window
    found = Descent(NanRescue(then=Anchor()), Constant(), data)
    made = found.made()
    alone = Descent(Anchor(), Constant(), walk(base_lr=30.0, momentum=0.0)).made()
    assert made[-1] == pytest.approx(alone[-1], rel=0.2)


def test_progress_of_a_short_run_is_the_mean_of_what_was_measured() -> None:
    data = walk(momentum=0.0, steps=200)
    # 0.1 T is inside the window, where no probe is of twice the step; and the share is nowhere at its bounds.
    controller = ProgressAnchor(every=6, scale=2.0, least=1e-3, most=1.0)
    expected = list(LOOPS[ProgressAnchor](controller, data))
    assert Descent(controller, DampedCosine(), data).made() == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_progress_anchor_without_its_lift_reads_no_gradients() -> None:
    asked = {signal for step in range(2000) for signal in ProgressAnchor(limit=1.0).signals(step, 2000)}
    assert Signal.PREVIOUS_GRADIENT not in asked
    assert Signal.PROBE_START in asked
    assert any(Signal.PREVIOUS_GRADIENT in ProgressAnchor().signals(step, 2000) for step in range(2000))
