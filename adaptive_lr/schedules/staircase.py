"""Schedules that fall in equal proportions, at equal or at shrinking intervals."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.schedules.elementwise import check_one_of, column, reached, whole_periods
from adaptive_lr.spec import Range, Scalar, number, spec


@spec
class Staircase(AbstractSchedule):
    """m(u) = factor^floor(u / fraction), or factor^floor(t / steps).

    PyTorch's ``StepLR`` and the ``staircase=True`` of TensorFlow's exponential decay. The length of a stair is given as a
    ``fraction`` of the run or in ``steps``; boundaries are compared, never found by rounding a quotient.

    >>> [Staircase(steps=3, factor=0.5).at(step, 10) for step in (0, 2, 3, 5, 6, 9)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]
    """

    kind = "staircase"
    fraction: Scalar | None = number("[1e-9, inf)", default=None, optional=True, search=Range(0.05, 1.0, log=True))
    steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)
    factor: Scalar = number("(0, 1]", default=0.1, search=Range(0.05, 0.9))

    def check(self) -> None:
        """One way of giving the length of a stair."""
        check_one_of(self, "fraction", "steps")

    @property
    def ends(self) -> bool:
        """Not with stairs in steps."""
        return self.steps is None

    def resolve(self, total_steps: int) -> Staircase:
        """With ``steps`` turned into a fraction of ``total_steps``."""
        if self.steps is None:
            return self
        return Staircase(fraction=self.steps / checked_steps(total_steps), factor=self.factor)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return column(self.factor) ** whole_periods(u, resolved_fraction(self, self.fraction))


@spec
class ElasticStep(AbstractSchedule):
    """m(u) = factor^i for 1 - ratio^i <= u < 1 - ratio^(i+1), with i at most ``drops``.

    Elastic step decay of Pan, Ye & Zhang 2022, arXiv:2110.14109: every stage is ``ratio`` times as long as the one before.

    >>> [ElasticStep(ratio=0.5, drops=2).at(step, 8) for step in (0, 3, 4, 5, 6, 8)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    kind = "elastic_step"
    ratio: Scalar = number("(0, 1)", default=2**-0.5, search=Range(0.5, 0.95))
    factor: Scalar = number("(0, 1]", default=0.5, search=Range(0.1, 0.9))
    drops: int = number("[0, 64]", default=6, integer=True)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        drops = column(self.drops)
        passed = torch.zeros_like(u)
        for index in range(1, int(drops.max()) + 1):
            passed = passed + (reached(u, 1.0 - column(self.ratio) ** index) & (index <= drops))
        return column(self.factor) ** passed
