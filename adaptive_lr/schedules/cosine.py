"""Damped cosines."""

from __future__ import annotations

import math

from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
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
        return self.floor + (1.0 - self.floor) * cosine**self.exponent
