"""Find the scale of the learning rate by probing, then follow the schedule from there."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import LARGEST, AbstractController, Moment, Observation, Signal, finite, zeros
from adaptive_lr.spec import Range, number, spec


class AnchorState(NamedTuple):
    """See `Anchor`; every field ``[B]``."""

    log_edge: Tensor
    """ln of the largest multiplier that passes the test, as far as is known."""
    last: Tensor
    """+1 if the last probe passed, -1 if it failed, 0 before the first."""
    streak: Tensor
    """How many probes in a row went the same way, less one."""
    passed: Tensor
    """1 once a probe has passed."""
    total: Tensor
    """Sum of ``log_edge`` over the second half of the window."""


@spec
class Anchor(AbstractController):
    """eta_t = fraction * edge * m(u), where the edge is the largest step that still decreases the loss enough.

    In the first W steps, each step is first made at p = the present edge, the loss is evaluated there on the same minibatch, and
    the probe passes if f(theta - p D) <= f(theta) - decrease p <g, D>. Then ln edge grows or falls by ln(growth) (1 + streak/2), at
    most 6 ln(growth), and the step is shortened to fraction min(p, edge) m(u): it is never made at the edge. It is not made at all before
    the first probe has passed, nor in a streak of failures that ended at more than twice the loss. After the window the edge is
    the geometric mean over the window's second half, and nothing more is observed. W = max(``window`` T, ``least_steps``), at most T/2.

    The starting rate is forgotten after some log(error)/(6 log growth) steps. The constants were chosen on other seeds than those of
    the experiment that reports on them: ``decrease`` 0.5 is the maximum of a parabola, so that the edge is 1/curvature along the
    direction; 0.7 is as good once ``fraction`` is scaled with it, near 0 logistic regression diverges.
    """

    kind = "anchor"
    needs = Signal.LOSS | Signal.STEP | Signal.PROBE
    fraction: float = number("(0, 1]", default=0.25, search=Range(0.05, 1.0, log=True))
    window: float = number("(0, 0.5]", default=0.05)
    least_steps: int = number("[1, inf)", default=40, integer=True)
    decrease: float = number("(0, 1)", default=0.5)
    growth: float = number("(1, 10]", default=1.25)

    def length(self, total_steps: int) -> int:
        """W, the number of steps that are probed."""
        return min(max(math.floor(self.window * total_steps), self.least_steps), max(1, total_steps // 2))

    def signals(self, step: int, total_steps: int) -> Signal:
        """Everything inside the window, nothing after it."""
        return self.needs if step < self.length(total_steps) else Signal.NONE

    def init(self, trials: int) -> AnchorState:
        """The first step would be made at the base rate itself."""
        nothing = zeros(trials)
        return AnchorState(nothing - math.log(self.fraction), nothing, nothing, nothing, nothing)

    def multiplier(self, state: AnchorState, now: Moment) -> Tensor:
        """See the class."""
        length = self.length(now.total_steps)
        log_edge = state.log_edge if now.step < length else state.total / (length - length // 2)
        return self.fraction * log_edge.exp() * now.scheduled

    def trial(self, state: AnchorState, now: Moment) -> Tensor:
        """The edge inside the window."""
        if now.step < self.length(now.total_steps):
            return state.log_edge.exp()
        return self.multiplier(state, now)

    def update(self, state: AnchorState, seen: Observation) -> tuple[AnchorState, Tensor]:
        """See the class."""
        usable = finite(seen.loss, seen.descent)
        passed = seen.probe_loss <= seen.loss - self.decrease * seen.trial * seen.descent
        sign = torch.where(passed, 1.0, -1.0).to(torch.float64)
        streak = torch.where(sign == state.last, state.streak + 1.0, 0.0)
        change = sign * math.log(self.growth) * (1.0 + streak / 2.0).clamp(max=6.0)
        limit = math.log(LARGEST)
        log_edge = torch.where(usable, state.log_edge + change, state.log_edge).clamp(-limit, limit)
        length = self.length(seen.now.total_steps)
        counted = seen.now.step >= length // 2
        found = AnchorState(
            log_edge=log_edge,
            last=torch.where(usable, sign, state.last),
            streak=torch.where(usable, streak, state.streak),
            passed=torch.maximum(state.passed, (usable & passed).to(torch.float64)),
            total=state.total + log_edge if counted else state.total,
        )
        far = ~(seen.probe_loss <= 2.0 * seen.loss + 1.0) & (streak > 0.0)
        made = usable & (found.passed > 0.0) & ~far
        applied = self.fraction * torch.minimum(seen.trial, log_edge.exp()) * seen.now.scheduled
        return found, torch.where(made, applied, 0.0)

    def readings(self, state: AnchorState) -> dict[str, Tensor]:
        """The edge, and how many probes in a row passed, negative for failures."""
        return {"edge": state.log_edge.exp(), "passed_in_a_row": state.last * (state.streak + 1.0)}
