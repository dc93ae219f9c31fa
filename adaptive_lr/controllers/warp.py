"""Go through the schedule faster or slower than the steps go by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    COUNT,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    average,
    cosine,
    finite,
    ones,
    zeros,
)
from adaptive_lr.spec import Range, number, spec

SLOWEST, FASTEST = 0.2, 5.0
"""Bounds on how fast the schedule is gone through, against the pace that would just end it in time."""


class DampingWarpState(NamedTuple):
    """See `DampingWarp`; every field ``[B]``."""

    remaining: Tensor
    """(1 - v)/(1 - u): 1 means on time."""
    mean: Tensor
    """Running mean of cos(g_t, g_{t-1}), from zero."""
    square: Tensor
    """Running mean of its square, from zero: the same share is missing in both."""


@spec
class DampingWarp(AbstractController):
    """eta_t = m(v), v <- v + (1 - v)/(T - t) clip(e^{-gain z}, 0.2, 5), z = E[cos] / E[cos^2]^{1/2}, cos = cos(g_t, g_{t-1}).

    An exponent found on the way: while gradients agree (z > 0) the schedule is held back, while they oppose each other, as they do when only
    noise is left, it is hurried. The pace is relative to what is left of schedule and steps, so that it arrives at the end whatever
    happened before; v never passes the schedule's last step, (T - 1)/T, before the run does. E are running means with ``decay``: 0.98, some 50
    steps. A gain of zero is the schedule itself, up to rounding; z lies in [-1, 1], so that with a gain up to 1.6 nothing is clipped.

    Ours, without a paper. Damping alone is bounded: it can change the mean rate by a factor of two, not repair a wrong base rate. In the
    prototype the best loss changed by less than 1 %.
    """

    kind = "damping_warp"
    needs = Signal.PREVIOUS_GRADIENT
    gain: float = number("[0, 100]", default=1.0, search=Range(0.1, 10.0, log=True))
    decay: float = number("[0, 1)", default=0.98, search=Range(0.8, 0.995))

    def init(self, trials: int) -> DampingWarpState:
        """On time."""
        return DampingWarpState(ones(trials), zeros(trials), zeros(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"remaining": COUNT, "mean": (-1.0, 1.0), "square": (0.0, 1.0)}

    def multiplier(self, state: DampingWarpState, now: Moment) -> Tensor:
        """See the class."""
        last = max(1.0 - 1.0 / now.total_steps, now.progress)
        return now.schedule((1.0 - (1.0 - now.progress) * state.remaining).clamp(0.0, last))

    def update(self, state: DampingWarpState, seen: Observation) -> tuple[DampingWarpState, Tensor]:
        """See the class."""
        agreement = cosine(seen.gradient_dot_previous, seen.gradient_square, seen.previous_gradient_square)
        usable = finite(agreement)
        mean = average(state.mean, agreement, self.decay, usable)
        square = average(state.square, agreement.square(), self.decay, usable)
        z = torch.where(square > 0.0, mean / square.sqrt(), 0.0)
        pace = (-self.gain * z).exp().clamp(SLOWEST, FASTEST)
        left = seen.now.total_steps - seen.now.step
        remaining = state.remaining
        if left > 1:
            # v itself would drift from u by rounding, and jump where the horizon is changed; its lead over u does neither.
            remaining = remaining * (1.0 - pace / left).clamp(min=0.0) / (1.0 - 1.0 / left)
        return DampingWarpState(remaining, mean, square), seen.trial
