"""Find the scale of the learning rate by probing, and how much of it the noise allows by the progress that was made."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from adaptive_lr.controllers.anchor import Anchor, AnchorState, heard
from adaptive_lr.controllers.base import (
    LOG_FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    aligned,
    finite,
    zeros,
)
from adaptive_lr.controllers.probe import Verdict, far, judged, ordinary, typical
from adaptive_lr.spec import Range, Scalar, component, number, spec

MEMORY = 4.0
"""The running means reach back over a quarter of the time since they began."""

STRIDE = 2
"""One in so many steps is looked at for how well gradients agree. On digits with AdamW, seeds 100 to 123, it ends as with every step; 4 and 8 open the gate at times where they should not."""


TOGETHER = ("scale", "least", "most", "alignment")
"""Numbers in which trials of one batch may differ."""


class ProgressAnchorState(NamedTuple):
    """See `ProgressAnchor`; every number ``[B]``."""

    probing: AnchorState
    """Of the window."""
    progress: Tensor
    """P, mean of f(theta_0) - f(theta)."""
    promise: Tensor
    """Q, mean of <g, D>."""
    alignment: Tensor
    """Running mean of cos(g_t, g_{t-1})."""
    lift: Tensor
    """ln of the factor on the peak."""
    share: Tensor
    """The part of the edge at which steps are made, lift aside, as of the last update that was seen; ``fraction`` in the window."""


@spec
class ProgressAnchor(AbstractController):
    """eta_t = share * edge * lift * m(u): the edge from probes, the share from the progress made, so that noise lowers it.

    *Window*, t < W: as in `Anchor`, with a smaller fraction, since steps near the edge flatten a network and so raise the edge itself.
    Its edge e is then kept.

    *Share*, until u = ``until``: e <g, D>/2 is what a step at the edge promises, so T e Q, with Q the mean of <g, D>, is the promise of the whole
    run. Every ``every`` steps (0.6 % of the run if that is more) the minibatch's loss is also evaluated at the parameters that training
    started from, and P is the mean of f(theta_0) - f(theta): the noise that both losses share cancels. Then

        share = clip(scale sqrt(P / (T e Q)), least, most).

    Where minibatches agree, promises are kept and the share is ``most``; where noise dominates, Q is mostly noise and P small. It is the
    classical rate sqrt(Delta/(L sigma^2 T)) of stochastic gradient descent in units of the edge, written in losses alone: neither a shift nor a
    factor of the loss changes it or anything else here, and it falls with the horizon like T^(-1/2). P and Q are means over the last quarter of the
    time since W/2.

    *Lift*: every other of these probes, from u = 0.1 on, is made at twice the step instead. It passes if the loss falls by a tenth of what the
    gradient promises; lift grows by ``growth`` of the window then and falls by it otherwise, between 1 and ``limit``. That counts only while
    successive gradients agree, with a running mean of cos(g_t, g_{t-1}), read every other step, above ``alignment``. A second
    condition, that half of the initial loss be gone, was taken out: it depends on the least loss there can be, which nobody knows. On 22
    combinations of task, optimizer and horizon, seeds 100 to 104, losses without it are 0.98 to 1.02 times those with it (geometric means).

    A minibatch without a gradient counts in no mean, nor does one whose <g, D> is a hundred times as long as is typical. A probe of twice the
    step that ends as far above the loss as `Anchor` calls an accident is taken back.

    In a loop of one's own with a million parameters it takes some 11 % more processor time; ``limit`` 1 does without the lift and without
    reading gradients for it.

    It is ours; there is no paper. Constants come from seeds 100 to 104, and other seeds report. ``scale`` 14 to 25 did equally well
    at 2000 steps; the best lay between 9 and 24 on three convex tasks at 300 to 8000. What it cannot do: without any noise the best rate is the edge itself, and no share of it comes near; logistic
    regression with minibatches of one example ended 15 to 35 % worse than under `Anchor`; and where a network can become ever more confident
    on data it already fits, test losses explode at rates that harm no error rate.
    """

    kind = "progress_anchor"
    needs = Anchor.needs | Signal.PREVIOUS_GRADIENT | Signal.START | Signal.PROBE_START
    tuned_on: ClassVar[tuple[str, ...]] = (
        *("squares", "logistic", "absolute", "digits-sgd", "digits-adamw"),
        *("characters-sgd", "characters-adamw", "mnist1d-sgd", "mnist1d-adamw"),
        *("squares-noise-3-batch-1", "squares-noise-3-batch-16", "squares-noiseless", "digits-batch-16"),
    )
    probing: Anchor = component(Anchor, default=Anchor(fraction=0.15))
    scale: Scalar = number("(0, inf)", default=22.0, search=Range(5.0, 100.0, log=True))
    least: Scalar = number("(0, 1]", default=0.06)
    most: Scalar = number("(0, 1]", default=0.35, search=Range(0.1, 1.0, log=True))
    until: float = number("(0, 1]", default=0.35)
    every: int = number("[1, inf)", default=12, integer=True)
    alignment: Scalar = number("[-1, 1]", default=0.12, search=Range(0.0, 0.3))
    limit: float = number("[1, 1000]", default=4.0, search=Range(1.0, 16.0, log=True))

    def batch_key(self) -> Hashable:
        """See the base class; `TOGETHER` may differ."""
        fixed = type(self)()
        return type(self), replace(self, **{name: getattr(fixed, name) for name in TOGETHER})

    def stacked(self, others: Sequence[Self]) -> Self:
        """See the base class."""
        columns: dict[str, Any] = {
            name: torch.tensor([getattr(other, name) for other in others], dtype=torch.float64) for name in TOGETHER
        }
        return replace(self, **columns)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Probes in the window, then gradients, and every ``every`` steps one probe of the start or of twice the step in turn."""
        asked = self.probing.signals(step, total_steps)
        if step < self._last(total_steps):
            asked |= Signal.START
            if self._compares(step, total_steps):
                asked |= Signal.PREVIOUS_GRADIENT
            if self._lifts(step, total_steps):
                asked |= Anchor.needs
            elif self._measures(step, total_steps):
                asked |= Signal.LOSS | Signal.STEP | Signal.PROBE_START
        return asked

    def _compares(self, step: int, total_steps: int) -> bool:
        """Whether the gradient is compared with the last one."""
        since = step - self.probing.length(total_steps)
        return self.limit > 1.0 and since >= 0 and since % STRIDE == 0

    def _last(self, total_steps: int) -> int:
        return max(math.ceil(self.until * total_steps), self.probing.length(total_steps))

    def interval(self, total_steps: int) -> int:
        """Steps from one probe to the next."""
        return max(self.every, round(0.006 * total_steps))

    def _turn(self, step: int, total_steps: int) -> int:
        """The number of the probe at this step, from 1; 0 for none."""
        begin, interval = self.probing.length(total_steps) // 2, self.interval(total_steps)
        since = step - begin
        asked = since >= 0 and since % interval == 0 and step < self._last(total_steps)
        return since // interval + 1 if asked else 0

    def _lifts(self, step: int, total_steps: int) -> bool:
        turn = self._turn(step, total_steps)
        return turn > 0 and turn % 2 == 0 and self._alternates(step, total_steps)

    def _alternates(self, step: int, total_steps: int) -> bool:
        """Whether every other probe is one of twice the step by now."""
        return self.limit > 1.0 and step >= max(0.1 * total_steps, self.probing.length(total_steps) + 1)

    def _measures(self, step: int, total_steps: int) -> bool:
        return self._turn(step, total_steps) > 0 and not self._lifts(step, total_steps)

    def init(self, trials: int) -> ProgressAnchorState:
        """The first step would be made at the base rate itself."""
        nothing = zeros(trials)
        return ProgressAnchorState(self.probing.init(trials), *4 * (nothing,), share=nothing + self.probing.fraction)

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return self.probing.limits() | {"alignment": (-1.0, 1.0), "lift": (0.0, LOG_FACTOR[1]), "share": (0.0, 1.0)}

    def multiplier(self, state: ProgressAnchorState, now: Moment) -> Tensor:
        """See the class."""
        held = self.probing.multiplier(state.probing, now)
        if now.step < self.probing.length(now.total_steps):
            return held
        return held / self.probing.fraction * self.share(state, now.total_steps) * state.lift.exp()

    def share(self, state: ProgressAnchorState, total_steps: int) -> Tensor:
        """The part of the edge that is used after the window, ``[B]``."""
        expected = (total_steps * self.probing.settled(state.probing).exp() * state.promise).clamp(min=1e-300)
        share = self.scale * (state.progress.clamp(min=0.0) / expected).sqrt()
        least, most = (torch.as_tensor(bound, dtype=torch.float64) for bound in (self.least, self.most))
        share = torch.where(share.isnan(), least, share).clamp(least, most)
        # Where no probe said anything, the base rate itself is all there is to go by.
        return torch.where(heard(state.probing), share, self.probing.fraction)

    def trial(self, state: ProgressAnchorState, now: Moment) -> Tensor:
        """The edge in the window, twice the step where that is probed."""
        if now.step < self.probing.length(now.total_steps):
            return self.probing.trial(state.probing, now)
        return self.multiplier(state, now) * (2.0 if self._lifts(now.step, now.total_steps) else 1.0)

    def remark(self, state: ProgressAnchorState, now: Moment) -> str | None:
        """That of the window."""
        return self.probing.remark(state.probing, now)

    def update(self, state: ProgressAnchorState, seen: Observation) -> tuple[ProgressAnchorState, Tensor]:
        """See the class."""
        updated, made = self._updated(state, seen)
        following = seen.now.step + 1
        if following >= self.probing.length(seen.now.total_steps):
            updated = updated._replace(share=self.share(updated, seen.now.total_steps))
        return updated, made

    def _updated(self, state: ProgressAnchorState, seen: Observation) -> tuple[ProgressAnchorState, Tensor]:
        step, total_steps = seen.now.step, seen.now.total_steps
        measured = self._measured(state, seen)
        if step < self.probing.length(total_steps):
            probing, made = self.probing.update(state.probing, seen)
            return measured._replace(probing=probing), made
        if self._compares(step, total_steps):
            measured = measured._replace(alignment=aligned(measured.alignment, seen, STRIDE))
        if not self._lifts(step, total_steps):
            return measured, seen.trial
        verdict, probing = judged(seen, 0.1), state.probing
        lifted = measured._replace(lift=self._lifted(measured, verdict))
        too_far = verdict.heard & ~verdict.passed & (probing.passed > 0.0) & far(seen, probing.log_descent)
        return lifted, torch.where(too_far, 0.0, self.multiplier(lifted, seen.now))

    def readings(self, state: ProgressAnchorState) -> dict[str, Tensor]:
        """The edge e, its share and the lift, whose product is the rate after the window; the progress P in units of what one step at the edge promises, eQ; the alignment of gradients."""
        edge = self.probing.readings(state.probing)["edge"]
        return {
            "edge": edge,
            "promised_steps": state.progress / (edge * state.promise).clamp(min=1e-300),
            "alignment": state.alignment,
            "lift": state.lift.exp(),
            "share": state.share,
        }

    def _measured(self, state: ProgressAnchorState, seen: Observation) -> ProgressAnchorState:
        """P and Q after a step; a minibatch without a gradient, or one far out of proportion, counts in neither."""
        step, total_steps = seen.now.step, seen.now.total_steps
        begin, interval = self.probing.length(total_steps) // 2, self.interval(total_steps)
        inside, measures = step < self.probing.length(total_steps), self._measures(step, total_steps)
        if step < begin or not (inside or measures or self._lifts(step, total_steps)):
            return state
        probing = state.probing
        known = probing.passed > 0.0
        usable = torch.where(known, ordinary(seen.descent, probing.log_descent), seen.descent.isfinite())
        usable &= seen.descent != 0.0
        stride = 1 if inside else interval
        measured = state._replace(promise=_mixed(state.promise, seen.descent, usable, stride, step - begin))
        if not inside:
            log_descent = torch.where(known, typical(probing.log_descent, seen.descent, known), probing.log_descent)
            measured = measured._replace(probing=probing._replace(log_descent=log_descent))
        if not measures:
            return measured
        gain = seen.start_loss - seen.loss
        usable = usable & finite(gain, seen.loss)
        gap = 2 * interval if self._alternates(step, total_steps) else interval
        return measured._replace(progress=_mixed(state.progress, gain, usable, gap, step - begin))

    def _lifted(self, state: ProgressAnchorState, verdict: Verdict) -> Tensor:
        known = (state.alignment > self.alignment) & verdict.heard
        change = torch.where(verdict.passed, 1.0, -1.0).to(torch.float64) * math.log(self.probing.growth)
        return torch.where(known, state.lift + change, state.lift).clamp(0.0, math.log(self.limit))


def _mixed(old: Tensor, new: Tensor, usable: Tensor, interval: int, since: int) -> Tensor:
    """A running mean over the last quarter of the time ``since`` it began, with a sample every ``interval`` steps."""
    weight = MEMORY * interval / (since + MEMORY * interval)
    return torch.where(usable, old + weight * (new - old), old)
