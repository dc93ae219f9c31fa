"""The classics: constant, linear, polynomial, step, exponential, inverse square root, warm-up-stable-decay."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.schedules.elementwise import check_one_of, column, power, reached, root
from adaptive_lr.spec import Range, Scalar, choice, number, numbers, spec


@spec
class Constant(AbstractSchedule):
    """m(u) = factor for u < until, then 1; without a first phase 1 throughout.

    PyTorch's ``ConstantLR`` with ``total_iters`` = ``steps``; ``until`` is a fraction of the run.

    >>> [Constant(factor=0.5, steps=2).at(step, 4) for step in range(4)]
    [0.5, 0.5, 1.0, 1.0]
    """

    kind = "constant"
    factor: Scalar = number("(0, 1]", default=1.0)
    until: Scalar = number("[0, inf)", default=0.0, search=Range(0.0, 0.3))
    steps: int | None = number("[0, 1e15]", default=None, integer=True, optional=True)

    def check(self) -> None:
        """One way of giving the length of the first phase.

        Raises:
            SpecError: both of them.
        """
        if self.steps is not None and bool((column(self.until) > 0.0).any()):
            raise SpecError("Constant needs at most one of until and steps")

    @property
    def ends(self) -> bool:
        """Only with a first phase that is a fraction of the run."""
        return bool((column(self.until) > 0.0).any())

    def resolve(self, total_steps: int) -> Constant:
        """With ``steps`` turned into a fraction of ``total_steps``."""
        if self.steps is None:
            return self
        return Constant(factor=self.factor, until=self.steps / checked_steps(total_steps))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        until = resolved_fraction(self, self.until if self.steps is None else None)
        return torch.where(reached(u, until), torch.ones_like(u), column(self.factor))


@spec
class Linear(AbstractSchedule):
    """m(u) = floor + (1 - floor) (1 - u).

    Optimal in the worst case for gradients of constant norm (Defazio et al. 2023, arXiv:2310.07831).

    >>> Linear().at(3, 4)
    0.25
    """

    kind = "linear"
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.floor + (1.0 - self.floor) * (1.0 - u)


@spec
class Polynomial(AbstractSchedule):
    """m(u) = floor + (1 - floor) (1 - u^k)^power.

    ``power`` is the degree p of Attia & Koren 2025, arXiv:2503.09411: an over-estimated rate costs a factor
    rho^(1/(2p+1)) on bounded convex problems. ``k`` is k-decay (Zhang & Li 2020, arXiv:2004.05909), as in timm's
    ``PolyLRScheduler`` with ``k_decay``.

    >>> Polynomial(power=2).at(1, 2)
    0.25
    """

    kind = "polynomial"
    power: Scalar = number("(0, 64]", default=2.0, search=Range(0.5, 8.0, log=True))
    k: Scalar = number("(0, 64]", default=1.0, search=Range(0.25, 4.0, log=True))
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.floor + (1.0 - self.floor) * power(1.0 - u**self.k, self.power)


@spec
class Step(AbstractSchedule):
    """m(u) = factor^(number of milestones <= u), with milestones as fractions of the run.

    PyTorch's ``MultiStepLR`` with its milestones divided by the number of steps.

    >>> Step(milestones=(0.5, 0.75), factor=0.1).at(50, 100)
    0.1
    """

    kind = "step"
    milestones: tuple[Scalar, ...] = numbers("(0, 1]", default=(0.5, 0.75))
    factor: Scalar = number("(0, 1]", default=0.1, search=Range(0.05, 0.9))

    def check(self) -> None:
        """Milestones ascend.

        Raises:
            SpecError: they do not.
        """
        plain = [milestone for milestone in self.milestones if not isinstance(milestone, Tensor)]
        if any(a >= b for a, b in pairwise(plain)):
            raise SpecError(f"Step.milestones must ascend, got {self.milestones!r}")

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        passed = torch.zeros_like(u)
        for milestone in self.milestones:
            passed = passed + reached(u, milestone)
        return self.factor**passed


@spec
class Exponential(AbstractSchedule):
    """m(u) = exp(-rate u^k).

    PyTorch's ``ExponentialLR`` with gamma = exp(-rate / total_steps); ends at exp(-rate), not at 0. ``k`` is k-decay
    (Zhang & Li 2020, arXiv:2004.05909).

    >>> round(Exponential(rate=5).at(100, 100), 6)
    0.006738
    """

    kind = "exponential"
    rate: Scalar = number("[0, 100]", default=5.0, search=Range(0.5, 10.0, log=True))
    k: Scalar = number("(0, 64]", default=1.0, search=Range(0.25, 4.0, log=True))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return (-self.rate * u**self.k).exp()


@spec
class InverseSqrt(AbstractSchedule):
    """m(u) = (1 + u / fraction)^(-1/2), or (1 + t / steps)^(-1/2).

    The time scale is given as a ``fraction`` of the run or in ``steps``; after a `Warmup` it is the inverse square root of
    Vaswani et al. 2017, arXiv:1706.03762, Eq. 3.

    >>> round(InverseSqrt(steps=10).at(30, 100), 12)
    0.5
    """

    kind = "inverse_sqrt"
    fraction: Scalar | None = number("(0, inf)", default=None, optional=True, search=Range(1e-3, 1.0, log=True))
    steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)

    def check(self) -> None:
        """One way of giving the time scale."""
        check_one_of(self, "fraction", "steps")

    @property
    def ends(self) -> bool:
        """Not with a time scale in steps."""
        return self.steps is None

    def resolve(self, total_steps: int) -> InverseSqrt:
        """With ``steps`` turned into a fraction of ``total_steps``."""
        if self.steps is None:
            return self
        return InverseSqrt(fraction=self.steps / checked_steps(total_steps))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return (1.0 + u / resolved_fraction(self, self.fraction)).rsqrt()


@spec
class WSD(AbstractSchedule):
    """m(u) = 1 until u = 1 - cooldown, then floor + (1 - floor) c(x) with x = (u - 1 + cooldown) / cooldown.

    The shape c(x) is 1 - x (``linear``), 1 - sqrt(x) (``sqrt``) or (1 + cos(pi x))/2 (``cosine``); ``exponential`` is
    m = floor^x and needs a floor above 0. Hägele et al. 2024, arXiv:2405.18392 (there ``exp``, with final_lr_factor = floor).
    Put it into a `Warmup` for the first W.

    >>> WSD(cooldown=0.5, shape="linear").at(3, 4)
    0.5
    """

    kind = "wsd"
    cooldown: Scalar = number("(0, 1]", default=0.2, search=Range(0.05, 1.0))
    shape: str = choice(("linear", "sqrt", "cosine", "exponential"), default="sqrt")
    floor: Scalar = number("[0, 1]", default=0.0)

    def check(self) -> None:
        """An exponential never reaches 0.

        Raises:
            SpecError: the shape is ``exponential`` and the floor 0.
        """
        if self.shape == "exponential" and bool((column(self.floor) <= 0.0).any()):
            raise SpecError(f"WSD.floor must be above 0 with the shape exponential, got {self.floor!r}")

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        x = 1.0 - ((1.0 - u) / self.cooldown).clamp(max=1.0)
        if self.shape == "exponential":
            return column(self.floor) ** x
        if self.shape == "linear":
            fall = 1.0 - x
        elif self.shape == "sqrt":
            fall = 1.0 - root(x)
        else:
            fall = 0.5 * (1.0 + (torch.pi * x).cos())
        return self.floor + (1.0 - self.floor) * fall
