"""Damp the rate by the share of noise in the gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    AbstractController,
    Moment,
    Observation,
    Signal,
    average,
    finite,
    zeros,
)
from adaptive_lr.spec import Range, number, spec


class NoiseScaleDampingState(NamedTuple):
    """See `NoiseScaleDamping`; both ``[B]``, running means from zero, so that only their ratio means something at first."""

    signal: Tensor
    """Of the estimate of |G|^2, G the gradient without noise."""
    noise: Tensor
    """Of the estimate of tr(Sigma)/B, the noise in a minibatch of B."""


@spec
class NoiseScaleDamping(AbstractController):
    """eta_t = m(u) / (1 + B_simple/B), B_simple = tr(Sigma)/|G|^2.

    The rate of McCandlish et al. 2018, arXiv:1812.06162, for minibatches of B, with their simple noise scale in place of the one with
    the Hessian in it. From the gradients g of a whole minibatch and g_b of its first b examples, their estimates from two batch sizes are
    |G|^2 = (|g|^2 - s|g_b|^2)/(1 - s) and tr(Sigma)/B = (|g_b|^2 - |g|^2)/(1/s - 1) with s = b/B, without bias; with
    halves |G|^2 = 2|g|^2 - |g_b|^2 and tr(Sigma)/B = |g_b|^2 - |g|^2. Both are read every ``every`` steps and averaged with ``decay``,
    each by itself, since the ratio of two estimates is biased; means below zero count as zero. Of n parts that
    `ControlledLR.micro_batch` is told of, s is 1/n: the fewer, the less noisy. The quotient is at least ``floor``: a noise scale of 100 minibatches and more cannot be told from infinity by two
    halves of one. The damping acts from the next step on.

    A damping between 0 and 1 cannot make up for a rate that is too low. Where all rates of a search are damped alike, the
    search finds a base rate that is higher by as much; what is left is that later, noisier steps are shorter.
    """

    kind = "noise_scale_damping"
    needs = Signal.GRADIENT | Signal.HALF
    every: int = number("[1, inf)", default=10, integer=True)
    decay: float = number("[0, 1)", default=0.9, search=Range(0.5, 0.99))
    floor: float = number("(0, 1]", default=0.01)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Both gradients at a reading, nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def init(self, trials: int) -> NoiseScaleDampingState:
        """No damping yet."""
        return NoiseScaleDampingState(zeros(trials), zeros(trials))

    def multiplier(self, state: NoiseScaleDampingState, now: Moment) -> Tensor:
        """See the class."""
        ratio = torch.where(state.noise > 0.0, state.noise / state.signal.clamp(min=0.0), 0.0)
        return (1.0 / (1.0 + ratio)).clamp(min=self.floor) * now.scheduled

    def update(self, state: NoiseScaleDampingState, seen: Observation) -> tuple[NoiseScaleDampingState, Tensor]:
        """See the class."""
        share = seen.part_share
        # A share of a half divides by powers of two, which rounds nothing.
        signal = (seen.gradient_square - share * seen.half_square) / (1.0 - share)
        noise = (seen.half_square - seen.gradient_square) / (1.0 / share - 1.0)
        usable = finite(signal, noise) & (seen.gradient_square + seen.half_square > 0.0)
        updated = NoiseScaleDampingState(
            signal=average(state.signal, signal, self.decay, usable),
            noise=average(state.noise, noise, self.decay, usable),
        )
        return updated, seen.trial
