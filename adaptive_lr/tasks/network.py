"""Fully connected networks, one as an `nn.Module` and B of them stacked with a hand-written backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from adaptive_lr.tasks.base import Parameters
from adaptive_lr.tasks.losses import AbstractLoss

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def fully_connected(sizes: Sequence[int], activation: str, *, bias: bool) -> nn.Sequential:
    """Linear layers of the given sizes with the activation between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def uniform_parameters(sizes: Sequence[int], source: torch.Generator) -> Parameters:
    """Weights and biases of `fully_connected` uniform in ±1/sqrt(fan-in), float64: PyTorch's usual initialisation."""
    parameters = {}
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        bound = fan_in**-0.5
        for name, shape in (("weight", (fan_out, fan_in)), ("bias", (fan_out,))):
            uniform = torch.rand(shape, generator=source, dtype=torch.float64)
            parameters[f"{2 * index}.{name}"] = (2.0 * uniform - 1.0) * bound
    return parameters


class StackedNetwork:
    """The losses and gradients of B fully connected networks that see the same minibatch.

    Activations live in buffers that are kept between steps: memory fresh from the system costs more than the arithmetic.

    Args:
        sizes: widths from the inputs to the outputs; two of them make a linear model.
        activation: a key of ``ACTIVATIONS``.
        loss: the loss on the outputs.
        bias: whether the layers have biases.
        penalty: lambda of the term lambda/2 ||parameters||^2.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, *, loss: AbstractLoss, bias: bool, penalty: float
    ) -> None:
        self.sizes = tuple(sizes)
        self.activation = activation
        self.loss = loss
        self.bias = bias
        self.penalty = penalty
        self._layers = len(self.sizes) - 1
        self._key: tuple[object, ...] = ()
        self._forward: list[Tensor] = []
        self._backward: list[Tensor] = []

    def outputs(self, parameters: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Outputs ``[B, n, c]`` for inputs ``[n, d]``, valid until the next call.

        Args:
            parameters: in the order of `fully_connected(...).parameters()`, each with B in front.
            inputs: the minibatch.
        """
        self._prepare(parameters[0].shape[0], inputs)
        weights, biases = self._split(parameters)
        hidden = inputs
        for layer, weight in enumerate(weights):
            out = self._forward[layer]
            if self._layers == 1:
                self._linear(inputs, weight)
            else:
                batch = hidden.expand(out.shape[0], *inputs.shape) if layer == 0 else hidden
                torch.bmm(batch, weight.transpose(1, 2), out=out)
            if self.bias:
                out.add_(biases[layer].unsqueeze(1))
            if layer < self._layers - 1:
                out.relu_() if self.activation == "relu" else out.tanh_()
            hidden = out
        return hidden

    def losses(self, parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Losses ``[B]`` on the minibatch."""
        found = self.loss.stacked_(self.outputs(parameters, inputs), targets)
        return found + self._penalties(parameters) if self.penalty else found

    def losses_and_gradients(
        self, parameters: Sequence[Tensor], inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor]
    ) -> Tensor:
        """Losses ``[B]`` on the minibatch; the gradients are written into ``gradients``, shaped like ``parameters``."""
        delta = self.outputs(parameters, inputs)
        losses = self.loss.stacked_(delta, targets)
        weights, _ = self._split(parameters)
        weight_gradients, bias_gradients = self._split(gradients)
        for layer in reversed(range(self._layers)):
            if self.bias:
                torch.sum(delta, 1, out=bias_gradients[layer])
            if layer > 0:
                below = self._forward[layer - 1]
                torch.bmm(delta.transpose(1, 2), below, out=weight_gradients[layer])
                delta = torch.bmm(delta, weights[layer], out=self._backward[layer - 1])
                self._through_activation_(delta, below)
            elif self._layers == 1:
                flat = weight_gradients[0].view(-1, inputs.shape[1])
                torch.mm(self._flat_outputs().t(), inputs, out=flat)
            else:
                batch = inputs.expand(delta.shape[0], *inputs.shape)
                torch.bmm(delta.transpose(1, 2), batch, out=weight_gradients[0])
        if self.penalty:
            losses = losses + self._add_penalty_(parameters, gradients)
        return losses

    def _linear(self, inputs: Tensor, weight: Tensor) -> None:
        # All trials share the inputs, so B linear models are one matrix product instead of B small ones.
        torch.mm(inputs, weight.view(-1, inputs.shape[1]).t(), out=self._flat_outputs())

    def _flat_outputs(self) -> Tensor:
        out = self._forward[0]
        return out.transpose(0, 1).view(out.shape[1], -1)

    def _through_activation_(self, delta: Tensor, activated: Tensor) -> None:
        if self.activation == "relu":
            torch.ops.aten.threshold_backward(delta, activated, 0, grad_input=delta)
        else:
            torch.ops.aten.tanh_backward(delta, activated, grad_input=delta)

    def _add_penalty_(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        torch._foreach_add_(list(gradients), list(parameters), alpha=self.penalty)
        return self._penalties(parameters)

    def _penalties(self, parameters: Sequence[Tensor]) -> Tensor:
        squares = [one.flatten(1).square().sum(1) for one in parameters]
        return torch.stack(squares).sum(0).mul_(0.5 * self.penalty)

    def _split(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        return (values[::2], values[1::2]) if self.bias else (values, ())

    def _prepare(self, trials: int, inputs: Tensor) -> None:
        n = inputs.shape[0]
        key = (trials, n, inputs.dtype, inputs.device)
        if key == self._key:
            return
        self._key = key
        if self._layers == 1:  # memory order [n, B, c], so that the outputs of all trials are one matrix
            self._forward = [inputs.new_empty(n, trials, self.sizes[1]).transpose(0, 1)]
            self._backward = []
            return
        self._forward = [inputs.new_empty(trials, n, width) for width in self.sizes[1:]]
        self._backward = [inputs.new_empty(trials, n, width) for width in self.sizes[1:-1]]
