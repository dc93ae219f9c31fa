"""What the schedules of transformers are here. Each function has the arguments of the one it translates, under the same names."""

from __future__ import annotations

from typing import Any

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import (
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
)
from adaptive_lr.translate.parts import Part, held, joined, ramp, repeated, warmed, wave
from adaptive_lr.translate.run import Library, Run, Translator, is_whole
from adaptive_lr.translate.torch_schedulers import reduce_on_plateau


def constant(run: Run) -> AbstractSchedule:
    """1."""
    return Constant()


def constant_with_warmup(run: Run, *, num_warmup_steps: Any) -> AbstractSchedule:
    """m(t) = t / W, then 1."""
    return _after_warmup(run, num_warmup_steps, Constant(), None)


def linear(run: Run, *, num_warmup_steps: Any, num_training_steps: Any = None) -> AbstractSchedule:
    """m(t) = t / W, then (N - t) / (N - W), then 0."""
    return _after_warmup(run, num_warmup_steps, Linear(), num_training_steps)


def cosine(
    run: Run, *, num_warmup_steps: Any, num_training_steps: Any = None, num_cycles: Any = 0.5
) -> AbstractSchedule:
    """m(t) = t / W, then (1 + cos(2 pi num_cycles (t - W) / (N - W)))/2."""
    return _waves(run, num_warmup_steps, num_training_steps, num_cycles, 0.0)


def cosine_with_min_lr(
    run: Run,
    *,
    num_warmup_steps: Any,
    num_training_steps: Any = None,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
) -> AbstractSchedule:
    """m(t) = t / W, then r + (1 - r)(1 + cos(2 pi num_cycles (t - W) / (N - W)))/2."""
    return _waves(run, num_warmup_steps, num_training_steps, num_cycles, _floor(run, min_lr, min_lr_rate))


def cosine_warmup_with_min_lr(
    run: Run,
    *,
    num_warmup_steps: Any,
    num_training_steps: Any = None,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
    warmup_lr_rate: Any = None,
) -> AbstractSchedule:
    """(t + 1) / W, then r + (1 - r)(1 + cos(2 pi num_cycles (t + 1 - W) / (N - W)))/2: the peak is at step W - 1."""
    floor, half = _floor(run, min_lr, min_lr_rate), _half(run, num_warmup_steps, num_training_steps, num_cycles)
    steps = run.integer("num_warmup_steps", num_warmup_steps)
    start = 1.0 / max(1, steps) if warmup_lr_rate is None else run.number("warmup_lr_rate", warmup_lr_rate, "[0, 1]")
    if steps == 0 or (steps == 1 and start < 1.0):
        raise run.refuse(
            "num_warmup_steps", f"the decay begins one step early, before the peak, without a warm-up, got {steps}"
        )
    remaining = max(1, run.total_steps - steps + 1)
    return warmed(
        [(wave(half, floor, remaining), remaining)], run.total_steps, Constant(), steps=steps - 1, start=start
    )


def cosine_with_restarts(
    run: Run, *, num_warmup_steps: Any, num_training_steps: Any = None, num_cycles: Any = 1
) -> AbstractSchedule:
    """m(t) = t / W, then (1 + cos(pi (num_cycles (t - W) / (N - W) mod 1)))/2, then 0."""
    cycles, length = (
        run.number("num_cycles", num_cycles, "(0, 10000]"),
        _steps_after_warmup(run, num_warmup_steps, num_training_steps),
    )
    then = repeated(DampedCosine(), length / cycles, length)
    steps = run.integer("num_warmup_steps", num_warmup_steps)
    return warmed([(then, length)], run.total_steps, held(0.0), steps=steps)


def polynomial(
    run: Run, *, num_warmup_steps: Any, num_training_steps: Any = None, lr_end: Any = 1e-7, power: Any = 1.0
) -> AbstractSchedule:
    """m(t) = t / W, then lr_end + (lr - lr_end)(1 - (t - W) / (N - W))^power."""
    floor = run.level("lr_end", lr_end)
    decay = Polynomial(power=run.number("power", power, "(0, 64]"), floor=floor)
    return _after_warmup(run, num_warmup_steps, decay, num_training_steps, after=floor)


def inverse_sqrt(run: Run, *, num_warmup_steps: Any, timescale: Any = None) -> AbstractSchedule:
    """m(t) = t / W, then (1 + (t - W) / timescale)^(-1/2)."""
    steps = run.integer("num_warmup_steps", num_warmup_steps)
    scale = (steps or 10_000) if timescale is None else run.number("timescale", timescale, "(0, inf)")
    remaining = max(1, run.total_steps - steps)
    integral = is_whole(scale) and scale >= 1
    decay = InverseSqrt(steps=int(scale)) if integral else InverseSqrt(fraction=scale / remaining)
    return _after_warmup(run, num_warmup_steps, decay, None)


def warmup_stable_decay(
    run: Run,
    *,
    num_warmup_steps: Any,
    num_decay_steps: Any,
    num_training_steps: Any = None,
    num_stable_steps: Any = None,
    warmup_type: Any = "linear",
    decay_type: Any = "cosine",
    min_lr_ratio: Any = 0.0,
    num_cycles: Any = 0.5,
) -> AbstractSchedule:
    """From min_lr_ratio up to 1, 1 for num_stable_steps, down to min_lr_ratio in num_decay_steps.

    Raises:
        SpecError: the warm-up is 1 - sqrt, or the phases are longer than the run.
    """
    warm, decay = run.integer("num_warmup_steps", num_warmup_steps), run.integer("num_decay_steps", num_decay_steps)
    total = _training_steps(run, num_training_steps)
    stable = total - warm - decay if num_stable_steps is None else run.integer("num_stable_steps", num_stable_steps)
    if stable < 0:
        raise SpecError(f"{run.name}: {warm} steps of warm-up and {decay} of decay are more than {total} steps")
    floor = run.number("min_lr_ratio", min_lr_ratio, "[0, 1]")
    cycles = run.number("num_cycles", num_cycles, "(0, 10000]")
    rise = ramp(floor, 1, 1)
    if run.word("warmup_type", warmup_type, ("linear", "cosine", "1-sqrt")) == "cosine":
        rise = OneCycle(up=1.0, start=floor)
    elif warmup_type == "1-sqrt":
        raise run.refuse("warmup_type", "no schedule here rises like 1 - sqrt(1 - x): use linear or cosine")
    fall: AbstractSchedule = Linear(floor=floor)
    if run.word("decay_type", decay_type, ("linear", "cosine", "1-sqrt")) == "cosine":
        fall = wave(decay / (2.0 * cycles), floor, decay) if decay else fall
    elif decay_type == "1-sqrt":
        fall = WSD(cooldown=1.0, shape="sqrt", floor=floor)
    parts: list[Part] = [(rise, warm), (Constant(), stable), (fall, decay)]
    return joined(parts, run.total_steps, held(floor))


def _training_steps(run: Run, num_training_steps: Any) -> int:
    return run.total_steps if num_training_steps is None else run.integer("num_training_steps", num_training_steps, 1)


def _steps_after_warmup(run: Run, num_warmup_steps: Any, num_training_steps: Any) -> int:
    return max(1, _training_steps(run, num_training_steps) - run.integer("num_warmup_steps", num_warmup_steps))


def _after_warmup(
    run: Run, num_warmup_steps: Any, then: AbstractSchedule, num_training_steps: Any, *, after: float = 0.0
) -> AbstractSchedule:
    steps = run.integer("num_warmup_steps", num_warmup_steps)
    # With fewer training steps than warm-up steps there is no decay left to be run.
    length = max(0, _training_steps(run, num_training_steps) - steps)
    return warmed([(then, length)], run.total_steps, held(after), steps=steps)


def _half(run: Run, num_warmup_steps: Any, num_training_steps: Any, num_cycles: Any) -> float:
    """The number of steps in which the cosine goes down once."""
    return _steps_after_warmup(run, num_warmup_steps, num_training_steps) / (
        2.0 * run.number("num_cycles", num_cycles, "(0, 10000]")
    )


def _waves(run: Run, num_warmup_steps: Any, num_training_steps: Any, num_cycles: Any, floor: float) -> AbstractSchedule:
    steps = run.integer("num_warmup_steps", num_warmup_steps)
    remaining = max(1, run.total_steps - steps)
    half = _half(run, steps, num_training_steps, num_cycles)
    return warmed([(wave(half, floor, remaining), remaining)], run.total_steps, Constant(), steps=steps)


def _floor(run: Run, min_lr: Any, min_lr_rate: Any) -> float:
    if (min_lr is None) == (min_lr_rate is None):
        raise SpecError(f"{run.name} needs exactly one of min_lr and min_lr_rate")
    if min_lr_rate is not None:
        return run.number("min_lr_rate", min_lr_rate, "[0, 1]")
    return run.level("min_lr", min_lr)


_FUNCTIONS: dict[str, tuple[str, Translator]] = {
    "constant": ("get_constant_schedule", constant),
    "constant_with_warmup": ("get_constant_schedule_with_warmup", constant_with_warmup),
    "linear": ("get_linear_schedule_with_warmup", linear),
    "cosine": ("get_cosine_schedule_with_warmup", cosine),
    "cosine_with_restarts": ("get_cosine_with_hard_restarts_schedule_with_warmup", cosine_with_restarts),
    "polynomial": ("get_polynomial_decay_schedule_with_warmup", polynomial),
    "inverse_sqrt": ("get_inverse_sqrt_schedule", inverse_sqrt),
    "cosine_with_min_lr": ("get_cosine_with_min_lr_schedule_with_warmup", cosine_with_min_lr),
    "cosine_warmup_with_min_lr": ("get_cosine_with_min_lr_schedule_with_warmup_lr_rate", cosine_warmup_with_min_lr),
    "warmup_stable_decay": ("get_wsd_schedule", warmup_stable_decay),
    "reduce_lr_on_plateau": ("get_reduce_on_plateau_schedule", reduce_on_plateau),
}

_GREEDY = "it raises the rate above the optimizer's, and a multiplier is at most 1"

TRANSFORMERS = Library(
    title="transformers",
    translators={name: translator for short, (long, translator) in _FUNCTIONS.items() for name in (short, long)},
    refused={"greedy": _GREEDY, "get_greedy_schedule": _GREEDY, "GreedyLR": _GREEDY},
    inert={"last_epoch": (-1,)},
)
"""transformers, under the names of ``SchedulerType`` and of the functions."""
