"""Streaming convex problems: every minibatch is fresh, and the excess loss over the whole population is known exactly."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from adaptive_lr.spec import number, spec
from adaptive_lr.tasks.base import (
    AbstractTask,
    GradientFunction,
    LossFunction,
    Minibatch,
    Objective,
    Parameters,
    generator,
)
from adaptive_lr.tasks.losses import AbsoluteLoss, AbstractLoss, LogisticLoss, SquaredLoss
from adaptive_lr.tasks.network import StackedNetwork, fully_connected, linear_objective


@spec
class AbstractStreaming(AbstractTask):
    """A linear model on x ~ N(0, diag(1, 1/2, …, 1/d)) with a fixed target w*, E(x.w*)^2 = signal^2.

    Training starts at w = 0. The metric is the excess of the population loss over its minimum, in closed form.
    """

    selection_metric = "excess"
    report_metric = "excess"
    dimension: int = number("[1, inf)", default=100, integer=True)
    batch: int = number("[1, inf)", default=4, integer=True)
    signal: float = number("(0, inf)", default=1.0)

    @property
    @abstractmethod
    def stacked_loss(self) -> AbstractLoss:
        """The loss in its two forms."""

    @abstractmethod
    def targets(self, clean: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """Targets from x.w* and one standard normal and one uniform draw an example."""

    @abstractmethod
    def excess(self, error: Tensor, prediction: Tensor, covariance: Tensor) -> Tensor:
        """Excess from the variances of x.(w - w*) and x.w and the covariance of x.w and x.w*, each ``[B]``."""

    def population(self) -> tuple[Tensor, Tensor]:
        """Deviations of the inputs, and w*, ``[dimension]`` each, float64."""
        return _spectrum(self.dimension, self.signal)

    @property
    def optimum(self) -> float | None:
        """The least excess."""
        return 0.0

    @property
    def target_norm(self) -> float:
        """|w*|."""
        return float(self.population()[1].norm())

    def module(self) -> nn.Module:
        """A linear map without bias."""
        return fully_connected((self.dimension, 1), "relu", bias=False)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class of the loss."""
        return self.stacked_loss.literal(outputs, targets)

    def gradient_function(self) -> GradientFunction:
        """All trials in one matrix product."""
        return self._network().losses_and_gradients

    def loss_function(self) -> LossFunction:
        """All trials in one matrix product."""
        return self._network().losses

    def shared_objective(self) -> Objective:
        """All trials in one matrix product."""
        return linear_objective(self.stacked_loss, bias=False, penalty=0.0)

    def _network(self) -> StackedNetwork:
        return StackedNetwork((self.dimension, 1), "relu", loss=self.stacked_loss, bias=False, penalty=0.0)

    def initial(self, seed: int) -> Parameters:
        """Zero, for every seed."""
        return {"0.weight": torch.zeros(1, self.dimension, dtype=torch.float64)}

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Fresh examples, drawn in float64 whatever the precision of the training.

        Yields:
            Inputs ``[batch, dimension]`` and targets ``[batch, 1]``.
        """
        for x, y in self._drawn(seed, steps, dtype):
            yield from zip(x, y, strict=True)

    def blocks(
        self, seed: int, steps: int, dtype: torch.dtype, ends: Sequence[int], begin: int = 0
    ) -> Iterator[Minibatch]:
        """See the base class; as they are drawn, which is many at a time.

        Yields:
            Inputs ``[k, batch, dimension]`` and targets ``[k, batch, 1]``.
        """
        drawn, start = self._drawn(seed, steps, dtype), 0
        inputs, targets = next(drawn)
        for first, end in itertools.pairwise((begin, *ends)):
            while start + len(inputs) < end:
                past = min(len(inputs), first - start)
                more_inputs, more_targets = next(drawn)
                inputs, targets = torch.cat([inputs[past:], more_inputs]), torch.cat([targets[past:], more_targets])
                start += past
            yield inputs[first - start : end - start], targets[first - start : end - start]

    def _drawn(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """The stream in blocks.

        Yields:
            Inputs ``[k, batch, dimension]`` and targets ``[k, batch, 1]``.
        """
        stream = generator(seed, "stream")
        scales, target = self.population()
        shape = (500, self.batch)  # whole blocks, so that a longer run begins with the examples of a shorter one
        for start in range(0, steps, shape[0]):
            x = torch.randn(*shape, self.dimension, generator=stream, dtype=torch.float64) * scales
            noise = torch.randn(*shape, 1, generator=stream, dtype=torch.float64)
            uniform = torch.rand(*shape, 1, generator=stream, dtype=torch.float64)
            y = self.targets((x @ target).unsqueeze(-1), noise, uniform)
            yield x[: steps - start].to(dtype), y[: steps - start].to(dtype)

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """The exact population excess."""
        return {"excess": self.final_loss({name: value.detach() for name, value in parameters.items()})}

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """See the base class."""
        scales, target = self.population()
        scaled = state["0.weight"].to(torch.float64).flatten(1) * scales
        goal = target * scales
        error, prediction = (scaled - goal).square().sum(1), scaled.square().sum(1)
        return self.excess(error, prediction, scaled @ goal)


@lru_cache
def _spectrum(dimension: int, signal: float) -> tuple[Tensor, Tensor]:
    scales = torch.arange(1, dimension + 1, dtype=torch.float64).rsqrt()
    direction = torch.randn(dimension, generator=generator(0, "target"), dtype=torch.float64)
    return scales, direction * (signal / (direction * scales).norm())


@spec
class StreamingLeastSquares(AbstractStreaming):
    """y = x.w* + noise e, loss (x.w - y)^2 / 2; excess ½ (w - w*)' diag(1/i) (w - w*)."""

    kind = "streaming_least_squares"
    label = "least squares, streaming"
    stacked_loss = SquaredLoss()
    noise: float = number("[0, inf)", default=0.5)

    def targets(self, clean: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """See the class."""
        return clean + self.noise * noise

    def excess(self, error: Tensor, prediction: Tensor, covariance: Tensor) -> Tensor:
        """See the class."""
        return 0.5 * error


@spec
class StreamingLeastAbsolute(AbstractStreaming):
    """y = x.w* + noise e, loss |x.w - y|; excess sqrt(2/pi) (sqrt(v + noise^2) - noise), v the variance of x.(w - w*)."""

    kind = "streaming_least_absolute"
    label = "least absolute deviation, streaming"
    stacked_loss = AbsoluteLoss()
    noise: float = number("(0, inf)", default=0.5)

    def targets(self, clean: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """See the class."""
        return clean + self.noise * noise

    def excess(self, error: Tensor, prediction: Tensor, covariance: Tensor) -> Tensor:
        """See the class, in a form that does not cancel near the optimum."""
        spread = (error + self.noise**2).sqrt()
        return math.sqrt(2.0 / math.pi) * error / (spread + self.noise)


@spec
class StreamingLogistic(AbstractStreaming):
    """P(y = 1) = 1/(1 + exp(-x.w*)), loss log(1 + exp(-y x.w)); well specified, so w* is the optimum.

    The excess is E softplus(b) - E sigmoid(a) b less its value at w*, with a = x.w* and b = x.w jointly normal; both
    expectations are one-dimensional integrals.
    """

    kind = "streaming_logistic"
    label = "logistic regression, streaming"
    stacked_loss = LogisticLoss()
    signal: float = number("(0, inf)", default=2.0)

    def targets(self, clean: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """See the class."""
        return torch.where(uniform < clean.sigmoid(), 1.0, -1.0).to(clean.dtype)

    def excess(self, error: Tensor, prediction: Tensor, covariance: Tensor) -> Tensor:
        """See the class."""
        signal = torch.full_like(prediction[:1], self.signal**2)
        slope = _mean_slope(signal)  # E sigmoid(a) b = slope * cov(a, b), by Stein's lemma
        best = _mean_softplus(signal) - slope * signal
        return _mean_softplus(prediction) - slope * covariance - best


def _mean_softplus(variance: Tensor) -> Tensor:
    # softplus(b) = b/2 + |b|/2 + log(1 + exp(-|b|)); the last term is smooth and short, so it is integrated over b >= 0
    # on a fixed grid with the normal density, and stays accurate when the variance explodes. Below a variance of 1e-4
    # the grid is too coarse and the Taylor series exact to 1e-13.
    tail = _mean_of_even(variance, lambda b: torch.log1p(torch.exp(-b)))
    expectation = variance.sqrt() / math.sqrt(2.0 * math.pi) + tail
    return torch.where(variance < 1e-4, math.log(2.0) + variance / 8.0 - variance.square() / 64.0, expectation)


def _mean_slope(variance: Tensor) -> Tensor:
    """E sigmoid'(b) for b ~ N(0, variance)."""
    mean = _mean_of_even(variance, lambda b: b.sigmoid() * (-b).sigmoid())
    return torch.where(variance < 1e-4, 0.25 - variance / 16.0 + variance.square() / 32.0, mean)


def _mean_of_even(variance: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of an even function that vanishes beyond 50, over N(0, variance) with a variance of at least 1e-4."""
    nodes, weights = _short_quadrature()
    deviation = variance.clamp(min=1e-4).sqrt().unsqueeze(-1)
    density = torch.exp(-0.5 * (nodes / deviation).square()) / (deviation * math.sqrt(2.0 * math.pi))
    return (weights * 2.0 * density * function(nodes)).sum(-1)


@lru_cache
def _short_quadrature() -> tuple[Tensor, Tensor]:
    # Gauss-Legendre on panels that grow geometrically from 0 to 50 resolve deviations from 1e-3 to infinity.
    edges = np.concatenate([[0.0], np.geomspace(1e-4, 50.0, 60)])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half + half * nodes).ravel()
    return torch.from_numpy(x), torch.from_numpy((half * weights).ravel())
