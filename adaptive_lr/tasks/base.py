"""What a task is: a model, a loss, data in a fixed order for every seed, and the metrics to judge it by."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from adaptive_lr.spec import Spec

Parameters = dict[str, Tensor]
"""Parameters, or buffers, by their name in the module; stacked, each has a leading dimension B."""

Inputs = Tensor | tuple[Tensor, ...]
"""What the module is called with. Of several tensors, each has a row for every example: data, and noise drawn for it."""

Minibatch = tuple[Inputs, Tensor]
"""Inputs and targets, ``[n, …]`` each."""


Objective = Callable[[list[Tensor], list[Tensor], Inputs, Tensor], tuple[Tensor, list[Tensor]]]
"""From parameters, buffers, inputs and targets: the loss, and the buffers after the pass; nothing is changed in place."""


class GradientFunction(Protocol):
    """Losses ``[B]`` of stacked parameters on minibatches; writes the gradients, and the new buffers, into the last arguments.

    There are S minibatches, inputs ``[S, n, …]`` and targets ``[S, n, …]``: the first B/S trials see the first of them, and so on.
    """

    def __call__(
        self,
        parameters: Sequence[Tensor],
        inputs: Inputs,
        targets: Tensor,
        gradients: Sequence[Tensor],
        buffers: Sequence[Tensor] = (),
        /,
    ) -> Tensor:
        """See the class."""


class LossFunction(Protocol):
    """Losses ``[B]`` of stacked parameters on minibatches, as for `GradientFunction`; the buffers stay as they are."""

    def __call__(
        self, parameters: Sequence[Tensor], inputs: Inputs, targets: Tensor, buffers: Sequence[Tensor] = (), /
    ) -> Tensor:
        """See the class."""


class AbstractTask(Spec, ABC):
    """A workload. ``module``, ``loss``, ``initial``, ``minibatches`` and ``evaluate`` are all that a new one must have."""

    batched: ClassVar[bool] = True
    """Whether many trials train faster together than one by one; where they do not, they are trained one by one."""

    compilable: ClassVar[bool] = True
    """Whether a loop may be compiled for it; a recurrent network unrolled takes minutes to compile."""

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

    def built(self) -> nn.Module:
        """The model, without a change of the global generator, which layers draw from when they are made."""
        with torch.random.fork_rng(devices=[]):
            return self.module()

    def initial_buffers(self) -> Parameters:
        """What the module remembers beside its parameters, such as running means, before training, as in its ``state_dict``: float64, or whole numbers."""
        module = self.built().double()
        persistent = module.state_dict()
        return {name: buffer for name, buffer in module.named_buffers() if name in persistent}

    @abstractmethod
    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[Minibatch]:
        """``steps`` pairs of inputs and targets: the same ones for the same seed, whoever trains on them.

        Random numbers that the model needs, such as dropout masks, are inputs too.
        """

    def blocks(
        self, seed: int, steps: int, dtype: torch.dtype, ends: Sequence[int], begin: int = 0
    ) -> Iterator[Minibatch]:
        """The minibatches of a run of ``steps`` steps, those between one end and the next together.

        Yields:
            Inputs and targets ``[k, n, …]`` of the k steps up to each of the ``ends``, from ``begin`` on.
        """
        drawn = itertools.islice(self.minibatches(seed, steps, dtype), begin, None)
        for first, end in itertools.pairwise((begin, *ends)):
            yield stacked(list(itertools.islice(drawn, end - first)))

    @abstractmethod
    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """Metrics of stacked parameters and buffers, each ``[B]``: all of them if ``final``, else the selection metric alone."""

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """The selection metric of stacked parameters and buffers, ``[B]``, in operations that can be differentiated.

        By default that of `evaluate`; a task whose ``evaluate`` works in place, or detaches, overrides it.
        """
        return self.evaluate(state, final=False)[self.selection_metric]

    @property
    def optimum(self) -> float | None:
        """The least possible value of the report metric, where it is known."""
        return None

    def gradient_function(self) -> GradientFunction:
        """How a batch of trials computes its gradients; by default `torch.func` maps the module over the trials.

        A task may override this with something faster; tests hold it to the default.
        """
        mapped = _over_trials(grad_and_value(self.objective(), has_aux=True))

        def losses_and_gradients(
            parameters: Sequence[Tensor],
            inputs: Inputs,
            targets: Tensor,
            gradients: Sequence[Tensor],
            buffers: Sequence[Tensor] = (),
            /,
        ) -> Tensor:
            results: list[Tensor]
            losses: Tensor
            results, (losses, changed) = mapped(parameters, buffers, inputs, targets)
            for into, value in zip((*gradients, *buffers), (*results, *changed), strict=True):
                into.copy_(value)
            return losses

        return losses_and_gradients

    def loss_function(self) -> LossFunction:
        """How a batch of trials computes its losses alone; may be overridden like `gradient_function`."""
        mapped = _over_trials(self.objective())

        def losses(
            parameters: Sequence[Tensor], inputs: Inputs, targets: Tensor, buffers: Sequence[Tensor] = (), /
        ) -> Tensor:
            outputs: Tensor = mapped(parameters, buffers, inputs, targets)[0]
            return outputs

        return losses

    def shared_objective(self) -> Objective:
        """The losses of B trials on one minibatch; may be overridden with something faster that can be differentiated."""
        return over_trials(self.objective())

    def objective(self) -> Objective:
        """The loss of one trial in training, parameters and buffers in the module's order."""
        model = self.built()
        names = [name for name, _ in model.named_parameters()]
        remembered = list(self.initial_buffers())

        def objective(
            parameters: list[Tensor], buffers: list[Tensor], inputs: Inputs, targets: Tensor
        ) -> tuple[Tensor, list[Tensor]]:
            changed = [buffer.clone() for buffer in buffers]
            state = dict(zip(names, parameters, strict=True)) | dict(zip(remembered, changed, strict=True))
            loss = self.loss(functional_call(model, state, as_tuple(inputs)), targets)
            if self.penalty:
                squares = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
                loss = loss + 0.5 * self.penalty * squares
            return loss, changed

        return objective


def over_trials(objective: Objective) -> Objective:
    """An objective of one trial's parameters and buffers, for B trials ``[B, …]`` on one minibatch: losses ``[B]``."""
    return vmap(objective, in_dims=(0, 0, None, None))


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """The arguments that a module is called with."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def stacked(minibatches: Sequence[Minibatch]) -> Minibatch:
    """Several as one, ``[k, n, …]``."""
    targets = torch.stack([targets for _, targets in minibatches])
    inputs = [inputs for inputs, _ in minibatches]
    if isinstance(inputs[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*inputs, strict=True)), targets
    return torch.stack(inputs), targets  # type: ignore[arg-type]


def on_each(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The function of every tensor of the inputs."""
    return tuple(map(function, inputs)) if isinstance(inputs, tuple) else function(inputs)


def _over_trials(function: Callable[..., Any]) -> Callable[[Sequence[Tensor], Sequence[Tensor], Inputs, Tensor], Any]:
    """The function of one trial's parameters, buffers and minibatch, for B trials on S minibatches."""
    sharing, apart = vmap(function, in_dims=(0, 0, None, None)), vmap(function)

    def mapped(parameters: Sequence[Tensor], buffers: Sequence[Tensor], inputs: Inputs, targets: Tensor) -> Any:
        if len(targets) == 1:
            return sharing(list(parameters), list(buffers), on_each(lambda part: part[0], inputs), targets[0])
        # Not one vmap inside another: torch's mse_loss fails in it.
        each = len(parameters[0]) // len(targets)
        repeated = on_each(lambda part: part.repeat_interleave(each, 0), inputs)
        return apart(list(parameters), list(buffers), repeated, targets.repeat_interleave(each, 0))

    return mapped


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for every seed and purpose, independent of the global one."""
    salt = int.from_bytes(purpose.encode()[:6], "big")
    return torch.Generator().manual_seed((seed * 2654435761 + salt) % 2**63)
