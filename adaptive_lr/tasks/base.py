"""What a task is: a model, a loss, data in a fixed order for every seed, and the metrics to judge it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from adaptive_lr.spec import Spec

Parameters = dict[str, Tensor]
"""Parameters by their name in the module; stacked, each has a leading dimension B."""


class GradientFunction(Protocol):
    """Losses ``[B]`` of stacked parameters on minibatches; writes the gradients into the last argument.

    There are S minibatches, inputs ``[S, n, …]`` and targets ``[S, n, …]``: the first B/S trials see the first of them, and so on.
    """

    def __call__(
        self,
        parameters: Sequence[Tensor],
        inputs: Tensor,
        targets: Tensor,
        gradients: Sequence[Tensor],
        /,
    ) -> Tensor:
        """See the class."""


class LossFunction(Protocol):
    """Losses ``[B]`` of stacked parameters on minibatches, as for `GradientFunction`."""

    def __call__(self, parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor, /) -> Tensor:
        """See the class."""


class AbstractTask(Spec, ABC):
    """A workload. ``module``, ``loss``, ``initial``, ``minibatches`` and ``evaluate`` are all that a new one must have."""

    @property
    @abstractmethod
    def selection_metric(self) -> str:
        """The metric by which a learning rate is chosen, lower is better; never computed on test data."""

    @property
    @abstractmethod
    def report_metric(self) -> str:
        """The metric that is reported for the chosen rate."""

    @property
    def penalty(self) -> float:
        """The factor lambda of the term lambda/2 ||parameters||^2 in the training loss."""
        return 0.0

    @property
    @abstractmethod
    def label(self) -> str:
        """A few words for tables and figures."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The model, uninitialised as far as the task is concerned."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a minibatch, a scalar, without the penalty."""

    @abstractmethod
    def initial(self, seed: int) -> Parameters:
        """The parameters that training starts from, float64, without a leading dimension."""

    @abstractmethod
    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """``steps`` pairs of inputs and targets: the same ones for the same seed, whoever trains on them."""

    @abstractmethod
    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """Metrics of stacked parameters, each of shape ``[B]``: all of them if ``final``, else the selection metric alone."""

    @property
    def optimum(self) -> float | None:
        """The least possible value of the report metric, where it is known."""
        return None

    def gradient_function(self) -> GradientFunction:
        """How a batch of trials computes its gradients; by default `torch.func` maps the module over the trials.

        A task may override this with something faster; tests hold it to the default.
        """
        mapped = _over_trials(grad_and_value(self._objective()))

        def losses_and_gradients(
            parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], /
        ) -> Tensor:
            mapped_gradients: list[Tensor]
            losses: Tensor
            mapped_gradients, losses = mapped(parameters, inputs, targets)
            for gradient, value in zip(gradients, mapped_gradients, strict=True):
                gradient.copy_(value)
            return losses

        return losses_and_gradients

    def loss_function(self) -> LossFunction:
        """How a batch of trials computes its losses alone; may be overridden like `gradient_function`."""
        mapped = _over_trials(self._objective())

        def losses(parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor, /) -> Tensor:
            outputs: Tensor = mapped(parameters, inputs, targets)
            return outputs

        return losses

    def _objective(self) -> Callable[[list[Tensor], Tensor, Tensor], Tensor]:
        model = self.module()
        names = [name for name, _ in model.named_parameters()]

        def objective(parameters: list[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            outputs = functional_call(model, dict(zip(names, parameters, strict=True)), (inputs,))
            squares = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
            return self.loss(outputs, targets) + 0.5 * self.penalty * squares

        return objective


def _over_trials(function: Callable[..., Any]) -> Callable[[Sequence[Tensor], Tensor, Tensor], Any]:
    """The function of one trial's parameters and minibatch, for B trials on S minibatches."""
    sharing, apart = vmap(function, in_dims=(0, None, None)), vmap(function)

    def mapped(parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor) -> Any:
        if len(inputs) == 1:
            return sharing(list(parameters), inputs[0], targets[0])
        # Not one vmap inside another: torch's mse_loss fails in it.
        each = len(parameters[0]) // len(inputs)
        return apart(list(parameters), inputs.repeat_interleave(each, 0), targets.repeat_interleave(each, 0))

    return mapped


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for every seed and purpose, independent of the global one."""
    salt = int.from_bytes(purpose.encode()[:6], "big")
    return torch.Generator().manual_seed((seed * 2654435761 + salt) % 2**63)
