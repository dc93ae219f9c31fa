"""Go back when loss or gradient are not finite any more, and go on with half the rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

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
    State,
    finite,
    ones,
    zeros,
)
from adaptive_lr.controllers.static import Static
from adaptive_lr.spec import component, number, spec


class NanRescueState(NamedTuple):
    """See `NanRescue`; every number ``[B]``."""

    then: Any
    """The state of the controller inside."""
    scale: Tensor
    """factor^rescues."""
    fallen: Tensor
    """1 if the last step has to be taken back."""


@spec
class NanRescue(AbstractController):
    """eta_t = factor^rescues * the multiplier of ``then``; when loss or gradient is not finite, back to the last copy.

    Every ``every`` steps parameters, optimizer state and buffers such as batch norm's running means are copied, if loss and gradient are
    finite there. When they are not at some step, all are put back, the rate is multiplied by ``factor``, and training goes on with the next minibatch; the step counter and the
    schedule do not go back. Up to the first such step the run is that of ``then`` alone, bit for bit. The inner controller sees what it
    would see if the base rate were factor^rescues times as large, and its state stays. `ControlledLR` warns of the first rescue and of the tenth.

    Which ``factor``: 1.0 where single minibatches are corrupt, since the rate is not to blame and every one of them would halve it for good;
    0.5 where the rate makes something overflow, and would do so again.

    Only what is not finite triggers it. Rules for spikes of the loss were tried: they give false alarms on noisy convex tasks
    (twice the loss, at the best rate) and made rates that are too high only 1.5 to 4 times better. A run that explodes slowly therefore
    keeps copies that are no good either: this is for single bad minibatches and overflows, not for a rate that is far too high.
    """

    kind = "nan_rescue"
    needs = Signal.LOSS | Signal.GRADIENT | Signal.KEEP
    then: AbstractController = component(AbstractController, default=Static())
    every: int = number("[1, inf)", default=20, integer=True)
    factor: float = number("(0, 1]", default=0.5)

    def check(self) -> None:
        """Need what the inner controller needs too, in this instance; the class itself tells what a rescue needs."""
        object.__setattr__(self, "needs", NanRescue.needs | self.then.needs)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Loss and gradient always, a copy every ``every`` steps."""
        copying = Signal.KEEP if step % self.every == 0 else Signal.NONE
        return Signal.LOSS | Signal.GRADIENT | copying | self.then.signals(step, total_steps)

    def init(self, trials: int) -> NanRescueState:
        """Nothing to be rescued."""
        return NanRescueState(self.then.init(trials), ones(trials), zeros(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return self.then.limits() | {"scale": FACTOR, "fallen": (0.0, 1.0)}

    def multiplier(self, state: NanRescueState, now: Moment) -> Tensor:
        """See the class."""
        return state.scale * self.then.multiplier(state.then, now)

    def trial(self, state: NanRescueState, now: Moment) -> Tensor:
        """That of the inner controller, scaled."""
        return state.scale * self.then.trial(state.then, now)

    def update(self, state: NanRescueState, seen: Observation) -> tuple[NanRescueState, Tensor]:
        """See the class."""
        then, decided = state.then, seen.trial / state.scale
        if self.then.signals(seen.now.step, seen.now.total_steps):  # otherwise it does not expect to be asked
            then, decided = self.then.update(then, _scaled(seen, state.scale))
        fallen = ~finite(seen.loss, seen.gradient_square)
        lower = (state.scale * self.factor).clamp(min=1.0 / LARGEST)
        updated = NanRescueState(
            then=then,
            scale=torch.where(fallen, lower, state.scale),
            fallen=fallen.to(torch.float64),
        )
        return updated, state.scale * decided

    def restores(self, state: NanRescueState) -> Tensor:
        """Where the last step was not finite, or the inner controller says so."""
        fallen, inner = state.fallen > 0.0, self.then.restores(state.then)
        return fallen if inner is None else fallen | inner

    def remark(self, state: NanRescueState, now: Moment) -> str | None:
        """That of the inner controller."""
        return self.then.remark(state.then, now)

    def readings(self, state: State) -> dict[str, Tensor]:
        """The inner controller's as ``then/…``."""
        inner = {f"then/{name}": value for name, value in self.then.readings(state.then).items()}
        return {**inner, "scale": state.scale, "fallen": state.fallen}


def _scaled(seen: Observation, scale: Tensor) -> Observation:
    """The same in units of a base rate ``scale`` times as large: the multiplier is smaller by as much as D is larger."""
    return replace(
        seen,
        trial=seen.trial / scale,
        descent=seen.descent * scale,
        direction_square=seen.direction_square * scale * scale,
        parameters_dot_direction=seen.parameters_dot_direction * scale,
        average_dot_direction=seen.average_dot_direction * scale,
        probe_descent=seen.probe_descent * scale,
    )
