"""Clipping by norm before an optimizer's update."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import component, number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, PureUpdate, StackedUpdate, column
from adaptive_lr.training.pure import PureClipped, squared_norms

_EPSILON = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm that it divides by."""


@spec
class Clipped(AbstractOptimizer):
    """g <- g min(1, norm / |g|), then a step of ``then``; `torch.nn.utils.clip_grad_norm_` (Pascanu et al. 2013, arXiv:1211.5063).

    |g| is that of all parameters together. A controller sees the whole gradient, as `ControlledLR` does that is given ``grad_norm``.
    """

    kind = "clipped"
    then: AbstractOptimizer = component(AbstractOptimizer)
    norm: float = number("(0, inf)", default=1.0)

    def check(self) -> None:
        """An optimizer that sets its own steps sees its gradients as they are.

        Raises:
            SpecError: it is one of these, or is clipped itself.
        """
        if self.then.sets_rate or isinstance(self.then, Clipped):
            raise SpecError(
                f"Clipped.then must be an optimizer that is not clipped and sets no rate, got {self.then!r}"
            )

    @property
    def memory(self) -> float:
        """That of the optimizer."""
        return self.then.memory

    @property
    def batched(self) -> bool:
        """As that of ``then``."""
        return self.then.batched

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """That of ``then``."""
        return self.then.literal(parameters, base_lr)

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        """See the base class."""
        return torch.nn.utils.clip_grad_norm_(parameters, self.norm)

    def stacked(self, state: FlatState) -> StackedUpdate:
        """See the base class."""
        return _StackedClipped(self, state)

    def pure(self) -> PureUpdate | None:
        """See the base class."""
        then = self.then.pure()
        return None if then is None else PureClipped(then, norm=self.norm, epsilon=_EPSILON)


class _StackedClipped:
    def __init__(self, rule: Clipped, state: FlatState) -> None:
        self._rule, self._state, self._then = rule, state, rule.then.stacked(state)
        self._clipped = torch.empty_like(state.flat)
        self.clear, self.buffers = self._then.clear, self._then.buffers
        self.counts, self.restore_counts, self.resume = self._then.counts, self._then.restore_counts, self._then.resume

    def step(self, rates: Tensor) -> None:
        state = self._state
        factors = (self._rule.norm / (squared_norms(state.gradients).sqrt() + _EPSILON)).clamp(max=1.0)
        views = state.views(self._clipped)
        for gradient, clipped in zip(state.gradients, views, strict=True):
            torch.mul(gradient, column(factors, gradient), out=clipped)
        whole = state.flat_gradient, state.gradients
        state.flat_gradient, state.gradients = self._clipped, views  # what a controller reads stays whole
        try:
            self._then.step(rates)
        finally:
            state.flat_gradient, state.gradients = whole
