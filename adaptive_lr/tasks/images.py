"""Images: convolutional networks, with batch normalisation."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptive_lr.spec import choice, number, numbers, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.modular import AbstractModular, Examples, dropped

SHAPES = {"digits": (8, 8), "mnist1d": (40,), "fashion_mnist": (28, 28)}
"""Of the images that can be classified, by the names of their sets."""

_SMALLEST = 4
"""Images at most as wide are not pooled further."""


@spec
class ConvolutionalNetwork(AbstractModular):
    """Convolutions of 3 pixels, batch normalisation, ReLU and pooling by 2, as often as there are ``channels``; then one linear layer.

    Images of one dimension get convolutions of one dimension. Pooling stops at 4 pixels. Running means of the normalisation are
    buffers, with torch's momentum of .1; ``dropout`` is that share of what the linear layer sees.
    """

    kind = "convolutional_network"
    dataset: str = choice(tuple(SHAPES), default="digits")
    channels: tuple[int, ...] = numbers("[1, inf)", default=(16, 32), integer=True)
    norm: str = choice(("batch", "none"), default="batch")
    dropout: float = number("[0, 1)", default=0.0)
    batch: int = number("[1, inf)", default=50, integer=True)
    metric: str = choice(("loss", "error"), default="loss")

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, convolutional network"

    @property
    def batch_size(self) -> int:
        """See the base class."""
        return self.batch

    def module(self) -> nn.Module:
        """See the class."""
        classes = data.load(self.dataset).classes
        return ConvNet(
            SHAPES[self.dataset], self.channels, classes, normalised=self.norm == "batch", dropout=self.dropout
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss``, cross-entropy, and ``error``, 1 where another class is more likely."""
        index = targets.expand(outputs.shape[:2]).unsqueeze(-1)
        loss = -outputs.log_softmax(-1).gather(2, index).squeeze(2)
        return {"loss": loss, "error": outputs.argmax(-1) != targets}

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class; images are ``[n, 1, …]``."""
        return images(self.dataset, split, dtype)

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Uniform numbers for the dropout, ``[count, features]``."""
        if not self.dropout:
            return ()
        features = self.channels[-1] * _pixels(SHAPES[self.dataset], len(self.channels))
        return (torch.rand(count, features, generator=source, dtype=torch.float64).to(dtype),)


class ConvNet(nn.Module):
    """See `ConvolutionalNetwork`.

    Args:
        shape: of an image.
        channels: after each convolution.
        classes: outputs.
        normalised: whether there is batch normalisation; the convolutions have no bias then.
        dropout: share of the features that are dropped in training.
    """

    def __init__(
        self, shape: tuple[int, ...], channels: tuple[int, ...], classes: int, *, normalised: bool, dropout: float
    ) -> None:
        super().__init__()
        flat = len(shape) == 1
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise((1, *channels))):
            layers.append((nn.Conv1d if flat else nn.Conv2d)(before, after, 3, padding=1, bias=not normalised))
            if normalised:
                layers.append((nn.BatchNorm1d if flat else nn.BatchNorm2d)(after))
            layers.append(nn.ReLU())
            if _width(shape[0], index) > _SMALLEST:
                layers.append((nn.MaxPool1d if flat else nn.MaxPool2d)(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * _pixels(shape, len(channels)), classes)
        self.dropout = dropout

    def forward(self, images: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Outputs ``[n, classes]`` for images ``[n, 1, …]``; in training with ``uniform`` numbers for the dropout."""
        features = self.features(images).flatten(1)
        if uniform is not None:
            features = dropped(features, uniform, self.dropout)
        outputs: Tensor = self.head(features)
        return outputs


def _width(width: int, layers: int) -> int:
    """Pixels along a side after so many layers."""
    for _ in range(layers):
        width = width // 2 if width > _SMALLEST else width
    return width


def _pixels(shape: tuple[int, ...], layers: int) -> int:
    return int(torch.tensor([_width(width, layers) for width in shape]).prod())


@lru_cache
def images(name: str, split: str, dtype: torch.dtype) -> Examples:
    """A split of images, ``[n, channels, …]``; bytes are standardised with one mean and deviation a channel, of the training images."""
    dataset = data.load(name)
    part: data.Split = getattr(dataset, split)
    inputs = part.inputs.view(len(part.targets), 1, *SHAPES[name])
    if inputs.dtype == torch.uint8:
        train = dataset.train.inputs.to(torch.float64)
        inputs = (inputs - train.mean()) / train.std()
    return Examples(inputs.to(dtype), part.targets)
