"""Numbers in an optimizer's parameter groups, read and written by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule

Group = dict[str, Any]
Plan = AbstractSchedule | Mapping[str, AbstractSchedule]
"""A schedule for ``lr``, or schedules by the name of what they set, as in ``{"lr": …, "weight_decay": …}``."""

BETAS = {"beta1": 0, "beta2": 1}
"""Names for the two numbers of a group's ``betas``."""


def planned(plan: Plan | Sequence[Plan], groups: int) -> list[dict[str, AbstractSchedule]]:
    """The schedules of each parameter group by hyperparameter.

    Raises:
        TypeError: something is not a schedule.
        SpecError: a list of plans has another length than the groups, or a plan is empty.
    """
    if isinstance(plan, str):
        raise TypeError(f"schedule must be a schedule such as DampedCosine(), got {plan!r}")
    if isinstance(plan, Sequence):
        if len(plan) != groups:
            raise SpecError(f"there are {len(plan)} schedules for {groups} parameter groups")
        return [planned(one, 1)[0] for one in plan]
    named = {"lr": plan} if isinstance(plan, AbstractSchedule) else plan
    if not isinstance(named, Mapping):
        raise TypeError(f"schedule must be a schedule such as DampedCosine(), got {plan!r}")
    if not named:
        raise SpecError("a mapping of schedules must name at least one hyperparameter, such as lr")
    for key, one in named.items():
        if not isinstance(one, AbstractSchedule):
            raise TypeError(f"the schedule of {key!r} must be a schedule such as DampedCosine(), got {one!r}")
    return [dict(named) for _ in range(groups)]


def read(group: Group, key: str) -> float | Tensor:
    """The number under a name."""
    value: float | Tensor = group["betas"][BETAS[key]] if key in BETAS else group[key]
    return value


def write(group: Group, key: str, value: float) -> None:
    """Set the number under a name; a tensor is written in place."""
    present = read(group, key)
    if isinstance(present, Tensor):
        present.fill_(value)
    elif key in BETAS:
        betas = list(group["betas"])
        betas[BETAS[key]] = value
        group["betas"] = tuple(betas)
    else:
        group[key] = value


def write_all(tensors: list[Tensor], values: list[float]) -> None:
    """Set many tensors of one element in place: two kernels on an accelerator, one loop in C++ on a CPU."""
    torch._foreach_zero_(tensors)
    torch._foreach_add_(tensors, values)


def cells(tensors: Sequence[Tensor]) -> list[tuple[Tensor, NDArray[Any]]]:
    """Tensors with their memory as NumPy arrays, or nothing unless all of them allow that.

    Writing a number through NumPy takes a tenth of the time of `Tensor.fill_`.
    """
    usable = all(one.device.type == "cpu" and one.dtype in (torch.float32, torch.float64) for one in tensors)
    return [(one, one.detach().numpy()) for one in tensors] if usable else []


def checked(group: Group, key: str, index: int) -> float:
    """The number under a name, as a base value.

    Raises:
        SpecError: there is none, or it is negative or not finite.
    """
    holder = "betas" if key in BETAS else key
    if holder not in group:
        known = ", ".join(name for name in group if name != "params")
        raise SpecError(f"parameter group {index} has no {holder!r} to schedule; it has {known}")
    value = read(group, key)
    name = "the learning rate" if key == "lr" else key
    number = float(value) if isinstance(value, int | float | Tensor) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number >= 0.0):
        raise SpecError(
            f"{name} of parameter group {index} must be finite and >= 0, got {number if isinstance(value, Tensor) else value!r}"
        )
    return number
