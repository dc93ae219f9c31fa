"""Schedules that look at a metric: values like all others, and what they have seen is part of the value."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import Scalar, Spec, choice, nested, number, spec


class AbstractReactive(AbstractSchedule):
    """A schedule whose multiplier follows a metric; ``memory`` names the fields that hold what it has seen so far."""

    memory: ClassVar[tuple[str, ...]]


@spec
class Plateau(AbstractReactive):
    """m(u) = factor^(times the metric stayed without improvement for more than ``patience`` observations), at least ``floor``.

    The rule of PyTorch's ``ReduceLROnPlateau``, as a factor that can stand inside a `Product`, a `Warmup` or a `Sequence`. A metric
    that is not finite is ignored. ``ScheduledLR.step(metrics)`` feeds it; a step without metrics changes nothing.

    >>> Plateau(factor=0.5, patience=0).observed(1.0, 0.1).observed(1.0, 0.2).at(1, 10)
    0.5
    """

    kind = "plateau"
    memory = ("damping", "best", "bad", "waiting")
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
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1.0)
        return sign * metric < sign * self.best - margin


def is_reactive(schedule: Spec) -> bool:
    """Whether the schedule is, or contains, one that looks at a metric."""
    inner = [one for item in fields(schedule) for one in nested(item.name, getattr(schedule, item.name)).values()]  # type: ignore[arg-type]
    return isinstance(schedule, AbstractReactive) or any(is_reactive(one) for one in inner)


def without_memory(data: Any) -> Any:
    """The JSON of a schedule without what its metric-driven parts have seen."""
    if isinstance(data, list):
        return [without_memory(one) for one in data]
    if not isinstance(data, dict):
        return data
    hidden = Plateau.memory if data.get("kind") == Plateau.kind else ()
    return {name: without_memory(value) for name, value in data.items() if name not in hidden}
