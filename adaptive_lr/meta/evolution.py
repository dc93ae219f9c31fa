"""Antithetic evolution strategies: a gradient of a smoothed objective from pairs of opposite steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.errors import InputError

Array = NDArray[np.float64]

DECAYS = (0.8, 0.95)
"""Of Adam's means over generations, of which there are few."""


@dataclass
class Evolution:
    """g = mean over pairs of (J(x + s e) - J(x - s e)) e / (2 s), e ~ N(0, 1), followed by Adam's step.

    Of J only the differences are used, each divided by their spread over the generation, so that neither a shift nor a factor changes
    anything. Salimans, Ho, Chen, Sidor & Sutskever 2017, arXiv:1703.03864, section 2, with antithetic pairs.

    Attributes:
        centre: x, where the search stands.
        spread: s.
        pace: the length of Adam's step in each number.
        pairs: so many a generation.
        seed: of the pairs.
        generation: how many have been told.
        mean: Adam's, of g.
        square: Adam's, of g^2.
    """

    centre: Array
    spread: float = 0.15
    pace: float = 0.05
    pairs: int = 12
    seed: int = 0
    generation: int = 0
    mean: Array = field(default_factory=lambda: np.zeros(0))
    square: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not len(self.mean):
            self.mean, self.square = np.zeros_like(self.centre), np.zeros_like(self.centre)

    def _directions(self) -> Array:
        return np.random.default_rng([self.seed, self.generation]).standard_normal((self.pairs, len(self.centre)))

    def ask(self) -> Array:
        """The candidates of a generation, ``[2 pairs, n]``: those with + before those with -; the same until they are told."""
        steps = self.spread * self._directions()
        return np.concatenate([self.centre + steps, self.centre - steps])

    def tell(self, values: Array) -> None:
        """J of each, in the order of `ask`.

        Raises:
            InputError: there are more or fewer, or one is not finite.
        """
        if values.shape != (2 * self.pairs,) or not np.isfinite(values).all():
            raise InputError(f"evolution needs {2 * self.pairs} finite values, got {values!r}")
        halves = values[: self.pairs] - values[self.pairs :]
        slope = (halves / max(float(halves.std()), 1e-12)) @ self._directions() / self.pairs
        self.generation += 1
        self.mean = DECAYS[0] * self.mean + (1.0 - DECAYS[0]) * slope
        self.square = DECAYS[1] * self.square + (1.0 - DECAYS[1]) * slope**2
        mean, square = (
            moment / (1.0 - decay**self.generation)
            for moment, decay in zip((self.mean, self.square), DECAYS, strict=True)
        )
        self.centre = self.centre - self.pace * mean / (np.sqrt(square) + 1e-8)

    def encoded(self) -> dict[str, Any]:
        """Everything, for JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("centre", "mean", "square")}
        return arrays | {name: getattr(self, name) for name in ("spread", "pace", "pairs", "seed", "generation")}

    @classmethod
    def decoded(cls, data: dict[str, Any]) -> Evolution:
        """What `encoded` gave."""
        arrays = {name: np.asarray(data[name], dtype=np.float64) for name in ("centre", "mean", "square")}
        return cls(**(data | arrays))
