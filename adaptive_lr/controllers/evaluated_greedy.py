"""Raise the rate while evaluations improve, lower it while they do not."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adaptive_lr.controllers.base import AbstractController, Limits, Moment, Observation, Signal
from adaptive_lr.controllers.greedy import Greedy, GreedyState
from adaptive_lr.spec import component, number, spec


@spec
class EvaluatedGreedy(AbstractController):
    """eta_t = m(u) s, with s from the rule of `Greedy` on a metric of data that is not trained on, once in ``every`` of the run.

    GreedyLR of Subramanian et al. 2025, arXiv:2512.14527, as its authors run it: `transformers.Trainer` steps it after evaluations, and not with the
    losses of minibatches. The settings are those of their example of fine-tuning: 20 evaluations, patience 2, factor 0.9, the
    least rate 1/500 of the first, and an absolute upper bound of 1 that no run comes near.

    In trials the metric is the one that is selected by, at the cost of a pass over the validation data at each evaluation, which
    counts in a trial's seconds and not in `extra_steps`. In your own loop, `ControlledLR.observe` shows it; without it
    nothing happens, and one that is not finite is left out.
    """

    kind = "evaluated_greedy"
    needs = Signal.METRIC
    rule: Greedy = component(Greedy, default=Greedy(factor=0.9, patience=2, least=2e-3, most=1e4))
    every: float = number("(0, 1]", default=0.05)

    def signals(self, step: int, total_steps: int) -> Signal:
        """The metric after every so many updates."""
        return Signal.METRIC if step > 0 and step % max(1, round(self.every * total_steps)) == 0 else Signal.NONE

    def init(self, trials: int) -> GreedyState:
        """That of the rule."""
        return self.rule.init(trials)

    def limits(self) -> dict[str, Limits]:
        """Those of the rule."""
        return self.rule.limits()

    def multiplier(self, state: GreedyState, now: Moment) -> Tensor:
        """That of the rule."""
        return self.rule.multiplier(state, now)

    def update(self, state: GreedyState, seen: Observation) -> tuple[GreedyState, Tensor]:
        """That of the rule for the trials that were evaluated."""
        metric = seen.metric.expand_as(state.scale)
        following, _ = self.rule.update(state, replace(seen, loss=metric))
        known = metric.isfinite()
        parts = zip(following, state, strict=True)
        return GreedyState(*(torch.where(_beside(known, new), new, old) for new, old in parts)), seen.trial


def _beside(known: Tensor, values: Tensor) -> Tensor:
    return known.view(-1, *[1] * (values.dim() - 1))
