"""Language models: transformers on bytes and on tokens, a GRU on bytes, an LSTM on words."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import choice, number, spec
from adaptive_lr.tasks import texts, tokens
from adaptive_lr.tasks.base import Minibatch, Objective, generator
from adaptive_lr.tasks.modular import AbstractModular, Examples
from adaptive_lr.tasks.recurrent import RecurrentNetwork
from adaptive_lr.tasks.transformer import Transformer

BYTES = 256
"""Symbols of a model of bytes."""

EVALUATED = 16_384
"""Symbols of a split that a metric is the mean over, in whole windows, evenly spaced."""


@spec
class AbstractLanguageModel(AbstractModular):
    """Next-symbol prediction on windows of a text, cross-entropy in nats a symbol; trials are trained one by one.

    Minibatches are random windows of the training text, with replacement. A metric is the mean over ``EVALUATED`` symbols.
    """

    batched: ClassVar[bool] = False
    text: str = choice(texts.TEXTS, default="python_help")
    context: int = number("[1, 100000]", default=64, integer=True)
    batch: int = number("[1, inf)", default=16, integer=True)

    @property
    def batch_size(self) -> int:
        """Windows in a minibatch."""
        return self.batch

    @abstractmethod
    def symbols(self, split: str) -> Tensor:
        """A part of the text, ``[n]``, int64."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss``: the mean over a window."""
        index = targets.expand(outputs.shape[:-1]).unsqueeze(-1)
        return {"loss": -outputs.log_softmax(-1).gather(-1, index).squeeze(-1).mean(-1)}

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """Windows ``[n, context]`` of a part of the text, evenly spaced, and the symbols that follow theirs."""
        symbols = self._long_enough(split)
        count = max(1, min(EVALUATED // self.context, (len(symbols) - 1) // self.context))
        return windows(symbols, torch.arange(count) * (len(symbols) - self.context) // count, self.context)

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[Minibatch]:
        """Random windows of the training text.

        Yields:
            Symbols ``[batch, context]``, and those that follow them.
        """
        train, places, drawn = self._long_enough("train"), generator(seed, "places"), generator(seed, "noise")
        for _ in range(steps):
            starts = torch.randint(len(train) - self.context, (self.batch,), generator=places)
            yield windows(train, starts, self.context).beside(self.noise(self.batch, drawn, dtype))

    def _long_enough(self, split: str) -> Tensor:
        symbols = self.symbols(split)
        if len(symbols) <= self.context:
            kind = type(self).__name__
            raise SpecError(
                f"{kind}.context must be below {len(symbols)}, the length of the {split} part, got {self.context}"
            )
        return symbols


@spec
class AbstractByteModel(AbstractLanguageModel):
    """A model of the next byte."""

    def symbols(self, split: str) -> Tensor:
        """The bytes of the text in UTF-8."""
        return texts.encoded(self.text, split)


@spec
class AbstractTransformer(AbstractLanguageModel):
    """A decoder-only transformer (GPT-2's order of things: pre-norm, GELU, learnt positions, tied embedding)."""

    layers: int = number("[1, inf)", default=2, integer=True)
    width: int = number("[1, inf)", default=64, integer=True)
    heads: int = number("[1, inf)", default=4, integer=True)

    @property
    @abstractmethod
    def symbol_count(self) -> int:
        """How many symbols there are."""

    def check(self) -> None:
        """Heads are of one size.

        Raises:
            SpecError: the width cannot be divided among them.
        """
        if self.width % self.heads:
            kind = type(self).__name__
            raise SpecError(f"{kind}.width must be a multiple of heads, {self.heads}, got {self.width}")

    def objective(self) -> Objective:
        """See the base class; attention as matrix products, since torch's fused one cannot be mapped over trials."""
        alone = super().objective()

        def with_products(*values: Any) -> Any:
            with sdpa_kernel(SDPBackend.MATH):
                return alone(*values)

        return with_products

    def module(self) -> nn.Module:
        """See the class."""
        return Transformer(self.symbol_count, self.context, layers=self.layers, width=self.width, heads=self.heads)


@spec
class ByteTransformer(AbstractTransformer, AbstractByteModel):
    """Such a transformer on bytes."""

    kind = "byte_transformer"

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{texts.title(self.text)}, byte transformer"

    @property
    def symbol_count(self) -> int:
        """All bytes."""
        return BYTES


@spec
class TokenTransformer(AbstractTransformer):
    """Such a transformer on tokens of byte pair encoding, which needs the extra ``bpe``.

    The ``vocabulary``, the 256 bytes and merges of pairs, comes from the training part of the text alone, and is kept in the folder of
    the data sets. A metric is in nats a token: times `tokens_a_byte` it is comparable with that of another vocabulary.
    """

    kind = "token_transformer"
    vocabulary: int = number("[257, 1000000]", default=2048, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{texts.title(self.text)}, token transformer"

    @property
    def symbol_count(self) -> int:
        """The vocabulary."""
        return self.vocabulary

    def symbols(self, split: str) -> Tensor:
        """Numbers of the tokens."""
        return tokens.tokens(self.text, split, self.vocabulary)

    def tokens_a_byte(self, split: str) -> float:
        """Tokens in a part of the text over its bytes in UTF-8."""
        return len(self.symbols(split)) / len(texts.encoded(self.text, split))


@spec
class ByteGRU(AbstractByteModel):
    """An embedding, one GRU from a zero state for every window, and a linear layer."""

    kind = "byte_gru"
    compilable: ClassVar[bool] = False
    width: int = number("[1, inf)", default=128, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{texts.title(self.text)}, byte GRU"

    def module(self) -> nn.Module:
        """See the class."""
        return RecurrentNetwork("gru", BYTES, self.width, layers=1, dropout=0.0)


@spec
class WordLSTM(AbstractLanguageModel):
    """An LSTM on words, trained on windows that follow one another, each from the state that the one before ended in.

    The recipe of PyTorch's example, after Zaremba et al. 2014 (arXiv:1409.2329): plain SGD at a rate of 20, clipping at .25, dropout
    of .2. The text is cut into ``batch`` strips that are read side by side, from a place that the seed draws; at their end they
    begin anew. The ``words`` most frequent of the training text have a symbol each, the others share one.
    """

    kind = "word_lstm"
    compilable: ClassVar[bool] = False
    context: int = number("[1, 100000]", default=35, integer=True)
    batch: int = number("[1, inf)", default=20, integer=True)
    words: int = number("[2, inf)", default=5000, integer=True)
    width: int = number("[1, inf)", default=200, integer=True)
    layers: int = number("[1, inf)", default=2, integer=True)
    dropout: float = number("[0, 1)", default=0.2)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{texts.title(self.text)}, word LSTM"

    def module(self) -> nn.Module:
        """See the class."""
        network = RecurrentNetwork("lstm", self.words, self.width, layers=self.layers, dropout=self.dropout)
        network.carry(self.batch)
        return network

    def symbols(self, split: str) -> Tensor:
        """Numbers of the words."""
        return word_numbers(self.text, split, self.words)

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Uniform numbers for the dropout before every layer and after the last."""
        if not self.dropout:
            return ()
        shape = (count, self.layers + 1, self.context, self.width)
        return (torch.rand(shape, generator=source, dtype=torch.float64).to(dtype),)

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[Minibatch]:
        """Windows that follow one another in ``batch`` strips of the text.

        Raises:
            SpecError: the strips are shorter than a window.
        """
        train, drawn = self._long_enough("train"), generator(seed, "noise")
        length = len(train) // self.batch
        if length <= self.context:
            most = (len(train) - 1) // (self.context + 1)
            raise SpecError(f"WordLSTM.batch must be at most {most} with windows of {self.context}, got {self.batch}")
        shift = int(torch.randint(len(train), (1,), generator=generator(seed, "places")))
        strips = train.roll(-shift)[: length * self.batch].view(self.batch, length)

        def in_turn() -> Iterator[Minibatch]:
            for begin in itertools.cycle(range(0, length - self.context, self.context)):
                following = strips[:, begin : begin + self.context + 1]
                yield Examples(following[:, :-1], following[:, 1:]).beside(self.noise(self.batch, drawn, dtype))

        return itertools.islice(in_turn(), steps)


def windows(symbols: Tensor, starts: Tensor, length: int) -> Examples:
    """Windows of ``length`` symbols from ``starts`` ``[n]`` on, and the same one later: ``[n, length]`` each."""
    index = starts.unsqueeze(1) + torch.arange(length)
    return Examples(symbols[index], symbols[index + 1])


@lru_cache
def word_numbers(text: str, split: str, words: int) -> Tensor:
    """Words, and signs between them, as numbers below ``words``; the last stands for all that are rarer than the others."""
    known = {word: index for index, word in enumerate(_vocabulary(text, words))}
    return torch.tensor([known.get(word, words - 1) for word in texts.words(text, split)])


@lru_cache
def _vocabulary(text: str, words: int) -> tuple[str, ...]:
    counts = Counter(texts.words(text, "train"))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[: words - 1])
