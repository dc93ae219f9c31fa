"""Optimizers in two forms: the literal one from `torch.optim`, and one that updates many trials at once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Range, choice, number, spec
from adaptive_lr.training.base import (
    AbstractOptimizer,
    FlatState,
    PureUpdate,
    StackedUpdate,
    Uncounted,
    column,
    decay_groups,
)
from adaptive_lr.training.clipped import Clipped
from adaptive_lr.training.muon import Muon
from adaptive_lr.training.peers import Peer
from adaptive_lr.training.projected import ProjectedSGD
from adaptive_lr.training.pure import PureAdamW, PureSGD, decays

__all__ = ["OPTIMIZERS", "SGD", "AbstractOptimizer", "AdamW", "Clipped", "FlatState", "Muon", "StackedUpdate"]


_DECAYED = ("all", "matrices")


@spec
class SGD(AbstractOptimizer):
    """v <- momentum v + g, theta <- theta - eta v; `torch.optim.SGD`.

    With ``nesterov`` "on", theta <- theta - eta (g + momentum v). The decay is added to the gradient: of all parameters, or with
    ``decayed`` "matrices" of those of two or more dimensions alone, without biases and the scales of normalisation.
    """

    kind = "sgd"
    momentum: float = number("[0, 1)", default=0.0, search=Range(0.0, 0.99))
    weight_decay: float = number("[0, inf)", default=0.0)
    nesterov: str = choice(("off", "on"), default="off")
    decayed: str = choice(_DECAYED, default="all")

    def check(self) -> None:
        """Nesterov's way looks ahead along the momentum.

        Raises:
            SpecError: there is none.
        """
        if self.nesterov == "on" and self.momentum == 0.0:
            raise SpecError("SGD.nesterov must be 'off' where momentum is 0: there is nothing to look ahead along")

    @property
    def memory(self) -> float:
        """Its momentum."""
        return self.momentum

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class."""
        groups = decay_groups(parameters, self.weight_decay, self.decayed)
        return torch.optim.SGD(groups, lr=base_lr, momentum=self.momentum, nesterov=self.nesterov == "on")

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedSGD(self, state)

    def pure(self) -> PureUpdate:
        """See the base class."""
        return PureSGD(
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov == "on",
            matrices_only=self.decayed == "matrices",
        )


@spec
class AdamW(AbstractOptimizer):
    """theta <- (1 - eta weight_decay) theta - eta m^ / (sqrt(v^) + epsilon); `torch.optim.AdamW`.

    With ``decayed`` "matrices", parameters of fewer than two dimensions do not decay: biases and the scales of normalisation.
    """

    kind = "adamw"
    beta1: float = number("[0, 1)", default=0.9)
    beta2: float = number("[0, 1)", default=0.999)
    epsilon: float = number("(0, inf)", default=1e-8)
    weight_decay: float = number("[0, inf)", default=0.01)
    decayed: str = choice(_DECAYED, default="all")

    @property
    def memory(self) -> float:
        """Its beta1."""
        return self.beta1

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class."""
        groups = decay_groups(parameters, self.weight_decay, self.decayed)
        return torch.optim.AdamW(groups, lr=base_lr, betas=(self.beta1, self.beta2), eps=self.epsilon)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedAdamW(self, state)

    def pure(self) -> PureUpdate:
        """See the base class."""
        return PureAdamW(
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            matrices_only=self.decayed == "matrices",
        )


OPTIMIZERS: tuple[type[AbstractOptimizer], ...] = (SGD, AdamW, ProjectedSGD, Muon, Clipped, Peer)
"""Every optimizer that trials can use."""


class _StackedSGD(Uncounted):
    def __init__(self, rule: SGD, state: FlatState) -> None:
        super().__init__(state)
        self._rule = rule
        self._velocity = torch.zeros_like(state.flat) if rule.momentum else None

    def step(self, rates: Tensor) -> None:
        state, gradient, momentum = self._state, self._state.flat_gradient, self._rule.momentum
        if self._rule.weight_decay:
            gradient = self._decayed(gradient)
        if self._velocity is not None:
            self._velocity.mul_(momentum).add_(gradient)
            ahead = self._rule.nesterov == "on"
            gradient = gradient.add(self._velocity, alpha=momentum) if ahead else self._velocity
        for parameter, direction in zip(state.parameters, state.views(gradient), strict=True):
            parameter.addcmul_(direction, column(rates, parameter), value=-1.0)

    def _decayed(self, gradient: Tensor) -> Tensor:
        state, decay = self._state, self._rule.weight_decay
        if self._rule.decayed == "all":
            return gradient.add(state.flat, alpha=decay)
        decayed = gradient.clone()
        for parameter, view in zip(state.parameters, state.views(decayed), strict=True):
            if decays(parameter, matrices_only=True):
                view.add_(parameter, alpha=decay)
        return decayed

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
            if rule.weight_decay and decays(parameter, matrices_only=rule.decayed == "matrices"):
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
