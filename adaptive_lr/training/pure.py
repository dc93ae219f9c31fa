"""Optimizers as pure functions, from which a training loop can be compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor

from adaptive_lr.training.base import STACKED_VECTOR, PureUpdate, Slots, column

Root = Callable[[Tensor], Tensor]


class PureSGD:
    """v <- momentum v + g + decay theta, theta <- theta - eta v; see `SGD`."""

    def __init__(self, *, momentum: float, weight_decay: float, nesterov: bool, matrices_only: bool) -> None:
        self.slots = 1 if momentum else 0
        self._momentum, self._decay, self._nesterov, self._matrices = momentum, weight_decay, nesterov, matrices_only

    def __call__(
        self, parameters: Sequence[Tensor], slots: Slots, gradients: Sequence[Tensor], rates: Tensor, counts: Tensor
    ) -> tuple[list[Tensor], Slots]:
        """See the protocol."""
        velocities = slots[0] if self._momentum else [None] * len(parameters)
        moved, remembered = [], []
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
            direction = gradient
            if self._decay and decays(parameter, matrices_only=self._matrices):
                direction = direction + self._decay * parameter
            if velocity is not None:
                after = self._momentum * velocity + direction
                remembered.append(after)
                direction = direction + self._momentum * after if self._nesterov else after
            moved.append(parameter - column(rates, parameter) * direction)
        return moved, [remembered] if self._momentum else []


class PureAdamW:
    """See `AdamW`."""

    slots = 2
    _root: Root = staticmethod(torch.sqrt)

    def __init__(self, *, beta1: float, beta2: float, epsilon: float, weight_decay: float, matrices_only: bool) -> None:
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._decay, self._matrices = weight_decay, matrices_only

    def differentiable(self) -> PureAdamW:
        """The same update, whose derivative is 0 instead of 0/0 for a parameter that never had a gradient."""
        other = copy(self)
        other._root = smooth_root
        return other

    def __call__(
        self, parameters: Sequence[Tensor], slots: Slots, gradients: Sequence[Tensor], rates: Tensor, counts: Tensor
    ) -> tuple[list[Tensor], Slots]:
        """See the protocol."""
        first = (1.0 - torch.pow(self._beta1, counts)).to(rates.dtype)
        second = (1.0 - torch.pow(self._beta2, counts)).sqrt().to(rates.dtype)
        moved, means, squares = [], [], []
        for parameter, mean, square, gradient in zip(parameters, *slots, gradients, strict=True):
            new_mean = mean + (1.0 - self._beta1) * (gradient - mean)
            new_square = self._beta2 * square + (1.0 - self._beta2) * gradient * gradient
            direction = new_mean / (self._root(new_square) / column(second, parameter) + self._epsilon)
            rate, shrunk = column(rates, parameter), parameter
            if self._decay and decays(parameter, matrices_only=self._matrices):
                shrunk = parameter * (1.0 - rate * self._decay)
            moved.append(shrunk - rate / column(first, parameter) * direction)
            means.append(new_mean)
            squares.append(new_square)
        return moved, [means, squares]


class PureClipped:
    """The gradient of each trial cut to a norm, then another update; see `Clipped`."""

    def __init__(self, then: PureUpdate, *, norm: float, epsilon: float) -> None:
        self._then, self._norm, self._epsilon, self.slots = then, norm, epsilon, then.slots
        self._root: Root = torch.sqrt

    def differentiable(self) -> PureClipped:
        """See `PureAdamW`."""
        other = copy(self)
        other._then, other._root = differentiable(self._then), smooth_root
        return other

    def __call__(
        self, parameters: Sequence[Tensor], slots: Slots, gradients: Sequence[Tensor], rates: Tensor, counts: Tensor
    ) -> tuple[list[Tensor], Slots]:
        """See the protocol."""
        length = self._root(squared_norms(gradients))
        factors = (self._norm / (length + self._epsilon)).clamp(max=1.0)
        clipped = [gradient * column(factors, gradient) for gradient in gradients]
        return self._then(parameters, slots, clipped, rates, counts)


class PureProjectedSGD:
    """See `ProjectedSGD`."""

    slots = 0

    def __init__(self, *, radius: float) -> None:
        self._radius = radius

    def __call__(
        self, parameters: Sequence[Tensor], slots: Slots, gradients: Sequence[Tensor], rates: Tensor, counts: Tensor
    ) -> tuple[list[Tensor], Slots]:
        """See the protocol."""
        moved = [
            parameter - column(rates, parameter) * gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
        shrink = (self._radius / squared_norms(moved).sqrt()).clamp(max=1.0)
        return [parameter * column(shrink, parameter) for parameter in moved], []


def squared_norms(vectors: Sequence[Tensor]) -> Tensor:
    """|v|^2 of all parameters of a trial together, ``[B]``."""
    return torch.stack([vector.flatten(1).square().sum(1) for vector in vectors]).sum(0)


def differentiable(update: PureUpdate) -> PureUpdate:
    """An update with the same values whose derivatives are finite wherever its gradients are."""
    return update.differentiable() if isinstance(update, PureAdamW | PureClipped) else update


def smooth_root(values: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0."""
    positive = values != 0.0
    return torch.where(positive, torch.where(positive, values, 1.0).sqrt(), values)


def decays(parameter: Tensor, *, matrices_only: bool) -> bool:
    """Whether weight decay is for this parameter ``[B, …]``."""
    return not matrices_only or parameter.dim() > STACKED_VECTOR
