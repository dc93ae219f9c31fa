"""Schedules made of schedules."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.spec import Range, Scalar, component, number, spec


@spec
class Warmup(AbstractSchedule):
    """m(u) = start + (1 - start) u / w for u < w, then ``then`` over what remains: m(u) = then((u - w) / (1 - w)).

    The length is given as a ``fraction`` w of the run or in ``steps``. The first update uses ``start``, the peak is
    reached exactly at the end of the warm-up, and ``then`` ends exactly at the horizon.

    >>> from adaptive_lr import DampedCosine
    >>> warm = Warmup(steps=10, then=DampedCosine())
    >>> [round(warm.at(step, 110), 12) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    kind = "warmup"
    then: AbstractSchedule = component(AbstractSchedule)
    fraction: Scalar | None = number("[0, 1)", default=None, optional=True, search=Range(0.0, 0.3))
    steps: int | None = number("[0, 1e15]", default=None, integer=True, optional=True)
    start: Scalar = number("[0, 1]", default=0.0)

    def check(self) -> None:
        """One way of giving the length.

        Raises:
            SpecError: none or two of them.
        """
        if (self.fraction is None) == (self.steps is None):
            raise SpecError("Warmup needs exactly one of fraction and steps")

    def resolve(self, total_steps: int) -> Warmup:
        """With ``steps`` turned into a fraction, and ``then`` resolved on the steps that remain.

        Raises:
            SpecError: the warm-up is not shorter than the run.
        """
        checked_steps(total_steps)
        if self.steps is not None and self.steps >= total_steps:
            raise SpecError(f"Warmup.steps must be below total_steps={total_steps}, got {self.steps}")
        fraction = float(self.fraction or 0.0) if self.steps is None else self.steps / total_steps
        remaining = max(1, round(total_steps * (1.0 - fraction)))
        return Warmup(then=self.then.resolve(remaining), fraction=fraction, start=self.start)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        w = torch.as_tensor(resolved_fraction(self, self.fraction), dtype=torch.float64)
        # Both branches are computed everywhere, so both are kept finite: 0/0 would make NaN gradients.
        rise = self.start + (1.0 - self.start) * u / w.clamp(min=1e-300)
        rest = self.then.multiplier(((u - w) / (1.0 - w)).clamp(0.0, 1.0))
        return torch.where(u < w, rise, rest)
