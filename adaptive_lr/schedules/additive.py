"""Additive k-decay: the cosine plus or minus u^k - u."""

from __future__ import annotations

import math
import warnings

from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import Range, Scalar, choice, number, spec


class ClippedScheduleWarning(UserWarning):
    """The formula of a schedule leaves [0, 1] somewhere, and is cut off there."""


@spec
class AdditiveKDecay(AbstractSchedule):
    """m(u) = floor + (1 - floor) c(u), c(u) = (1 + cos(pi u))/2 ± (u^k - u), cut off below 0 and above 1.

    The additive reading of k-decay (Zhang & Li 2020, arXiv:2004.05909). With ``plus``, the sign in print, the rate falls faster
    for k > 1 and is negative near the end; with ``minus``, the sign for which a linear base gives 1 - u^k, it exceeds the peak
    soon after the start (by up to 10 %); for k < 1 the two change roles. So any k other than 1 is cut off somewhere, and a
    `ClippedScheduleWarning` says so. The substituted form, `DampedCosine` with its k, needs no cut.

    >>> AdditiveKDecay(k=1).at(1, 2)
    0.5
    """

    kind = "additive_k_decay"
    k: Scalar = number("(0, 64]", default=1.0, search=Range(0.5, 5.0, log=True))
    sign: str = choice(("plus", "minus"), default="minus")
    floor: Scalar = number("[0, 1]", default=0.0)

    def check(self) -> None:
        """Warn where the formula is cut off."""
        if not isinstance(self.k, Tensor) and self.k != 1.0:
            negative = (self.sign == "plus") == (self.k > 1.0)
            where = "negative near the end" if negative else "above the peak near the start"
            message = f"AdditiveKDecay(k={self.k:g}, sign={self.sign!r}) would be {where} and is cut off there"
            # The caller of the constructor, beyond check, __post_init__ and the generated __init__.
            warnings.warn(message, ClippedScheduleWarning, stacklevel=4)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        cosine = 0.5 * (1.0 + (math.pi * u).cos())
        bend = u**self.k - u
        value = cosine + bend if self.sign == "plus" else cosine - bend
        return self.floor + (1.0 - self.floor) * value.clamp(0.0, 1.0)
