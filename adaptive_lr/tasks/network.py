"""Fully connected networks, one as an `nn.Module` and B of them stacked with a hand-written backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from adaptive_lr.tasks.base import Inputs, Objective, Parameters
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


def penalties(parameters: Sequence[Tensor], penalty: float) -> Tensor:
    """lambda/2 ||parameters||^2 of B networks, ``[B]``."""
    squares = [parameter.flatten(1).square().sum(1) for parameter in parameters]
    return torch.stack(squares).sum(0) * (0.5 * penalty)


def linear_objective(loss: AbstractLoss, *, bias: bool, penalty: float) -> Objective:
    """The losses of B linear models on one minibatch: one matrix product for all of them.

    Args:
        loss: on the outputs.
        bias: whether the models have biases.
        penalty: lambda of the term lambda/2 ||parameters||^2.
    """

    def losses(
        parameters: list[Tensor], buffers: list[Tensor], inputs: Inputs, targets: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        assert isinstance(inputs, Tensor)
        trials, classes, _ = parameters[0].shape
        outputs = functional.linear(inputs, parameters[0].flatten(0, 1), parameters[1].flatten() if bias else None)
        means = vmap(loss.literal, in_dims=(1, None))(outputs.view(-1, trials, classes), targets)
        if penalty:
            means = means + penalties(parameters, penalty)
        return means, buffers

    return losses


def network_objective(activation: str, loss: AbstractLoss, *, penalty: float) -> Objective:
    """The losses of B networks with biases on one minibatch, h <- activation(W h + b) with the examples in the columns of h.

    So the gradients of the weights come out as the weights lie in memory: with the examples in the rows torch makes their
    transposes, and turning them around costs as much as a fifth of a step.

    Args:
        activation: a key of ``ACTIVATIONS``.
        loss: on the outputs.
        penalty: lambda of the term lambda/2 ||parameters||^2.
    """
    function = ACTIVATIONS[activation]()

    def losses(
        parameters: list[Tensor], buffers: list[Tensor], inputs: Inputs, targets: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        assert isinstance(inputs, Tensor)
        values = inputs.t().expand(len(parameters[0]), -1, -1)
        for layer, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            values = torch.bmm(weight, function(values) if layer else values) + bias.unsqueeze(2)
        means = vmap(loss.literal, in_dims=(0, None))(values.transpose(1, 2), targets)
        if penalty:
            means = means + penalties(parameters, penalty)
        return means, buffers

    return losses


class StackedNetwork:
    """The losses and gradients of B fully connected networks, on S minibatches that B/S of them see each.

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
        """Outputs ``[S, B/S, n, c]`` for inputs ``[S, n, d]``, valid until the next call.

        Args:
            parameters: in the order of `fully_connected(...).parameters()`, each with B in front.
            inputs: the minibatches; networks i B/S to (i + 1) B/S - 1 see minibatch i.
        """
        self._prepare(parameters[0].shape[0], inputs)
        weights, biases = self._split(parameters)
        for layer, weight in enumerate(weights):
            out = self._forward[layer]
            if layer == 0:
                self._first_layer(inputs, weight)
            else:
                torch.bmm(self._forward[layer - 1].flatten(0, 1), weight.transpose(1, 2), out=out.flatten(0, 1))
            if self.bias:
                out.add_(biases[layer].view(*out.shape[:2], 1, -1))
            if layer < self._layers - 1:
                out.relu_() if self.activation == "relu" else out.tanh_()
        return self._forward[-1]

    def losses(
        self, parameters: Sequence[Tensor], inputs: Inputs, targets: Tensor, buffers: Sequence[Tensor] = ()
    ) -> Tensor:
        """Losses ``[B]`` on the minibatches; these networks have no buffers."""
        assert isinstance(inputs, Tensor)
        losses = self.loss.stacked_(self.outputs(parameters, inputs), targets.unsqueeze(1)).flatten()
        return losses + penalties(parameters, self.penalty) if self.penalty else losses

    def losses_and_gradients(
        self,
        parameters: Sequence[Tensor],
        inputs: Inputs,
        targets: Tensor,
        gradients: Sequence[Tensor],
        buffers: Sequence[Tensor] = (),
    ) -> Tensor:
        """Losses ``[B]`` on the minibatches; the gradients are written into ``gradients``, shaped like ``parameters``."""
        assert isinstance(inputs, Tensor)
        delta = self.outputs(parameters, inputs)
        losses = self.loss.stacked_(delta, targets.unsqueeze(1)).flatten()
        weights, _ = self._split(parameters)
        weight_gradients, bias_gradients = self._split(gradients)
        for layer in reversed(range(self._layers)):
            if self.bias:
                torch.sum(delta, 2, out=bias_gradients[layer].view(*delta.shape[:2], -1))
            if layer == 0:
                self._first_gradient(delta, inputs, weight_gradients[0])
                break
            below, flat = self._forward[layer - 1], delta.flatten(0, 1)
            torch.bmm(flat.transpose(1, 2), below.flatten(0, 1), out=weight_gradients[layer])
            delta = self._backward[layer - 1]
            torch.bmm(flat, weights[layer], out=delta.flatten(0, 1))
            self._through_activation_(delta, below)
        if self.penalty:
            losses = losses + self._add_penalty_(parameters, gradients)
        return losses

    def _first_layer(self, inputs: Tensor, weight: Tensor) -> None:
        out = self._forward[0]
        if self._layers == 1:
            # The models of a minibatch share its inputs, so that they are one matrix product instead of many small ones.
            flat = weight.view(len(inputs), -1, inputs.shape[2])
            torch.bmm(inputs, flat.transpose(1, 2), out=out.transpose(1, 2).flatten(2))
            return
        shared = weight.view(*out.shape[:2], *weight.shape[1:])
        for batch, into, layer in zip(inputs, out, shared, strict=True):
            torch.bmm(batch.expand(len(layer), *batch.shape), layer.transpose(1, 2), out=into)

    def _first_gradient(self, delta: Tensor, inputs: Tensor, gradient: Tensor) -> None:
        if self._layers == 1:
            into = gradient.view(len(inputs), -1, inputs.shape[2])
            torch.bmm(delta.transpose(1, 2).flatten(2).transpose(1, 2), inputs, out=into)
            return
        shared = gradient.view(*delta.shape[:2], *gradient.shape[1:])
        for batch, outer, into in zip(inputs, delta, shared, strict=True):
            torch.bmm(outer.transpose(1, 2), batch.expand(len(outer), *batch.shape), out=into)

    def _through_activation_(self, delta: Tensor, activated: Tensor) -> None:
        if self.activation == "relu":
            torch.ops.aten.threshold_backward(delta, activated, 0, grad_input=delta)
        else:
            torch.ops.aten.tanh_backward(delta, activated, grad_input=delta)

    def _add_penalty_(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        torch._foreach_add_(list(gradients), list(parameters), alpha=self.penalty)
        return penalties(parameters, self.penalty)

    def _split(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        return (values[::2], values[1::2]) if self.bias else (values, ())

    def _prepare(self, trials: int, inputs: Tensor) -> None:
        batches, n, _ = inputs.shape
        key = (trials, batches, n, inputs.dtype, inputs.device)
        if key == self._key:
            return
        self._key, each = key, trials // batches
        if self._layers == 1:  # in memory [S, n, B/S, c], so that the outputs on a minibatch are one matrix
            self._forward = [inputs.new_empty(batches, n, each, self.sizes[1]).transpose(1, 2)]
            self._backward = []
            return
        self._forward = [inputs.new_empty(batches, each, n, width) for width in self.sizes[1:]]
        self._backward = [inputs.new_empty(batches, each, n, width) for width in self.sizes[1:-1]]
