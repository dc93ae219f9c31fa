"""Muon on matrices and AdamW on everything else, as one optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, StackedUpdate

_MATRIX = 2
"""Dimensions of what Muon takes; torch's refuses others, kernels of convolutions among them."""


@spec
class Muon(AbstractOptimizer):
    """theta <- (1 - eta weight_decay) theta - eta .2 sqrt(max(rows, columns)) orthogonalised(v), v the Nesterov momentum; `torch.optim.Muon`.

    For matrices (Jordan et al. 2024; the factor, with which an update is as long as one of AdamW, is that of Liu et al. 2025,
    arXiv:2502.16982, so that one rate serves both). Other parameters get `AdamW` with ``beta1``, ``beta2`` and no decay.
    """

    kind = "muon"
    momentum: float = number("[0, 1)", default=0.95)
    weight_decay: float = number("[0, inf)", default=0.1)
    beta1: float = number("[0, 1)", default=0.9)
    beta2: float = number("[0, 1)", default=0.95)

    @property
    def memory(self) -> float:
        """The larger of Muon's and AdamW's, as where groups differ in a loop of one's own."""
        return max(self.momentum, self.beta1)

    @property
    def batched(self) -> bool:
        """It has no stacked form."""
        return False

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """See the base class.

        Raises:
            SpecError: there is no matrix.
        """
        every = list(parameters)
        matrices = [parameter for parameter in every if parameter.dim() == _MATRIX]
        if not matrices:
            raise SpecError("Muon updates matrices, and the model has none: take AdamW")
        others = [parameter for parameter in every if parameter.dim() != _MATRIX]
        return _MuonAndAdamW(self, matrices, others, base_lr)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """There is none.

        Raises:
            SpecError: always.
        """
        raise SpecError("Muon trains one trial at a time; it has no form for many")


class _MuonAndAdamW(Optimizer):
    """Two optimizers of torch that share groups and state with this one, whose groups a scheduler sets."""

    def __init__(self, rule: Muon, matrices: list[Tensor], others: list[Tensor], lr: float) -> None:
        super().__init__([*matrices, *others], {"lr": lr})
        decay, momentum = rule.weight_decay, rule.momentum
        self._parts: list[Optimizer] = [
            torch.optim.Muon(matrices, lr=lr, weight_decay=decay, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        ]
        if others:
            self._parts.append(torch.optim.AdamW(others, lr=lr, betas=(rule.beta1, rule.beta2), weight_decay=0.0))
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        self._share()

    def _share(self) -> None:
        # By identity: a group's rate, and what is remembered of a parameter, stand in one place.
        self.state: defaultdict[Tensor, Any]
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
