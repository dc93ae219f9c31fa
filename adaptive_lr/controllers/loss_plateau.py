"""Lower the rate when the training loss stops falling."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    COUNT,
    FACTOR,
    HUGE,
    LARGEST,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    ones,
    zeros,
)
from adaptive_lr.spec import Range, number, spec


class LossPlateauState(NamedTuple):
    """See `LossPlateau`; every field ``[B]``."""

    total: Tensor
    """Sum of the losses since the interval began."""
    losses: Tensor
    """How many of them there are."""
    best: Tensor
    """The least mean so far."""
    bad: Tensor
    """How many intervals in a row did not improve on it."""
    waiting: Tensor
    """How many intervals are still to pass without being counted."""
    scale: Tensor
    """The factor on the schedule."""


@spec
class LossPlateau(AbstractController):
    """eta_t = m(u) factor^(times the mean training loss of more than ``patience`` intervals in a row was no better than the best).

    The rule of `torch.optim.lr_scheduler.ReduceLROnPlateau` with its defaults, except for what it looks at: not a validation loss each
    epoch but the mean of the training loss over ``interval`` of the run, 50 of them by default, so that ``patience`` means the same in runs of
    any length. An interval improves if its mean is below best - threshold |best|; after a reduction ``cooldown`` intervals pass uncounted;
    the factor stays above ``floor``. Losses that are not finite are left out of the mean; an interval of such only is no improvement.
    """

    kind = "loss_plateau"
    needs = Signal.LOSS
    factor: float = number("(0, 1)", default=0.1, search=Range(0.1, 0.7))
    patience: int = number("[0, inf)", default=10, integer=True)
    threshold: float = number("[0, 1)", default=1e-4)
    cooldown: int = number("[0, inf)", default=0, integer=True)
    interval: float = number("(0, 1]", default=0.02)
    floor: float = number("[0, 1]", default=0.0)

    def length(self, total_steps: int) -> int:
        """The steps of an interval."""
        return max(1, round(self.interval * total_steps))

    def init(self, trials: int) -> LossPlateauState:
        """Nothing reduced."""
        nothing = zeros(trials)
        return LossPlateauState(nothing, nothing, nothing + torch.inf, nothing, nothing, ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"losses": COUNT, "best": (-HUGE, math.inf), "bad": COUNT, "waiting": COUNT, "scale": FACTOR}

    def multiplier(self, state: LossPlateauState, now: Moment) -> Tensor:
        """See the class."""
        return state.scale * now.scheduled

    def update(self, state: LossPlateauState, seen: Observation) -> tuple[LossPlateauState, Tensor]:
        """See the class."""
        usable = (state.total + seen.loss).isfinite()
        added = state._replace(
            total=torch.where(usable, state.total + seen.loss, state.total),
            losses=state.losses + usable.to(torch.float64),
        )
        if (seen.now.step + 1) % self.length(seen.now.total_steps):
            return added, seen.trial
        return self._closed(added), seen.trial

    def _closed(self, state: LossPlateauState) -> LossPlateauState:
        mean = torch.where(state.losses > 0.0, state.total / state.losses, torch.inf)
        better = mean < state.best * (1.0 - self.threshold * state.best.sign())
        bad = torch.where(better, 0.0, state.bad + 1.0)
        bad = torch.where(state.waiting > 0.0, 0.0, bad)
        waiting = (state.waiting - 1.0).clamp(min=0.0)
        reduced = bad > self.patience
        lower = (state.scale * self.factor).clamp(min=max(self.floor, 1.0 / LARGEST))
        return LossPlateauState(
            total=torch.zeros_like(mean),
            losses=torch.zeros_like(mean),
            best=torch.where(better, mean, state.best),
            bad=torch.where(reduced, 0.0, bad),
            waiting=torch.where(reduced, float(self.cooldown), waiting),
            scale=torch.where(reduced, lower, state.scale),
        )
