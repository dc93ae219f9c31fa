"""Numbers in an optimizer's parameter groups, read and written by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import NUMBERS

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
            raise SpecError(
                f"there are {len(plan)} schedules for {groups} parameter groups: give one for all groups, or a list of {groups}"
            )
        return [planned(schedules, 1)[0] for schedules in plan]
    named = {"lr": plan} if isinstance(plan, AbstractSchedule) else plan
    if not isinstance(named, Mapping):
        raise TypeError(f"schedule must be a schedule such as DampedCosine(), got {plan!r}")
    if not named:
        raise SpecError("a mapping of schedules must name at least one hyperparameter, such as lr")
    for key, schedule in named.items():
        if not isinstance(schedule, AbstractSchedule):
            raise TypeError(f"the schedule of {key!r} must be a schedule such as DampedCosine(), got {schedule!r}")
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


def memory_of(tensor: Tensor) -> tuple[int, int]:
    """Where the number is; views of one element are one place as well."""
    # data_ptr would be 0 for all tensors without memory.
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


Target = tuple[int, str, Tensor, float]
"""Number of the group, name, tensor, and the value that shall be written into it."""


def each_once(targets: Sequence[Target]) -> tuple[list[Tensor], list[float]]:
    """Every tensor once, with its value. Torch puts a rate that is given as a tensor into every group, and loading keeps it shared.

    Raises:
        SpecError: groups that share a tensor want different values in it.
    """
    by_memory: dict[tuple[int, int], Target] = {}
    for target in targets:
        index, name, tensor, value = target
        first = by_memory.setdefault(memory_of(tensor), target)
        if first[3] != value:
            raise SpecError(
                f"{first[1]} of parameter group {first[0]} and {name} of parameter group {index} are one tensor, but shall be {first[3]:g} "
                f"and {value:g}: give each group a tensor of its own, as in group[{name!r}] = group[{name!r}].clone()"
            )
    return [tensor for _, _, tensor, _ in by_memory.values()], [value for _, _, _, value in by_memory.values()]


def write_all(tensors: list[Tensor], values: list[float]) -> None:
    """Set many tensors of one element in place, all of them different: two kernels on an accelerator, one loop in C++ on a CPU."""
    with torch.no_grad():
        torch._foreach_zero_(tensors)
        torch._foreach_add_(tensors, values)


Copies = list[tuple[Group, Group, dict[str, Tensor]]]
"""Groups, what was in them, and copies of the tensors among that, in which numbers are written in place."""


def copies_of(groups: Sequence[Group]) -> Copies:
    """What is in the groups, to be put back."""
    return [
        (group, dict(group), {name: value.clone() for name, value in group.items() if isinstance(value, Tensor)})
        for group in groups
    ]


def put_back(copies: Copies) -> None:
    """Everything that was in the groups, and nothing else."""
    with torch.no_grad():
        for group, before, numbers in copies:
            for name, value in numbers.items():
                before[name].copy_(value)
            group.clear()
            group.update(before)


def cells(tensors: Sequence[Tensor]) -> list[tuple[Tensor, NDArray[Any]]]:
    """Tensors with their memory as NumPy arrays, or nothing unless all of them allow that.

    Writing a number through NumPy takes a tenth of the time of `Tensor.fill_`.
    """
    usable = all(tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) for tensor in tensors)
    return [(tensor, tensor.detach().numpy()) for tensor in tensors] if usable else []


def checked(group: Group, key: str, index: int) -> float:
    """The number under a name, as a base value.

    Raises:
        SpecError: there is none, or it is negative or not finite.
    """
    holder = "betas" if key in BETAS else key
    if holder not in group:
        known = ", ".join(name for name in group if name != "params")
        raise SpecError(f"parameter group {index} has no {holder!r} to schedule; it has {known}")
    name = "the learning rate" if key == "lr" else key
    return checked_base(f"{name} of parameter group {index}", read(group, key))


def checked_base(name: str, value: Any) -> float:
    """A base value as a float; NumPy's numbers and tensors of one element will do.

    Raises:
        SpecError: it is no number, negative, or not finite.
    """
    single = value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, np.ndarray) and value.size == 1
    if single:
        value = value.item()
    number = float(value) if isinstance(value, NUMBERS) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number >= 0.0):
        raise SpecError(f"{name} must be finite and >= 0, got {value!r}")
    return number
