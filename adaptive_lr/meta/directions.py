"""What a rate depends on: the derivatives of the rates of all steps by the numbers of a schedule and by the base rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from adaptive_lr.errors import InputError
from adaptive_lr.meta.duals import dual_numbers
from adaptive_lr.schedules import AbstractSchedule, table
from adaptive_lr.schedules.base import progress
from adaptive_lr.spec import lookup, on_cpu, stack

BASE_RATE = "log_base_lr"
"""The name of log(base rate)."""


def numbers_of(schedule: AbstractSchedule) -> tuple[str, ...]:
    """log(base rate), and the numbers of the schedule that a search would look at.

    >>> from adaptive_lr import DampedCosine
    >>> numbers_of(DampedCosine())
    ('log_base_lr', 'k', 'exponent')
    """
    whole = [name for name, value in schedule.leaves().items() if isinstance(value, int)]
    return (BASE_RATE, *(name for name in schedule.search_space() if name not in whole))


def rate_slopes(schedule: AbstractSchedule, base_lr: float, steps: int, numbers: Sequence[str]) -> Tensor:
    """Derivatives d rate_t / d number, shape ``[T, P]``, float64: rate_t itself for log(base rate), base_lr dm_t/dfield for a field.

    A name that is not a number of the schedule is refused with an `InputError`, as is one that the rates do not follow smoothly.

    >>> from adaptive_lr import DampedCosine
    >>> rate_slopes(DampedCosine(), 0.5, 2, ["log_base_lr", "floor"]).tolist()
    [[0.5, 0.0], [0.25, 0.25]]
    """
    columns = [
        table([schedule], steps)[0, :-1] if name == BASE_RATE else multiplier_slopes(schedule, steps, name)
        for name in checked(numbers)
    ]
    return base_lr * torch.stack(columns, 1)


def multiplier_slopes(schedule: AbstractSchedule, steps: int, name: str) -> Tensor:
    """dm_t / dfield of the formula, shape ``[T]``, float64.

    Raises:
        InputError: there is no such field, it counts something, or no multiplier changes smoothly with it.
    """
    resolved, title = schedule.resolve(steps), type(schedule).__name__
    known = schedule.leaves()
    try:
        lookup(name, [*known, BASE_RATE], f"number of {title}")
    except ValueError as error:
        raise InputError(str(error)) from error
    leaves = resolved.leaves()
    if name not in leaves:
        raise InputError(f"{title}.{name} is given in steps, which are whole numbers: give it as a fraction of the run")
    if isinstance(known[name], int):
        raise InputError(f"{title}.{name} counts, so that nothing can be differentiated by it; leave it out")
    with on_cpu(), dual_numbers():
        field = torch.tensor([[leaves[name]]], dtype=torch.float64)
        moved = stack([resolved]).with_leaves({name: forward_ad.make_dual(field, torch.ones_like(field))})
        tangent = forward_ad.unpack_dual(moved.multiplier(progress(steps)[:-1].unsqueeze(0))).tangent
        slopes: Tensor | None = None if tangent is None else tangent[0].expand(steps).clone()
    if slopes is None or not bool(slopes.any()):
        raise InputError(
            f"the rates do not change smoothly with {title}.{name}: their derivative is 0 at every step; "
            "leave it out, or take wide finite differences (way='differences')"
        )
    if not bool(slopes.isfinite().all()):
        step = int((~slopes.isfinite()).nonzero()[0])
        raise InputError(f"the rate at step {step} of {steps} has no finite derivative by {title}.{name}; leave it out")
    return slopes


def checked(numbers: Sequence[str]) -> tuple[str, ...]:
    """The names of numbers, each of them once.

    Raises:
        InputError: there are none, one occurs twice, or a text stands for a sequence.
    """
    if isinstance(numbers, str) or not numbers:
        raise InputError(f"numbers must be one or more names, such as ['log_base_lr', 'exponent'], got {numbers!r}")
    if len(set(numbers)) < len(numbers):
        raise InputError(f"each of numbers must be there once, got {list(numbers)!r}")
    return tuple(numbers)
