"""Ridge regression with a skewed spectrum that is known, and with a known optimum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import number, spec
from adaptive_lr.tasks.base import AbstractTask, GradientFunction, LossFunction, Parameters, generator
from adaptive_lr.tasks.losses import SquaredLoss
from adaptive_lr.tasks.network import StackedNetwork, fully_connected


@spec
class RidgeRegression(AbstractTask):
    """f(w) = |X w - y|^2 / (2n) + ridge/2 |w|^2, excess f - f* = ½ (w - w*)' H (w - w*), H = X'X/n + ridge I.

    X is made so that X'X/n has the eigenvalues top i^-exponent for i = 1 … rank, and 0 for the others. The defaults are what the set a4a
    has, on which Pan, Ye & Zhang 2022 (arXiv:2110.14109) try their schedule: 4781 examples of 122 features, some 14 of them 1 in
    each; with ridge 1e-3 the greatest eigenvalue of H is 6274 times the least. (Their f is twice ours.) Left singular vectors are random
    but for the first, which is constant, as of positive features; right ones are random. y = X u + noise e, |X u|^2 / n = signal^2.

    Training starts at zero, in epochs without replacement. What belongs to the problem is the same for all seeds.
    """

    kind = "ridge_regression"
    label = "ridge regression"
    selection_metric = "excess"
    report_metric = "excess"
    examples: int = number("[2, 1000000]", default=4781, integer=True)
    dimension: int = number("[1, 10000]", default=122, integer=True)
    rank: int = number("[1, 10000]", default=109, integer=True)
    exponent: float = number("[0, 8]", default=1.6)
    top: float = number("(0, inf)", default=6.27)
    ridge: float = number("(0, inf)", default=1e-3)
    signal: float = number("(0, inf)", default=0.74)
    noise: float = number("[0, inf)", default=0.67)
    batch: int = number("[1, inf)", default=1, integer=True)

    def check(self) -> None:
        """The rank is at most the dimension and the number of examples, and a minibatch no larger than the data.

        Raises:
            SpecError: it is larger.
        """
        for name, most in (("rank", min(self.dimension, self.examples)), ("batch", self.examples)):
            if getattr(self, name) > most:
                raise SpecError(f"RidgeRegression.{name} must be at most {most}, got {getattr(self, name)}")

    @property
    def penalty(self) -> float:
        """``ridge``."""
        return self.ridge

    @property
    def optimum(self) -> float | None:
        """The least excess."""
        return 0.0

    def spectrum(self) -> tuple[float, ...]:
        """The eigenvalues of H, ascending, each as often as it occurs: what `Eigencurve` takes as ``eigenvalues``.

        >>> RidgeRegression(dimension=4, rank=3, exponent=1, top=6, ridge=0.5).spectrum()
        (0.5, 2.5, 3.5, 6.5)
        """
        positive = [self.top * float(order) ** -self.exponent + self.ridge for order in range(1, self.rank + 1)]
        return (*[self.ridge] * (self.dimension - self.rank), *sorted(positive))

    def module(self) -> nn.Module:
        """A linear map without bias."""
        return fully_connected((self.dimension, 1), "relu", bias=False)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the mean square."""
        return SquaredLoss().literal(outputs, targets)

    def gradient_function(self) -> GradientFunction:
        """All trials in one matrix product."""
        return self._network().losses_and_gradients

    def loss_function(self) -> LossFunction:
        """All trials in one matrix product."""
        return self._network().losses

    def _network(self) -> StackedNetwork:
        return StackedNetwork((self.dimension, 1), "relu", loss=SquaredLoss(), bias=False, penalty=self.penalty)

    def initial(self, seed: int) -> Parameters:
        """Zero, for every seed."""
        return {"0.weight": torch.zeros(1, self.dimension, dtype=torch.float64)}

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Epochs without replacement; the incomplete minibatch at the end of an epoch is left out.

        Yields:
            Inputs ``[batch, dimension]`` and targets ``[batch, 1]``.
        """
        made = problem(self)
        inputs, targets, order = made.inputs.to(dtype), made.targets.to(dtype), generator(seed, "order")

        def epochs() -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                shuffled = torch.randperm(self.examples, generator=order)
                for rows in shuffled[: self.examples // self.batch * self.batch].view(-1, self.batch):
                    yield inputs[rows], targets[rows]

        yield from itertools.islice(epochs(), steps)

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """The excess, which does not cancel near the optimum."""
        return {"excess": self.final_loss({name: value.detach() for name, value in parameters.items()})}

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """See the base class."""
        made = problem(self)
        away = state["0.weight"].to(torch.float64).flatten(1) - made.optimum
        excess: Tensor = 0.5 * (away @ made.directions).square() @ made.eigenvalues
        return excess


class Problem(NamedTuple):
    """X ``[n, d]``, y ``[n, 1]``, w* ``[d]``, and of H the eigenvectors ``[d, d]``, in columns, with their eigenvalues ``[d]``; float64."""

    inputs: Tensor
    targets: Tensor
    optimum: Tensor
    directions: Tensor
    eigenvalues: Tensor


def _orthonormal(columns: Tensor) -> Tensor:
    basis, triangle = torch.linalg.qr(columns)
    signed: Tensor = basis * triangle.diagonal().sign()  # as Gram and Schmidt would have it, whatever LAPACK does
    return signed


@lru_cache(maxsize=8)
def problem(task: RidgeRegression) -> Problem:
    """The data of a task and its optimum."""
    source, count, rank = generator(0, "ridge"), task.examples, task.rank

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    left = _orthonormal(torch.cat([torch.ones(count, 1, dtype=torch.float64), normal(count, rank - 1)], 1))
    directions = _orthonormal(normal(task.dimension, task.dimension))
    eigenvalues = torch.tensor(task.spectrum(), dtype=torch.float64).flip(0)
    roots = task.top**0.5 * torch.arange(1, rank + 1, dtype=torch.float64) ** (-0.5 * task.exponent)
    inputs = count**0.5 * (left * roots) @ directions[:, :rank].T
    clean = inputs @ directions @ normal(task.dimension)
    targets = clean * (task.signal * count**0.5 / clean.norm()) + task.noise * normal(count)
    optimum = directions @ ((directions.T @ (inputs.T @ targets) / count) / eigenvalues)
    return Problem(inputs, targets.unsqueeze(1), optimum, directions, eigenvalues)
