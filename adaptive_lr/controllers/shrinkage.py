"""Damp the rate by how much the curvature varies from minibatch to minibatch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    average,
    finite,
    zeros,
)
from adaptive_lr.spec import Range, number, spec

DECAY = 0.7
"""Of d, as in the authors' code."""


class ShrinkageDampingState(NamedTuple):
    """See `ShrinkageDamping`; ``[B]``."""

    damping: Tensor
    """d."""


@spec
class ShrinkageDamping(AbstractController):
    """eta_t = m(u) / (1 + d), d <- 0.7 d + 0.3 v, v = N/(S - N), N = |H z - H' z|^2/2, S = |H z|^2.

    After Granziol & Baskerville 2022, arXiv:2011.08181: a damped Newton step (H + d)^{-1} g is a step with the curvature shrunk to
    (H + d)/(1 + d) and the rate divided by 1 + d. The learned d of their code is the variance of H z over minibatches, z one random
    direction of length 1. Here it is estimated every ``every`` steps from two minibatches, the reading's and the one before it: N is half the
    squared change, S - N the square of the mean, and v their ratio, between 0 and ``limit``, so that 1/(1 + v) = 1 - N/S is the
    intensity of a Ledoit-Wolf shrinkage.

    It departs from the paper in four ways. There, d goes into the optimizer (Adam's epsilon, or a shrunk curvature) and the rate is *raised*
    by 1 + d to make up for it; a controller only has the rate, so the rate is lowered. The paper's d has the dimension of a curvature squared,
    which is no factor on a rate, hence the ratio. It uses many minibatches on a fixed subset, not two. And what the curvature changes
    by between two readings counts as noise here. Nothing was shown for this rule; it is there to be measured.
    """

    kind = "shrinkage_damping"
    needs = Signal.STEP | Signal.CURVATURE
    every: int = number("[1, inf)", default=50, integer=True)
    limit: float = number("(0, 1000]", default=9.0, search=Range(1.0, 100.0, log=True))

    def signals(self, step: int, total_steps: int) -> Signal:
        """The curvature at a reading, nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def init(self, trials: int) -> ShrinkageDampingState:
        """No damping yet."""
        return ShrinkageDampingState(zeros(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"damping": (0.0, self.limit)}

    def multiplier(self, state: ShrinkageDampingState, now: Moment) -> Tensor:
        """See the class."""
        return now.scheduled / (1.0 + state.damping)

    def update(self, state: ShrinkageDampingState, seen: Observation) -> tuple[ShrinkageDampingState, Tensor]:
        """See the class."""
        noise, square = 0.5 * seen.curvature_change, seen.curvature_square
        usable = finite(noise, square) & (noise >= 0.0) & (square > 0.0)
        usable &= (
            seen.curvature_change != square
        )  # the last reading was zero: a minibatch without a loss to differentiate
        ratio = torch.where(square > noise, noise / (square - noise), self.limit).clamp(0.0, self.limit)
        damping = average(state.damping, ratio, DECAY, usable)
        return ShrinkageDampingState(damping), self.multiplier(state, seen.now)
