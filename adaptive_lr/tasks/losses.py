"""Losses in two forms: the literal one for a module's outputs, and one for many trials that also gives the gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional


class AbstractLoss(ABC):
    """A mean over the examples of a batch."""

    @abstractmethod
    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of one model, a scalar, from outputs ``[n, c]``."""

    @abstractmethod
    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The losses ``[…]`` of many models; overwrites ``outputs`` ``[…, n, c]`` with the gradient in it; targets are broadcast."""


class SquaredLoss(AbstractLoss):
    """Mean of (o - y)^2 / 2, targets ``[n, 1]``."""

    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return 0.5 * functional.mse_loss(outputs, targets)

    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        residual = outputs.sub_(targets)
        losses = 0.5 * residual.square().mean((-2, -1))
        residual.div_(residual.shape[-2])
        return losses


class AbsoluteLoss(AbstractLoss):
    """Mean of |o - y|, targets ``[n, 1]``."""

    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return functional.l1_loss(outputs, targets)

    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        residual = outputs.sub_(targets)
        losses = residual.abs().mean((-2, -1))
        residual.sgn_().div_(residual.shape[-2])
        return losses


class LogisticLoss(AbstractLoss):
    """Mean of log(1 + exp(-y o)), targets -1 or 1 of shape ``[n, 1]``."""

    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        # functional.soft_margin_loss overflows where a margin is below -700; softplus does not.
        return functional.softplus(-targets * outputs).mean()

    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        margin = outputs.mul_(-targets)
        losses = functional.softplus(margin).mean((-2, -1))
        margin.sigmoid_().mul_(targets / -margin.shape[-2])
        return losses


class CrossEntropy(AbstractLoss):
    """Mean of -log softmax(o)_y, targets are class numbers ``[n]``."""

    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return functional.cross_entropy(outputs, targets)

    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        index = targets.expand(outputs.shape[:-1]).unsqueeze(-1)
        log_probability = outputs.log_softmax(-1)
        losses = log_probability.gather(-1, index).mean((-2, -1)).neg_()
        torch.exp(log_probability, out=outputs)
        outputs.scatter_add_(-1, index, outputs.new_full((), -1.0).expand(index.shape))
        outputs.div_(outputs.shape[-2])
        return losses
