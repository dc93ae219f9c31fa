"""Schedules that rise to the peak by themselves and then fall."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.schedules.elementwise import check_one_of, column, ratio
from adaptive_lr.spec import Range, Scalar, choice, number, spec


@spec
class OneCycle(AbstractSchedule):
    """m(u) = start … 1 during the first ``up`` of the run, then 1 … end; with three phases 1 … start during ``up``, then start … end.

    The way from a to b is a + (b - a)(1 - cos(pi x))/2 (``cos``) or a + (b - a) x (``linear``). PyTorch's ``OneCycleLR`` relative to
    ``max_lr``, with start = 1/div_factor and end = start/final_div_factor; Smith & Topin 2018, arXiv:1708.07120. PyTorch with
    total_steps=N ends at its last update, N - 1, and peaks at update pct_start N - 1: that is ``at(step, N - 1)`` with
    up = (pct_start N - 1)/(N - 1). Here u = t/T, so the end is the value after the last update and up = pct_start peaks at up T.
    With up = 0 the run begins at the end of the first phase, with up = 1 it ends there.

    >>> cycle = OneCycle(up=0.5, anneal="linear", start=0.5, end=0)
    >>> [cycle.at(step, 8) for step in (0, 2, 4, 6, 8)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """

    kind = "one_cycle"
    up: Scalar = number("[0, 1]", default=0.3, search=Range(0.05, 0.5))
    anneal: str = choice(("cos", "linear"), default="cos")
    start: Scalar = number("[0, 1]", default=1 / 25)
    end: Scalar = number("[0, 1]", default=1 / 25e4)
    phases: str = choice(("two", "three"), default="two")

    def check(self) -> None:
        """Three phases leave room for two of the same length.

        Raises:
            SpecError: they do not.
        """
        if self.phases == "three" and bool((column(self.up) > 0.5).any()):
            raise SpecError(f"OneCycle.up must be at most 0.5 with three phases, got {self.up!r}")

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        up, start, end = column(self.up), column(self.start), column(self.end)
        # Written from the end that has to be exact: start at u = 0, 1 at the peak, end at u = 1.
        value = torch.where(u < up, start + (1.0 - start) * self._way(ratio(u, up)), torch.ones_like(u))
        if self.phases == "two":
            return torch.where(u < up, value, end + (1.0 - end) * (1.0 - self._way(ratio(u - up, 1.0 - up))))
        down = start + (1.0 - start) * (1.0 - self._way(ratio(u - up, up)))
        tail = end + (start - end) * (1.0 - self._way(ratio(u - 2.0 * up, 1.0 - 2.0 * up)))
        return torch.where(u < up, value, torch.where(u < 2.0 * up, down, tail))

    def _way(self, x: Tensor) -> Tensor:
        return x if self.anneal == "linear" else 0.5 * (1.0 - (torch.pi * x).cos())


@spec
class Trapezoid(AbstractSchedule):
    """m(u) = min(u / up, 1, floor + (1 - floor)(1 - u) / down): linearly up from 0, flat, linearly down.

    The trapezoidal schedule of Xing et al. 2018, arXiv:1802.08770, and of Hägele et al. 2024, arXiv:2405.18392 (where it is called
    constant with cooldown). Durations are fractions of the run or, in ``up_steps`` and ``down_steps``, updates; either may be 0.

    >>> [Trapezoid(up_steps=2, down_steps=4).at(step, 8) for step in (0, 1, 2, 4, 6, 8)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    kind = "trapezoid"
    up: Scalar | None = number("[0, 1]", default=None, optional=True, search=Range(0.0, 0.3))
    down: Scalar | None = number("[0, 1]", default=None, optional=True, search=Range(0.05, 0.7))
    up_steps: int | None = number("[0, 1e15]", default=None, integer=True, optional=True)
    down_steps: int | None = number("[0, 1e15]", default=None, integer=True, optional=True)
    floor: Scalar = number("[0, 1]", default=0.0)

    def check(self) -> None:
        """One way of giving each duration, and both fit into the run.

        Raises:
            SpecError: none or two of them, or together they are longer than the run.
        """
        check_one_of(self, "up", "up_steps")
        check_one_of(self, "down", "down_steps")
        both = sum(column(duration) for duration in (self.up, self.down) if duration is not None) + column(0.0)
        if bool((both > 1.0 + 1e-9).any()):  # to rounding: 0.7 + 0.3 of a run may be a bit more than all of it
            raise SpecError(f"Trapezoid.up and down must sum to at most 1, got {self.up!r} and {self.down!r}")

    def resolve(self, total_steps: int) -> Trapezoid:
        """With durations as fractions of ``total_steps``.

        Raises:
            SpecError: they are longer than the run.
        """
        checked_steps(total_steps)
        for name, steps in (("up_steps", self.up_steps), ("down_steps", self.down_steps)):
            if steps is not None and steps > total_steps:
                raise SpecError(f"Trapezoid.{name} must be at most total_steps={total_steps}, got {steps}")
        up = self.up if self.up_steps is None else self.up_steps / total_steps
        down = self.down if self.down_steps is None else self.down_steps / total_steps
        return Trapezoid(up=up, down=down, floor=self.floor)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        up, down = resolved_fraction(self, self.up), resolved_fraction(self, self.down)
        rise = torch.where(u < column(up), ratio(u, up), torch.ones_like(u))
        fall = torch.where(1.0 - u < column(down), ratio(1.0 - u, down), torch.ones_like(u))
        return torch.minimum(rise, self.floor + (1.0 - self.floor) * fall)
