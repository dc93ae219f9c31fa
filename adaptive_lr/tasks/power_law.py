"""Streaming convex problems whose spectrum and target are chosen: the convex half of the random family."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from adaptive_lr.spec import number, spec
from adaptive_lr.tasks.base import generator
from adaptive_lr.tasks.streaming import (
    AbstractStreaming,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
)


@spec
class AbstractPowerLaw(AbstractStreaming):
    """A linear model on x ~ N(0, diag(1, …, i^-exponent, …, d^-exponent)) with a fixed target w*, E(x.w*)^2 = signal^2.

    w*_i is proportional to g_i i^(-decay/2), with standard normal g_i from the seed ``direction``. ``exponent`` and ``decay`` are the
    capacity and the source of power-law spectra (Caponnetto & De Vito 2007, doi:10.1007/s10208-006-0196-8); with 1 and 0 and the
    direction 0 it is the streaming task of the same loss.
    """

    exponent: float = number("[0, 8]", default=1.0)
    decay: float = number("[0, 8]", default=0.0)
    direction: int = number("[0, 4294967295]", default=0, integer=True)

    def population(self) -> tuple[Tensor, Tensor]:
        """See the base class."""
        return _population(self.dimension, self.signal, self.exponent, self.decay, self.direction)


@lru_cache
def _population(dimension: int, signal: float, exponent: float, decay: float, direction: int) -> tuple[Tensor, Tensor]:
    order = torch.arange(1, dimension + 1, dtype=torch.float64)
    scales = order ** (-0.5 * exponent)
    normal = torch.randn(dimension, generator=generator(direction, "target"), dtype=torch.float64)
    target = normal * order ** (-0.5 * decay)
    return scales, target * (signal / (target * scales).norm())


@spec
class PowerLawLeastSquares(StreamingLeastSquares, AbstractPowerLaw):
    """y = x.w* + noise e, loss (x.w - y)^2 / 2; excess ½ (w - w*)' diag(i^-exponent) (w - w*)."""

    kind = "power_law_least_squares"
    label = "least squares, power law"


@spec
class PowerLawLeastAbsolute(StreamingLeastAbsolute, AbstractPowerLaw):
    """y = x.w* + noise e, loss |x.w - y|; the excess is that of `StreamingLeastAbsolute`."""

    kind = "power_law_least_absolute"
    label = "least absolute deviation, power law"


@spec
class PowerLawLogistic(StreamingLogistic, AbstractPowerLaw):
    """P(y = 1) = 1/(1 + exp(-x.w*)), loss log(1 + exp(-y x.w)); the excess is that of `StreamingLogistic`."""

    kind = "power_law_logistic"
    label = "logistic regression, power law"
