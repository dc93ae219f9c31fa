"""Examples whose classes a random network has chosen: as many data sets as there are seeds."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from adaptive_lr.spec import number, spec
from adaptive_lr.tasks.base import generator
from adaptive_lr.tasks.classification import AbstractPerceptron
from adaptive_lr.tasks.data import Dataset, Split

HELD_OUT = 1000
"""Examples for validation, and as many for testing."""


@spec
class TeacherPerceptron(AbstractPerceptron):
    """A perceptron that learns which class a random one gives to x ~ N(0, I).

    The teacher is V tanh(U z / sqrt(d)) with z_i = i^(-exponent/2) x_i, divided by its root mean square: features matter less and less.
    Its ``units`` rows of U and ``classes`` rows of V are standard normal, from the seed ``teacher``; of its outputs, each standardised
    over the examples, the largest is the class. Of all labels the share ``noise`` is drawn anew, evenly from all classes. There are
    ``examples`` for training, and ``HELD_OUT`` each for validation and for testing.
    """

    kind = "teacher_perceptron"
    teacher: int = number("[0, 4294967295]", default=0, integer=True)
    dimension: int = number("[1, 10000]", default=20, integer=True)
    exponent: float = number("[0, 8]", default=1.0)
    units: int = number("[1, 10000]", default=20, integer=True)
    classes: int = number("[2, 1000]", default=4, integer=True)
    noise: float = number("[0, 1]", default=0.1)
    examples: int = number("[1, 1000000]", default=2000, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return "random network's classes, perceptron"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the inputs to the classes, whether or not each class occurs."""
        return (self.dimension, *self.hidden, self.classes)

    def splits(self) -> Dataset:
        """See the class."""
        return _splits(
            self.teacher, (self.dimension, self.units, self.classes), self.exponent, self.noise, self.examples
        )


@lru_cache(maxsize=64)
def _splits(teacher: int, sizes: tuple[int, int, int], exponent: float, noise: float, examples: int) -> Dataset:
    dimension, units, classes = sizes
    source, count = generator(teacher, "teacher"), examples + 2 * HELD_OUT

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    first, second, inputs = normal(dimension, units), normal(units, classes), normal(count, dimension)
    scaled = inputs * torch.arange(1, dimension + 1, dtype=torch.float64) ** (-0.5 * exponent)
    outputs = (scaled / scaled.square().mean(1, keepdim=True).sqrt() @ first / dimension**0.5).tanh() @ second
    # Not as they are: one would be the largest nearly everywhere.
    labels = ((outputs - outputs.mean(0)) / outputs.std(0)).argmax(1)
    drawn = torch.randint(classes, (count,), generator=source)
    labels = torch.where(torch.rand(count, generator=source, dtype=torch.float64) < noise, drawn, labels)
    parts = zip(inputs.split([examples, HELD_OUT, HELD_OUT]), labels.split([examples, HELD_OUT, HELD_OUT]), strict=True)
    return Dataset(*(Split(values, targets) for values, targets in parts))
