"""Fine-tuning: tasks that begin from weights which were trained on something else."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from adaptive_lr.spec import choice, number, spec
from adaptive_lr.tasks import data, pretraining, texts
from adaptive_lr.tasks.base import Minibatch, Parameters, generator
from adaptive_lr.tasks.images import SHAPES, ConvNet, ConvolutionalNetwork, images
from adaptive_lr.tasks.language import ByteGRU
from adaptive_lr.tasks.modular import AbstractModular, Examples

_BATCH = 50
"""Images of a minibatch in pre-training."""


@spec
class AbstractFineTuned(AbstractModular):
    """A task whose initial weights come from ``pretraining`` updates on other data; those of the head may begin anew.

    They are trained from one fixed seed when they are first wanted, by AdamW with warm-up and a cosine, and kept in the folder of the data
    sets, with a checksum. So all seeds of a trial begin from the same weights, but for the head.
    """

    head: ClassVar[str] = ""
    """What the names of the parameters begin with that are drawn anew from the seed; none by default."""

    pretraining_rate: ClassVar[float] = 0.01
    """The highest rate of pre-training."""

    pretraining: int = number("[1, inf)", default=600, integer=True)

    @abstractmethod
    def source_module(self) -> nn.Module:
        """The model that is pre-trained; it has the parameters of ``module``, but for the head."""

    @abstractmethod
    def source_minibatches(self) -> Iterator[Minibatch]:
        """As many minibatches as there are updates, float32, from the fixed seed."""

    @abstractmethod
    def source_key(self) -> str:
        """Everything that the weights depend on beside the updates."""

    def pretrained(self) -> Parameters:
        """Parameters and buffers after pre-training, float64."""
        content = f"{pretraining.VERSION} {self.kind} {self.pretraining} {self.pretraining_rate} {self.source_key()}"
        return _pretrained(self, content)

    def initial(self, seed: int) -> Parameters:
        """The pre-trained parameters; the head as the module's own initialisation draws it."""
        fresh, trained = super().initial(seed), self.pretrained()
        return {
            name: value if self.head and name.startswith(self.head) else trained[name].clone()
            for name, value in fresh.items()
        }

    def initial_buffers(self) -> Parameters:
        """Those of pre-training, such as running means."""
        fresh, trained = super().initial_buffers(), self.pretrained()
        return {name: trained[name].to(value.dtype) for name, value in fresh.items()}


@lru_cache(maxsize=16)
def _pretrained(task: AbstractFineTuned, content: str) -> Parameters:
    def make() -> dict[str, np.ndarray]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(pretraining.SEED, "initial").initial_seed())
            module = task.source_module()
        state = pretraining.pretrain(
            module, task.loss, task.source_minibatches(), steps=task.pretraining, rate=task.pretraining_rate
        )
        return {name: value.numpy() for name, value in state.items()}

    arrays = pretraining.kept(task.kind, content, make)
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@spec
class FineTunedGRU(ByteGRU, AbstractFineTuned):
    """A GRU of bytes that was trained on the text ``source`` and goes on with ``text``; all weights are tuned.

    With one and the same text for both it is training that is taken up again.
    """

    kind = "fine_tuned_gru"
    source: str = choice(texts.TEXTS, default="python_help")

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{texts.title(self.source)} to {texts.title(self.text)}, byte GRU"

    @property
    def _before(self) -> ByteGRU:
        return ByteGRU(text=self.source, width=self.width)

    def source_module(self) -> nn.Module:
        """The same."""
        return self._before.module()

    def source_minibatches(self) -> Iterator[Minibatch]:
        """16 windows of 64 bytes each."""
        return self._before.minibatches(pretraining.SEED, self.pretraining, torch.float32)

    def source_key(self) -> str:
        """The text and the width."""
        return f"{self._before!r} {pretraining.checksum(self._before.symbols('train'))}"


@spec
class FineTunedConvolution(ConvolutionalNetwork, AbstractFineTuned):
    """A convolutional network that was trained on the first half of the classes and is to tell the others apart, from ``shots`` images.

    Convolutions and normalisation are pre-trained, on all training images of the first half, without dropout; the linear layer begins
    anew. The few images are the first of the training images of the other classes; validation and test have all of these.
    """

    kind = "fine_tuned_convolution"
    head = "head."
    dataset: str = choice(tuple(SHAPES), default="mnist1d")
    shots: int = number("[1, inf)", default=200, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, from half of the classes to the others"

    def module(self) -> nn.Module:
        """With an output for each of the second half of the classes."""
        classes = data.load(self.dataset).classes
        return self._network(classes - classes // 2)

    def source_module(self) -> nn.Module:
        """With an output for each of the first half."""
        return self._network(data.load(self.dataset).classes // 2)

    def _network(self, classes: int) -> nn.Module:
        return ConvNet(
            SHAPES[self.dataset], self.channels, classes, normalised=self.norm == "batch", dropout=self.dropout
        )

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """Images of the second half of the classes, which are numbered from 0."""
        every, half = images(self.dataset, split, dtype), data.load(self.dataset).classes // 2
        rows = (every.targets >= half).nonzero().squeeze(1)
        chosen = every.rows(rows[: self.shots] if split == "train" else rows)
        return Examples(chosen.inputs, chosen.targets - half)

    def source_minibatches(self) -> Iterator[Minibatch]:
        """Epochs of 50 images each, without replacement."""
        source, order = self._source(), generator(pretraining.SEED, "order")

        def epochs() -> Iterator[Minibatch]:
            while True:
                yield from map(source.rows, torch.randperm(len(source.targets), generator=order).split(_BATCH)[:-1])

        return itertools.islice(epochs(), self.pretraining)

    def source_key(self) -> str:
        """The images, the channels and whether they are normalised."""
        inputs, targets = self._source()
        assert isinstance(inputs, Tensor)
        sums = f"{pretraining.checksum(inputs)} {pretraining.checksum(targets)}"
        return f"{self.dataset} {self.channels} {self.norm} {sums}"

    def _source(self) -> Examples:
        every, half = images(self.dataset, "train", torch.float32), data.load(self.dataset).classes // 2
        return every.rows((every.targets < half).nonzero().squeeze(1))
