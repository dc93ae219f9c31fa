"""Stochastic gradient descent that stays inside a ball."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.spec import number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, PureUpdate, StackedUpdate, Uncounted, column
from adaptive_lr.training.pure import PureProjectedSGD


@spec
class ProjectedSGD(AbstractOptimizer):
    """theta <- P(theta - eta g), P the projection on the ball |theta| <= radius about zero.

    What theory on the tuning of learning rates assumes, and nobody uses: a bounded domain (Attia & Koren 2025, arXiv:2503.09411). The norm is
    that of all parameters together.
    """

    kind = "projected_sgd"
    radius: float = number("(0, inf)", default=1.0)

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class."""
        return _LiteralProjectedSGD(parameters, base_lr, self.radius)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedProjectedSGD(self, state)

    def pure(self) -> PureUpdate:
        """See the base class."""
        return PureProjectedSGD(radius=self.radius)


class _LiteralProjectedSGD(torch.optim.SGD):
    def __init__(self, parameters: Iterable[Tensor], lr: float, radius: float) -> None:
        super().__init__(parameters, lr=lr)
        self.radius = radius

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.get_total_norm(parameters)
        torch._foreach_mul_(parameters, float((self.radius / norm).clamp(max=1.0)))
        return loss


class _StackedProjectedSGD(Uncounted):
    def __init__(self, rule: ProjectedSGD, state: FlatState) -> None:
        super().__init__(state)
        self._rule = rule

    def step(self, rates: Tensor) -> None:
        parameters, gradients = self._state.parameters, self._state.gradients
        squares = torch.zeros_like(rates)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.addcmul_(gradient, column(rates, parameter), value=-1.0)
            squares += parameter.flatten(1).square().sum(1)
        shrink = (self._rule.radius / squares.sqrt()).clamp(max=1.0)
        for parameter in parameters:
            parameter.mul_(column(shrink, parameter))

    def clear(self, trials: Tensor) -> None:
        pass

    def buffers(self) -> list[Tensor]:
        return []
