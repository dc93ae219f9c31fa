"""Find the scale of the learning rate by probing, then follow the schedule from there."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    COUNT,
    LARGEST,
    LOG_FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    finite,
    zeros,
)
from adaptive_lr.controllers.probe import far, judged, typical
from adaptive_lr.spec import Range, number, spec

STEEP = 3.0
"""A second failure that rises by more than so many times what was promised is not followed: on a parabola, a quarter of that step would diverge."""

MOVING = 3
"""From this streak on the edge still moves. Of 378 windows of 50 steps on digits and least squares, from up to five decades off, 4 % ended so, all of them with 3."""

LARGEST_WINDOW = 0.25
"""A window that takes more of the run, because that is short, is told of."""


class AnchorState(NamedTuple):
    """See `Anchor`; every field ``[B]``."""

    log_edge: Tensor
    """ln of the largest multiplier that passes the test, as far as is known."""
    last: Tensor
    """+1 if the last probe that said something passed, -1 if it failed, 0 before the first."""
    streak: Tensor
    """How many probes in a row went the same way, less one."""
    passed: Tensor
    """1 once a probe has passed."""
    failed: Tensor
    """1 once a probe has failed."""
    total: Tensor
    """Sum of ``log_edge`` over the probes of the second half of the window that count."""
    counted: Tensor
    """How many they are."""
    log_descent: Tensor
    """Running mean of ln <g, D>, once a probe has passed."""


@spec
class Anchor(AbstractController):
    """eta_t = fraction * edge * m(u), where the edge is the largest step that still decreases the loss enough.

    In the first W steps, each step is first made at p = the present edge, the loss is evaluated there on the same minibatch, and
    the probe passes if f(theta - p D) <= f(theta) - decrease p <g, D>. Then ln edge grows or falls by ln(growth) (1 + streak/2), at
    most 6 ln(growth), and the step is shortened to fraction min(p, edge) m(u): it is never made at the edge. W = max(``window`` T,
    ``least_steps``), at most T/2.

    The step is not made at all

    - before the first probe has passed;
    - in a streak of failures, where one fails by more than 3 times what was promised;
    - where a probe fails by a hundred times what a step promises typically, which is a running mean of ln <g, D>;
    - where <g, D> itself is so long;
    - where the probe is not finite.

    After the window nothing more is observed. The edge is the geometric mean over the probes of the window's second half; those before
    the first pass and the first failure are left out.

    A probe can also say nothing: on a minibatch without a gradient (<g, D> = 0: all of it masked, say), or where both what is promised and
    what happened are lost in rounding. It then neither passes nor fails and is in no mean, and the step is made as if there had been no probe. Only
    before the first pass an unseen step along a descent is lengthened, since nothing but a longer one can be seen. Where the whole window says
    nothing, the run goes on at the base rate. Neither a shift nor a factor of the loss changes anything, up to rounding.

    The starting rate is forgotten after some log(error)/(6 log growth) steps. The constants were chosen on other seeds than those of
    the experiment that reports on them: ``decrease`` 0.5 is the maximum of a parabola, so that the edge is 1/curvature along the
    direction; 0.7 is as good once ``fraction`` is scaled with it, near 0 logistic regression diverges.
    """

    kind = "anchor"
    needs = Signal.LOSS | Signal.GRADIENT | Signal.STEP | Signal.PROBE
    tuned_on: ClassVar[tuple[str, ...]] = ("squares", "logistic", "digits-sgd", "digits-adamw", "characters-sgd")
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
        return AnchorState(nothing - math.log(self.fraction), *7 * (nothing,))

    def settled(self, state: AnchorState) -> Tensor:
        """The settled ln of the edge, after the window, ``[B]``: the mean, or what is known where no probe counted."""
        mean = (state.total / state.counted.clamp(min=1.0)).clamp(*LOG_FACTOR)
        known = torch.where(state.counted > 0.0, mean, state.log_edge)
        return torch.where(heard(state), known, -math.log(self.fraction))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {
            "log_edge": LOG_FACTOR,
            "last": (-1.0, 1.0),
            "streak": COUNT,
            "passed": (0.0, 1.0),
            "failed": (0.0, 1.0),
            "counted": COUNT,
        }

    def multiplier(self, state: AnchorState, now: Moment) -> Tensor:
        """See the class."""
        log_edge = state.log_edge if now.step < self.length(now.total_steps) else self.settled(state)
        return self.fraction * log_edge.exp() * now.scheduled

    def trial(self, state: AnchorState, now: Moment) -> Tensor:
        """The edge inside the window."""
        if now.step < self.length(now.total_steps):
            return state.log_edge.exp()
        return self.multiplier(state, now)

    def update(self, state: AnchorState, seen: Observation) -> tuple[AnchorState, Tensor]:
        """See the class."""
        verdict, known = judged(seen, self.decrease), state.passed > 0.0
        searching = verdict.short & ~known
        moves = verdict.heard | searching
        sign = torch.where(verdict.passed | searching, 1.0, -1.0).to(torch.float64)
        streak = torch.where(sign == state.last, state.streak + 1.0, 0.0)
        change = sign * math.log(self.growth) * (1.0 + streak / 2.0).clamp(max=6.0)
        limit = math.log(LARGEST)
        log_edge = torch.where(moves, state.log_edge + change, state.log_edge).clamp(-limit, limit)
        passed = torch.maximum(state.passed, verdict.passed.to(torch.float64))
        failed = torch.maximum(state.failed, (verdict.heard & ~verdict.passed).to(torch.float64))
        counts = verdict.heard & (passed > 0.0) & (failed > 0.0)
        counts &= seen.now.step >= self.length(seen.now.total_steps) // 2
        updated = AnchorState(
            log_edge=log_edge,
            last=torch.where(moves, sign, state.last),
            streak=torch.where(moves, streak, state.streak),
            passed=passed,
            failed=failed,
            total=torch.where(counts, state.total + log_edge, state.total),
            counted=state.counted + counts.to(torch.float64),
            log_descent=torch.where(passed > 0.0, typical(state.log_descent, seen.descent, known), state.log_descent),
        )
        failing = verdict.heard & ~verdict.passed
        steep = ~(seen.probe_loss - seen.loss <= STEEP * (seen.trial * seen.descent).abs())
        too_far = failing & (known & far(seen, state.log_descent) | (streak > 0.0) & steep)
        made = finite(seen.loss, seen.descent) & (passed > 0.0) & ~too_far
        applied = self.fraction * torch.minimum(seen.trial, log_edge.exp()) * seen.now.scheduled
        return updated, torch.where(made, applied, 0.0)

    def remark(self, state: AnchorState, now: Moment) -> str | None:
        """At the window's end, that it did not find the edge, that this still moves, or that the window takes much of the run."""
        length = self.length(now.total_steps)
        if now.step != length - 1:
            return None
        shown = f"the window of {length} probed steps (T = {now.total_steps})"
        if not bool((state.passed * state.failed)[0]):
            return self._not_found(state, f"{shown} did not find the edge of the rate")
        found = [text for text in (self._moving(state), self._too_long(now.total_steps)) if text is not None]
        return f"{shown} {'; and it '.join(found)}" if found else None

    def _not_found(self, state: AnchorState, shown: str) -> str:
        if not bool(heard(state)[0]):
            return (
                f"{shown}: no probe said anything, because the minibatches have no gradient (all masked, or the parameters frozen?), or the base "
                "learning rate is 0 or far too low; the run goes on at the base rate"
            )
        factor = f"{float(state.log_edge[0].exp()):.2g} times the base rate"
        if not bool(state.passed[0]):
            return f"{shown}: no probe passed, down to {factor}, and no step was made so far; start lower, or train for more steps"
        return f"{shown}: every probe passed, up to {factor}, from where the run goes on; start higher, or train for more steps"

    def _moving(self, state: AnchorState) -> str | None:
        """That the last probes all went one way."""
        if float(state.streak[0]) < MOVING:
            return None
        went = "passed" if float(state.last[0]) > 0.0 else "failed"
        present, settled = (float(log_edge[0].exp()) for log_edge in (state.log_edge, self.settled(state)))
        return (
            f"ended while the edge of the rate still moved: the last {int(state.streak[0]) + 1} probes all {went}, the edge is {present:.2g} times "
            f"the base rate by now, and the run goes on with its mean so far, {settled:.2g}; start at some {present:.2g} times the base rate, or "
            "train for more steps"
        )

    def _too_long(self, total_steps: int) -> str | None:
        """That the window, for its ``least_steps``, takes more than a quarter of the run."""
        length = self.length(total_steps)
        if self.window > LARGEST_WINDOW or length <= LARGEST_WINDOW * total_steps:
            return None
        least = math.ceil(self.least_steps / LARGEST_WINDOW)
        cure = f"train for {least} steps or more"
        if fewer := math.floor(LARGEST_WINDOW * total_steps):
            cure += f", or write Anchor(least_steps={fewer}) for the window"
        return f"takes {length / total_steps:.0%} of the run: {cure}"

    def readings(self, state: AnchorState) -> dict[str, Tensor]:
        """The edge that the run would go on with, which it does after the window, and how many probes in a row passed, negative for failures."""
        return {"edge": self.settled(state).exp(), "passed_in_a_row": state.last * (state.streak + 1.0)}


def heard(state: AnchorState) -> Tensor:
    """Where at least one probe said something, ``[B]`` of bool."""
    return (state.passed > 0.0) | (state.failed > 0.0)
