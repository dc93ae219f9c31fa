"""A random family of convex problems and of small networks: an index is a task.

What an index draws is written into the task, so that a stored trial says what it trained, whatever this file becomes. Every number is
drawn from SHA-256 of the index and of its name: it depends on no library, and not on the other numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from adaptive_lr.errors import SpecError
from adaptive_lr.tasks.base import AbstractTask
from adaptive_lr.tasks.classification import Perceptron
from adaptive_lr.tasks.power_law import AbstractPowerLaw, PowerLawLeastAbsolute, PowerLawLeastSquares, PowerLawLogistic
from adaptive_lr.tasks.teacher import TeacherPerceptron

Option = TypeVar("Option")

DEVELOPMENT = range(4000)
"""The tasks that something may be trained or tuned on."""

REPORT = range(4000, 5000)
"""The tasks that it is judged on; nothing may be chosen by what they give."""


class Draw:
    """Numbers that belong to a family and an index, each by its name.

    Args:
        family: ``convex`` or ``network``.
        index: in ``DEVELOPMENT`` or ``REPORT``.

    Raises:
        SpecError: the index is in neither.
    """

    def __init__(self, family: str, index: int) -> None:
        if isinstance(index, bool) or not isinstance(index, int) or not (index in DEVELOPMENT or index in REPORT):
            raise SpecError(f"the index of a random {family} task must lie in [0, {REPORT.stop}), got {index!r}")
        self._key = f"{family} {index} "

    def uniform(self, name: str) -> float:
        """A number in [0, 1), of 53 bits.

        >>> Draw("convex", 3).uniform("dimension")
        0.49562257539170296
        """
        return (int.from_bytes(hashlib.sha256((self._key + name).encode()).digest()[:8]) >> 11) * 2.0**-53

    def evenly(self, name: str, low: float, high: float) -> float:
        """A number between two, in hundredths: what rounding differs in from one machine to another is not seen."""
        return round(low + (high - low) * self.uniform(name), 2)

    def logarithmically(self, name: str, low: float, high: float) -> float:
        """A positive number with an even logarithm, to three digits."""
        return float(f"{low * math.exp(self.uniform(name) * math.log(high / low)):.3g}")

    def count(self, name: str, low: int, high: int) -> int:
        """A whole number with an even logarithm, to three digits."""
        return min(high, max(low, round(self.logarithmically(name, low, high))))

    def of(self, name: str, options: Sequence[Option]) -> Option:
        """One of them."""
        return options[int(self.uniform(name) * len(options))]

    def seed(self, name: str) -> int:
        """A whole number below 2^32."""
        return int(self.uniform(name) * 2.0**32)


def random_convex(index: int) -> AbstractTask:
    """The convex task of an index: a linear model on a stream with a power law for its spectrum.

    - loss: squared, absolute or logistic, evenly
    - dimension d: 5 to 200, log-uniform
    - exponent: 0 to 2, uniform: the spectrum is i^-exponent, i = 1 … d
    - decay: 0 to 2, uniform: w*_i ~ N(0, i^-decay), then scaled
    - signal: of a logistic loss .5 to 5, log-uniform; of the others 1
    - noise: of squared and absolute loss .05 to 2, log-uniform
    - batch: 1, 2, 4, 8, 16 or 32, evenly
    - direction: the seed of w*, 0 to 2^32 - 1

    Log-uniform numbers have three digits, uniform ones two decimals. A `SpecError` where the index is in neither range.
    """
    draw = Draw("convex", index)
    losses: tuple[type[AbstractPowerLaw], ...] = (PowerLawLeastSquares, PowerLawLeastAbsolute, PowerLawLogistic)
    kind = draw.of("loss", losses)
    own: dict[str, Any] = {"signal": draw.logarithmically("signal", 0.5, 5.0)}
    if kind is not PowerLawLogistic:
        own = {"noise": draw.logarithmically("noise", 0.05, 2.0)}
    return kind(
        dimension=draw.count("dimension", 5, 200),
        exponent=draw.evenly("exponent", 0.0, 2.0),
        decay=draw.evenly("decay", 0.0, 2.0),
        batch=draw.of("batch", (1, 2, 4, 8, 16, 32)),
        direction=draw.seed("direction"),
        **own,
    )


def random_network(index: int) -> AbstractTask:
    """The network of an index: a perceptron on a data set that is there without being fetched, or that is made.

    - data: digits, breast cancer, MNIST-1D or a random teacher's, evenly
    - hidden: 1, 2 or 3 layers, evenly; each of 8 to 128 units, log-uniform
    - activation: ReLU or tanh, evenly
    - batch: 8, 16, 32, 64 or 128, evenly

    Of a teacher: dimension 5 to 60, units 5 to 60, classes 2 to 10 and 500 to 5000 examples, log-uniform; exponent 0 to 2 and label noise
    0 to .3, uniform; its seed. Log-uniform numbers have three digits, uniform ones two decimals. A `SpecError` where the index is in neither range.
    """
    draw = Draw("network", index)
    layers = draw.of("depth", (1, 2, 3))
    hidden = tuple(draw.count(f"width {layer}", 8, 128) for layer in range(layers))
    batch, activation = draw.of("batch", (8, 16, 32, 64, 128)), draw.of("activation", ("relu", "tanh"))
    dataset = draw.of("data", ("digits", "breast_cancer", "mnist1d", "teacher"))
    if dataset != "teacher":
        return Perceptron(dataset=dataset, hidden=hidden, activation=activation, batch=batch)
    return TeacherPerceptron(
        hidden=hidden,
        activation=activation,
        batch=batch,
        teacher=draw.seed("teacher"),
        dimension=draw.count("dimension", 5, 60),
        exponent=draw.evenly("exponent", 0.0, 2.0),
        units=draw.count("units", 5, 60),
        classes=draw.count("classes", 2, 10),
        noise=draw.evenly("noise", 0.0, 0.3),
        examples=draw.count("examples", 500, 5000),
    )


FAMILIES: dict[str, Callable[[int], AbstractTask]] = {"convex": random_convex, "network": random_network}
"""What draws the task of an index, by the name of the family."""
