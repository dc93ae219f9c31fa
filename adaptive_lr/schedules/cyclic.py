"""Cyclic rates: up and down between a low rate and the peak, again and again."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.schedules.elementwise import check_one_of, column, whole_periods
from adaptive_lr.spec import Range, Scalar, choice, number, spec


@spec
class Cyclic(AbstractSchedule):
    """m(u) = low + (1 - low) a(u) x, where x rises from 0 to 1 during ``up`` and falls back during ``down``, cycle by cycle.

    The amplitude a(u) is 1 (``triangular``), 2^-i in cycle i = 0, 1, … (``triangular2``) or gamma^(u / (up + down))
    (``exp_range``: gamma for each cycle, so that PyTorch's is its n-th root for a cycle of n updates). PyTorch's ``CyclicLR``
    relative to ``max_lr``, with low = base_lr / max_lr; Smith 2017, arXiv:1506.01186. It starts at the low end: m(0) = low.
    Durations are fractions of the run or, in ``up_steps`` and ``down_steps``, updates; without one, down is as long as up.

    >>> [Cyclic(up_steps=2, low=0.5).at(step, 8) for step in range(6)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    """

    kind = "cyclic"
    up: Scalar | None = number("[1e-9, inf)", default=None, optional=True, search=Range(0.02, 0.5, log=True))
    down: Scalar | None = number("[1e-9, inf)", default=None, optional=True, search=Range(0.02, 0.5, log=True))
    up_steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)
    down_steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)
    low: Scalar = number("[0, 1]", default=0.1, search=Range(0.01, 0.5, log=True))
    mode: str = choice(("triangular", "triangular2", "exp_range"), default="triangular")
    gamma: Scalar = number("(0, 1]", default=0.5, search=Range(0.1, 0.95))

    def check(self) -> None:
        """One way of giving each duration.

        Raises:
            SpecError: none or two for up, or two for down.
        """
        check_one_of(self, "up", "up_steps")
        if self.down is not None and self.down_steps is not None:
            raise SpecError("Cyclic needs at most one of down and down_steps")

    @property
    def ends(self) -> bool:
        """Not with durations in steps."""
        return self.up_steps is None or self.down is not None

    def resolve(self, total_steps: int) -> Cyclic:
        """With durations as fractions of ``total_steps``."""
        checked_steps(total_steps)
        up = self.up if self.up_steps is None else self.up_steps / total_steps
        down = self.down if self.down_steps is None else self.down_steps / total_steps
        return Cyclic(up=up, down=up if down is None else down, low=self.low, mode=self.mode, gamma=self.gamma)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class.

        Raises:
            SpecError: a duration is given in steps.
        """
        if self.down_steps is not None:
            raise SpecError("Cyclic is given in steps: use at(step, total_steps) or resolve(total_steps)")
        up = column(resolved_fraction(self, self.up))
        down = up if self.down is None else column(self.down)
        cycle = whole_periods(u, up + down)
        inside = u - cycle * (up + down)
        height = torch.where(inside <= up, inside / up, 1.0 - (inside - up) / down).clamp(0.0, 1.0)
        if self.mode == "triangular2":
            height = height * 0.5**cycle
        elif self.mode == "exp_range":
            height = height * column(self.gamma) ** (u / (up + down))
        return self.low + (1.0 - self.low) * height
