"""How a trial comes by its rate: it is given, or found within the trial's own steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule, Constant, Sequence
from adaptive_lr.spec import Spec, number, spec


class AbstractTuning(Spec, ABC):
    """What a trial does about its rate."""

    @property
    @abstractmethod
    def searches(self) -> bool:
        """Whether the rate is found within the trial, which is then trained by itself."""


@spec
class AsGiven(AbstractTuning):
    """The base rate of the trial."""

    kind = "as_given"

    @property
    def searches(self) -> bool:
        """Never."""
        return False


class Rung(NamedTuple):
    """A comparison in successive halving."""

    candidates: int
    """How many are trained until then."""
    until: int
    """The step, counted from the beginning of each."""


@spec
class RateHalving(AbstractTuning):
    """Successive halving over rates within T steps: half of the candidates go on at each rung, the last one is trained for what is left of T.

    The candidates are the rates base_lr 10^(i/``per_decade``) over ``decades``, so that a trial's base rate is the low end of the window. With n
    of them there are K = ceil(log2 n) rungs, each with the same part of ``share`` T: at rung k the ceil(n/2^k) that are left are
    trained for floor(share T / (K ceil(n/2^k))) more steps, at least one, at a constant rate; those with the lower selection metric on
    validation data go on from where they are (Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1). The last one then goes through
    the trial's schedule. All steps of all candidates together are T, to the step; only the looks at the validation data are free.

    It is what somebody can do who knows no rate and has no more steps than one run takes.

    >>> RateHalving().rungs(2000)
    [Rung(candidates=11, until=22), Rung(candidates=6, until=63), Rung(candidates=3, until=146), Rung(candidates=2, until=271)]
    """

    kind = "rate_halving"
    decades: float = number("(0, 24]", default=5.0)
    per_decade: int = number("[1, 100]", default=2, integer=True)
    share: float = number("(0, 1)", default=0.5)

    @property
    def searches(self) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """The window is a whole number of steps.

        Raises:
            SpecError: it is not.
        """
        if abs(self.decades * self.per_decade - round(self.decades * self.per_decade)) > 1e-9:
            raise SpecError(
                f"RateHalving.decades must be a whole number of steps at {self.per_decade} a decade, got {self.decades!r}"
            )

    def rates(self, base_lr: float) -> list[float]:
        """The candidates, ascending."""
        count = round(self.decades * self.per_decade) + 1
        return [float(f"{base_lr * 10.0 ** (index / self.per_decade):.12g}") for index in range(count)]

    def rungs(self, steps: int) -> list[Rung]:
        """The comparisons in a trial of so many steps.

        Raises:
            SpecError: the steps do not suffice for them.
        """
        count = len(self.rates(1.0))
        rounds = max(1, math.ceil(math.log2(count)))
        until, used, rungs = 0, 0, []
        for index in range(rounds):
            left = -(-count // 2**index)
            more = max(1, math.floor(self.share * steps / (rounds * left)))
            until, used = until + more, used + left * more
            rungs.append(Rung(left, until))
        if used >= steps:
            raise SpecError(f"RateHalving of {count} rates needs more than {used} steps, got {steps}")
        return rungs

    def last(self, steps: int) -> int:
        """How many updates the last candidate makes of the steps of a trial; a `SpecError` where these do not suffice."""
        rungs = self.rungs(steps)
        lengths = [
            rung.until - before for rung, before in zip(rungs, [0, *(rung.until for rung in rungs)], strict=False)
        ]
        used = sum(rung.candidates * length for rung, length in zip(rungs, lengths, strict=True))
        return rungs[-1].until + steps - used

    def schedule(self, steps: int, then: AbstractSchedule) -> AbstractSchedule:
        """That of the last candidate over its own updates: constant while rates are compared; a `SpecError` where steps do not suffice."""
        return Sequence(schedules=(Constant(), then), steps=(self.rungs(steps)[-1].until,))


TUNINGS: tuple[type[AbstractTuning], ...] = (AsGiven, RateHalving)
"""Every way to come by a rate."""
