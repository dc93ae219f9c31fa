"""Wide central differences: the simple rival of exact derivatives, all lanes and seeds trained in one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adaptive_lr.errors import InputError, SpecError
from adaptive_lr.meta.directions import BASE_RATE, checked, numbers_of
from adaptive_lr.meta.final_gradients import FinalGradients
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.spec import lookup
from adaptive_lr.training.batched import Backend, backends, batches, train_batch
from adaptive_lr.training.trial import RunResult, Status, Trial

FACTOR = 1.2
"""What the base rate is multiplied with and divided by."""

SHARE = 0.1
"""How far a field is moved to both sides, as a share of its value."""


@dataclass(frozen=True)
class Lane:
    """A schedule and a base rate a little off, and where its number stands: the logarithm of the base rate, or the field."""

    schedule: AbstractSchedule
    base_lr: float
    stands: float


def lanes(schedule: AbstractSchedule, base_lr: float, name: str, width: float | None = None) -> tuple[Lane, Lane]:
    """The two lanes of a number, below and above it; a side that leaves the legal values stays where the number is.

    Args:
        schedule: the schedule.
        base_lr: the base rate.
        name: ``log_base_lr`` or a number of the schedule.
        width: the factor on the base rate, by default ``FACTOR``; of a field the distance, by default ``SHARE`` of its value and
            1 for one that counts.

    Raises:
        InputError: there is no such number, the width is none, or neither side is legal.
    """
    if name == BASE_RATE:
        factor = FACTOR if width is None else width
        if not (math.isfinite(factor) and factor > 1.0):
            raise InputError(f"the width of {BASE_RATE} must be a factor above 1, got {width!r}")
        return tuple(Lane(schedule, rate, math.log(rate)) for rate in (base_lr / factor, base_lr * factor))  # type: ignore[return-value]
    title, known = type(schedule).__name__, schedule.leaves()
    try:
        value = known[lookup(name, [*known, BASE_RATE], f"number of {title}")]
    except SpecError as error:
        raise InputError(str(error)) from error
    assert not isinstance(value, Tensor)
    distance = (1 if isinstance(value, int) else SHARE * abs(value)) if width is None else width
    if not (math.isfinite(distance) and distance > 0.0):
        raise InputError(f"{title}.{name} is {value:g}: say how far to move it, such as widths={{{name!r}: 0.01}}")
    below, above = (_moved(schedule, base_lr, name, value, side * distance) for side in (-1, 1))
    if below.stands == above.stands:
        raise InputError(
            f"{title}.{name} can be moved by {distance:g} to neither side of {value:g}: give a smaller width"
        )
    return below, above


def _moved(schedule: AbstractSchedule, base_lr: float, name: str, value: float, distance: float) -> Lane:
    try:
        return Lane(schedule.with_leaves({name: value + distance}), base_lr, value + distance)
    except SpecError:
        return Lane(schedule, base_lr, value)


def finite_differences(
    trials: Sequence[Trial],
    numbers: Sequence[str] | None = None,
    *,
    widths: Mapping[str, float] | None = None,
    compiled: bool = False,
) -> FinalGradients:
    """[final(number + h) - final(number - h)] / 2h, with a wide h: the slope of the loss smoothed over the width.

    All 1 + 2P lanes of all trials are trained in one batch, those of a seed on the same minibatches: common random numbers, so that
    the noise of the difference is far below that of the losses. A lane that diverges counts as not trained. Where the exact
    derivative explodes, or the loss is jagged, this is what says in which direction to go; average it over seeds.

    Args:
        trials: of one task, optimizer, controller, horizon and precision; controllers and every optimizer will do.
        numbers: those of `numbers_of` by default.
        widths: by number, see `lanes`.
        compiled: whether loops are compiled.

    Raises:
        InputError: a number or a width cannot be used, or a trial itself diverges.
    """
    if not trials:
        raise InputError("trials must be one or more, got none")
    names = checked(numbers_of(trials[0].schedule) if numbers is None else numbers)
    sides = [
        [lanes(trial.schedule, trial.base_lr, name, (widths or {}).get(name)) for name in names] for trial in trials
    ]
    planned = [
        replace(trial, schedule=lane.schedule, base_lr=lane.base_lr)
        for trial, pairs in zip(trials, sides, strict=True)
        for lane in (Lane(trial.schedule, trial.base_lr, 0.0), *(lane for pair in pairs for lane in pair))
    ]
    results = _trained(planned, compiled=compiled)
    for trial in trials:
        if results[trial].status is Status.DIVERGED:
            raise InputError(
                f"the trial of seed {trial.seed} diverges at its own rate, {trial.base_lr:g}: lower base_lr"
            )
    losses = torch.tensor([_counted(results[trial]) for trial in planned], dtype=torch.float64).view(len(trials), -1)
    stands = torch.tensor([[[lane.stands for lane in pair] for pair in pairs] for pairs in sides], dtype=torch.float64)
    ends = losses[:, 1:].reshape(stands.shape)
    gradient = (ends[..., 1] - ends[..., 0]) / (stands[..., 1] - stands[..., 0])
    return FinalGradients(names, losses[:, 0], gradient)


def _trained(trials: Sequence[Trial], *, compiled: bool) -> dict[Trial, RunResult]:
    backend = Backend.COMPILED if compiled and Backend.COMPILED in backends(trials[0]) else None
    unlike = list(dict.fromkeys(trials))
    return {result.trial: result for batch in batches(unlike) for result in train_batch(batch, backend)}


def _counted(result: RunResult) -> float:
    """The final loss; before training, where the trial diverged."""
    metric = result.trial.task.selection_metric
    return result.initial[metric] if result.status is Status.DIVERGED else result.metrics[metric]
