"""What is measured, what should come of it, and a measured row as JSON and as text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

UNITS: dict[str, Callable[[float], str]] = {
    "times": lambda value: f"{value:.2f} ×" if value < 10.0 else f"{value:.3g} ×",
    "share": lambda value: f"{value:.1%}",
    "ms": lambda value: f"{value:.3g} ms",
    "s": lambda value: f"{value:.3g} s",
    "GB": lambda value: f"{value:.2f} GB",
}
"""Units by their name in the JSON, and how a value is written."""


class LeftOutError(Exception):
    """A row that is left out; the message is the reason."""


class IncomparableError(Exception):
    """Two computations that are to be compared are not the same."""


@dataclass(frozen=True)
class Aim:
    """What the median should be: at least ``value``, or at most."""

    value: float
    at_most: bool = False

    def missed(self, median: float) -> bool:
        """Whether the median is on the wrong side."""
        return median > self.value if self.at_most else median < self.value


@dataclass(frozen=True)
class Measured:
    """One value for each repetition, in any order; ``note`` is said beside the row.

    Of many short repetitions, ``middle_half`` says that the spread is from the first quartile to the third, not the range.
    """

    values: Sequence[float]
    note: str = ""
    middle_half: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row to be measured.

    Attributes:
        what: the text of the row, one of its kind in the table.
        aim: what it should come to.
        unit: a key of ``UNITS``.
        measure: measures it, with so many pairs or repetitions; raises `LeftOutError` where it cannot.
    """

    what: str
    aim: Aim
    measure: Callable[[int], Measured]
    unit: str = "times"


def measured(case: Case, pairs: int) -> dict[str, Any]:
    """The row of a case as plain data: median, least and greatest value, and aim; or the reason why it is left out."""
    row: dict[str, Any] = {
        "what": case.what,
        "unit": case.unit,
        "aim": case.aim.value,
        "sense": "at most" if case.aim.at_most else "at least",
    }
    try:
        result = case.measure(pairs)
    except LeftOutError as reason:
        return row | {"left_out": str(reason)}
    values = sorted(result.values)
    outside = len(values) // 4 if result.middle_half else 0
    low, high = values[outside], values[-1 - outside]
    row |= {"median": _short(statistics.median(values)), "low": _short(low), "high": _short(high)}
    row |= {"repetitions": len(values), "spread": "middle half" if result.middle_half else "range"}
    return row | ({"note": result.note} if result.note else {})


def missed(row: dict[str, Any]) -> bool:
    """Whether a measured row is on the wrong side of its aim."""
    return "median" in row and Aim(row["aim"], row["sense"] == "at most").missed(row["median"])


def cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """What, median, spread (* where it is the middle half), aim and verdict of a row, as text."""
    write = UNITS[row["unit"]]
    aim = f"{row['sense']} {write(row['aim'])}"
    if "left_out" in row:
        return row["what"], "", "", aim, f"left out: {row['left_out']}"
    verdict = "missed" if missed(row) else "met"
    note = f"; {row['note']}" if "note" in row else ""
    spread = f"{write(row['low'])} to {write(row['high'])}" + (" *" if row["spread"] == "middle half" else "")
    return row["what"], write(row["median"]), spread, aim, verdict + note


def _short(value: float) -> float:
    return float(f"{value:.4g}")
