"""Raise the rate while successive steps agree, lower it while they oppose each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    LARGEST,
    LOG_FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    cosine,
    zeros,
)
from adaptive_lr.spec import Range, choice, number, spec

REFERENCES = ("step", "gradient")


class HypergradientState(NamedTuple):
    """See `Hypergradient`; ``[B]``."""

    log_scale: Tensor
    """ln of the factor on the schedule."""


@spec
class Hypergradient(AbstractController):
    """eta_t = m(u) exp(gain * sum of cos(g_s, r_{s-1}) over s < t), with s only from the first ``until`` of the run.

    Baydin et al. 2018, arXiv:1703.04782, in the multiplicative form, with the inner product <g_s, r_{s-1}> replaced by the cosine: the
    plain one must be scaled like 1/|g|^2 and explodes without a bound. ``reference`` says what r is: the ``step`` that was made (the
    derivative of the loss by the rate, with momentum and Adam too), or the ``gradient`` of the step before (the same for plain SGD).
    The paper changes the rate of step t by the cosine seen at step t; here it takes effect one step later, so that no copy of the step
    has to be kept to revise it. A gain of zero is the schedule itself.

    It is free. With ``gain`` 0.1, a cosine of 0.1 raises the rate by a factor of 50 in 400 steps. It is frozen after a fifth of the run, so that
    the schedule alone ends it. On two of three convex tasks it made base rates that are too low much better; on two networks it changed
    little, and against rates that are too high it does next to nothing.
    """

    kind = "hypergradient"
    needs = Signal.PREVIOUS_STEP | Signal.PREVIOUS_GRADIENT
    gain: float = number("[0, 10]", default=0.1, search=Range(0.01, 1.0, log=True))
    until: float = number("(0, 1]", default=0.2)
    reference: str = choice(REFERENCES, default="step")

    def signals(self, step: int, total_steps: int) -> Signal:
        """One of the two inner products, in the first part of the run."""
        if step >= self.until * total_steps:
            return Signal.NONE
        return Signal.PREVIOUS_STEP if self.reference == "step" else Signal.PREVIOUS_GRADIENT

    def init(self, trials: int) -> HypergradientState:
        """The schedule."""
        return HypergradientState(zeros(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"log_scale": LOG_FACTOR}

    def multiplier(self, state: HypergradientState, now: Moment) -> Tensor:
        """See the class."""
        return state.log_scale.exp() * now.scheduled

    def update(self, state: HypergradientState, seen: Observation) -> tuple[HypergradientState, Tensor]:
        """See the class."""
        if self.reference == "step":
            agreement = cosine(seen.gradient_dot_step, seen.gradient_square, seen.previous_step_square)
        else:
            agreement = cosine(seen.gradient_dot_previous, seen.gradient_square, seen.previous_gradient_square)
        change = self.gain * torch.where(agreement.isfinite(), agreement, 0.0)
        limit = math.log(LARGEST)
        return HypergradientState((state.log_scale + change).clamp(-limit, limit)), seen.trial
