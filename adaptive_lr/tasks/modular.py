"""Tasks whose model is any module: initial parameters from its own initialisation, metrics from its outputs in evaluation mode."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import choice, number, spec
from adaptive_lr.tasks.base import AbstractTask, Inputs, Minibatch, Parameters, as_tuple, generator, on_each

CHUNK = 256
"""Examples that are evaluated at a time."""


class Examples(NamedTuple):
    """Some examples: inputs and targets, ``[n, …]`` each."""

    inputs: Inputs
    targets: Tensor

    def rows(self, rows: Tensor) -> Examples:
        """Some of them."""
        return Examples(on_each(lambda part: part[rows], self.inputs), self.targets[rows])

    def beside(self, noise: tuple[Tensor, ...]) -> Examples:
        """The same, with random numbers as further inputs."""
        return Examples((*as_tuple(self.inputs), *noise), self.targets) if noise else self


@spec
class AbstractModular(AbstractTask):
    """``module``, ``loss``, ``examples``, ``scores`` and ``batch_size`` are all that a new one must have.

    Random numbers that the module needs in training (for dropout, for latent variables) come to it as further inputs, from `noise`;
    those it needs in evaluation, the same for all trials, from `fixed_noise`.
    """

    metric: str = choice(("loss",), default="loss")

    @property
    def selection_metric(self) -> str:
        """The mean of ``metric`` over the validation data."""
        return f"validation_{self.metric}"

    @property
    def report_metric(self) -> str:
        """The mean of ``metric`` over the test data."""
        return f"test_{self.metric}"

    @abstractmethod
    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """The examples of ``train``, ``validation`` or ``test``.

        Args:
            split: which of them.
            dtype: the precision of inputs that are no whole numbers.
        """

    def evaluated(self, split: str, dtype: torch.dtype) -> Examples:
        """The examples that a metric is the mean over; by default all of a split."""
        return self.examples(split, dtype)

    @abstractmethod
    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What the metrics are the means of, by name: each ``[B, n]``, from outputs ``[B, n, …]`` and targets ``[n, …]``."""

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Random numbers for ``count`` examples in training, ``[count, …]`` each; nothing by default."""
        return ()

    def fixed_noise(self, split: str, count: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Random numbers for the ``count`` examples of a split in evaluation, ``[count, …]`` each; nothing by default."""
        return ()

    def initial(self, seed: int) -> Parameters:
        """As the module's own initialisation draws them, from a generator of their own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(seed, "initial").initial_seed())
            module = self.module()
        return {name: value.detach().to(torch.float64) for name, value in module.named_parameters()}

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[Minibatch]:
        """Epochs without replacement; the incomplete minibatch at the end of an epoch is left out.

        Raises:
            SpecError: a minibatch is larger than the data set.
        """
        train, size = self.examples("train", dtype), self.batch_size
        count = len(train.targets)
        if size > count:
            raise SpecError(f"{type(self).__name__}.batch must be at most {count}, got {size}")
        order, drawn = generator(seed, "order"), generator(seed, "noise")

        def epochs() -> Iterator[Minibatch]:
            while True:
                for rows in torch.randperm(count, generator=order)[: count // size * size].view(-1, size):
                    yield train.rows(rows).beside(self.noise(size, drawn, dtype))

        return itertools.islice(epochs(), steps)

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Examples in a minibatch."""

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """Means of `scores`, float64; of all splits at the end, of the validation data before. All are NaN where the loss is not finite."""
        metrics: dict[str, Tensor] = {}
        for split in ("train", "validation", "test") if final else ("validation",):
            metrics |= {f"{split}_{name}": value for name, value in self._means(split, parameters).items()}
        return metrics

    def _means(self, split: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        floating = next(value for value in state.values() if value.is_floating_point())
        examples, model = self.evaluated(split, floating.dtype), self.built().eval().to(floating.dtype)
        noise = self.fixed_noise(split, len(examples.targets), floating.dtype)
        data = examples.beside(noise)
        sums: dict[str, Tensor] = {}
        for rows in torch.arange(len(data.targets)).split(CHUNK):
            inputs, targets = data.rows(rows)
            for name, value in self.scores(self._outputs(model, state, inputs), targets).items():
                part = value.to(torch.float64).sum(1)
                sums[name] = sums[name] + part if name in sums else part
        finite = sums["loss"].isfinite()
        return {name: torch.where(finite, value, torch.nan) / len(data.targets) for name, value in sums.items()}

    def _outputs(self, model: nn.Module, state: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        arguments = as_tuple(inputs)

        def outputs(one: dict[str, Tensor]) -> Tensor:
            made: Tensor = functional_call(model, one, arguments)
            return made

        if self.batched:
            return vmap(outputs)(dict(state))
        trials = len(next(iter(state.values())))
        return torch.stack([outputs({name: value[row] for name, value in state.items()}) for row in range(trials)])


@spec
class AbstractClassifier(AbstractModular):
    """Cross-entropy of one class in several; metrics are the loss and the share of errors."""

    batch: int = number("[1, inf)", default=50, integer=True)
    metric: str = choice(("loss", "error"), default="loss")

    @property
    def batch_size(self) -> int:
        """See the base class."""
        return self.batch

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss``, cross-entropy, and ``error``, 1 where another class is more likely."""
        index = targets.expand(outputs.shape[:2]).unsqueeze(-1)
        loss = -outputs.log_softmax(-1).gather(2, index).squeeze(2)
        return {"loss": loss, "error": outputs.argmax(-1) != targets}


def evenly_spaced(examples: Examples, most: int) -> Examples:
    """At most so many of them."""
    count = len(examples.targets)
    most = min(most, count)
    return examples.rows(torch.arange(most) * count // most)


def dropped(values: Tensor, uniform: Tensor, share: float) -> Tensor:
    """``values`` without a share of them, the others larger by as much: dropout, with numbers drawn uniformly beforehand."""
    return values * (uniform >= share) / (1.0 - share)
