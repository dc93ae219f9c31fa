"""Schedules from the schedulers of other libraries, under the names and arguments that they have there.

``ScheduledLR(optimizer, from_torch("StepLR", step_size=30, total_steps=90), total_steps=90)`` has at every step 0 … total_steps - 1
the learning rate that ``StepLR(optimizer, 30)`` has, to 1e-12 of the peak. What differs, and is meant to:

- Past the horizon the last value holds. PyTorch's and transformers' cosines climb again; *within* the run they do so here too.
- A multiplier lies in [0, 1]: the optimizer has the highest rate. For ``OneCycleLR`` and ``CyclicLR`` that is ``max_lr``; the
  ``base_lr`` of ``CyclicLR`` is its lowest rate, as in PyTorch, and all other schedulers' that of the optimizer.
- A rate such as ``eta_min`` becomes a share of ``base_lr``, so each parameter group ends at that share of its own rate.
- Restarts are decided exactly. timm (by the floor of a logarithm) and transformers (by a remainder) may be a step off.
- Plateaus see no improvement in a negative metric that stays as it is, where PyTorch's do; they ignore metrics that are not finite, and make reductions below PyTorch's ``eps`` of 1e-8 too.
- Noise, per-group lists, functions, and momentum that is cycled along are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from torch.optim import lr_scheduler

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.translate.run import Run
from adaptive_lr.translate.timm_schedulers import TIMM, scaled
from adaptive_lr.translate.torch_schedulers import TORCH
from adaptive_lr.translate.transformers_schedules import TRANSFORMERS

__all__ = ["from_timm", "from_torch", "from_transformers"]


def from_torch(
    name: str | type[Any], *, base_lr: float | None = None, total_steps: int, **arguments: Any
) -> AbstractSchedule:
    """The schedule of a scheduler in ``torch.optim.lr_scheduler``.

    Args:
        name: the class or its name.
        base_lr: the learning rate of the optimizer, needed where an argument is a rate; for ``CyclicLR`` its lowest rate.
        total_steps: the number of updates; for ``OneCycleLR`` also its own, unless ``epochs`` and ``steps_per_epoch`` are given.
        arguments: those of the class.

    Raises:
        SpecError: a name or argument is unknown, missing or cannot be translated, or a value is not allowed.

    >>> from_torch("CosineAnnealingLR", T_max=100, eta_min=0.001, base_lr=0.1, total_steps=100)
    DampedCosine(floor=0.01)
    """
    if isinstance(name, type) and getattr(lr_scheduler, name.__name__, None) is not name:
        raise SpecError(f"{name.__name__} is no scheduler of {TORCH.title}")
    title = name.__name__ if isinstance(name, type) else name
    return TORCH.translated(Run(title, total_steps, base_lr), arguments)


@overload
def from_timm(
    name: str, *, base_lr: float | None = None, total_steps: int, groups: None = None, **arguments: Any
) -> AbstractSchedule: ...
@overload
def from_timm(
    name: str, *, base_lr: float | None = None, total_steps: int, groups: Sequence[Mapping[str, Any]], **arguments: Any
) -> list[AbstractSchedule]: ...
def from_timm(
    name: str,
    *,
    base_lr: float | None = None,
    total_steps: int,
    groups: Sequence[Mapping[str, Any]] | None = None,
    **arguments: Any,
) -> AbstractSchedule | list[AbstractSchedule]:
    """The schedule of a scheduler in ``timm.scheduler``; steps are what it is stepped by, epochs or updates.

    With ``warmup_prefix=False``, timm's default for most, the decay runs on beneath the warm-up and takes over with a small drop.
    That is a `Product`; a warm-up so long that it would end above the decay by more than one step's rise is refused.

    Args:
        name: the class or the name that ``create_scheduler_v2`` knows it by.
        base_lr: the learning rate of the optimizer, needed where an argument is a rate.
        total_steps: the number of updates or epochs.
        groups: ``optimizer.param_groups``, where they have a ``lr_scale`` as layer decay makes it, by which timm's schedulers multiply. Then
            the result is a list, one schedule for each group.
        arguments: those of the class.

    Errors are those of `from_torch`.

    >>> from_timm("cosine", t_initial=100, total_steps=100, groups=[{"lr_scale": 0.75}, {}])
    [Scaled(then=DampedCosine(), factor=0.75), DampedCosine()]
    >>> from_timm("cosine", t_initial=90, warmup_t=10, warmup_prefix=True, k_decay=2.0, total_steps=100)
    Warmup(then=DampedCosine(k=2), steps=10)
    """
    schedule = TIMM.translated(Run(name, total_steps, base_lr), arguments)
    return schedule if groups is None else [scaled(schedule, group.get("lr_scale", 1.0)) for group in groups]


def from_transformers(
    name: str, *, base_lr: float | None = None, total_steps: int, **arguments: Any
) -> AbstractSchedule:
    """The schedule of a ``SchedulerType`` of transformers, or of a function of ``transformers.optimization``.

    Args:
        name: such as ``"cosine"``, or ``"get_cosine_schedule_with_warmup"``.
        base_lr: the learning rate of the optimizer, needed where an argument is a rate.
        total_steps: the number of updates; ``num_training_steps`` is the same unless it is given.
        arguments: those of the function.

    Errors are those of `from_torch`.

    >>> from_transformers("linear", num_warmup_steps=10, total_steps=100)
    Warmup(then=Linear(), steps=10)
    """
    return TRANSFORMERS.translated(Run(str(getattr(name, "value", name)), total_steps, base_lr), arguments)
