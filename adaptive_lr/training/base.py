"""What an optimizer is: a literal form for one trial, and one that updates many trials at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adaptive_lr.spec import Spec


class FlatState:
    """Parameters and gradients of B trials in one buffer each, with contiguous views ``[B, …]`` per parameter.

    One elementwise call then serves all parameters of all trials.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._shapes = [parameter.shape for parameter in parameters]
        self.flat = torch.cat([parameter.flatten() for parameter in parameters])
        self.parameters = self.views(self.flat)
        self.flat_gradient = torch.zeros_like(self.flat)
        self.gradients = self.views(self.flat_gradient)

    def views(self, flat: Tensor) -> list[Tensor]:
        """The parts of a buffer in the shapes of the parameters."""
        parts = flat.split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def clear(self, flat: Tensor, trials: Tensor) -> None:
        """Set the parts of some trials, ``[B]`` of bool, to zero in a buffer."""
        for view in self.views(flat):
            view[trials] = 0.0


class StackedUpdate(Protocol):
    """An optimizer's state for B trials."""

    def step(self, rates: Tensor) -> None:
        """Update all parameters in place with the rates ``[B]`` and the gradients in the state."""

    def clear(self, trials: Tensor) -> None:
        """Forget what is remembered of some trials, ``[B]`` of bool."""

    def buffers(self) -> list[Tensor]:
        """What is remembered of all trials, as flat buffers like that of the parameters."""

    def counts(self) -> Tensor:
        """How many updates the optimizer remembers of each trial, ``[B]``; a copy."""

    def restore_counts(self, trials: Tensor, counts: Tensor) -> None:
        """Take the counts of some trials, ``[B]`` of bool, from what `counts` returned."""

    def resume(self, steps: int) -> None:
        """Take so many updates of every trial to have been made; the buffers are filled by the caller."""


Search = Callable[[Callable[[], Tensor]], float]
"""One update that tries several: from what evaluates the loss of the minibatch, without ``backward()``, to the loss before it."""

Slots = list[list[Tensor]]
"""What an optimizer remembers of B trials: a list like that of the parameters for each of the buffers of `StackedUpdate`."""

STACKED_VECTOR = 2
"""Dimensions of a vector with B in front."""


class PureUpdate(Protocol):
    """An update of B trials that changes nothing in place; the same as `StackedUpdate.step`, up to rounding."""

    slots: int
    """How many buffers `StackedUpdate.buffers` has."""

    def __call__(
        self, parameters: Sequence[Tensor], slots: Slots, gradients: Sequence[Tensor], rates: Tensor, counts: Tensor
    ) -> tuple[list[Tensor], Slots]:
        """New parameters and slots.

        Args:
            parameters: ``[B, …]`` each.
            slots: what is remembered of them.
            gradients: like the parameters.
            rates: ``[B]``.
            counts: the number of this update, from 1 on, ``[B]``, float64.
        """


class Uncounted:
    """The part of `StackedUpdate` that counts, where the update depends on no count."""

    def __init__(self, state: FlatState) -> None:
        self._state = state

    def counts(self) -> Tensor:
        """Zeros, ``[B]``."""
        return torch.zeros(self._state.parameters[0].shape[0])

    def restore_counts(self, trials: Tensor, counts: Tensor) -> None:
        """Nothing depends on them."""

    def resume(self, steps: int) -> None:
        """Nothing depends on them."""


def column(values: Tensor, parameter: Tensor) -> Tensor:
    """``[B]`` as ``[B, 1, …]``, to be broadcast against a parameter ``[B, …]``."""
    return values.view(-1, *[1] * (parameter.dim() - 1))


def decay_groups(parameters: Iterable[Tensor], weight_decay: float, decayed: str) -> list[dict[str, Any]]:
    """Groups for `torch.optim`: one, or with ``decayed`` "matrices" one that decays and one of vectors and scalars that does not."""
    every = list(parameters)
    if decayed == "all":
        return [{"params": every, "weight_decay": weight_decay}]
    matrices = [parameter for parameter in every if parameter.dim() > 1]
    vectors = [parameter for parameter in every if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class AbstractOptimizer(Spec, ABC):
    """How a direction is made from gradients; the learning rate comes from the trial."""

    sets_rate: ClassVar[bool] = False
    """Whether it sets its step sizes itself, so that no controller can."""

    @property
    def memory(self) -> float:
        """beta, the decay of the mean over gradients that a step is, as a controller sees it; 0, for none, if a class says nothing."""
        return 0.0

    @property
    def batched(self) -> bool:
        """Whether it has a stacked form; trials of one that has none are trained one by one."""
        return True

    @abstractmethod
    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """The optimizer of `torch.optim`."""

    @abstractmethod
    def stacked(self, state: FlatState) -> StackedUpdate:
        """The same for the trials in ``state``.

        Raises:
            SpecError: it has no such form, as ``batched`` says.
        """

    @property
    def searches(self) -> bool:
        """Whether `search` gives something; it then writes the rates itself, and no schedule does."""
        return False

    def search(self, optimizer: Optimizer, module: nn.Module) -> Search | None:
        """How one trial is updated where that takes more than one evaluation of the loss; None for all others.

        Args:
            optimizer: what `literal` made.
            module: the model, whose buffers an evaluation changes.
        """
        return None

    def pure(self) -> PureUpdate | None:
        """The same as a pure function, from which a loop can be compiled; None if there is no such form."""
        return None

    def prepare_training(self, optimizer: Optimizer) -> None:
        """Put the parameters where gradients are taken: before the first update, and again after every evaluation."""

    def prepare_evaluation(self, optimizer: Optimizer) -> None:
        """Put the parameters where the model is judged: before every evaluation."""

    def clip(self, parameters: Sequence[Tensor]) -> Tensor | None:
        """Clip the gradients of one trial in place, before its update; their norm before that, or None if nothing is clipped."""
        return None

    def literal_step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """One update of what `literal` made.

        Args:
            optimizer: with the gradients in its parameters.
            loss: the loss that they are the gradient of, a scalar, penalty included.
        """
        optimizer.step()
