"""The schedule whose worst bound on a grid of learning rates is least."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.elementwise import column, reached
from adaptive_lr.spec import Range, Scalar, number, spec


@spec
class GridAware(AbstractSchedule):
    """m(u) = exp(-K u) for u < 1 - 4/K, then c exp(4 - K) K (1 - u)/4, with K = max(4, 3.75 + ln ratio) and c = max(1/2, 5 - K).

    For a base rate from a grid on which neighbouring rates differ by the factor ``ratio``, so that the best one on it may be wrong by
    sqrt(ratio) either way. It decays exponentially, drops by the factor c and goes linearly to 0; up to a ratio of exp(1/4) = 1.28 it is
    `Linear`. It is a closed form of the schedule with the least worst bound over all places where such a grid may start, and its own
    is at most 1 % above the least that any schedule can have, for ratios up to 1000; about sqrt(K)/2 times the bound of a linear decay at its
    best rate, where a schedule that ends like (1 - u)^p pays a power of the ratio. The bound is that of the last iterate on convex problems with
    bounded gradients and a bounded domain (Defazio et al. 2023, arXiv:2310.07831; Attia & Koren 2025, arXiv:2503.09411).

    >>> [round(GridAware(ratio=10).at(step, 10), 3) for step in (0, 2, 3, 5, 10)]
    [1.0, 0.298, 0.163, 0.049, 0.0]
    """

    kind = "grid_aware"
    ratio: Scalar = number("(1, 1e6]", default=10.0, search=Range(1.5, 1000.0, log=True))

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class."""
        rate = (3.75 + column(self.ratio).log()).clamp(min=4.0)
        drop = (5.0 - rate).clamp(min=0.5)
        line = drop * (4.0 - rate).exp() * (0.25 * rate * (1.0 - u))
        return torch.where(reached(u, 1.0 - 4.0 / rate), line, (-rate * u).exp())
