"""Follow the minimum of a parabola through three losses along the optimizer's step."""

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
)
from adaptive_lr.spec import Range, number, spec

FAR = 2.0
"""A reading counts for no more than this factor from the present rate, up or down."""


class GeneralizedNewtonState(NamedTuple):
    """See `GeneralizedNewton`; ``[B]``."""

    scale: Tensor
    """s, the factor on the schedule."""


@spec
class GeneralizedNewton(AbstractController):
    """eta_t = s m(u); s <- smoothing s + (1 - smoothing) clip(b/a, s/2, 2 s), with f(theta - x D) = f - b x + a x^2/2 at x = -s, 0, s.

    GeN of Bu & Xu 2025, arXiv:2407.02772. Every ``every`` steps the step is first made at s, and the loss of the minibatch is
    evaluated there and as far on the other side: b = (f_- - f_+)/(2 s), a = (f_+ + f_- - 2 f)/s^2, and b/a is where the parabola is lowest. s stays where
    a or b is not positive, and is halved where a loss is not finite. Then the step is made at the new rate. Two evaluations of
    the loss in four steps are a sixth more work.

    As in the authors' package (gen-optim 0.1.1): ``smoothing``, the clipping, the halving, ``every`` 4 as in its example. Its
    factor for the horizon is the schedule: `Constant` for none, `Linear` for 1 - u. What differs: the losses are those of the minibatch that
    the gradient came from, as in the paper's algorithm, where the package takes the next one; the optimizer's step is made once,
    where it advances the momentum twice; and its condition R^2 > 0.99 is left out, which three points always fulfil. The probe is s long, without m(u),
    which does not change b/a on a parabola, so that a schedule that begins at 0 can be measured.
    """

    kind = "generalized_newton"
    needs = Signal.LOSS | Signal.STEP | Signal.PROBE | Signal.PROBE_BACK
    every: int = number("[1, inf)", default=4, integer=True)
    smoothing: float = number("[0, 1)", default=0.9, search=Range(0.5, 0.99))

    def signals(self, step: int, total_steps: int) -> Signal:
        """Everything at a reading, nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def init(self, trials: int) -> GeneralizedNewtonState:
        """The base rate."""
        return GeneralizedNewtonState(ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"scale": FACTOR}

    def multiplier(self, state: GeneralizedNewtonState, now: Moment) -> Tensor:
        """See the class."""
        return state.scale * now.scheduled

    def trial(self, state: GeneralizedNewtonState, now: Moment) -> Tensor:
        """S at a reading."""
        return state.scale if now.step % self.every == 0 else self.multiplier(state, now)

    def update(self, state: GeneralizedNewtonState, seen: Observation) -> tuple[GeneralizedNewtonState, Tensor]:
        """See the class."""
        scale, length = state.scale, seen.trial
        slope = (seen.back_loss - seen.probe_loss) / (2.0 * length)
        curvature = (seen.probe_loss + seen.back_loss - 2.0 * seen.loss) / length.square()
        lowest = slope / curvature
        near = torch.minimum(torch.maximum(lowest, scale / FAR), scale * FAR)
        follows = (slope > 0.0) & (curvature > 0.0) & near.isfinite()
        moved = torch.where(follows, self.smoothing * scale + (1.0 - self.smoothing) * near, scale)
        halved = torch.where(finite(seen.loss, seen.probe_loss, seen.back_loss), moved, scale / 2.0)
        updated = GeneralizedNewtonState(bounded(halved))
        return updated, self.multiplier(updated, seen.now)
