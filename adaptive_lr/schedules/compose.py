"""Schedules made of schedules."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, resolved_fraction
from adaptive_lr.schedules.elementwise import column, whole_periods
from adaptive_lr.spec import Range, Scalar, component, components, number, numbers, spec


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

    @property
    def ends(self) -> bool:
        """Not with a warm-up in steps before what does not end."""
        return self.steps is None or self.then.ends

    def resolve(self, total_steps: int) -> Warmup:
        """With ``steps`` turned into a fraction, and ``then`` resolved on the steps that remain.

        Raises:
            SpecError: the warm-up is not shorter than the run.
        """
        total_steps = checked_steps(total_steps)
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
        after = self.then.multiplier(((u - w) / (1.0 - w)).clamp(0.0, 1.0))
        return torch.where(u < w, rise, after)

    def observed(self, metric: float, u: float) -> Warmup:
        """Metrics count from the end of the warm-up."""
        w = float(self.fraction or 0.0)
        return self if u < w else replace(self, then=self.then.observed(metric, (u - w) / (1.0 - w)))


@spec
class Sequence(AbstractSchedule):
    """m(u) = schedules[i]((u - b_i) / (b_{i+1} - b_i)) for b_i <= u < b_{i+1}, with b_0 = 0 and the end at 1.

    The boundaries between n schedules are n - 1 ``fractions`` of the run, or ``steps``. Each part goes through its own progress from
    0 to 1, and a sequence within a sequence begins exactly where it should.

    >>> from adaptive_lr import Constant, Linear
    >>> table = [Sequence(schedules=(Constant(), Linear()), steps=(2,)).at(step, 4) for step in range(5)]
    >>> table
    [1.0, 1.0, 1.0, 0.5, 0.0]
    """

    kind = "sequence"
    schedules: tuple[AbstractSchedule, ...] = components(AbstractSchedule)
    fractions: tuple[Scalar, ...] = numbers("(0, 1)", default=())
    steps: tuple[int, ...] = numbers("[1, 1e15]", default=(), integer=True)

    def check(self) -> None:
        """One boundary fewer than schedules, in order.

        Raises:
            SpecError: the number or the order is wrong, or both kinds are given.
        """
        boundaries = self.fractions or self.steps
        if (self.fractions and self.steps) or len(boundaries) != len(self.schedules) - 1:
            raise SpecError(
                f"Sequence of {len(self.schedules)} schedules needs {len(self.schedules) - 1} boundaries, as fractions or as "
                f"steps, got fractions={self.fractions!r}, steps={self.steps!r}"
            )
        if any(not isinstance(a, Tensor) and a >= b for a, b in pairwise(boundaries)):
            raise SpecError(f"the boundaries of a Sequence must ascend, got {boundaries!r}")

    @property
    def ends(self) -> bool:
        """Not with boundaries in steps before what does not end."""
        return (len(self.schedules) > 1 and not self.steps) or self.schedules[-1].ends

    def resolve(self, total_steps: int) -> Sequence:
        """With boundaries as fractions, and each part resolved on its own steps.

        Raises:
            SpecError: a boundary lies beyond the run.
        """
        checked_steps(total_steps)
        if self.steps and self.steps[-1] >= total_steps:
            raise SpecError(f"Sequence.steps must be below total_steps={total_steps}, got {self.steps[-1]}")
        fractions = tuple(step / total_steps for step in self.steps) or self.fractions
        ends = (0.0, *(float(fraction) for fraction in fractions), 1.0)
        lengths = [max(1, round(total_steps * (b - a))) for a, b in pairwise(ends)]
        parts = [schedule.resolve(length) for schedule, length in zip(self.schedules, lengths, strict=True)]
        return Sequence(schedules=tuple(parts), fractions=fractions)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class.

        Raises:
            SpecError: the boundaries are given in steps.
        """
        if self.steps:
            raise SpecError("Sequence is given in steps: use at(step, total_steps) or resolve(total_steps)")
        starts = [torch.zeros(1, dtype=torch.float64), *map(column, self.fractions)]
        ends = [*starts[1:], torch.ones(1, dtype=torch.float64)]
        value = torch.zeros_like(u)
        for schedule, start, end in zip(self.schedules, starts, ends, strict=True):
            own = schedule.multiplier(((u - start) / (end - start)).clamp(0.0, 1.0))
            value = torch.where(u >= start - 1e-12, own, value)
        return value

    def observed(self, metric: float, u: float) -> Sequence:
        """The part that is running sees the metric."""
        bounds = (0.0, *(float(fraction) for fraction in self.fractions), 1.0)
        index = sum(u >= bound for bound in bounds[1:-1])
        own = (u - bounds[index]) / (bounds[index + 1] - bounds[index])
        parts = list(self.schedules)
        parts[index] = parts[index].observed(metric, own)
        return replace(self, schedules=tuple(parts))


@spec
class Restarts(AbstractSchedule):
    """m(u) = decay^i then((t - t_i) / (t_{i+1} - t_i)) in cycle i, which is mult times as long as the one before.

    The first cycle lasts ``fraction`` of the run or ``steps``; cycle lengths are whole steps, and boundaries are compared as whole
    numbers. Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, with decaying peaks as in timm (``cycle_decay``). The last cycle
    is cut off where the run ends; with a whole number of cycles the last value is that of ``then`` at its end, not a new peak.

    >>> from adaptive_lr import DampedCosine
    >>> schedule = Restarts(then=DampedCosine(), steps=1, mult=3)
    >>> [schedule.at(step, 364) for step in (0, 1, 4, 13, 40, 121, 364)]
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """

    kind = "restarts"
    then: AbstractSchedule = component(AbstractSchedule)
    fraction: float | None = number("(0, 1]", default=None, optional=True)
    steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)
    mult: float = number("[1, 100]", default=1.0)
    decay: Scalar = number("(0, 1]", default=1.0, search=Range(0.1, 1.0, log=True))
    starts: tuple[Scalar, ...] = numbers("[0, 1]", default=())
    last: Scalar = number("[0, inf)", default=0.0)

    def check(self) -> None:
        """One way of giving the first cycle; ``starts`` and ``last`` are filled in by `resolve`.

        Raises:
            SpecError: none or two of them.
        """
        if not self.starts and (self.fraction is None) == (self.steps is None):
            raise SpecError("Restarts needs exactly one of fraction and steps, the length of the first cycle")

    @property
    def ends(self) -> bool:
        """Not with cycles in steps."""
        return self.steps is None

    def resolve(self, total_steps: int) -> Restarts:
        """With the starts of all cycles as fractions of the run, and the end of the last one after them.

        Cycles of one length of which there are over 10000 are not listed; then ``last`` is their length, as a fraction of the run.

        Raises:
            SpecError: there would be more than 10000 cycles of growing length.
        """
        total_steps = checked_steps(total_steps)
        if self.starts or self.last:
            return self
        length = self.steps if self.steps is not None else max(1, round(float(self.fraction or 1.0) * total_steps))
        if self.mult == 1.0 and total_steps > 10_000 * length:
            period = length / total_steps
            then = self.then.resolve(length)
            return replace(self, fraction=period, steps=None, last=period, then=then)
        first, start, starts, exact = length, 0, [0], float(length)
        while start + length < total_steps:
            start += length
            starts.append(start)
            exact *= self.mult
            length = max(1, round(exact))
            if len(starts) > 10_000:
                raise SpecError(
                    f"Restarts with a first cycle of {first} steps makes over 10000 cycles in {total_steps}"
                )
        bounds = tuple(begin / total_steps for begin in starts)
        # The last cycle may end beyond the run, so its length is kept, not its end.
        then = self.then.resolve(max(1, length))
        return replace(self, starts=bounds, last=length / total_steps, then=then)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        if not self.starts:
            return self._repeated(u)
        starts = torch.cat([column(start) for start in self.starts], dim=-1).expand(max(1, _rows(self.starts)), -1)
        edges = torch.cat([starts, starts[:, -1:] + column(self.last)], dim=-1)
        wide = u.expand(edges.shape[0], -1).contiguous()
        cycle = (torch.searchsorted(starts.contiguous(), wide + 1e-12, right=True) - 1).clamp(min=0)
        begin, end = edges.gather(1, cycle), edges.gather(1, cycle + 1)
        own = ((wide - begin) / (end - begin)).clamp(0.0, 1.0)
        return column(self.decay) ** cycle * self.then.multiplier(own)

    def _repeated(self, u: Tensor) -> Tensor:
        """Cycles of one length, however many.

        Raises:
            SpecError: the schedule is not resolved.
        """
        period = column(self.last)
        if bool((period <= 0.0).any()):
            raise SpecError("Restarts counts whole steps: use at(step, total_steps) or resolve(total_steps)")
        # The run ends at the end of a cycle, not at the peak of the next one.
        last = (1.0 / period - 1e-6).ceil() - 1.0
        cycle = torch.minimum(whole_periods(u, period), last)
        own = ((u - cycle * period) / period).clamp(0.0, 1.0)
        return column(self.decay) ** cycle * self.then.multiplier(own)


@spec
class Product(AbstractSchedule):
    """m(u) = the product of ``schedules`` at u: what chaining is meant to do.

    >>> from adaptive_lr import Linear, Step
    >>> Product(schedules=(Linear(), Step(milestones=(0.5,), factor=0.1))).at(1, 2)
    0.05
    """

    kind = "product"
    schedules: tuple[AbstractSchedule, ...] = components(AbstractSchedule)

    @property
    def ends(self) -> bool:
        """If a factor does."""
        return any(schedule.ends for schedule in self.schedules)

    def resolve(self, total_steps: int) -> Product:
        """With every factor resolved."""
        return Product(schedules=tuple(factor.resolve(total_steps) for factor in self.schedules))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        value = torch.ones_like(u)
        for factor in self.schedules:
            value = value * factor.multiplier(u)
        return value

    def observed(self, metric: float, u: float) -> Product:
        """Every factor sees the metric."""
        return Product(schedules=tuple(factor.observed(metric, u) for factor in self.schedules))


@spec
class Scaled(AbstractSchedule):
    """m(u) = factor then(u).

    >>> from adaptive_lr import Constant
    >>> Scaled(then=Constant(), factor=0.5).at(0, 1)
    0.5
    """

    kind = "scaled"
    then: AbstractSchedule = component(AbstractSchedule)
    factor: Scalar = number("[0, 1]", default=1.0)

    @property
    def ends(self) -> bool:
        """As ``then`` does."""
        return self.then.ends

    def resolve(self, total_steps: int) -> Scaled:
        """With ``then`` resolved."""
        return replace(self, then=self.then.resolve(total_steps))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.factor * self.then.multiplier(u)

    def observed(self, metric: float, u: float) -> Scaled:
        """``then`` sees the metric."""
        return replace(self, then=self.then.observed(metric, u))


def _rows(values: tuple[Scalar, ...]) -> int:
    return max((value.shape[0] for value in values if isinstance(value, Tensor)), default=1)
