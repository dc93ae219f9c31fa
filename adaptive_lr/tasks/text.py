"""Text: a model of the next character on the English text that comes with Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptive_lr.spec import number, numbers, spec
from adaptive_lr.tasks.base import AbstractTask, GradientFunction, LossFunction, Parameters, generator
from adaptive_lr.tasks.data.builtin import python_help
from adaptive_lr.tasks.losses import CrossEntropy
from adaptive_lr.tasks.network import StackedNetwork, fully_connected, uniform_parameters

SYMBOLS = 64
"""The 63 most frequent characters of the training text, and one symbol for all others, under 1 % of it."""

EVALUATED = 4096
"""Characters of a split that a metric is the mean over, evenly spaced: a pass costs as much as 25 updates."""


@dataclass(frozen=True)
class Corpus:
    """One text in three parts without overlap, ``[n]`` each, int64: symbol numbers below ``SYMBOLS``."""

    train: Tensor
    validation: Tensor
    test: Tensor


@lru_cache
def corpus() -> Corpus:
    """The text of `pydoc_data.topics`: its first 80 %, the next 10 % and the last 10 %.

    Topics in the order of their names; of the paragraphs, a fifth of which repeat an earlier one, each stands once.
    """
    return encoded(python_help())


def encoded(text: str) -> Corpus:
    """The parts of a text; which characters have a symbol of their own is settled by the training part.

    >>> encoded("aababbbcab").train.tolist()
    [1, 1, 0, 1, 0, 0, 0, 2]
    """
    validation, test = len(text) * 8 // 10, len(text) * 9 // 10
    counts = Counter(text[:validation])
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[: SYMBOLS - 1]
    index_of = {character: index for index, character in enumerate(frequent)}
    symbols = torch.tensor([index_of.get(character, SYMBOLS - 1) for character in text])
    return Corpus(symbols[:validation], symbols[validation:test], symbols[test:])


@spec
class CharacterModel(AbstractTask):
    """A multilayer perceptron with ReLU that predicts a character from the ``context`` before it; cross-entropy in nats.

    The text is some 370 000 characters of documentation in English that CPython ships. It differs between versions of Python,
    even between 3.11.2 and 3.11.7, so that numbers are comparable within one. Minibatches are random places of the training
    text, with replacement.
    """

    kind = "character_model"
    label = "English text, next character"
    selection_metric = "validation_loss"
    report_metric = "test_loss"
    context: int = number("[1, 1000]", default=5, integer=True)
    hidden: tuple[int, ...] = numbers("[1, inf)", default=(64, 64), integer=True)
    batch: int = number("[1, inf)", default=64, integer=True)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the inputs, ``context`` times one of ``SYMBOLS``, to the symbols."""
        return (self.context * SYMBOLS, *self.hidden, SYMBOLS)

    def module(self) -> nn.Module:
        """Linear layers with biases."""
        return fully_connected(self.sizes, "relu", bias=True)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets)

    def gradient_function(self) -> GradientFunction:
        """The hand-written backward pass of `StackedNetwork`."""
        # With the columns of the first layer gathered instead of multiplied by zeros and ones, a step of 16 trials would take
        # 0.8 times as long, but the network would be one of its own.
        return self._network().losses_and_gradients

    def loss_function(self) -> LossFunction:
        """The forward pass of `StackedNetwork`."""
        return self._network().losses

    def initial(self, seed: int) -> Parameters:
        """Weights and biases uniform in ±1/sqrt(fan-in), from a generator of their own."""
        return uniform_parameters(self.sizes, generator(seed, "initial"))

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Random places of the training text.

        Yields:
            One-hot inputs ``[batch, context * SYMBOLS]``, the oldest character first, and targets ``[batch]``, int64.
        """
        train, source = corpus().train, generator(seed, "places")
        for _ in range(steps):
            rows = torch.randint(self.context, len(train), (self.batch,), generator=source)
            yield self._inputs(train, rows, dtype), train[rows]

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """``{split}_loss`` on ``EVALUATED`` characters; of all splits at the end, of the validation text before."""
        values, text = list(parameters.values()), corpus()
        splits = {"train": text.train, "validation": text.validation, "test": text.test}
        chosen = splits if final else {"validation": text.validation}
        return {f"{split}_loss": self._mean_loss(values, symbols) for split, symbols in chosen.items()}

    def _mean_loss(self, values: list[Tensor], symbols: Tensor) -> Tensor:
        network, starts = self._network(), self.evaluated(len(symbols))
        loss = torch.zeros(values[0].shape[0], dtype=torch.float64)
        for rows in starts.split(256):
            outputs = network.outputs(values, self._inputs(symbols, rows, values[0].dtype).unsqueeze(0))[0]
            index = symbols[rows].expand(len(loss), len(rows)).unsqueeze(-1)
            loss -= outputs.log_softmax(-1).gather(2, index).sum((1, 2))
        return loss / len(starts)

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """The loss on the validation text."""
        parameters, text = list(state.values()), corpus().validation
        rows = self.evaluated(len(text))
        inputs = self._inputs(text, rows, parameters[0].dtype)
        return self.shared_objective()(parameters, [], inputs, text[rows])[0].to(torch.float64)

    def evaluated(self, length: int) -> Tensor:
        """Which characters of a split are predicted for a metric, ``[EVALUATED]`` or fewer, each with a whole context."""
        count = min(EVALUATED, length - self.context)
        return self.context + torch.arange(count) * (length - self.context) // count

    def _inputs(self, symbols: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        before = symbols[rows.unsqueeze(1) + torch.arange(-self.context, 0)]
        return torch.eye(SYMBOLS, dtype=dtype)[before].flatten(1)

    def _network(self) -> StackedNetwork:
        return StackedNetwork(self.sizes, "relu", loss=CrossEntropy(), bias=True, penalty=0.0)
