"""What is said of a winner and the usual schedules, on seeds that the search did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaptive_lr.analysis.baselines import ANY_GRID, TUNED
from adaptive_lr.analysis.paired import UNJUDGED, grounds
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A schedule on the report seeds.

    Attributes:
        label: of the schedule.
        schedule: itself.
        rate: its best base rate, by the mean over the seeds that choose.
        at_boundary: whether that is an end of the grid, however wide it was made, so that a better one may lie outside.
        costs: by measure, the loss on the report seeds, above the optimum where that is known: ``value``, ``low`` and ``high``, 95 %.
    """

    label: str
    schedule: AbstractSchedule
    rate: float
    at_boundary: bool
    costs: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The winner and the baselines, and the winner against the best baseline by each measure.

    Attributes:
        winner: what the search found.
        baselines: the usual schedules.
        comparisons: rows of `adaptive_lr.analysis.baselines.compare` as `adaptive_lr.analysis.paired.judge` leaves them, one family; that of the
            objective is the first.
        repetitions: n; each has two seeds that the search did not see, one that chooses rates and one that reports.
    """

    winner: Judged
    baselines: tuple[Judged, ...]
    comparisons: tuple[Mapping[str, Any], ...]
    repetitions: int

    @property
    def better(self) -> bool:
        """Whether the winner is better than the best baseline by what was searched for."""
        return bool(self.comparisons[0]["verdict"] == "better")

    @property
    def worse(self) -> bool:
        """Whether it is worse by that."""
        return bool(self.comparisons[0]["verdict"] == "worse")

    def sentence(self) -> str:
        """The answer in words."""
        first, *others = self.comparisons
        start = f"{_subject(first['measure'])}, the tuned {rounded(self.winner.schedule)!r}"
        grids = "; ".join(f"{row['measure']}: {in_short(row)}" for row in others)
        return (
            f"{start} {in_words(first)} ({grounds(first)}). By the other measures: {grids}. Ratios of losses with 95 % intervals over n = "
            f"{self.repetitions} repetitions, each on two seeds that the search did not see: one chooses the rates, the other reports. Holm's correction "
            f"over these {len(self.comparisons)} verdicts."
        )


def _subject(measure: str) -> str:
    if measure == TUNED:
        return "Each schedule at its own best rate"
    return "On grids of a random ratio and offset" if measure == ANY_GRID else f"By the {measure}"


def in_words(row: Mapping[str, Any]) -> str:
    """A comparison as the end of a sentence.

    >>> row = {"verdict": "better", "baseline": "linear", "at_boundary": False, "ratio": {"value": 0.97, "low": 0.95, "high": 0.99}}
    >>> in_words(row)
    'is better than the best baseline (linear), 0.97 [0.95, 0.99] times its loss'
    >>> in_words(row | {"verdict": "cannot be judged", "at_boundary": True})
    'cannot be judged against the best baseline (linear), since a best rate lies near an end of the window: 0.97 [0.95, 0.99] times its loss'
    """
    baseline = f"the best baseline ({row['baseline']})"
    if row["verdict"] == UNJUDGED:
        why = "a best rate lies near an end of the window" if row["at_boundary"] else "there is one repetition only"
        return f"cannot be judged against {baseline}, since {why}: {times(row)} times its loss"
    return f"is {row['verdict']} than {baseline}, {times(row)} times its loss"


def in_short(row: Mapping[str, Any]) -> str:
    """A comparison in a list: the verdict, the baseline and the ratio."""
    return f"{row['verdict']} ({row['baseline']}, {times(row)})"


def times(row: Mapping[str, Any]) -> str:
    """The ratio of the losses with its interval, to three digits."""
    ratio = row["ratio"]
    return f"{ratio['value']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}]"


def rounded(schedule: AbstractSchedule) -> AbstractSchedule:
    """The same with its numbers to six digits, for people.

    >>> from adaptive_lr import DampedCosine
    >>> rounded(DampedCosine(exponent=0.7702011511702995))
    DampedCosine(exponent=0.770201)
    """
    leaves = {name: value for name, value in schedule.leaves().items() if isinstance(value, float)}
    try:
        return schedule.with_leaves({name: float(f"{value:.6g}") for name, value in leaves.items()})
    except SpecError:  # numbers that depend on each other
        return schedule
