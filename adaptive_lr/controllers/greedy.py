"""Raise the rate while the loss improves, lower it while it does not."""

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
from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Range, number, spec


class GreedyState(NamedTuple):
    """See `Greedy`; ``[B]``, the window ``[B, window]``."""

    window: Tensor
    """The last losses, in a ring."""
    losses: Tensor
    """How many losses there were."""
    best: Tensor
    """The least smoothed loss so far."""
    good: Tensor
    """How many steps in a row improved on it."""
    bad: Tensor
    """How many did not."""
    waiting: Tensor
    """How many steps are still to pass without being counted."""
    at_floor: Tensor
    """How often the rate should have been lowered below the lower bound."""
    scale: Tensor
    """The factor on the schedule."""


@spec
class Greedy(AbstractController):
    """eta_t = m(u) s, s <- s/factor after more than ``patience`` improvements in a row, s <- s factor after as many steps without one.

    GreedyLR of Subramanian et al. 2025, arXiv:2512.14527, as in ``transformers.optimization``: a loss improves if it is below the best so far
    by more than ``threshold``; a change is followed by ``warmup`` (after a raise) or ``cooldown`` (after a reduction) uncounted steps; after
    ``reset`` reductions at the lower bound all begins anew with s = 1. The loss is the mean over the last ``window`` steps; 1, as by default
    there, is no smoothing, with which a minibatch's loss sets a record ever more rarely and s only falls. The paper smooths over 50. A
    loss that is not finite counts as no improvement and stays out of the mean.

    The bounds are relative to the base rate, unlike there: absolute ones of 1e-3 and 1 would never let a usual rate of Adam fall. With
    a `Constant` schedule the rule is GreedyLR; with another it modulates that.
    """

    kind = "greedy"
    needs = Signal.LOSS
    factor: float = number("(0, 1)", default=0.95, search=Range(0.5, 0.99))
    patience: int = number("[0, inf)", default=10, integer=True)
    threshold: float = number("[0, inf)", default=1e-6)
    window: int = number("[1, 10000]", default=1, integer=True)
    cooldown: int = number("[0, inf)", default=0, integer=True)
    warmup: int = number("[0, inf)", default=0, integer=True)
    least: float = number("(0, 1]", default=1e-2)
    most: float = number("[1, inf)", default=1e2)
    reset: int = number("[1, inf)", default=500, integer=True)

    def check(self) -> None:
        """The bounds must not leave what a controller may do.

        Raises:
            SpecError: they do.
        """
        if self.least < 1.0 / LARGEST or self.most > LARGEST:
            raise SpecError(f"Greedy.least and most must lie in [1e-12, 1e12], got {self.least} and {self.most}")

    def init(self, trials: int) -> GreedyState:
        """Nothing seen."""
        nothing = zeros(trials)
        window = torch.zeros(trials, self.window, dtype=torch.float64)
        return GreedyState(window, nothing, nothing + torch.inf, nothing, nothing, nothing, nothing, ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {
            "losses": COUNT,
            "best": (-HUGE, math.inf),
            "good": COUNT,
            "bad": COUNT,
            "waiting": COUNT,
            "at_floor": COUNT,
            "scale": FACTOR,
        }

    def multiplier(self, state: GreedyState, now: Moment) -> Tensor:
        """See the class."""
        return state.scale * now.scheduled

    def update(self, state: GreedyState, seen: Observation) -> tuple[GreedyState, Tensor]:
        """See the class."""
        window, count, current = self._smoothed(state, seen.loss)
        counted = state.waiting <= 0.0
        better = counted & (current < state.best - self.threshold)
        good = torch.where(better, state.good + 1.0, 0.0)
        bad = torch.where(counted & ~better, state.bad + 1.0, 0.0)
        raised = good > self.patience
        reduced = bad > self.patience
        scale = torch.where(raised, (state.scale / self.factor).clamp(max=self.most), state.scale)
        scale = torch.where(reduced, (scale * self.factor).clamp(min=self.least), scale)
        waiting = (state.waiting - 1.0).clamp(min=0.0)
        waiting = torch.where(raised, float(self.warmup), torch.where(reduced, float(self.cooldown), waiting))
        at_floor = torch.where(raised, 0.0, state.at_floor + (reduced & (scale <= self.least)).to(torch.float64))
        updated = GreedyState(
            window=window,
            losses=count,
            best=torch.where(better, current, state.best),
            good=torch.where(raised, 0.0, good),
            bad=torch.where(reduced, 0.0, bad),
            waiting=waiting,
            at_floor=at_floor,
            scale=scale,
        )
        return self._begun_anew(updated), seen.trial

    def _smoothed(self, state: GreedyState, loss: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The window with the loss in it, how many were seen, and the mean over the window; infinity if the loss is not finite."""
        usable = loss.isfinite()
        slot = torch.arange(self.window) == (state.losses % self.window).unsqueeze(1)
        window = torch.where(slot & usable.unsqueeze(1), loss.unsqueeze(1), state.window)
        count = state.losses + usable.to(torch.float64)
        mean = window.sum(1) / count.clamp(1.0, float(self.window))
        return window, count, torch.where(usable, mean, torch.inf)

    def _begun_anew(self, state: GreedyState) -> GreedyState:
        """The state of `init`, after a pause as for any reduction, where the rate was long enough at its lower bound."""
        over = state.at_floor >= self.reset
        if not bool(over.any()):
            return state
        fresh = self.init(len(over))._replace(waiting=torch.full_like(state.waiting, float(self.cooldown)))
        window = torch.where(over.unsqueeze(1), fresh.window, state.window)
        rest = (torch.where(over, new, old) for new, old in zip(fresh[1:], state[1:], strict=True))
        return GreedyState(window, *rest)
