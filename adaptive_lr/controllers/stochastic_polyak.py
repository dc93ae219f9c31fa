"""Polyak's step on every minibatch, bounded by the step before."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    bounded,
    finite,
    ones,
    too_high,
)
from adaptive_lr.spec import Range, number, spec


class StochasticPolyakState(NamedTuple):
    """See `StochasticPolyak`; every field ``[B]``."""

    scale: Tensor
    """The last s above zero, 1 before the first."""
    gap: Tensor
    """The last f - f*."""


@spec
class StochasticPolyak(AbstractController):
    """eta_t = s_t m(u), s_t = min((f - f*)/(c <g, D>), growth^(1/epoch) s_{t-1}), s_0 = 1.

    SPS_max of Loizou, Vaswani, Laradji & Lacoste-Julien 2021, arXiv:2002.10542, in the form that its authors run: the bound gamma_b is not fixed but
    smooth, growth^(b/n) times the step before, with b/n = 1/``epoch``. With plain SGD, base rate times (f - f*)/<g, D> is their
    (f - f*)/|g|^2. c = 1/2, growth 2, 500 minibatches an epoch and a first step of 1 are the defaults of their code; here
    the first step is the base rate. f* is ``target``, 0 for losses that can be interpolated. `Constant` is the schedule that is
    meant.

    <g, D> extends the rule to momentum and Adam, which the paper does not treat; where it is not positive, s grows. A loss below ``target`` is
    no step at all. `PolyakReanchor` is another rule: averaged, an upper bound only, under a schedule that starts anew.
    """

    kind = "stochastic_polyak"
    needs = Signal.LOSS | Signal.STEP
    c: float = number("(0, 100]", default=0.5, search=Range(0.1, 2.0, log=True))
    growth: float = number("[1, 100]", default=2.0)
    epoch: int = number("[1, inf)", default=500, integer=True)
    target: float = number("(-inf, inf)", default=0.0)

    def init(self, trials: int) -> StochasticPolyakState:
        """The base rate."""
        return StochasticPolyakState(ones(trials), torch.zeros(trials, dtype=torch.float64))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"scale": FACTOR}

    def multiplier(self, state: StochasticPolyakState, now: Moment) -> Tensor:
        """The bound."""
        return self._bound(state) * now.scheduled

    def remark(self, state: StochasticPolyakState, now: Moment) -> str | None:
        """That ``target`` is above the losses, where training stands still."""
        return too_high("StochasticPolyak", self.target) if bool(state.gap[0] < 0.0) else None

    def update(self, state: StochasticPolyakState, seen: Observation) -> tuple[StochasticPolyakState, Tensor]:
        """See the class."""
        bound, gap = self._bound(state), seen.loss - self.target
        usable = finite(gap, seen.descent)
        polyak = torch.where(seen.descent > 0.0, gap / (self.c * seen.descent), torch.inf)
        scale = torch.where(gap < 0.0, 0.0, torch.minimum(polyak.nan_to_num(nan=torch.inf, posinf=torch.inf), bound))
        remembered = torch.where(usable & (scale > 0.0), bounded(scale), state.scale)
        return StochasticPolyakState(remembered, torch.where(usable, gap, state.gap)), scale * seen.now.scheduled

    def _bound(self, state: StochasticPolyakState) -> Tensor:
        return bounded(self.growth ** (1.0 / self.epoch) * state.scale)
