import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from adaptive_lr import (
    AbstractSchedule,
    Constant,
    DampedCosine,
    ScheduledLR,
    Step,
    Warmup,
    from_timm,
    from_torch,
    from_transformers,
)

TOLERANCE = 1e-12


def optimizer(rate: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def rates(schedule: AbstractSchedule, base: float, total_steps: int) -> list[float]:
    one = optimizer(base)
    scheduler = ScheduledLR(one, schedule, total_steps=total_steps)
    found = []
    for _ in range(total_steps):
        found.append(float(one.param_groups[0]["lr"]))
        one.step()
        scheduler.step()
    return found


def torch_rates(name: str, base: float, total_steps: int, arguments: dict[str, Any]) -> list[float]:
    one = optimizer(base)
    scheduler = getattr(theirs, name)(one, **arguments)
    found = []
    for step in range(total_steps):
        found.append(float(one.param_groups[0]["lr"]))
        one.step()
        if step + 1 < total_steps:  # with pct_start=1.0 OneCycleLR cannot make the step after the last
            scheduler.step()
    return found


def assert_equal(schedule: AbstractSchedule, expected: list[float], base: float) -> None:
    found = rates(schedule, base, len(expected))
    worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    assert worst <= TOLERANCE * base


TORCH_CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("StepLR", 100, {"step_size": 30}),
    ("StepLR", 97, {"step_size": 7, "gamma": 0.9}),
    ("StepLR", 10, {"step_size": 30, "gamma": 1.0}),
    ("MultiStepLR", 100, {"milestones": [30, 80]}),
    ("MultiStepLR", 100, {"milestones": [80, 30, 30, 200], "gamma": 0.5}),
    ("MultiStepLR", 10, {"milestones": [0, 4], "gamma": 0.5}),
    ("MultiStepLR", 10, {"milestones": []}),
    ("ConstantLR", 20, {}),
    ("ConstantLR", 20, {"factor": 0.7, "total_iters": 30}),
    ("ConstantLR", 20, {"factor": 0.7, "total_iters": 0}),
    ("LinearLR", 20, {}),
    ("LinearLR", 20, {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 20}),
    ("LinearLR", 20, {"start_factor": 0.1, "end_factor": 0.6, "total_iters": 50}),
    ("LinearLR", 20, {"start_factor": 0.1, "total_iters": 0}),
    ("ExponentialLR", 100, {"gamma": 0.95}),
    ("ExponentialLR", 2000, {"gamma": 0.9}),
    ("ExponentialLR", 10, {"gamma": 1.0}),
    ("PolynomialLR", 20, {}),
    ("PolynomialLR", 100, {"total_iters": 100, "power": 2.0}),
    ("PolynomialLR", 100, {"total_iters": 150, "power": 0.5}),
    ("CosineAnnealingLR", 100, {"T_max": 100}),
    ("CosineAnnealingLR", 1000, {"T_max": 1000, "eta_min": 0.01}),
    ("CosineAnnealingLR", 10_000, {"T_max": 10_000, "eta_min": 1e-4}),
    ("CosineAnnealingLR", 60, {"T_max": 100, "eta_min": 0.01}),
    ("CosineAnnealingLR", 100, {"T_max": 12, "eta_min": 0.01}),
    ("CosineAnnealingLR", 20, {"T_max": 12}),
    ("CosineAnnealingLR", 20, {"T_max": 7.5}),
    ("CosineAnnealingLR", 7, {"T_max": 7.5}),
    ("CosineAnnealingWarmRestarts", 100, {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", 400, {"T_0": 1, "T_mult": 3, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", 10_000, {"T_0": 100, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", 7, {"T_0": 10}),
    ("OneCycleLR", 100, {"max_lr": 0.3, "cycle_momentum": False}),
    ("OneCycleLR", 100, {"max_lr": 0.2, "cycle_momentum": False, "anneal_strategy": "linear", "pct_start": 0.45}),
    ("OneCycleLR", 101, {"max_lr": 0.3, "cycle_momentum": False, "three_phase": True, "div_factor": 10.0}),
    ("OneCycleLR", 50, {"max_lr": 0.3, "cycle_momentum": False, "pct_start": 1.0}),
    ("OneCycleLR", 10, {"max_lr": 0.3, "cycle_momentum": False, "epochs": 4, "steps_per_epoch": 5}),
]


@pytest.mark.parametrize(("name", "total_steps", "arguments"), TORCH_CASES)
def test_torch_schedulers_have_the_same_rates(name: str, total_steps: int, arguments: dict[str, Any]) -> None:
    base = 0.3
    schedule = from_torch(name, base_lr=base, total_steps=total_steps, **arguments)
    own = {"total_steps": total_steps} if name == "OneCycleLR" and "epochs" not in arguments else {}
    assert_equal(schedule, torch_rates(name, base, total_steps, arguments | own), base)


@pytest.mark.parametrize(
    "arguments",
    [
        {"step_size_up": 5},
        {"step_size_up": 5, "step_size_down": 8, "mode": "triangular2"},
        {"step_size_up": 20, "mode": "exp_range", "gamma": 0.99},
        {"step_size_up": 2.5, "step_size_down": 4.25},
        {},
    ],
)
def test_cyclic_has_the_same_rates_when_the_optimizer_has_the_highest(arguments: dict[str, Any]) -> None:
    arguments |= {"max_lr": 0.1, "cycle_momentum": False, "base_lr": 0.02}
    schedule = from_torch("CyclicLR", total_steps=100, **arguments)
    assert_equal(schedule, torch_rates("CyclicLR", 0.1, 100, arguments), 0.1)


def test_the_long_cosine_climbs_within_the_run_and_holds_past_it() -> None:
    schedule = from_torch("CosineAnnealingLR", T_max=4000, total_steps=10_000)
    # PyTorch's recursion multiplies tiny numbers on the way up; its closed form does not.
    assert_equal(schedule, [0.5 * (1.0 + math.cos(math.pi * step / 4000)) for step in range(10_000)], 1.0)
    assert from_torch("CosineAnnealingLR", T_max=100, total_steps=100).at(150, 100) == 0.0


@pytest.mark.parametrize("arguments", [{}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.01, "cooldown": 2}])
def test_plateau_has_the_same_rates(arguments: dict[str, Any]) -> None:
    arguments |= {"patience": 2, "factor": 0.5, "min_lr": 0.01}
    metrics = torch.rand(200, generator=torch.Generator().manual_seed(0)).tolist()
    ours, other = optimizer(0.1), optimizer(0.1)
    schedule = from_torch(theirs.ReduceLROnPlateau, base_lr=0.1, total_steps=200, **arguments)
    scheduler = ScheduledLR(ours, schedule, total_steps=200)
    reference = theirs.ReduceLROnPlateau(other, **arguments)
    for metric in metrics:
        assert ours.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"], abs=1e-13)
        ours.step()
        scheduler.step(metric)
        reference.step(metric)
    assert other.param_groups[0]["lr"] == 0.01
    assert from_transformers("reduce_lr_on_plateau", base_lr=0.1, total_steps=200, **arguments) == schedule


def test_translations_are_readable() -> None:
    assert from_torch(theirs.CosineAnnealingLR, T_max=10, total_steps=10) == DampedCosine()
    assert from_torch("MultiStepLR", milestones=[5], total_steps=10) == Step(milestones=(0.5,))
    assert from_transformers("constant_with_warmup", num_warmup_steps=3, total_steps=9) == Warmup(
        steps=3, then=Constant()
    )


def warm(step: int, steps: int) -> float:
    return step / max(1, steps)


def hf_cosine(t: int, W: int, N: int, cycles: float, rate: float) -> float:
    if t < W:
        return warm(t, W)
    factor = 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * (t - W) / max(1, N - W)))
    return max(0.0, factor * (1 - rate) + rate)


def hf_cosine_warm(t: int, W: int, N: int, rate: float, start: float | None) -> float:
    if t < W:
        return (t + 1.0) / max(1.0, W) if start is None else start + (1.0 - start) * t / max(1, W - 1)
    factor = 0.5 * (1.0 + math.cos(math.pi * (t - W + 1.0) / max(1.0, N - W)))
    return max(0.0, factor * (1 - rate) + rate)


def hf_restarts(t: int, W: int, N: int, cycles: int) -> float:
    if t < W:
        return warm(t, W)
    if t >= N:
        return 0.0
    # In whole numbers: transformers' (cycles * progress) % 1.0 may be a rounding away from the restart.
    return 0.5 * (1.0 + math.cos(math.pi * ((cycles * (t - W)) % (N - W)) / (N - W)))


def hf_linear(t: int, W: int, N: int) -> float:
    return warm(t, W) if t < W else max(0.0, (N - t) / max(1, N - W))


def hf_polynomial(t: int, W: int, N: int, end: float, power: float) -> float:
    if t < W:
        return warm(t, W)
    return end if t > N else (1.0 - end) * (1 - (t - W) / (N - W)) ** power + end


def hf_inverse_sqrt(t: int, W: int, scale: float) -> float:
    return warm(t, W) if t < W else 1.0 / math.sqrt((t + scale - W) / scale)


def hf_wsd(t: int, phases: tuple[int, int, int], kinds: tuple[str, str], ratio: float, cycles: float) -> float:
    W, stable, decay = phases
    if t < W:
        factor = t / W if kinds[0] == "linear" else 0.5 * (1.0 - math.cos(math.pi * t / W))
        return factor * (1.0 - ratio) + ratio
    if t < W + stable:
        return 1.0
    if t >= W + stable + decay:
        return ratio
    x = (t - W - stable) / decay
    waves = 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * x))
    factor = {"linear": 1.0 - x, "cosine": waves, "1-sqrt": 1.0 - math.sqrt(x)}[kinds[1]]
    return factor * (1.0 - ratio) + ratio


def wsd_case(phases: tuple[int, int, int], kinds: tuple[str, str], ratio: float, cycles: float = 0.5) -> Any:
    arguments: dict[str, Any] = {
        "num_warmup_steps": phases[0],
        "num_stable_steps": phases[1],
        "num_decay_steps": phases[2],
    }
    arguments |= {"warmup_type": kinds[0], "decay_type": kinds[1], "min_lr_ratio": ratio, "num_cycles": cycles}
    return "warmup_stable_decay", arguments, lambda t: hf_wsd(t, phases, kinds, ratio, cycles)


TRANSFORMERS_CASES: list[tuple[str, dict[str, Any], Callable[[int], float]]] = [
    ("constant", {}, lambda t: 1.0),
    ("constant_with_warmup", {"num_warmup_steps": 10}, lambda t: min(1.0, t / 10)),
    ("get_constant_schedule_with_warmup", {"num_warmup_steps": 1000}, lambda t: t / 1000),
    ("linear", {"num_warmup_steps": 0}, lambda t: hf_linear(t, 0, 300)),
    ("linear", {"num_warmup_steps": 7, "num_training_steps": 200}, lambda t: hf_linear(t, 7, 200)),
    ("linear", {"num_warmup_steps": 29, "num_training_steps": 19}, lambda t: hf_linear(t, 29, 19)),
    ("linear", {"num_warmup_steps": 7, "num_training_steps": 900}, lambda t: hf_linear(t, 7, 900)),
    ("cosine", {"num_warmup_steps": 30}, lambda t: hf_cosine(t, 30, 300, 0.5, 0.0)),
    ("cosine", {"num_warmup_steps": 30, "num_cycles": 0.75}, lambda t: hf_cosine(t, 30, 300, 0.75, 0.0)),
    ("cosine", {"num_warmup_steps": 30, "num_cycles": 3.3}, lambda t: hf_cosine(t, 30, 300, 3.3, 0.0)),
    ("cosine", {"num_warmup_steps": 30, "num_cycles": 0.41}, lambda t: hf_cosine(t, 30, 300, 0.41, 0.0)),
    ("cosine", {"num_warmup_steps": 9, "num_training_steps": 170}, lambda t: hf_cosine(t, 9, 170, 0.5, 0.0)),
    ("cosine_with_min_lr", {"num_warmup_steps": 30, "min_lr": 0.06}, lambda t: hf_cosine(t, 30, 300, 0.5, 0.2)),
    (
        "cosine_with_min_lr",
        {"num_warmup_steps": 0, "min_lr_rate": 0.1, "num_cycles": 2},
        lambda t: hf_cosine(t, 0, 300, 2, 0.1),
    ),
    (
        "cosine_warmup_with_min_lr",
        {"num_warmup_steps": 30, "min_lr_rate": 0.1},
        lambda t: hf_cosine_warm(t, 30, 300, 0.1, None),
    ),
    (
        "cosine_warmup_with_min_lr",
        {"num_warmup_steps": 30, "min_lr_rate": 0.1, "warmup_lr_rate": 0.3, "num_training_steps": 250},
        lambda t: hf_cosine_warm(t, 30, 250, 0.1, 0.3),
    ),
    (
        "cosine_warmup_with_min_lr",
        {"num_warmup_steps": 1, "min_lr_rate": 0.1},
        lambda t: hf_cosine_warm(t, 1, 300, 0.1, None),
    ),
    ("cosine_with_restarts", {"num_warmup_steps": 30}, lambda t: hf_restarts(t, 30, 300, 1)),
    ("cosine_with_restarts", {"num_warmup_steps": 30, "num_cycles": 3}, lambda t: hf_restarts(t, 30, 300, 3)),
    ("cosine_with_restarts", {"num_warmup_steps": 30, "num_cycles": 7}, lambda t: hf_restarts(t, 30, 300, 7)),
    (
        "cosine_with_restarts",
        {"num_warmup_steps": 0, "num_cycles": 49, "num_training_steps": 147},
        lambda t: hf_restarts(t, 0, 147, 49),
    ),
    ("polynomial", {"num_warmup_steps": 30, "power": 2.0, "lr_end": 0.03}, lambda t: hf_polynomial(t, 30, 300, 0.1, 2)),
    (
        "polynomial",
        {"num_warmup_steps": 0, "num_training_steps": 100, "lr_end": 0.03},
        lambda t: hf_polynomial(t, 0, 100, 0.1, 1),
    ),
    ("inverse_sqrt", {"num_warmup_steps": 30}, lambda t: hf_inverse_sqrt(t, 30, 30)),
    ("inverse_sqrt", {"num_warmup_steps": 0}, lambda t: hf_inverse_sqrt(t, 0, 10_000)),
    ("inverse_sqrt", {"num_warmup_steps": 30, "timescale": 5.5}, lambda t: hf_inverse_sqrt(t, 30, 5.5)),
    wsd_case((30, 200, 70), ("linear", "cosine"), 0.0),
    wsd_case((30, 100, 70), ("cosine", "1-sqrt"), 0.1),
    wsd_case((0, 190, 110), ("linear", "1-sqrt"), 0.0),
    wsd_case((31, 190, 79), ("linear", "linear"), 0.2),
    wsd_case((30, 0, 500), ("linear", "linear"), 0.2),
    wsd_case((30, 100, 170), ("linear", "cosine"), 0.1, 0.8),
]


@pytest.mark.parametrize(("name", "arguments", "formula"), TRANSFORMERS_CASES)
def test_transformers_schedules_have_the_same_rates(
    name: str, arguments: dict[str, Any], formula: Callable[[int], float]
) -> None:
    schedule = from_transformers(name, base_lr=0.3, total_steps=300, **arguments)
    assert_equal(schedule, [formula(t) for t in range(300)], 1.0)


def timm_rate(t: int, shape: Callable[[float], float], given: dict[str, Any]) -> float:
    """Relative to the optimizer's rate, with cycles counted one by one where timm takes a logarithm."""
    W, start, floor = given.get("warmup_t", 0), given.get("warmup_lr_init", 0.0), given.get("lr_min", 0.0)
    if t < W:
        peak = given.get("meets", 1.0)
        return float(start + t * (peak - start) / W)
    rest, length, cycle = float(t - W if given.get("warmup_prefix") else t), float(given["t_initial"]), 0
    while rest >= length - 1e-9:
        rest, length, cycle = rest - length, length * given.get("cycle_mul", 1.0), cycle + 1
    if cycle >= given.get("cycle_limit", 1):
        return float(floor)
    peak = given.get("cycle_decay", 1.0) ** cycle
    return float(floor + (peak - floor) * shape(max(0.0, rest) / length))


CYCLES: list[dict[str, Any]] = [
    {"t_initial": 300},
    {"t_initial": 200, "lr_min": 0.1},
    {"t_initial": 450, "lr_min": 0.1},
    {"t_initial": 290, "lr_min": 0.1, "warmup_t": 10, "warmup_prefix": True, "warmup_lr_init": 0.05},
    {"t_initial": 300, "lr_min": 0.01, "warmup_t": 5, "warmup_lr_init": 0.001},
    {"t_initial": 60, "cycle_limit": 3, "lr_min": 0.1},
    {"t_initial": 60, "cycle_limit": 9, "cycle_decay": 0.5},
    {"t_initial": 60, "cycle_limit": 4, "cycle_decay": 0.7, "lr_min": 0.1, "warmup_t": 8, "warmup_prefix": True},
    {"t_initial": 8, "cycle_limit": 4, "cycle_mul": 3.0, "cycle_decay": 0.7},
    {"t_initial": 31, "cycle_limit": 4, "cycle_mul": 1.3, "lr_min": 0.02, "warmup_t": 8, "warmup_prefix": True},
    {"t_initial": 300, "warmup_t": 400, "warmup_prefix": True, "warmup_lr_init": 0.1},
]


@pytest.mark.parametrize("given", CYCLES)
@pytest.mark.parametrize("k", [1.0, 2.0, 0.5])
def test_timm_cosine_and_poly_have_the_same_rates(given: dict[str, Any], k: float) -> None:
    cosine = from_timm("cosine", base_lr=1.0, total_steps=300, k_decay=k, **given)
    expected = [timm_rate(t, lambda u: 0.5 * (1.0 + math.cos(math.pi * u**k)), given) for t in range(300)]
    assert_equal(cosine, expected, 1.0)
    poly = from_timm("PolyLRScheduler", base_lr=1.0, total_steps=300, k_decay=k, power=1.5, **given)
    assert_equal(poly, [timm_rate(t, lambda u: (1.0 - u**k) ** 1.5, given) for t in range(300)], 1.0)


@pytest.mark.parametrize("given", CYCLES)
def test_timm_tanh_has_the_same_rates(given: dict[str, Any]) -> None:
    schedule = from_timm("tanh", base_lr=1.0, total_steps=300, lb=-5.0, ub=2.0, **given)

    def shape(u: float) -> float:
        return 0.5 * (1.0 - math.tanh(-5.0 * (1.0 - u) + 2.0 * u))

    if not given.get("warmup_prefix") and "warmup_t" in given:
        given = given | {"meets": timm_rate(given["warmup_t"], shape, given)}
    assert_equal(schedule, [timm_rate(t, shape, given) for t in range(300)], 1.0)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("length", [20, 12.5])
def test_timm_steps_have_the_same_rates(prefix: bool, steps: int, length: float) -> None:
    def step(t: int) -> float:
        return t / steps if t < steps else float(0.6 ** ((t - (steps if prefix else 0)) // length))

    def multi(t: int) -> float:
        shifted = t - (steps if prefix else 0)
        return t / steps if t < steps else 0.6 ** sum(one <= shifted + 1 for one in (20, 50, 50, 90))

    warmup: dict[str, Any] = {"warmup_t": steps, "warmup_prefix": prefix}
    schedule = from_timm("step", decay_t=length, decay_rate=0.6, total_steps=100, **warmup)
    assert_equal(schedule, [step(t) for t in range(100)], 1.0)
    schedule = from_timm("multistep", decay_t=[20, 50, 50, 90], decay_rate=0.6, total_steps=100, **warmup)
    assert_equal(schedule, [multi(t) for t in range(100)], 1.0)


@pytest.mark.parametrize("steps", [0, 5])
def test_timm_plateau_looks_at_metrics_after_the_warm_up(steps: int) -> None:
    one, reference = optimizer(0.1), optimizer(0.1)
    schedule = from_timm(
        "plateau", base_lr=0.1, total_steps=60, patience_t=2, decay_rate=0.5, warmup_t=steps, mode="min"
    )
    scheduler = ScheduledLR(one, schedule, total_steps=60)
    inner = theirs.ReduceLROnPlateau(reference, patience=2, factor=0.5)
    metrics = torch.rand(60, generator=torch.Generator().manual_seed(1)).tolist()
    for epoch, metric in enumerate(metrics, start=1):
        one.step()
        scheduler.step(metric)
        if epoch <= steps:
            assert one.param_groups[0]["lr"] == pytest.approx(0.1 * epoch / steps, abs=1e-13)
        else:
            inner.step(metric)
            assert one.param_groups[0]["lr"] == pytest.approx(reference.param_groups[0]["lr"], abs=1e-13)
    assert reference.param_groups[0]["lr"] < 0.1
