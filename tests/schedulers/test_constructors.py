import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from adaptive_lr import (
    DampedCosine,
    ScheduledLR,
    SpecError,
    Warmup,
    get_constant_schedule_with_warmup,
    get_cosine_restarts_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_damped_cosine_schedule_with_warmup,
    get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
    get_wsd_schedule,
)

N = 120


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)


def multipliers(scheduler: ScheduledLR, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(scheduler.optimizer.param_groups[0]["lr"]) / 0.5)
        scheduler.optimizer.step()
        scheduler.step()
    return found


def cosine(u: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * u))


def inverse_sqrt(step: int, warmup: int) -> float:
    scale = warmup or 10_000
    return math.sqrt(scale / (step - warmup + scale))


def wsd(u: float) -> float:
    return 1.0 if u <= 0.7 else 0.1 + 0.9 * (1.0 - (u - 0.7) / 0.3)


Decay = Callable[[int, int], float]
"""The multiplier at a step after a warm-up of so many steps."""

CASES: list[tuple[Callable[..., ScheduledLR], dict[str, Any], Decay]] = [
    (get_linear_schedule_with_warmup, {"min_lr_ratio": 0.1}, lambda t, w: 0.1 + 0.9 * (N - t) / (N - w)),
    (get_cosine_schedule_with_warmup, {}, lambda t, w: cosine((t - w) / (N - w))),
    (
        get_damped_cosine_schedule_with_warmup,
        {"k": 2.0, "exponent": 3.0, "min_lr_ratio": 0.2},
        lambda t, w: 0.2 + 0.8 * cosine(((t - w) / (N - w)) ** 2) ** 3,
    ),
    (get_polynomial_decay_schedule_with_warmup, {"power": 2.5}, lambda t, w: ((N - t) / (N - w)) ** 2.5),
    (
        get_wsd_schedule,
        {"cooldown": 0.3, "shape": "linear", "min_lr_ratio": 0.1},
        lambda t, w: wsd((t - w) / (N - w)),
    ),
    (
        get_cosine_restarts_schedule_with_warmup,
        {"num_cycles": 5, "cycle_decay": 0.5, "min_lr_ratio": 0.1},
        lambda t, w: (
            0.5 ** ((t - w) // ((N - w) // 5)) * (0.1 + 0.9 * cosine((t - w) % ((N - w) // 5) / ((N - w) // 5)))
        ),
    ),
]


@pytest.mark.parametrize(("construct", "arguments", "decay"), CASES)
@pytest.mark.parametrize("warmup", [0, 20])
def test_constructors_follow_their_formula(
    construct: Callable[..., ScheduledLR], arguments: dict[str, Any], decay: Decay, warmup: int
) -> None:
    found = multipliers(construct(optimizer(), warmup, N, **arguments), N)
    expected = [t / warmup if t < warmup else decay(t, warmup) for t in range(N)]
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 20])
def test_constant_and_inverse_sqrt_follow_their_formula(warmup: int) -> None:
    found = multipliers(get_constant_schedule_with_warmup(optimizer(), warmup), N)
    assert found == pytest.approx([min(1.0, t / warmup) if warmup else 1.0 for t in range(N)], abs=1e-12)
    found = multipliers(get_inverse_sqrt_schedule(optimizer(), warmup, num_training_steps=N), N)
    expected = [t / warmup if t < warmup else inverse_sqrt(t, warmup) for t in range(N)]
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


def test_without_a_warm_up_there_is_none() -> None:
    assert get_cosine_schedule_with_warmup(optimizer(), 0, N).schedule == DampedCosine()
    assert get_cosine_schedule_with_warmup(optimizer(), 5, N).schedule == Warmup(steps=5, then=DampedCosine())


def test_training_can_go_on_from_an_epoch() -> None:
    one = optimizer()
    one.param_groups[0]["initial_lr"] = 0.5
    scheduler = get_linear_schedule_with_warmup(one, 0, 10, last_epoch=4)
    assert scheduler.get_last_lr() == pytest.approx([0.25])


@pytest.mark.parametrize("mult", [1.0, 1.7])
def test_every_cycle_begins_at_a_peak_and_the_last_ends_with_training(mult: float) -> None:
    scheduler = get_cosine_restarts_schedule_with_warmup(optimizer(), 13, 100, num_cycles=4, cycle_mult=mult)
    values = multipliers(scheduler, 101)
    assert sum(value > 1.0 - 1e-12 for value in values) == 4
    assert values[100] == 0.0


ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"num_cycles": 0}, "num_cycles must be a whole number"),
    ({"num_cycles": 2.5}, "num_cycles must be a whole number"),
    ({"num_cycles": 11}, "num_cycles must be at most the 10 steps"),
    ({"num_cycles": 8, "cycle_mult": 5.0}, "leaves no step"),
    ({"cycle_mult": 0.5}, "Restarts.mult must lie in"),
    ({"cycle_decay": 1.5}, "Restarts.decay must lie in"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_cycles_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        get_cosine_restarts_schedule_with_warmup(optimizer(), 0, 10, **arguments)


def test_a_warm_up_as_long_as_training_is_refused() -> None:
    with pytest.raises(SpecError, match="must be below total_steps"):
        get_cosine_schedule_with_warmup(optimizer(), 10, 10)
