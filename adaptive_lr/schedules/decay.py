"""Plain decays in closed form: inverse time, REX and the hyperbolic tangent."""

from __future__ import annotations

from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.elementwise import column
from adaptive_lr.spec import Range, Scalar, number, spec


@spec
class InverseTime(AbstractSchedule):
    """m(u) = 1 / (1 + rate u).

    Robbins & Monro 1951 and TensorFlow's ``InverseTimeDecay`` with decay_rate = rate and decay_steps = total_steps; ends at
    1/(1 + rate), not at 0.

    >>> InverseTime(rate=9).at(10, 10)
    0.1
    """

    kind = "inverse_time"
    rate: Scalar = number("[0, 1e6]", default=9.0, search=Range(0.5, 1000.0, log=True))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return 1.0 / (1.0 + self.rate * u)


@spec
class REX(AbstractSchedule):
    """m(u) = floor + (1 - floor) (1 - u) / (1 - bend u).

    The reflected exponential of Chen, Wolfe & Kyrillidis 2021, arXiv:2107.04197, is bend = 1/2; bend = 0 is linear, and near 1 it
    holds the peak almost to the end.

    >>> round(REX().at(1, 2), 12)
    0.666666666667
    """

    kind = "rex"
    bend: Scalar = number("[0, 1)", default=0.5, search=Range(0.0, 0.9))
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.floor + (1.0 - self.floor) * ((1.0 - u) / (1.0 - self.bend * u))


@spec
class Tanh(AbstractSchedule):
    """m(u) = floor + (1 - floor) (tanh(high) - tanh(low (1 - u) + high u)) / (tanh(high) - tanh(low)).

    Hsueh et al. 2019, arXiv:1806.01593, as in timm's ``TanhLRScheduler`` (lb = low, ub = high) but normalised: timm's
    (1 - tanh(low (1 - u) + high u))/2 starts a little below the peak and ends a little above the floor, here m(0) = 1 and
    m(1) = floor.

    >>> [round(Tanh().at(step, 10), 3) for step in (0, 5, 7, 10)]
    [1.0, 0.982, 0.499, 0.0]
    """

    kind = "tanh"
    low: Scalar = number("[-20, 0]", default=-7.0, search=Range(-8.0, -0.5))
    high: Scalar = number("(0, 20]", default=3.0, search=Range(0.5, 5.0))
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        low, high = column(self.low), column(self.high)
        # All three in one shape: then equal angles give equal bits, and both ends are exact.
        first, last = (low + 0.0 * u).tanh(), (high + 0.0 * u).tanh()
        fall = (last - (low * (1.0 - u) + high * u).tanh()) / (last - first)
        return self.floor + (1.0 - self.floor) * fall.clamp(0.0, 1.0)
