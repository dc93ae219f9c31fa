"""Chebyshev step sizes in fractal order."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps
from adaptive_lr.schedules.elementwise import column
from adaptive_lr.spec import Range, Scalar, number, spec


@spec
class Chebyshev(AbstractSchedule):
    """m(u) = g(1) / g(s(t mod N)), with g(i) = 1 + (condition - 1) sin(pi (i - 1/2) / (2 N))^2 and N = 2^levels.

    1/g(i) are the step sizes 1/((M+m)/2 - (M-m)/2 cos(pi (i - 1/2)/N)) of Agarwal, Goel & Zhang 2021, arXiv:2103.01338, for
    curvatures from m to M = condition m, relative to the largest of them. The order s is their fractal permutation: s_1 = (1), and
    s_2N interlaces s_N with 2N + 1 - s_N, so that a step too long for the steepest direction is followed by its complement:
    s_8 = (1, 8, 4, 5, 2, 7, 3, 6). Blocks of N updates repeat; the value after the last update is that of the last.

    >>> [round(Chebyshev(condition=10, levels=2).at(step, 8), 3) for step in range(5)]
    [1.0, 0.139, 0.355, 0.186, 1.0]
    """

    kind = "chebyshev"
    condition: Scalar = number("[1, 1e9]", default=20.0, search=Range(2.0, 1000.0, log=True))
    levels: int = number("[0, 20]", default=3, integer=True)
    total_steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)

    def resolve(self, total_steps: int) -> Chebyshev:
        """With the number of updates, which its order needs."""
        checked_steps(total_steps)
        return self if self.total_steps is not None else replace(self, total_steps=total_steps)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class.

        Raises:
            SpecError: the number of updates is not known.
        """
        if self.total_steps is None:
            raise SpecError("Chebyshev counts updates: use at(step, total_steps) or resolve(total_steps)")
        total, levels = column(self.total_steps), column(self.levels)
        block = 2.0**levels
        step = torch.minimum((u * total).round(), total - 1.0)
        fraction = (step - block * (step / block).floor()) / block  # a dyadic number: nothing is rounded
        # Place (i - 1/2)/N of the chosen node: one more bit of the index halves it, and a bit of 1 takes the complement.
        position = torch.full_like(fraction, 0.5)
        for level in range(1, int(levels.max()) + 1):
            bit = (fraction * 2.0**level).floor() % 2.0
            half = 0.5 * position
            position = torch.where(level <= levels, torch.where(bit > 0.0, 1.0 - half, half), position)
        return self._node(0.5 / block) / self._node(position)

    def _node(self, position: Tensor) -> Tensor:
        return 1.0 + (self.condition - 1.0) * (0.5 * torch.pi * position).sin() ** 2
