"""A schedule from any table of points."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.elementwise import column, ratio, reached
from adaptive_lr.spec import Scalar, choice, numbers, spec


@spec
class Points(AbstractSchedule):
    """m(u) = the value at the points (u_i, m_i), and between them the straight line (``linear``) or the value before (``previous``).

    Before the first point its value holds, after the last one that of the last. optax's ``piecewise_interpolate_schedule`` and
    ``piecewise_constant_schedule``, with progress in place of updates and values in place of ratios.

    >>> [Points(u=(0, 0.5, 1), m=(0.5, 1, 0)).at(step, 4) for step in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """

    kind = "points"
    u: tuple[Scalar, ...] = numbers("[0, 1]")
    m: tuple[Scalar, ...] = numbers("[0, 1]")
    interpolation: str = choice(("linear", "previous"), default="linear")

    def check(self) -> None:
        """As many values as places, at least one, and places ascend.

        Raises:
            SpecError: they are not, or do not.
        """
        if not self.u or len(self.u) != len(self.m):
            raise SpecError(f"Points needs as many u as m, at least one, got {len(self.u)} and {len(self.m)}")
        plain = [position for position in self.u if not isinstance(position, Tensor)]
        if any(a >= b for a, b in pairwise(plain)):
            raise SpecError(f"Points.u must ascend, got {self.u!r}")

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        value = column(self.m[0]) + torch.zeros_like(u)
        if self.interpolation == "previous":
            for position, level in zip(self.u, self.m, strict=True):
                value = torch.where(reached(u, position), column(level), value)
            return value
        for (left, right), (before, after) in zip(pairwise(self.u), pairwise(self.m), strict=True):
            x = ratio(u - left, right - left)
            value = torch.where(u >= left, before * (1.0 - x) + after * x, value)
        return value
