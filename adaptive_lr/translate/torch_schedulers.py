"""What PyTorch's schedulers are here. Each function has the arguments of the class it translates, under the same names."""

from __future__ import annotations

import math
from typing import Any

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import (
    AbstractSchedule,
    Constant,
    Cyclic,
    DampedCosine,
    Exponential,
    OneCycle,
    Points,
    Polynomial,
    Restarts,
    Scaled,
    Staircase,
)
from adaptive_lr.translate.parts import held, joined, lengths, stairs, wave
from adaptive_lr.translate.run import Library, Run, is_whole, plateau


def step(run: Run, *, step_size: Any, gamma: Any = 0.1) -> AbstractSchedule:
    """gamma^floor(t / step_size)."""
    return Staircase(steps=run.integer("step_size", step_size, 1), factor=run.number("gamma", gamma, "(0, 1]"))


def multi_step(run: Run, *, milestones: Any, gamma: Any = 0.1) -> AbstractSchedule:
    """gamma^(number of milestones <= t)."""
    return stairs(lengths(run, "milestones", milestones), run.number("gamma", gamma, "(0, 1]"), run.total_steps)


def constant(run: Run, *, factor: Any = 1 / 3, total_iters: Any = 5) -> AbstractSchedule:
    """``factor`` for t < total_iters, then 1; with total_iters = 0 PyTorch never returns to 1."""
    level, steps = run.number("factor", factor, "(0, 1]"), run.integer("total_iters", total_iters)
    return Constant(factor=level, steps=steps) if steps else held(level)


def linear(run: Run, *, start_factor: Any = 1 / 3, end_factor: Any = 1.0, total_iters: Any = 5) -> AbstractSchedule:
    """The straight line from start_factor to end_factor, which is held."""
    start, end = run.number("start_factor", start_factor, "(0, 1]"), run.number("end_factor", end_factor, "[0, 1]")
    steps = run.integer("total_iters", total_iters)
    if steps == 0:  # PyTorch never goes on
        return held(start)
    share = min(1.0, run.total_steps / steps)
    return Points(u=(0.0, min(1.0, steps / run.total_steps)), m=(start, start + (end - start) * share))


def exponential(run: Run, *, gamma: Any) -> AbstractSchedule:
    """gamma^t."""
    factor = run.number("gamma", gamma, "(0, 1]")
    rate = -run.total_steps * math.log(factor)
    return Exponential(rate=rate) if rate <= 100.0 else Staircase(steps=1, factor=factor)


def polynomial(run: Run, *, total_iters: Any = 5, power: Any = 1.0) -> AbstractSchedule:
    """(1 - t / total_iters)^power, then 0."""
    decay = Polynomial(power=run.number("power", power, "(0, 64]"))
    return joined([(decay, run.integer("total_iters", total_iters, 1))], run.total_steps, held(0.0))


def cosine(run: Run, *, T_max: Any, eta_min: Any = 0.0) -> AbstractSchedule:
    """The cosine down to eta_min in T_max steps, and up again if the run is longer."""
    return wave(run.number("T_max", T_max, "[1, inf)"), run.level("eta_min", eta_min), run.total_steps)


def warm_restarts(run: Run, *, T_0: Any, T_mult: Any = 1, eta_min: Any = 0.0) -> AbstractSchedule:
    """Cosines of T_0, T_0 T_mult, T_0 T_mult^2, … steps."""
    steps, mult = run.integer("T_0", T_0, 1), run.integer("T_mult", T_mult, 1)
    return Restarts(then=DampedCosine(floor=run.level("eta_min", eta_min)), steps=steps, mult=mult)


def cyclic(
    run: Run,
    *,
    max_lr: Any,
    step_size_up: Any = 2000,
    step_size_down: Any = None,
    mode: Any = "triangular",
    gamma: Any = 1.0,
    scale_fn: Any = None,
    scale_mode: Any = "cycle",
    cycle_momentum: Any = True,
    base_momentum: Any = None,
    max_momentum: Any = None,
) -> AbstractSchedule:
    """Triangles between base_lr / max_lr and 1, relative to an optimizer whose rate is max_lr.

    Raises:
        SpecError: base_lr is missing or above max_lr, ``scale_fn`` is given, or the momentum would be cycled.
    """
    if run.base_lr is None:
        raise SpecError(f"{run.name} needs the argument 'base_lr', its lowest rate")
    if scale_fn is not None:
        raise run.refuse("scale_fn", "a function is no value")
    run.word("scale_mode", scale_mode, ("cycle", "iterations"))  # looked at with a scale_fn only
    _check_momentum(run, cycle_momentum)
    highest = run.number("max_lr", max_lr, "(0, inf)")
    low = run.number("base_lr", run.base_lr, f"[0, {highest!r}]") / highest
    up = run.number("step_size_up", step_size_up, "[1, inf)")
    down = up if step_size_down is None else run.number("step_size_down", step_size_down, "[1, inf)")
    shape = run.word("mode", mode, ("triangular", "triangular2", "exp_range"))
    root = run.number("gamma", gamma, "(0, 1]")
    decay = root ** (up + down) if shape == "exp_range" else 1.0
    if is_whole(up) and is_whole(down):
        return Cyclic(up_steps=int(up), down_steps=int(down), low=low, mode=shape, gamma=decay)
    return Cyclic(up=up / run.total_steps, down=down / run.total_steps, low=low, mode=shape, gamma=decay)


def one_cycle(
    run: Run,
    *,
    max_lr: Any,
    epochs: Any = None,
    steps_per_epoch: Any = None,
    pct_start: Any = 0.3,
    anneal_strategy: Any = "cos",
    cycle_momentum: Any = True,
    base_momentum: Any = None,
    max_momentum: Any = None,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
    three_phase: Any = False,
) -> AbstractSchedule:
    """Up to max_lr at step pct_start N - 1 and down to the end at step N - 1, where N is PyTorch's total_steps."""
    _check_momentum(run, cycle_momentum)
    steps = run.total_steps
    if epochs is not None or steps_per_epoch is not None:
        steps = run.integer("epochs", epochs, 1) * run.integer("steps_per_epoch", steps_per_epoch, 1)
    peak = run.number("pct_start", pct_start, "[0, 1]") * steps - 1.0
    if peak <= 0.0:
        raise run.refuse(
            "pct_start",
            f"the peak at step pct_start * {steps} - 1 = {peak:g} must come after the first step, got {pct_start!r}",
        )
    start = 1.0 / run.number("div_factor", div_factor, "[1, inf)")
    cycle = OneCycle(
        up=peak / (steps - 1),
        anneal=run.word("anneal_strategy", anneal_strategy, ("cos", "linear")),
        start=start,
        end=start / run.number("final_div_factor", final_div_factor, "[1, inf)"),
        phases="three" if three_phase else "two",
    )
    schedule = joined([(cycle, steps - 1)], run.total_steps, held(float(cycle(1.0))))
    level = run.level("max_lr", max_lr)
    return schedule if level == 1.0 else Scaled(then=schedule, factor=level)


def _check_momentum(run: Run, cycle_momentum: Any) -> None:
    if cycle_momentum:
        raise run.refuse(
            "cycle_momentum",
            "a schedule of the learning rate leaves the momentum alone, PyTorch cycles it by default: pass cycle_momentum=False, "
            "and give ScheduledLR a schedule of the momentum if you want one",
        )


def reduce_on_plateau(
    run: Run,
    *,
    mode: Any = "min",
    factor: Any = 0.1,
    patience: Any = 10,
    threshold: Any = 1e-4,
    threshold_mode: Any = "rel",
    cooldown: Any = 0,
    min_lr: Any = 0,
    eps: Any = 1e-8,
) -> AbstractSchedule:
    """factor^(times the metric stayed without improvement), at least min_lr."""
    rule = {"mode": mode, "factor": factor, "patience": patience, "threshold": threshold, "cooldown": cooldown}
    return plateau(run, min_lr=min_lr, eps=eps, threshold_mode=threshold_mode, **rule)


TORCH = Library(
    title="torch.optim.lr_scheduler",
    translators={
        "StepLR": step,
        "MultiStepLR": multi_step,
        "ConstantLR": constant,
        "LinearLR": linear,
        "ExponentialLR": exponential,
        "PolynomialLR": polynomial,
        "CosineAnnealingLR": cosine,
        "CosineAnnealingWarmRestarts": warm_restarts,
        "CyclicLR": cyclic,
        "OneCycleLR": one_cycle,
        "ReduceLROnPlateau": reduce_on_plateau,
    },
    refused={
        "LambdaLR": "a function is no value; write a schedule, or a table of Points",
        "MultiplicativeLR": "a function is no value; write a schedule, or a table of Points",
        "SequentialLR": "translate its parts and put them into a Sequence",
        "ChainedScheduler": "translate its parts and put them into a Product",
    },
    inert={"last_epoch": (-1,), "verbose": None},
)
"""PyTorch."""
