"""Images: convolutional networks, with batch normalisation."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from adaptive_lr.spec import choice, number, numbers, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.modular import AbstractClassifier, Examples, dropped

SHAPES = {"digits": (8, 8), "mnist1d": (40,), "fashion_mnist": (28, 28)}
"""Of the images that can be classified, by the names of their sets."""

_SMALLEST = 4
"""Images at most as wide are not pooled further."""


@spec
class ConvolutionalNetwork(AbstractClassifier):
    """Convolutions of 3 pixels, batch normalisation, ReLU and pooling by 2, as often as there are ``channels``; then one linear layer.

    Images of one dimension get convolutions of one dimension. Pooling stops at 4 pixels. Running means of the normalisation are
    buffers, with torch's momentum of .1; ``dropout`` is that share of what the linear layer sees.
    """

    kind = "convolutional_network"
    dataset: str = choice(tuple(SHAPES), default="digits")
    channels: tuple[int, ...] = numbers("[1, inf)", default=(16, 32), integer=True)
    norm: str = choice(("batch", "none"), default="batch")
    dropout: float = number("[0, 1)", default=0.0)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, convolutional network"

    def module(self) -> nn.Module:
        """See the class."""
        classes = data.load(self.dataset).classes
        return ConvNet(
            SHAPES[self.dataset], self.channels, classes, normalised=self.norm == "batch", dropout=self.dropout
        )

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class; images are ``[n, 1, …]``."""
        return images(self.dataset, split, dtype)

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Uniform numbers for the dropout, ``[count, features]``."""
        if not self.dropout:
            return ()
        features = self.channels[-1] * _pixels(SHAPES[self.dataset], len(self.channels))
        return (torch.rand(count, features, generator=source, dtype=torch.float64).to(dtype),)


@spec
class StridedConvolution(AbstractClassifier):
    """The convolutional network that MNIST-1D comes with: 3 convolutions with stride 2 and ReLU, then one linear layer.

    Greydanus & Kobak 2024, arXiv:2011.14439: ``width`` channels, filters of 5, 3 and 3 points, padding of 1, no normalisation; 5210
    parameters with 25 channels.
    """

    kind = "strided_convolution"
    label = "MNIST-1D, strided convolutions"
    width: int = number("[1, inf)", default=25, integer=True)
    batch: int = number("[1, inf)", default=100, integer=True)

    def module(self) -> nn.Module:
        """See the class."""
        layers: list[nn.Module] = []
        for before, filters in ((1, 5), (self.width, 3), (self.width, 3)):
            layers += [nn.Conv1d(before, self.width, filters, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * self.width, 10))

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class; images are ``[n, 1, 40]``."""
        return images("mnist1d", split, dtype)


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
    if part.inputs.dim() == 4:  # in colour
        return Examples(standardised(part.inputs, dataset.train.inputs).to(dtype), part.targets)
    inputs = part.inputs.view(len(part.targets), 1, *SHAPES[name])
    if inputs.dtype == torch.uint8:
        train = dataset.train.inputs.to(torch.float64)
        inputs = (inputs - train.mean()) / train.std()
    return Examples(inputs.to(dtype), part.targets)


def standardised(pictures: Tensor, train: Tensor) -> Tensor:
    """Bytes ``[n, channels, height, width]`` less the mean of their channel in ``train``, over its deviation; float32."""
    channels = [train[:, channel].double() for channel in range(train.shape[1])]  # one at a time: they are large
    mean = torch.stack([channel.mean() for channel in channels]).float().view(-1, 1, 1)
    deviation = torch.stack([channel.std() for channel in channels]).float().view(-1, 1, 1)
    return pictures.float().sub_(mean).div_(deviation)
