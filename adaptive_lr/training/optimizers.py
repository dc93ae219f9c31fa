"""Optimizers in two forms: the literal one from `torch.optim`, and one that updates many trials at once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.spec import Range, number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, StackedUpdate, Uncounted, column
from adaptive_lr.training.peers import Peer
from adaptive_lr.training.projected import ProjectedSGD

__all__ = ["OPTIMIZERS", "SGD", "AbstractOptimizer", "AdamW", "FlatState", "StackedUpdate"]


@spec
class SGD(AbstractOptimizer):
    """v <- momentum v + g, theta <- theta - eta v; `torch.optim.SGD`."""

    kind = "sgd"
    momentum: float = number("[0, 1)", default=0.0, search=Range(0.0, 0.99))
    weight_decay: float = number("[0, inf)", default=0.0)

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class."""
        return torch.optim.SGD(parameters, lr=base_lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedSGD(self, state)


@spec
class AdamW(AbstractOptimizer):
    """theta <- (1 - eta weight_decay) theta - eta m^ / (sqrt(v^) + epsilon); `torch.optim.AdamW`."""

    kind = "adamw"
    beta1: float = number("[0, 1)", default=0.9)
    beta2: float = number("[0, 1)", default=0.999)
    epsilon: float = number("(0, inf)", default=1e-8)
    weight_decay: float = number("[0, inf)", default=0.01)

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class."""
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, lr=base_lr, betas=betas, eps=self.epsilon, weight_decay=self.weight_decay)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedAdamW(self, state)


OPTIMIZERS: tuple[type[AbstractOptimizer], ...] = (SGD, AdamW, ProjectedSGD, Peer)
"""Every optimizer that trials can use."""


class _StackedSGD(Uncounted):
    def __init__(self, rule: SGD, state: FlatState) -> None:
        super().__init__(state)
        self._rule = rule
        self._velocity = torch.zeros_like(state.flat) if rule.momentum else None

    def step(self, rates: Tensor) -> None:
        state, gradient = self._state, self._state.flat_gradient
        if self._rule.weight_decay:
            gradient = gradient.add(state.flat, alpha=self._rule.weight_decay)
        if self._velocity is not None:
            gradient = self._velocity.mul_(self._rule.momentum).add_(gradient)
        for parameter, direction in zip(state.parameters, state.views(gradient), strict=True):
            parameter.addcmul_(direction, column(rates, parameter), value=-1.0)

    def clear(self, trials: Tensor) -> None:
        if self._velocity is not None:
            self._state.clear(self._velocity, trials)

    def buffers(self) -> list[Tensor]:
        return [] if self._velocity is None else [self._velocity]


class _StackedAdamW:
    def __init__(self, rule: AdamW, state: FlatState) -> None:
        self._rule, self._state, self._steps = rule, state, 0
        self._missed = torch.zeros(state.parameters[0].shape[0], dtype=torch.float64)
        self._even = True  # no trial was put back, so that all have made as many steps
        self._mean, self._square = torch.zeros_like(state.flat), torch.zeros_like(state.flat)
        self._scratch = torch.empty_like(state.flat)

    def step(self, rates: Tensor) -> None:
        rule, state, gradient = self._rule, self._state, self._state.flat_gradient
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - rule.beta1)
        self._square.mul_(rule.beta2).addcmul_(gradient, gradient, value=1.0 - rule.beta2)
        torch.sqrt(self._square, out=self._scratch)
        first = 1.0 - rule.beta1**self._steps
        if self._even:
            self._scratch.div_((1.0 - rule.beta2**self._steps) ** 0.5)
            corrected = rates
        else:
            corrected = self._each_with_its_own_correction(rates, first)
        direction = torch.div(self._mean, self._scratch.add_(rule.epsilon), out=self._scratch)
        for parameter, part in zip(state.parameters, state.views(direction), strict=True):
            if rule.weight_decay:
                parameter.mul_(1.0 - column(rates, parameter) * rule.weight_decay)
            parameter.addcmul_(part, column(corrected, parameter), value=-1.0 / first)

    def _each_with_its_own_correction(self, rates: Tensor, first: float) -> Tensor:
        # Python's powers, as in the even case: torch's differ in the last bit, and no trial may change because another was put back.
        rule, steps = self._rule, self.counts().tolist()
        second = rates.new_tensor([(1.0 - rule.beta2**count) ** 0.5 for count in steps])
        for view in self._state.views(self._scratch):
            view.div_(column(second, view))
        return rates * rates.new_tensor([first / (1.0 - rule.beta1**count) for count in steps])

    def clear(self, trials: Tensor) -> None:
        self._state.clear(self._mean, trials)
        self._state.clear(self._square, trials)

    def buffers(self) -> list[Tensor]:
        return [self._mean, self._square]

    def counts(self) -> Tensor:
        return self._steps - self._missed

    def restore_counts(self, trials: Tensor, counts: Tensor) -> None:
        self._missed[trials] = (self._steps - counts)[trials]
        self._even = bool((self._missed == 0.0).all())

    def resume(self, steps: int) -> None:
        self._steps = steps
