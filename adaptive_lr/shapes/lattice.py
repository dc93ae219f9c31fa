"""A search space rounded to a lattice: its shapes are trained once, and any search over it is read off what they gave."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.search import known


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Every combination of some levels of the numbers of a schedule.

    A sampler chooses the index of each level, so that neighbours are neighbours to it; what it proposes is a point of the lattice, and
    nothing is rounded behind its back.

    Attributes:
        schedule: whose numbers they are.
        levels: by name of the number, ascending.

    Raises:
        SpecError: the schedule has no such number, or levels are absent or do not ascend.

    >>> from adaptive_lr import DampedCosine
    >>> lattice = Lattice(schedule=DampedCosine(), levels={"k": (0.5, 1.0), "exponent": (1.0, 2.0, 4.0)})
    >>> len(lattice), lattice[4]
    (6, DampedCosine(exponent=2))
    """

    schedule: AbstractSchedule
    levels: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        known = self.schedule.leaves()
        if not self.levels:
            raise SpecError("a lattice needs the levels of at least one number")
        for name, levels in self.levels.items():
            if name not in known:
                raise SpecError(f"{self.schedule!r} has no number {name!r}; it has {', '.join(known)}")
            if not levels or any(low >= high for low, high in itertools.pairwise(levels)):
                raise SpecError(f"the levels of {name!r} must ascend and be at least one, got {levels!r}")

    def __len__(self) -> int:
        """How many shapes there are."""
        return math.prod(self.sizes)

    def __getitem__(self, index: int) -> AbstractSchedule:
        """The shape of that number; the last level named changes fastest."""
        return self.schedule.with_leaves(self.numbers(index))

    def __iter__(self) -> Iterator[AbstractSchedule]:
        """All shapes in order."""
        return (self[index] for index in range(len(self)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many levels each number has."""
        return tuple(len(levels) for levels in self.levels.values())

    def numbers(self, index: int) -> dict[str, float]:
        """What the shape of that number has chosen, by name."""
        positions = np.unravel_index(index, self.sizes)
        return {
            name: levels[int(position)] for (name, levels), position in zip(self.levels.items(), positions, strict=True)
        }


def visited(lattice: Lattice, values: Sequence[float], *, sampler: str, seed: int, trials: int) -> tuple[int, ...]:
    """The numbers of the shapes that an Optuna study tries, in order; a shape that is proposed again counts again.

    Args:
        lattice: that is searched.
        values: what each shape is worth, ``[shapes]``; less is better.
        sampler: one of `adaptive_lr.search.known.SAMPLERS`.
        seed: of the sampler.
        trials: how many shapes are tried.

    >>> from adaptive_lr import DampedCosine
    >>> lattice = Lattice(schedule=DampedCosine(), levels={"exponent": (0.5, 1.0, 2.0)})
    >>> len(visited(lattice, [3.0, 1.0, 2.0], sampler="random", seed=0, trials=5))
    5
    """
    return known.visited(lattice.sizes, values, name=sampler, seed=seed, trials=trials)
