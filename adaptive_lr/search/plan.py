"""What is searched, and how: all that the history of a search depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from adaptive_lr.errors import SpecError
from adaptive_lr.search.pruning import LEAST_SEEDS
from adaptive_lr.search.space import Space
from adaptive_lr.spec import lookup

Direction = Literal["minimize", "maximize"]
Pruner = Literal["halving", "wilcoxon"]
OnError = Literal["raise", "skip"]

DIRECTIONS: tuple[Direction, ...] = ("minimize", "maximize")
PRUNERS: tuple[Pruner, ...] = ("halving", "wilcoxon")
ON_ERROR: tuple[OnError, ...] = ("raise", "skip")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search.

    Attributes:
        space: where it looks.
        trials: how many trials are to finish, in all.
        sampler: what proposes points.
        seed: of the sampler, and the first of the seeds of the runs.
        seeds: how many runs a point gets; its value is their mean.
        directions: one for each objective.
        pruner: what ends hopeless runs early, or None.
        on_error: what a run that fails does to the search.
        in_flight: how many trials may be without a result; a point is proposed knowing the results of all but the last
            ``in_flight - 1`` before it, however many workers there are.
        rounds: propose ``in_flight`` points at once, when the results of all before them are known; halving is then among those
            of a round.
    """

    space: Space
    trials: int
    sampler: str = "tpe"
    seed: int = 0
    seeds: int = 1
    directions: tuple[Direction, ...] = ("minimize",)
    pruner: str | None = None
    on_error: str = "raise"
    in_flight: int = 8
    rounds: bool = False

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("seed", 0), ("seeds", 1), ("in_flight", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SpecError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if not self.directions:
            raise SpecError("directions must hold at least one of minimize, maximize")
        for direction in self.directions:
            lookup(direction, DIRECTIONS, "direction")
        lookup(self.on_error, ON_ERROR, "on_error")
        if self.pruner is None:
            return
        lookup(self.pruner, PRUNERS, "pruner")
        if len(self.directions) > 1:
            raise SpecError(f"pruner {self.pruner!r} needs a single objective, got {len(self.directions)}")
        if self.pruner == "halving" and self.seeds > 1:
            raise SpecError("pruner 'halving' compares runs of one seed: with several use 'wilcoxon'")
        if self.pruner == "wilcoxon" and self.seeds < LEAST_SEEDS:
            raise SpecError(
                f"pruner 'wilcoxon' compares points over their seeds and needs at least {LEAST_SEEDS}, got {self.seeds}"
            )

    @property
    def maximise(self) -> bool:
        """Whether more of the first objective is better."""
        return self.directions[0] == "maximize"

    @property
    def run_seeds(self) -> range:
        """The seeds of the runs of every point: the same for all, so that points are compared under the same luck."""
        return range(self.seed, self.seed + self.seeds)

    def visible(self, number: int) -> int:
        """The results of the trials below this number are known when trial ``number`` is proposed."""
        if self.rounds:
            return number // self.in_flight * self.in_flight
        return max(0, number - self.in_flight + 1)

    def identity(self) -> dict[str, Any]:
        """All but ``trials`` and ``on_error``, which may be other ones when a search is continued."""
        return {
            "space": self.space.encoded(),
            "sampler": self.sampler,
            "seed": self.seed,
            "seeds": self.seeds,
            "directions": list(self.directions),
            "pruner": self.pruner,
            "in_flight": self.in_flight,
            "rounds": self.rounds,
        }
