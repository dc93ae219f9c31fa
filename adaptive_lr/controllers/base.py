"""What a controller is: a pure function from what training shows to the factor on the base learning rate."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Spec

State = Any
"""What a controller remembers: a ``NamedTuple`` of its own, of tensors ``[B]`` or of further states."""

NOT_SEEN = torch.tensor(torch.nan, dtype=torch.float64)
"""What an `Observation` holds where nothing was asked for."""

HALF = torch.tensor(0.5, dtype=torch.float64)
"""What an `Observation` holds of the first part's share where nothing was said."""

EXACT = torch.tensor(torch.finfo(torch.float64).eps, dtype=torch.float64)
"""What an `Observation` holds of the precision where nothing was said."""

NO_MEMORY = torch.tensor(0.0, dtype=torch.float64)
"""What an `Observation` holds of the optimizer's momentum where nothing was said."""

LARGEST = 1e12
"""No controller goes further than this from the base rate, up or down."""

Limits = tuple[float, float]
"""The least and the largest value that is legal."""

HUGE = sys.float_info.max
FINITE: Limits = (-HUGE, HUGE)
COUNT: Limits = (0.0, HUGE)
FACTOR: Limits = (1.0 / LARGEST, LARGEST)
LOG_FACTOR: Limits = (-math.log(LARGEST), math.log(LARGEST))


ALIGNMENT_DECAY = 0.98
"""Of the running mean of cos(g_t, g_{t-1}): over some 50 steps."""


class Signal(Flag):
    """What a controller asks to see at a step; each costs something, so none is read without being asked for."""

    LOSS = auto()
    """The minibatch's loss: free."""
    GRADIENT = auto()
    """The squared norm of the gradient."""
    PREVIOUS_GRADIENT = auto()
    """The inner product with the gradient of the step before: one more copy of the gradient."""
    PREVIOUS_STEP = auto()
    """The inner product with the step before: one copy of the parameters."""
    STEP = auto()
    """The step that the optimizer makes, which then can still be shortened or taken back: two copies of the parameters."""
    PARAMETERS = auto()
    """Inner products of the parameters with the step (with ``STEP``)."""
    AVERAGE = auto()
    """A running mean of the gradient (decay 0.9) and its inner products (with ``STEP``): another copy."""
    PROBE = auto()
    """The loss after the step on the same minibatch (with ``STEP``): one evaluation of the loss."""
    PROBE_GRADIENT = auto()
    """The gradient after the step on the same minibatch (with ``STEP``): one evaluation of loss and gradient."""
    HALF = auto()
    """The squared norm of the gradient of the first half of the minibatch, or of another part of it."""
    CURVATURE = auto()
    """The Hessian times a fixed random direction, and its change since the last reading: one gradient."""
    START = auto()
    """A copy of the parameters as they are when it is first asked for, for as long as every step asks for it; of one that joins later, its value at the first step after that at which something is read."""
    PROBE_START = auto()
    """The loss of those parameters on the minibatch (with ``STEP`` and ``START``): one evaluation of the loss."""
    PROBE_BACK = auto()
    """The loss after a step as long the other way on the same minibatch (with ``STEP``): one evaluation of the loss."""
    METRIC = auto()
    """A metric on data that is not trained on, smaller being better: as it was last observed, NaN if it was not since the last look."""
    DISTANCE = auto()
    """How far the parameters are from the copy of ``START``, and how long the step is (with ``START`` and ``STEP``): no evaluation, no further copy."""
    KEEP = auto()
    """A copy of parameters, optimizer state and buffers to go back to."""

    NONE = 0


REPLAYING = Signal.PROBE | Signal.PROBE_GRADIENT | Signal.CURVATURE | Signal.PROBE_START | Signal.PROBE_BACK
"""Signals for which the loss must be evaluated again."""


@dataclass(frozen=True)
class Moment:
    """Where training stands before an update.

    Attributes:
        step: t, 0 for the first update.
        total_steps: T.
        progress: u, usually t/T.
        scheduled: the schedule's multiplier m(u), ``[B]``, float64.
        schedule: m at any progress, ``[B] -> [B]``.
    """

    step: int
    total_steps: int
    progress: float
    scheduled: Tensor
    schedule: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one update; every number ``[B]``, float64, NaN where it was not asked for.

    With f the minibatch's loss and g its gradient at theta, and theta' where the optimizer's step led, made at the multiplier
    ``trial``. D = (theta - theta') / trial is the optimizer's direction, the base rate included: theta' = theta - trial D.

    Attributes:
        now: the moment before the update.
        trial: the multiplier at which the optimizer made its step.
        loss: f(theta).
        gradient_square: |g|^2.
        gradient_dot_previous: <g, g of the step before>.
        previous_gradient_square: |g of the step before|^2.
        gradient_dot_step: <g, theta of the step before - theta>; positive if going on the same way would help.
        previous_step_square: |theta of the step before - theta|^2.
        descent: <g, D>, how fast the loss falls along the direction.
        direction_square: |D|^2.
        parameters_dot_direction: <theta', D>.
        gradient_dot_parameters: <g, theta>.
        average_dot_parameters: <g-bar, theta>, where g-bar <- 0.9 g-bar + 0.1 g starts at zero; without g where f or g is not finite.
        average_dot_direction: <g-bar, D>.
        probe_loss: f(theta').
        probe_descent: <g(theta'), D>, the gradient of the same minibatch.
        back_loss: f(theta + trial D).
        metric: what was measured on data that is not trained on, before the update.
        start_loss: f of the parameters that training started from.
        distance_square: |theta - theta_0|^2, with theta_0 the copy of ``Signal.START``, before the step.
        half_square: |g of the first half of the minibatch|^2, or of a smaller first part.
        part_share: which part that is, b/B of the minibatch.
        curvature_square: |H z|^2 for a fixed direction z of length 1, from a finite difference of gradients.
        curvature_change: |H z - H z of the last reading|^2.
        memory: beta, the decay of the mean over gradients that the optimizer's step is, with ``Signal.DISTANCE``; 0 if it is none.
        resolution: the distance of 1 from the next larger number in the precision of the losses.
    """

    now: Moment
    trial: Tensor
    loss: Tensor = NOT_SEEN
    gradient_square: Tensor = NOT_SEEN
    gradient_dot_previous: Tensor = NOT_SEEN
    previous_gradient_square: Tensor = NOT_SEEN
    gradient_dot_step: Tensor = NOT_SEEN
    previous_step_square: Tensor = NOT_SEEN
    descent: Tensor = NOT_SEEN
    direction_square: Tensor = NOT_SEEN
    parameters_dot_direction: Tensor = NOT_SEEN
    gradient_dot_parameters: Tensor = NOT_SEEN
    average_dot_parameters: Tensor = NOT_SEEN
    average_dot_direction: Tensor = NOT_SEEN
    probe_loss: Tensor = NOT_SEEN
    probe_descent: Tensor = NOT_SEEN
    start_loss: Tensor = NOT_SEEN
    back_loss: Tensor = NOT_SEEN
    metric: Tensor = NOT_SEEN
    distance_square: Tensor = NOT_SEEN
    half_square: Tensor = NOT_SEEN
    part_share: Tensor = HALF
    curvature_square: Tensor = NOT_SEEN
    curvature_change: Tensor = NOT_SEEN
    resolution: Tensor = EXACT
    memory: Tensor = NO_MEMORY


class AbstractController(Spec, ABC):
    """A rule that sets the multiplier of the base rate while training goes on, for B trials at once.

    The state is a ``NamedTuple`` of tensors ``[B]``, float64, and is never changed: `update` returns a new one. Everything is in
    units of the base rate, so a controller does not know how large that is.
    """

    needs: ClassVar[Signal]
    """Everything that the controller may ask to see."""

    tuned_on: ClassVar[tuple[str, ...]] = ()
    """What the constants were chosen on: names of development tasks, such as ``"random-network 0..21 seed 100"``; seeds 100 to 104 where none are named. Empty where they come from a paper, or there are none. See `adaptive_lr.experiment.protocol`."""

    @abstractmethod
    def init(self, trials: int) -> State:
        """The state before the first update of B trials."""

    @abstractmethod
    def multiplier(self, state: State, now: Moment) -> Tensor:
        """The multiplier that the optimizer holds before the update at ``now``, ``[B]``."""

    @abstractmethod
    def update(self, state: State, seen: Observation) -> tuple[State, Tensor]:
        """The next state, and the multiplier that the step just made should have had, ``[B]``.

        Called only at steps with `signals`, of which ``Signal.START`` alone is none, because nothing is seen then.

        That second value counts only at steps with ``Signal.STEP``: the step is shortened to it, zero takes it back. A number that is
        not finite must leave the state usable.
        """

    def batch_key(self) -> Hashable:
        """What trials must share to be trained together; those that differ in anything else are given to `stacked`."""
        return self

    def stacked(self, others: Sequence[Self]) -> Self:
        """One controller for B trials with a controller each, of one `batch_key`; its numbers are ``[B]``."""
        return self

    def signals(self, step: int, total_steps: int) -> Signal:
        """What must be observed at a step; depends on nothing that training shows, so that nothing waits for it."""
        return self.needs

    def extra_steps(self, total_steps: int) -> float:
        """The extra work of a run, in training steps: a third for each loss evaluated again, one for each gradient."""
        asked = [self.signals(step, total_steps) for step in range(total_steps)]
        gradients = sum((Signal.PROBE_GRADIENT in signals) + (Signal.CURVATURE in signals) for signals in asked)
        losses = sum(
            (Signal.PROBE in signals and Signal.PROBE_GRADIENT not in signals)
            + (Signal.PROBE_START in signals)
            + (Signal.PROBE_BACK in signals)
            for signals in asked
        )
        return gradients + losses / 3.0

    def trial(self, state: State, now: Moment) -> Tensor:
        """The multiplier at which the optimizer makes the step at ``now``, to be revised by `update`; ``[B]``."""
        return self.multiplier(state, now)

    def restores(self, state: State) -> Tensor | None:
        """Which trials go back to what was kept at the last ``Signal.KEEP``, ``[B]`` of bool; None for no rescue at all."""
        return None

    def remark(self, state: State, now: Moment) -> str | None:
        """What whoever trains should hear of the update at ``now``: that something is set wrongly, or was not found out. By default nothing.

        Only of the first trial; a text is told once a run, whatever the numbers in it.
        """
        return None

    def limits(self) -> dict[str, Limits]:
        """The least and the largest legal value by field of the state, for those that need not merely be finite."""
        return {}

    def check_state(self, state: State, trials: int) -> None:
        """Refuse a state that this controller can never have been in.

        Raises:
            SpecError: it has other parts than that of `init`, or parts of another shape or precision, or a number that is not legal.
        """
        limits, shown = self.limits(), type(self).__name__
        for (name, expected), (_, value) in _pairs(self.init(trials), state, f"{shown}'s state"):
            if not isinstance(value, Tensor) or value.shape != expected.shape or value.dtype != expected.dtype:
                raise SpecError(
                    f"{name} must be a tensor {list(expected.shape)} of {expected.dtype}, got {_kind(value)}"
                )
            least, most = limits.get(name.rsplit(".", 1)[-1], FINITE)
            if not bool(((value >= least) & (value <= most)).all()):
                raise SpecError(f"{name} must lie in [{least:g}, {most:g}], got {value.flatten()[:3].tolist()}")

    def readings(self, state: State) -> dict[str, Tensor]:
        """Numbers worth a curve in TensorBoard, each ``[B]``; by default every one in the state, and as ``anchor/edge`` in those inside."""
        named: dict[str, Any] = state._asdict()
        numbers: dict[str, Tensor] = {}
        for name, value in named.items():
            if not isinstance(value, Tensor):
                numbers |= {f"{name}/{inner}": number for inner, number in self.readings(value).items()}
            elif value.dim() == 1:
                numbers[name] = value
        return numbers


def _pairs(expected: Any, state: Any, name: str) -> Iterator[tuple[tuple[str, Tensor], tuple[str, Any]]]:
    """The tensors of two states side by side, with their names.

    Yields:
        What is expected and what is there.

    Raises:
        SpecError: they are not made of the same parts.
    """
    if isinstance(expected, Tensor):
        yield (name, expected), (name, state)
        return
    if type(state) is not type(expected):
        raise SpecError(f"{name} must be a {type(expected).__name__}, got {type(state).__name__}")
    for field, inner in expected._asdict().items():
        yield from _pairs(inner, getattr(state, field), f"{name}.{field}")


def _kind(value: object) -> str:
    return f"{list(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def too_high(name: str, target: float) -> str:
    """The remark of a controller whose target is above the losses."""
    return (
        f"the losses are below {name}.target = {target:g}, which must be the least loss there can be: their steps are not made; write, say, "
        f"{name}(target=…) with a number below every loss"
    )


def zeros(trials: int) -> Tensor:
    """``[B]`` of zeros, float64."""
    return torch.zeros(trials, dtype=torch.float64)


def ones(trials: int) -> Tensor:
    """``[B]`` of ones, float64."""
    return torch.ones(trials, dtype=torch.float64)


def finite(*values: Tensor) -> Tensor:
    """Where all of the values are finite, ``[B]`` of bool."""
    mask = values[0].isfinite()
    for value in values[1:]:
        mask = mask & value.isfinite()
    return mask


def cosine(product: Tensor, square: Tensor, other_square: Tensor) -> Tensor:
    """The cosine between two vectors from their inner product and squared lengths, in [-1, 1]; NaN if one is zero or not finite."""
    length = square.sqrt() * other_square.sqrt()
    quotient = torch.where((length > 0.0) & length.isfinite(), product / length, torch.nan)
    return torch.where(quotient.isfinite(), quotient.clamp(-1.0, 1.0), torch.nan)


def average(old: Tensor, new: Tensor, decay: float, usable: Tensor) -> Tensor:
    """Decay old + (1 - decay) new where ``usable``, ``old`` elsewhere, ``[B]``."""
    return torch.where(usable, decay * old + (1.0 - decay) * new, old)


def aligned(old: Tensor, seen: Observation, interval: int = 1) -> Tensor:
    """The running mean of cos(g_t, g_{t-1}) after one more reading, ``[B]``, of which there is one in so many steps."""
    reading = cosine(seen.gradient_dot_previous, seen.gradient_square, seen.previous_gradient_square)
    return average(old, reading, ALIGNMENT_DECAY**interval, finite(reading))


def bounded(value: Tensor) -> Tensor:
    """Inside [1 / LARGEST, LARGEST]; NaN becomes the lower bound."""
    return value.nan_to_num(nan=1.0 / LARGEST, posinf=LARGEST, neginf=1.0 / LARGEST).clamp(1.0 / LARGEST, LARGEST)
