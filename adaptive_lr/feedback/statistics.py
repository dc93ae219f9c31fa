"""Statistics of gradients and steps, read once an update; the same code for one model and for many trials at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from adaptive_lr.controllers.base import Signal
from adaptive_lr.errors import AdaptiveLRError

Vector = list[Tensor]
"""Something as long as all parameters together, in pieces."""

AVERAGE_DECAY = 0.9
"""Of the running mean of the gradient."""

STRIDE = 1e-2
"""The finite difference for ``Signal.CURVATURE``, in units of 1 + |theta|."""

REFUSED = "the loss cannot be evaluated where a probe led, but can where the step began ({reason}): such a probe counts as one that failed"

_OF_THE_STEP = (ArithmeticError, AssertionError, RuntimeError, ValueError)
"""What a loss raises where numbers are too large for it; anything else is a mistake in it."""

Replay = Callable[[bool], tuple[Tensor, Vector]]
"""Evaluates the loss of the same minibatch at the present parameters: ``[B]``, and if asked to its gradient (else an empty list)."""


class Space(Protocol):
    """Where the parameters of B trials live, and how vectors of their length are multiplied."""

    trials: int
    """B."""

    @property
    def alone(self) -> bool:
        """Whether no other process must evaluate the same losses at the same time."""

    @property
    def memory(self) -> float:
        """beta, the decay of the mean over gradients that the optimizer's step is; 0 if it is none."""

    def prepare(self, needs: Signal) -> None:
        """Be ready to see what a controller will ask for.

        Raises:
            SpecError: that cannot be seen here.
        """

    def parameters(self) -> Vector:
        """The parameters themselves."""

    def gradients(self) -> Vector:
        """Their gradients, zero where there is none."""

    def dot(self, a: Vector, b: Vector) -> Tensor:
        """Inner products, ``[B]``."""

    def direction(self) -> Vector:
        """A fixed random vector, the same for every trial, of length 1."""

    def blend(self, start: Vector, share: Tensor) -> None:
        """Go to start + share (theta - start) for parameters theta, with ``share`` ``[B]`` on the CPU; exactly ``start`` where it is 0."""

    def where(self, trials: Tensor, vector: Vector) -> Vector:
        """The vector for the given trials, ``[B]`` of bool on its device, and zero for others."""

    def gather(self, values: list[Tensor]) -> Tensor:
        """``[K, B]``, float64, on the CPU, from K values ``[B]``: the one transfer of an update; averaged over processes."""

    def remember(self, gradients: Vector) -> Vector:
        """What stands for the gradients until the next step."""

    def intact(self, remembered: Vector, present: Vector | None = None) -> bool:
        """Whether what was remembered is what it was, now that the ``present`` gradients are there."""

    def synchronised(self, gradients: Vector) -> Vector:
        """Gradients of the replayed loss, averaged over processes as those of the training step were."""

    def keep(self) -> None:
        """Copy parameters, optimizer state, and what modules remember such as running means, to be confirmed."""

    def confirm(self, trials: Tensor) -> None:
        """Make what was copied last the point to go back to, for the given trials, ``[B]`` of bool."""

    def restore(self, trials: Tensor) -> None:
        """Go back to it."""


class Statistics:
    """What a controller asked to see, gathered around one update at a time.

    Args:
        space: where the parameters are.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.buffers: dict[str, Vector] = {}
        """What is remembered from one step to the next, by name."""
        self.values: dict[str, Tensor] = {}
        """What was seen since `before`, by the names of `Observation`, not yet gathered."""
        self._told = False

    def before(self, signals: Signal, following: Signal) -> None:
        """Read what must be read before the optimizer's step; ``following`` is what the next step will ask for."""
        space, values = self._space, self.values
        values.clear()
        gradients = space.gradients() if (signals | following) & _OF_GRADIENT else []
        if signals & (Signal.GRADIENT | Signal.PREVIOUS_GRADIENT | Signal.PREVIOUS_STEP):
            values["gradient_square"] = space.dot(gradients, gradients)
        previous = self.buffers.get("gradient")
        if previous is not None and Signal.PREVIOUS_GRADIENT in signals and space.intact(previous, gradients):
            values["gradient_dot_previous"] = space.dot(gradients, previous)
            values["previous_gradient_square"] = space.dot(previous, previous)
        if Signal.PREVIOUS_GRADIENT in following:
            self.buffers["gradient"] = space.remember(gradients)
        else:
            self.buffers.pop("gradient", None)
        if Signal.PREVIOUS_STEP in signals and "start" in self.buffers:
            step = self._difference("step", self.buffers["start"], space.parameters())
            values["gradient_dot_step"] = space.dot(gradients, step)
            values["previous_step_square"] = space.dot(step, step)
        if Signal.STEP in signals or Signal.PREVIOUS_STEP in following:
            self._remember("start", space.parameters())
        else:
            self.buffers.pop("start", None)
            self.buffers.pop("step", None)
        if Signal.START not in signals:
            self.buffers.pop("initial", None)
        elif "initial" not in self.buffers:
            self._remember("initial", space.parameters())
        if Signal.DISTANCE in signals:  # in the buffer that the step is written to afterwards
            away = self._difference("step", self.buffers["initial"], space.parameters())
            values["distance_square"] = space.dot(away, away)
        if Signal.KEEP in signals:
            space.keep()

    def after(self, signals: Signal, trial: Tensor, replay: Replay) -> None:
        """Read what the optimizer's step, made at the multiplier ``trial`` ``[B]``, led to."""
        if Signal.STEP not in signals:
            return
        space, values = self._space, self.values
        parameters, gradients = space.parameters(), space.gradients()
        step = self._difference("step", self.buffers["start"], parameters)
        scale = 1.0 / trial.to(step[0].device)
        values["descent"] = space.dot(gradients, step) * scale
        if signals & (Signal.PARAMETERS | Signal.DISTANCE):
            values["direction_square"] = space.dot(step, step) * scale * scale
        if Signal.PARAMETERS in signals:
            values["parameters_dot_direction"] = space.dot(parameters, step) * scale
        if signals & (Signal.PROBE | Signal.PROBE_GRADIENT):
            values["probe_loss"], gradient = self._probed(replay, gradient=Signal.PROBE_GRADIENT in signals)
            if Signal.PROBE_GRADIENT in signals:
                values["probe_descent"] = space.dot(gradient, step) * scale
        if Signal.PROBE_BACK in signals:
            back = list(torch._foreach_add(self.buffers["start"], step))
            values["back_loss"], _ = self._replayed_at(back, replay, gradient=False)
        if Signal.PROBE_START in signals:
            values["start_loss"], _ = self._replayed_at(self.buffers["initial"], replay, gradient=False)
        if Signal.CURVATURE in signals:
            self._read_curvature(gradients, replay)
        if Signal.AVERAGE in signals:  # last: a closure that raises has changed no mean
            self._add_to_average(gradients)
            values["average_dot_direction"] = space.dot(self.buffers["average"], step) * scale

    def follow(self, origins: Sequence[int | None] | None = None) -> None:
        """The parameters may be others, on another device, or of another precision: what is remembered goes after them.

        Args:
            origins: for each parameter the number that it had before, None for a new one; None if they are the same.
        """
        if origins is not None:
            self._carry(origins)
        parameters = self._space.parameters()
        for name, vector in self.buffers.items():
            if len(vector) == len(parameters):
                pairs = zip(vector, parameters, strict=True)
                self.buffers[name] = [
                    piece.to(p) if (piece.device, piece.dtype) != (p.device, p.dtype) else piece for piece, p in pairs
                ]

    def _carry(self, origins: Sequence[int | None]) -> None:
        """Each piece as it was; a new parameter had no gradient so far, and its present value at every point that is remembered."""
        for name in _OF_ALL:
            self.buffers.pop(name, None)
        pairs = list(zip(self._space.parameters(), origins, strict=True))
        for name, vector in self.buffers.items():
            begin = torch.clone if name in _POINTS else torch.zeros_like
            self.buffers[name] = [begin(p) if origin is None else vector[origin] for p, origin in pairs]

    def gathered(self) -> dict[str, Tensor]:
        """The values by name, each ``[B]``, float64, on the CPU."""
        names = list(self.values)
        if not names:
            return {}
        rows = self._space.gather([self.values[name] for name in names])
        return dict(zip(names, rows, strict=True))

    def revise(self, share: Tensor) -> None:
        """Shorten the step just made to ``share`` of its length, ``[B]``."""
        self._space.blend(self.buffers["start"], share)

    def replayed_at_start(self, replay: Replay) -> Tensor:
        """The loss of the minibatch where the step began, ``[B]``; the step is put back."""
        return self._replayed_at(self.buffers["start"], replay, gradient=False)[0]

    def _add_to_average(self, gradients: Vector) -> None:
        if "average" not in self.buffers:
            self.buffers["average"] = [torch.zeros_like(gradient) for gradient in gradients]
        mean, start, values, space = self.buffers["average"], self.buffers["start"], self.values, self._space
        values["gradient_dot_parameters"] = product = space.dot(gradients, start)
        # One gradient that is not finite would stay in the mean for ever; and a controller forgets the whole step then.
        usable = product.isfinite()
        if "loss" in values:
            usable = usable & values["loss"].to(product.device).isfinite()
        torch._foreach_lerp_(mean, space.where(usable, gradients), 1.0 - AVERAGE_DECAY)
        values["average_dot_parameters"] = space.dot(mean, start)

    def _read_curvature(self, gradients: Vector, replay: Replay) -> None:
        """H z at the start of the step, by a forward difference; the step is put back afterwards."""
        space, values, parameters = self._space, self.values, self._space.parameters()
        made = [parameter.clone() for parameter in parameters]
        start = self.buffers["start"]
        # One length for all trials would let a trial that went wrong change the others.
        length = STRIDE * (1.0 + space.gather([space.dot(start, start)])[0].sqrt())
        torch._foreach_copy_(parameters, torch._foreach_add(start, space.direction()))
        space.blend(start, length)
        _, moved = replay(True)
        torch._foreach_copy_(parameters, made)
        product = list(torch._foreach_sub(space.synchronised(moved), gradients))
        square = space.dot(product, product)
        scale = 1.0 / length.to(square)  # real, also where parameters are complex
        square = square * scale * scale
        values["curvature_square"] = square
        if "curvature" in self.buffers:
            last, (last_scale,) = self.buffers["curvature"], self.buffers["curvature_scale"]
            last_square = space.dot(last, last) * last_scale * last_scale
            change = square + last_square - 2.0 * scale * last_scale * space.dot(product, last)
            values["curvature_change"] = change.clamp(min=0.0)
        self.buffers["curvature"], self.buffers["curvature_scale"] = product, [scale]

    def _probed(self, replay: Replay, *, gradient: bool) -> tuple[Tensor, Vector]:
        """The loss where the step led; infinite where it cannot be evaluated there, but can be where the step began.

        A loss may refuse what a step that is far too long leads to: an assertion, a distribution with parameters that are NaN. That is an
        answer, too: the step was too long. What raises where the step began, as well, is an error like any other. With several
        processes, which must all evaluate the same, every error is one.
        """
        try:
            return replay(gradient)
        except _OF_THE_STEP as error:
            if isinstance(error, (AdaptiveLRError, torch.OutOfMemoryError)) or not self._space.alone:
                raise
            begun = self.replayed_at_start(replay)  # raises if it is not the step's fault
            if not self._told:
                self._told = True
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warnings.warn(REFUSED.format(reason=reason), UserWarning, stacklevel=6)
        parameters = self._space.parameters() if gradient else []
        return torch.full_like(begun, torch.inf), [torch.zeros_like(parameter) for parameter in parameters]

    def _replayed_at(self, point: Vector, replay: Replay, *, gradient: bool) -> tuple[Tensor, Vector]:
        """The loss of the minibatch at other parameters; the present ones are put back."""
        parameters = self._space.parameters()
        present = [parameter.clone() for parameter in parameters]
        torch._foreach_copy_(parameters, point)
        try:
            return replay(gradient)
        finally:
            torch._foreach_copy_(parameters, present)

    def _remember(self, name: str, source: Vector) -> None:
        if name in self.buffers:
            torch._foreach_copy_(self.buffers[name], source)
        else:
            self.buffers[name] = [tensor.detach().clone() for tensor in source]

    def _difference(self, name: str, a: Vector, b: Vector) -> Vector:
        if name not in self.buffers:
            self.buffers[name] = [torch.empty_like(tensor) for tensor in a]
        into = self.buffers[name]
        torch._foreach_copy_(into, a)
        torch._foreach_sub_(into, b)
        return into


_POINTS = ("start", "initial")
"""What is remembered of the parameters, not of their gradients."""

ALONE = ("curvature_scale",)
"""What is remembered with no piece for each parameter."""

_OF_ALL = ("step", "curvature", *ALONE)
"""What is written before it is read, or was seen along a direction that is another one for other parameters."""

_OF_GRADIENT = Signal.GRADIENT | Signal.PREVIOUS_GRADIENT | Signal.PREVIOUS_STEP
