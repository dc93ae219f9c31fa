"""Damped cosines, by powers and by an exponential."""

from __future__ import annotations

import math

from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.elementwise import power
from adaptive_lr.spec import Range, Scalar, number, spec


@spec
class DampedCosine(AbstractSchedule):
    r"""m(u) = floor + (1 - floor) [(1 + cos(pi u^k)) / 2]^exponent.

    ``k`` alone is k-decay (Zhang & Li 2020, arXiv:2004.05909: t^k/T^k in place of t/T), ``exponent`` alone is
    cosine-power (Pan, Ye & Zhang 2022, arXiv:2110.14109, and the ``exponent`` of optax's cosine); both 1 is the cosine of
    Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5. Near the end m falls like (1 - u)^(2 exponent), whatever k is; a
    positive floor ends that.

    >>> DampedCosine(exponent=2).at(50, 100)
    0.25
    """

    kind = "damped_cosine"
    k: Scalar = number("(0, 64]", default=1.0, search=Range(0.25, 4.0, log=True))
    exponent: Scalar = number("(0, 64]", default=1.0, search=Range(0.25, 8.0, log=True))
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        cosine = 0.5 * (1.0 + (math.pi * u**self.k).cos())
        return self.floor + (1.0 - self.floor) * power(cosine, self.exponent)


@spec
class ExponentialCosine(AbstractSchedule):
    """m(u) = floor + (1 - floor) exp(-rate u) (1 + cos(pi u))/2.

    The cosine of Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, times an exponential decay; rate = 0 is the cosine. It falls
    faster from the start, and ends like the cosine: like (1 - u)^2.

    >>> round(ExponentialCosine(rate=2).at(50, 100), 6)
    0.18394
    """

    kind = "exponential_cosine"
    rate: Scalar = number("[0, 100]", default=1.0, search=Range(0.1, 10.0, log=True))
    floor: Scalar = number("[0, 1]", default=0.0)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        cosine = 0.5 * (1.0 + (math.pi * u).cos())
        return self.floor + (1.0 - self.floor) * ((-self.rate * u).exp() * cosine)
