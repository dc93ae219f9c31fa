"""A residual network of 9 layers on images that are shifted and mirrored at random."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptive_lr.spec import choice, number, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.images import SHAPES, images
from adaptive_lr.tasks.modular import AbstractClassifier, Examples, evenly_spaced

EVALUATED = 5000
"""Images of a split that a metric is the mean over, evenly spaced."""


@spec
class ResidualNetwork(AbstractClassifier):
    """ResNet-9: 8 convolutions of 3x3 with batch normalisation and ReLU, two pairs of them beside a skip connection, and a linear layer.

    After He et al. 2016 (arXiv:1512.03385) and the network that Page 2018 ("How to train your ResNet") trains CIFAR-10 with in minutes:
    ``width``, 2, 2 + 2, 4, 8, 8 + 8 times ``width`` channels, pooling by 2 after the second, the fifth and the sixth convolution, and the
    maximum over what is left. In training every image is shifted by up to ``shift`` pixels each way, what comes in being the mean
    colour, and with ``mirror`` "on" mirrored with probability ½; the draws come from the seed. Colours are standardised one by one.

    CIFAR-10 is read from the folder of data sets. 6.6 million parameters with a width of 64. Trials are trained one by one.
    """

    kind = "residual_network"
    batched: ClassVar[bool] = False
    dataset: str = choice(("cifar10", "fashion_mnist", "digits"), default="cifar10")
    width: int = number("[1, inf)", default=64, integer=True)
    shift: int = number("[0, 1000]", default=4, integer=True)
    mirror: str = choice(("on", "off"), default="on")
    batch: int = number("[1, inf)", default=128, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, ResNet-9"

    def module(self) -> nn.Module:
        """See the class."""
        colours = 1 if self.dataset in SHAPES else 3
        return ResNet9(colours, self.width, len(data.find(self.dataset).classes), shift=self.shift)

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class; images are ``[n, channels, height, width]``."""
        return images(self.dataset, split, dtype)

    def evaluated(self, split: str, dtype: torch.dtype) -> Examples:
        """``EVALUATED`` of them."""
        return evenly_spaced(self.examples(split, dtype), EVALUATED)

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Shifts down and to the right, from 0 to twice ``shift``, and whether the image is mirrored: ``[count, 3]``, int64."""
        shifts = torch.randint(2 * self.shift + 1, (count, 2), generator=source)
        mirrored = torch.randint(2, (count, 1), generator=source) * (self.mirror == "on")
        return (torch.cat([shifts, mirrored], 1),)


class ResNet9(nn.Module):
    """See `ResidualNetwork`.

    Args:
        colours: channels of an image.
        width: channels after the first convolution.
        classes: outputs.
        shift: the most pixels that an image is shifted by.
    """

    def __init__(self, colours: int, width: int, classes: int, *, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.first = nn.Sequential(_convolution(colours, width), _convolution(width, 2 * width), nn.MaxPool2d(2))
        self.second = nn.Sequential(_convolution(2 * width, 2 * width), _convolution(2 * width, 2 * width))
        self.third = nn.Sequential(
            _convolution(2 * width, 4 * width), nn.MaxPool2d(2), _convolution(4 * width, 8 * width), nn.MaxPool2d(2)
        )
        self.fourth = nn.Sequential(_convolution(8 * width, 8 * width), _convolution(8 * width, 8 * width))
        self.head = nn.Linear(8 * width, classes)

    def forward(self, pictures: Tensor, moves: Tensor | None = None) -> Tensor:
        """Outputs ``[n, classes]`` for images ``[n, channels, height, width]``; in training with ``moves`` ``[n, 3]`` as the task draws them."""
        values = pictures if moves is None else moved(pictures, moves, self.shift)
        values = self.first(values)
        values = values + self.second(values)
        values = self.third(values)
        values = values + self.fourth(values)
        outputs: Tensor = self.head(values.amax((2, 3)))
        return outputs


def moved(pictures: Tensor, moves: Tensor, shift: int) -> Tensor:
    """Images shifted and mirrored by the row of ``moves`` ``[n, 3]`` that belongs to each; zeros come in at the edges.

    >>> moved(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[1, 2, 0]]), 1)
    tensor([[[[2., 0.]]]])
    """
    count, colours, height, width = pictures.shape
    padded = functional.pad(pictures, (shift,) * 4)
    rows = moves[:, 0:1] + torch.arange(height)
    columns = moves[:, 1:2] + torch.arange(width)
    columns = torch.where(moves[:, 2:3] == 1, columns.flip(1), columns)
    lines = padded.gather(2, rows.view(count, 1, height, 1).expand(-1, colours, -1, padded.shape[3]))
    return lines.gather(3, columns.view(count, 1, 1, width).expand(-1, colours, height, -1))


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
