"""What a scheduler tells its user, once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers.hyperparameters import Group, read
from adaptive_lr.schedulers.tracks import Member

ORDER = "scheduler.step() was called before optimizer.step(), so the first value of the schedule is skipped"
NO_METRIC = (
    "scheduler.step() was given a number, but no part of the schedule looks at a metric: it is not an epoch either, steps are counted; "
    "call step() once after every update"
)
_NO_EPOCH = (
    "step() takes no epoch, steps are counted: call step() once after every update (or once an epoch, with total_steps in epochs); "
    "to begin elsewhere, construct with last_epoch"
)
GRACE = 10
"""So many updates past the end a loop may make at a rate of 0 before it is told so."""
MUCH = 10.0
"""How far above the base rates of construction that of an added group may be before it is told of."""
STILL_ZERO = (
    "the rate is 0 at this step, so with how={how!r} it is 0 in the steps that were added too: how='stretch' reads the schedule over the "
    "whole new run"
)

Record = list[list[float] | None]
"""One thing: the rates that a scheduler wrote last, or None where they are not kept."""

_LAST_WRITTEN: WeakKeyDictionary[Optimizer, Record] = WeakKeyDictionary()
"""By optimizer the record of its last scheduler."""


class Notices:
    """Warnings that are given once each."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def once(self, kind: str, message: str, stacklevel: int = 3) -> None:
        """Warn, unless something of this kind was told before; ``stacklevel`` counts from the caller."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)

    def warned(self, kind: str) -> bool:
        """Whether something of this kind was told."""
        return kind in self._warned


def remember(optimizer: Optimizer, record: Record) -> None:
    """For the next scheduler: what this one wrote last is written by no person."""
    _LAST_WRITTEN[optimizer] = record


def refuse_epoch(epoch: int | None) -> None:
    """Steps are counted.

    Raises:
        SpecError: an epoch is given.
    """
    if epoch is not None:
        raise SpecError(f"{_NO_EPOCH}, got epoch={epoch!r}")


def changed_before(optimizer: Optimizer) -> str | None:
    """What to tell where the present rate is neither ``initial_lr``, which becomes the base rate, nor what a scheduler left.

    Torch's schedulers keep their base rate in ``initial_lr``. It goes on to be the base rate of a second scheduler, also after loading an
    optimizer in mid-run, so the present rate cannot be meant in general.
    """
    left = _LAST_WRITTEN.get(optimizer, [[]])[0]
    if left is None:
        return None
    for index, group in enumerate(optimizer.param_groups):
        if "initial_lr" not in group or _on_accelerator(group["lr"]) or _on_accelerator(group["initial_lr"]):
            continue
        present, initial = float(group["lr"]), float(group["initial_lr"])
        known = (initial, left[index]) if index < len(left) else (initial,)
        half = isinstance(group["lr"], Tensor) and group["lr"].element_size() < 4
        if not any(math.isclose(present, value, rel_tol=0.01 if half else 1e-6) for value in known):
            return (
                f"the base rate of parameter group {index} is {initial:g}, the initial_lr that an earlier scheduler left, not its present rate "
                f"{present:g}: if that is meant, call scheduler.rebase({present:g}), or delete initial_lr from the groups before"
            )
    return None


def changed_by_hand(members: Sequence[Member]) -> str | None:
    """What to tell where a group holds another number than the scheduler wrote."""
    for index, member in enumerate(members):
        for key, value in member.written.items():
            present = read(member.group, key)
            if _differs(present, value):
                name = "learning rate" if key == "lr" else key
                cure = (
                    "to go on from another rate call scheduler.rebase(lr) with the new base rate; "
                    if key == "lr"
                    else ""
                )
                return (
                    f"the {name} of parameter group {index} is {float(present):g} where the scheduler had set {value:g}, and every step() "
                    f"overwrites it: {cure}if another scheduler or a line of the training loop sets it too, leave one of the two out"
                )
    return None


def unscaled_groups(groups: Sequence[Group], bases: Sequence[float]) -> str | None:
    """What to tell where groups have different ``lr_scale`` and one rate."""
    scales = [group.get("lr_scale", 1.0) for group in groups]
    if len(set(bases)) > 1 or all(scale == 1.0 for scale in scales):
        return None
    return (
        f"the parameter groups have lr_scale {scales}, by which timm's schedulers multiply the rate, this one does not: pass "
        "from_timm(…, groups=optimizer.param_groups), or multiply the lr of each group beforehand"
    )


def high_base(index: int, rate: float, multiplier: float, base: float, largest: float) -> str:
    """What to tell where a group was added at a rate that is high for where the schedule stands."""
    return (
        f"parameter group {index} was added at a rate of {rate:g} where the multiplier is {multiplier:g}, so its base rate is {base:g}, over "
        f"{MUCH:g} times the largest of the others ({largest:g}), and its rate will rise with the schedule: if that is not meant, give the "
        "group its base rate as initial_lr="
    )


def past_the_end(step: int, end: int) -> str:
    """What to tell where training goes on at a rate of 0."""
    return (
        f"this is step {step} of {end}, and the rate is 0 since the end: construct with the total_steps that are made, or call "
        "scheduler.extend(total_steps)"
    )


def _on_accelerator(value: Any) -> bool:
    # Reading it would wait for the device.
    return isinstance(value, Tensor) and value.device.type != "cpu"


def _differs(present: Any, value: float) -> bool:
    if not isinstance(present, Tensor):
        return bool(present != value) and not math.isclose(float(present), value, rel_tol=1e-6)
    if _on_accelerator(present):
        return False
    rounded = float(present.detach().new_tensor(value))
    return not math.isclose(float(present), rounded, rel_tol=0.01)  # of half precision
