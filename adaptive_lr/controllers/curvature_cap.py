"""Bound the rate by the curvature along the optimizer's step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    FACTOR,
    LARGEST,
    LOG_FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    average,
    bounded,
    ones,
    zeros,
)
from adaptive_lr.controllers.probe import ROUNDINGS
from adaptive_lr.spec import Range, number, spec

DECAY = 0.7
"""Of the running mean of ln edge."""

SHORT = 0.1
"""The share of the step at whose end the second gradient is taken: near enough to be a derivative, far enough not to be rounding."""


class CurvatureCapState(NamedTuple):
    """See `CurvatureCap`; every field ``[B]``."""

    log_edge: Tensor
    """Running mean of ln edge."""
    read: Tensor
    """1 once there is one."""
    scale: Tensor
    """s, the factor on the schedule."""


@spec
class CurvatureCap(AbstractController):
    """eta_t = min(s m(u), sigma edge), edge = <g, D>/h, h = (<g, D> - <g', D>)/a, where s falls to sigma edge / m(u) for u < ``until``.

    Every ``every`` steps the step is first made at a = 0.1 eta_t, and g' is the gradient of the same minibatch there: h is the curvature
    along D, and on a parabola the step of length ``edge`` ends at the minimum, twice that length is the edge of stability. ln edge is
    averaged with decay 0.7 (that of a ratio of two noisy numbers is skewed, that of its logarithm hardly). A reading with <g, D> or h
    not positive, or with h lost in rounding, is ignored. As in `PolyakReanchor`, s stays low once lowered, so that the schedule starts anew from the bound.

    With every = 1 and sigma = 1 this is CDAT of Roulet et al. 2024, arXiv:2407.06183, as an upper bound; as the rate itself it diverges or
    stalls with momentum. Half of the way to the minimum is safe under the noise of a minibatch. Every 20 steps costs 5 %. It
    protects AdamW from rates that are too high; SGD with momentum finds the edge too late, and a loss without curvature has none.
    """

    kind = "curvature_cap"
    needs = Signal.STEP | Signal.PROBE_GRADIENT
    sigma: float = number("(0, 10]", default=0.5, search=Range(0.1, 2.0, log=True))
    every: int = number("[1, inf)", default=20, integer=True)
    until: float = number("[0, 1]", default=0.2)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Everything at a reading, nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def init(self, trials: int) -> CurvatureCapState:
        """No bound yet."""
        return CurvatureCapState(zeros(trials), zeros(trials), ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"log_edge": LOG_FACTOR, "read": (0.0, 1.0), "scale": FACTOR}

    def multiplier(self, state: CurvatureCapState, now: Moment) -> Tensor:
        """See the class."""
        return torch.minimum(state.scale * now.scheduled, self._cap(state.log_edge, state.read))

    def trial(self, state: CurvatureCapState, now: Moment) -> Tensor:
        """A tenth of the multiplier at a reading."""
        return self.multiplier(state, now) * (SHORT if now.step % self.every == 0 else 1.0)

    def update(self, state: CurvatureCapState, seen: Observation) -> tuple[CurvatureCapState, Tensor]:
        """See the class."""
        now = seen.now
        curvature = (seen.descent - seen.probe_descent) / seen.trial
        edge = seen.descent / curvature
        change, rounding = seen.descent - seen.probe_descent, ROUNDINGS * seen.resolution * seen.descent
        usable = edge.isfinite() & (edge > 0.0) & (seen.descent > 0.0) & (change > rounding)
        new = bounded(edge).log()
        log_edge = torch.where(state.read > 0.0, average(state.log_edge, new, DECAY, usable), new)
        log_edge = torch.where(usable, log_edge, state.log_edge)
        read = torch.maximum(state.read, usable.to(torch.float64))
        scale = state.scale
        if now.step < self.until * now.total_steps:
            lower = bounded(torch.minimum(scale, self._cap(log_edge, read) / now.scheduled))
            scale = torch.where(usable & (now.scheduled > 0.0), lower, scale)
        updated = CurvatureCapState(log_edge, read, scale)
        return updated, self.multiplier(updated, now)

    def _cap(self, log_edge: Tensor, read: Tensor) -> Tensor:
        return torch.where(read > 0.0, self.sigma * log_edge.exp(), LARGEST)
