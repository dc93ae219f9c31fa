"""Bound the rate by where a model of the loss reaches its least value."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    FACTOR,
    LARGEST,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    bounded,
    finite,
    ones,
    too_high,
    zeros,
)
from adaptive_lr.spec import choice, number, spec

DECAY = 0.9
"""Of the running means; it must be that of the mean gradient in `adaptive_lr.feedback.statistics`."""


class MomoCapState(NamedTuple):
    """See `MomoCap`; every field ``[B]``."""

    loss: Tensor
    """f-bar, from zero."""
    product: Tensor
    """gamma, the running mean of <g, theta>, from zero."""
    weight: Tensor
    """rho, the sum of the weights so far."""
    cap: Tensor
    """The last cap above zero."""
    target: Tensor
    """f*, or the present estimate of it."""


@spec
class MomoCap(AbstractController):
    """eta_t = min(m(u), (h - rho f*)_+ / <g-bar, D>), h = f-bar + <g-bar, theta> - gamma.

    MoMo of Schaipp et al. 2024, arXiv:2305.07583, with bias correction. f-bar, g-bar and gamma are running means (decay 0.9) of
    f, g and <g, theta>, this step's included, from zero, and rho is the sum of their weights, 1 - 0.9^t. By linearity
    f-bar + <g-bar, x> - gamma is the mean of the tangents f_s + <g_s, x - theta_s> of the past steps at x, times rho. At x = theta - a D this is
    h - a <g-bar, D>, which reaches the least value possible, rho f*, at the a above: a longer step would go where the model is
    known to be wrong. In the paper D is proportional to g-bar (MoMo) or to g-bar preconditioned (MoMo-Adam); any other direction is
    treated alike. With nothing averaged, in the first step, it is (f - f*)/<g, D>, the bound of `PolyakReanchor`.

    Where <g-bar, D> is not positive, there is no bound. A step whose loss or gradient is not finite adds to none of the means. With ``estimate_target`` on, f*
    follows the paper's estimate f* <- max(``target``, (h - eta <g-bar, D>/2)/rho), reset to max(``target``, h/(2 rho)) where h < rho f*;
    exact if D is proportional to g-bar, a heuristic otherwise. Without it f* is ``target``, which is too low for most losses and then
    bounds less than it could.
    """

    kind = "momo_cap"
    needs = Signal.LOSS | Signal.STEP | Signal.AVERAGE
    target: float = number("(-inf, inf)", default=0.0)
    estimate_target: str = choice(("on", "off"), default="off")

    def init(self, trials: int) -> MomoCapState:
        """No bound yet."""
        nothing = zeros(trials)
        return MomoCapState(nothing, nothing, nothing, ones(trials) * LARGEST, nothing + self.target)

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"weight": (0.0, 1.0), "cap": FACTOR}

    def multiplier(self, state: MomoCapState, now: Moment) -> Tensor:
        """Under the bound of the step before."""
        return torch.minimum(now.scheduled, state.cap)

    def remark(self, state: MomoCapState, now: Moment) -> str | None:
        """That ``target`` is above the losses, where the bound is zero and training stands still."""
        low = bool(state.loss[0] < state.weight[0] * self.target)
        return too_high("MomoCap", self.target) if low else None

    def update(self, state: MomoCapState, seen: Observation) -> tuple[MomoCapState, Tensor]:
        """See the class."""
        silent = seen.descent == 0.0  # no gradient, so that nothing was added to the mean gradient either
        usable = finite(seen.loss, seen.gradient_dot_parameters) & ~silent
        loss = DECAY * state.loss + (1.0 - DECAY) * torch.where(usable, seen.loss, 0.0)
        product = DECAY * state.product + (1.0 - DECAY) * torch.where(usable, seen.gradient_dot_parameters, 0.0)
        weight = DECAY * state.weight + (1.0 - DECAY) * usable.to(torch.float64)
        here = loss + seen.average_dot_parameters - product
        slope = seen.average_dot_direction
        target = self._reset(state.target, here, weight)
        room = (here - weight * target).clamp(min=0.0)
        known = usable & finite(here, room) & (slope > 0.0) & (weight > 0.0)
        cap = torch.where(known, room / slope, torch.where(silent, state.cap, LARGEST))
        decided = torch.minimum(seen.now.scheduled, cap)
        if self.estimate_target == "on":
            estimate = ((here - 0.5 * decided * slope) / weight).clamp(min=self.target)
            target = torch.where(known & estimate.isfinite(), estimate, target)
        # Zero would leave no step from which to read the next direction.
        remembered_cap = torch.where(known & (cap > 0.0), bounded(cap), state.cap)
        return MomoCapState(loss, product, weight, remembered_cap, target), decided

    def readings(self, state: MomoCapState) -> dict[str, Tensor]:
        """Every number in the state; the mean of the loss by a name of its own."""
        return {"mean_loss" if name == "loss" else name: value for name, value in state._asdict().items()}

    def _reset(self, target: Tensor, here: Tensor, weight: Tensor) -> Tensor:
        if self.estimate_target == "off":
            return target
        lower = (0.5 * here / weight).clamp(min=self.target)
        return torch.where(finite(lower) & (here < weight * target), lower, target)
