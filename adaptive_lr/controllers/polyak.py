"""Bound the rate by Polyak's step, and let the schedule start anew from the bound."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    COUNT,
    FACTOR,
    LARGEST,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    average,
    bounded,
    finite,
    ones,
    too_high,
    zeros,
)
from adaptive_lr.spec import Range, number, spec

DECAY = 0.9
"""Of the running means of loss and descent."""


class PolyakReanchorState(NamedTuple):
    """See `PolyakReanchor`; every field ``[B]``."""

    gap: Tensor
    """F, the running mean of f - f*, from zero: the same share is missing in N, so that F/N is right from the first step."""
    slope: Tensor
    """N, that of the positive part of <g, D>."""
    cap: Tensor
    """The last k F/N above zero."""
    scale: Tensor
    """s, the factor on the schedule."""


@spec
class PolyakReanchor(AbstractController):
    """eta_t = min(s m(u), cap_t), cap_t = k F/N, where s falls to cap_t / m(u) whenever that is less and u < ``until``.

    F and N are running means (decay 0.9) of f - ``target`` and of the positive part of <g, D>, this step's included: the bound acts on
    the step that it was computed from. For plain SGD and without averaging, cap_t times the base rate is Polyak's step k (f - f*)/|g|^2 of
    Loizou et al. 2021, arXiv:2002.10542 (their 1/c is k), as an upper bound; <g, D> extends it to momentum and Adam.

    Lowering s, not only the step, is what makes the bound useful: a run whose base rate is too high would otherwise stay at the bound and
    cool down only in its last few per cent, at 2 to 3 times the regret. That is done only in the first fifth, since later f is small by
    the success of the training. It costs no evaluation, protects from rates that are too high and does nothing for those too low, and
    is of no use where the least loss is far above ``target``. ``k`` 1 is Polyak's step for convex problems; 0.3 was
    better on networks, and twice as bad on least squares.
    """

    kind = "polyak_reanchor"
    needs = Signal.LOSS | Signal.STEP
    k: float = number("(0, 100]", default=1.0, search=Range(0.1, 2.0, log=True))
    target: float = number("(-inf, inf)", default=0.0)
    until: float = number("[0, 1]", default=0.2)

    def init(self, trials: int) -> PolyakReanchorState:
        """No bound yet."""
        return PolyakReanchorState(zeros(trials), zeros(trials), ones(trials) * LARGEST, ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"slope": COUNT, "cap": FACTOR, "scale": FACTOR}

    def multiplier(self, state: PolyakReanchorState, now: Moment) -> Tensor:
        """Under the bound of the step before."""
        return torch.minimum(state.scale * now.scheduled, state.cap)

    def remark(self, state: PolyakReanchorState, now: Moment) -> str | None:
        """That ``target`` is above the losses, where the bound is zero and training stands still."""
        return too_high("PolyakReanchor", self.target) if bool(state.gap[0] < 0.0) else None

    def update(self, state: PolyakReanchorState, seen: Observation) -> tuple[PolyakReanchorState, Tensor]:
        """See the class."""
        now, gap = seen.now, seen.loss - self.target
        usable = finite(gap, seen.descent) & (
            seen.descent != 0.0
        )  # without a gradient, the loss says nothing of the slope
        gaps = average(state.gap, gap, DECAY, usable)
        slopes = average(state.slope, seen.descent.clamp(min=0.0), DECAY, usable)
        cap = torch.where(slopes > 0.0, self.k * gaps.clamp(min=0.0) / slopes, LARGEST)
        # A loss below the target says that the target is wrong: this step is not made, but nothing is remembered of it.
        positive = usable & (cap > 0.0)
        scale = state.scale
        if now.step < self.until * now.total_steps:
            lower = bounded(torch.minimum(scale, cap / now.scheduled))
            scale = torch.where(positive & (now.scheduled > 0.0), lower, scale)
        updated = PolyakReanchorState(gaps, slopes, torch.where(positive, bounded(cap), state.cap), scale)
        return updated, torch.minimum(scale * now.scheduled, cap)
