"""What is learned: the shape of a schedule, the constants of a controller, or a policy; each a vector of a few numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.controllers import AbstractController, LearnedDamping, ProgressAnchor, Static
from adaptive_lr.controllers.learned_damping import weight_names
from adaptive_lr.schedules import AbstractSchedule, DampedCosine, Warmup
from adaptive_lr.spec import lookup

Array = NDArray[np.float64]

Recipe = tuple[AbstractSchedule, AbstractController]
"""What a vector stands for."""


@dataclass(frozen=True)
class AbstractLearner(ABC):
    """A family of schedules under controllers, by a vector of numbers of the order of 1."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def numbers(self) -> tuple[str, ...]:
        """What the numbers are, in order."""

    @abstractmethod
    def recipe(self, vector: Sequence[float] | Array) -> Recipe:
        """What a vector stands for; the zero vector for what its class says."""

    def start(self) -> Array:
        """Where learning begins."""
        return np.zeros(len(self.numbers))


class StaticShape(AbstractLearner):
    """k and exponent of a damped cosine, as logarithms, its floor and a warm-up; zero is the plain cosine.

    Floor and warm-up are |x|/10, at most 1/2.
    """

    name = "shape"

    @property
    def numbers(self) -> tuple[str, ...]:
        """See the base class."""
        return ("ln k", "ln exponent", "10 floor", "10 warm-up")

    def recipe(self, vector: Sequence[float] | Array) -> Recipe:
        """See the class."""
        k, exponent = (float(np.exp(np.clip(value, -3.0, 3.0))) for value in vector[:2])
        floor, warmup = (min(0.5, abs(float(value)) / 10.0) for value in vector[2:])
        shape: AbstractSchedule = DampedCosine(k=k, exponent=exponent, floor=floor)
        return Warmup(fraction=warmup, then=shape) if warmup > 0.0 else shape, Static()


class AnchorConstants(AbstractLearner):
    """Constants of `ProgressAnchor` that trials of one batch may differ in; zero is `ProgressAnchor` as it is shipped."""

    name = "constants"

    @property
    def numbers(self) -> tuple[str, ...]:
        """See the base class."""
        return ("ln scale", "ln least", "ln most", "10 alignment")

    def recipe(self, vector: Sequence[float] | Array) -> Recipe:
        """See the class."""
        shipped = ProgressAnchor()
        factors = np.exp(np.clip(np.asarray(vector[:3], dtype=np.float64), -3.0, 3.0))
        scale, least, most = (float(factor) for factor in factors)
        most = min(1.0, float(shipped.most) * most)
        controller = replace(
            shipped,
            scale=float(shipped.scale) * scale,
            least=min(float(shipped.least) * least, most),
            most=most,
            alignment=float(np.clip(float(shipped.alignment) + 0.1 * vector[3], -1.0, 1.0)),
        )
        return DampedCosine(), controller


class Policy(AbstractLearner):
    """The weights of `LearnedDamping` on a cosine; zero is the plain cosine.

    Learning begins at weights written down by hand, which go near the edge early, by what single probes say, and to e^-2 of it later.
    """

    name = "policy"

    @property
    def numbers(self) -> tuple[str, ...]:
        """See the base class."""
        return tuple(weight_names())

    def start(self) -> Array:
        """See the class."""
        by_hand = {
            "share, throughout": -0.4,
            "constant, throughout": -0.4,
            "step, early": -1.0,
            "constant, early": -0.6,
        }
        return np.array([by_hand.get(name, 0.0) for name in self.numbers])

    def recipe(self, vector: Sequence[float] | Array) -> Recipe:
        """See the class."""
        return DampedCosine(), LearnedDamping(weights=tuple(float(value) for value in np.clip(vector, -100.0, 100.0)))


LEARNERS: dict[str, AbstractLearner] = {
    learner.name: learner for learner in (StaticShape(), AnchorConstants(), Policy())
}
"""By name."""


def learner(name: str) -> AbstractLearner:
    """The learner of a name; a `SpecError` where there is none."""
    return LEARNERS[lookup(name, LEARNERS, "learner")]
