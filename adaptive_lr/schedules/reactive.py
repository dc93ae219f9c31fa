"""Schedules that look at a metric: values like all others, and what they have seen is part of the value."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import Scalar, Spec, choice, nested, number, spec

Schedule = TypeVar("Schedule", bound=Spec)


class AbstractReactive(AbstractSchedule):
    """A schedule whose multiplier follows a metric.

    Attributes:
        memory: the fields that hold what it has seen so far.
        counted: those of them by which the multiplier does not change.
    """

    memory: ClassVar[tuple[str, ...]]
    counted: ClassVar[tuple[str, ...]] = ()


@spec
class Plateau(AbstractReactive):
    """m(u) = factor^(times the metric stayed without improvement for more than ``patience`` observations), at least ``floor``.

    The rule of PyTorch's ``ReduceLROnPlateau``, as a factor that can stand inside a `Product`, a `Warmup` or a `Sequence`. An improvement
    is one by more than ``threshold``, or than ``threshold |best|`` in the mode ``rel``: of that size also where the metric is negative,
    for which PyTorch's rule never fires. A metric that is not finite is ignored. ``ScheduledLR.step(metrics)`` feeds it; a step without
    metrics changes nothing.

    >>> Plateau(factor=0.5, patience=0).observed(1.0, 0.1).observed(1.0, 0.2).at(1, 10)
    0.5
    """

    kind = "plateau"
    memory = ("damping", "best", "bad", "waiting")
    counted = ("best", "bad", "waiting")
    factor: Scalar = number("(0, 1)", default=0.1)
    patience: int = number("[0, inf)", default=10, integer=True)
    threshold: float = number("[0, inf)", default=1e-4)
    threshold_mode: str = choice(("rel", "abs"), default="rel")
    cooldown: int = number("[0, inf)", default=0, integer=True)
    floor: Scalar = number("[0, 1]", default=0.0)
    mode: str = choice(("min", "max"), default="min")
    damping: Scalar = number("[0, 1]", default=1.0)
    best: float | None = number("(-inf, inf)", default=None, optional=True)
    bad: int = number("[0, inf)", default=0, integer=True)
    waiting: int = number("[0, inf)", default=0, integer=True)

    @property
    def ends(self) -> bool:
        """It counts observations."""
        return False

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return torch.as_tensor(self.damping, dtype=torch.float64) + torch.zeros_like(u)

    def observed(self, metric: float, u: float) -> Plateau:
        """See the class."""
        if not math.isfinite(metric):
            return self
        improved = self._improves(metric)
        best = metric if improved else self.best
        bad, waiting = 0 if improved else self.bad + 1, self.waiting
        if waiting > 0:
            bad, waiting = 0, waiting - 1
        if bad <= self.patience:
            return replace(self, best=best, bad=bad, waiting=waiting)
        damping = max(float(self.damping) * float(self.factor), float(self.floor))
        return replace(self, best=best, bad=0, waiting=self.cooldown, damping=damping)

    def _improves(self, metric: float) -> bool:
        if self.best is None:
            return True
        sign = 1.0 if self.mode == "min" else -1.0
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return sign * metric < sign * self.best - margin


def is_reactive(schedule: Spec) -> bool:
    """Whether the schedule is, or contains, one that looks at a metric."""
    return isinstance(schedule, AbstractReactive) or any(is_reactive(part) for part in _parts(schedule))


def same_curve(schedule: Spec, other: Spec) -> bool:
    """Whether two states of one schedule, before and after an observation, have the same multipliers."""
    if schedule is other:
        return True
    if isinstance(schedule, AbstractReactive):
        names = [name for name in schedule.memory if name not in schedule.counted]
        return all(getattr(schedule, name) == getattr(other, name) for name in names)
    if not is_reactive(schedule):
        return schedule == other
    return all(same_curve(*parts) for parts in zip(_parts(schedule), _parts(other), strict=True))


def with_memory(schedule: Schedule, seen: Any) -> Schedule:
    """The schedule with what the metric-driven parts of ``seen``, another state of it or its JSON, have seen.

    A `SpecError` where ``seen`` lacks something of that, or a value is not allowed.
    """
    if isinstance(schedule, AbstractReactive):
        return replace(schedule, **{name: _looked_up(seen, name) for name in schedule.memory})  # type: ignore[type-var]
    changes: dict[str, Any] = {}
    for item in fields(schedule):  # type: ignore[arg-type]
        value = getattr(schedule, item.name)
        if isinstance(value, Spec):
            changes[item.name] = with_memory(value, _looked_up(seen, item.name))
        elif nested(item.name, value):
            changes[item.name] = tuple(map(with_memory, value, _looked_up(seen, item.name)))
    changes = {name: value for name, value in changes.items() if value != getattr(schedule, name)}
    return replace(schedule, **changes) if changes else schedule  # type: ignore[type-var]


def _looked_up(seen: Any, name: str) -> Any:
    if not isinstance(seen, dict):
        return getattr(seen, name)
    if name not in seen:
        raise SpecError(f"the saved {seen.get('kind')} has no {name!r}")
    return seen[name]


def _parts(schedule: Spec) -> list[Spec]:
    return [part for item in fields(schedule) for part in nested(item.name, getattr(schedule, item.name)).values()]  # type: ignore[arg-type]


def without_memory(data: Any) -> Any:
    """The JSON of a schedule without what its metric-driven parts have seen."""
    if isinstance(data, list | tuple):
        return [without_memory(part) for part in data]
    if not isinstance(data, dict):
        return data
    memories = {reactive.kind: reactive.memory for reactive in AbstractReactive.__subclasses__()}
    hidden = memories.get(str(data.get("kind")), ())
    return {name: without_memory(value) for name, value in data.items() if name not in hidden}
