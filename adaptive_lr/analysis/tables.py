"""Tables of other people's runs: every cell stays text until somebody asks for numbers."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError

Flags = NDArray[np.bool_]

BLANK = ("", "none", "null", "na", "n/a", "<na>")
"""What stands for a cell that holds nothing, in any case of letters: there is no result."""

NOT_FINITE = ("nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
"""What stands for a number that is not finite: there is a result, and it is that the run diverged."""

LARGEST = 1e100
"""Numbers beyond this count as not finite: their squares and sums are not."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Text whose control characters are spelt out, so that none of them reaches a terminal or a page.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def number(text: str) -> float | None:
    """The number that a text is, NaN if it is blank or not a finite one; None if it is no number at all.

    >>> number("1e-3"), number("inf"), number("1_000")
    (0.001, nan, None)
    """
    stripped = text.strip()
    if stripped.lower() in (*BLANK, *NOT_FINITE):
        return math.nan
    if not _NUMBER.fullmatch(stripped):
        return None
    value = float(stripped)
    return value if abs(value) <= LARGEST else math.nan


def is_blank(text: str) -> bool:
    """Whether a cell holds nothing."""
    return text.strip().lower() in BLANK


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        source: the name of the file, for messages.
        columns: by name, all of one length.
        places: where each row stands, for messages: ``line 7``.
    """

    source: str
    columns: Mapping[str, Sequence[str]]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> Sequence[str]:
        """The texts of a column.

        Raises:
            InputError: there is none of that name; the message has the nearest one.
        """
        if name in self.columns:
            return self.columns[name]
        near = nearest(name, list(self.columns))
        hint = f"did you mean {near!r}?" if near else f"it has {shortened(list(self.columns), 20)}"
        raise InputError(f"{self.source} has no column {name!r}; {hint}")

    def numbers(self, name: str) -> Array:
        """A column as numbers, NaN where a cell is blank or says that it is not a finite number.

        Raises:
            InputError: a cell holds another text; the message says where.
        """
        values = [number(text) for text in self.column(name)]
        if None in values:
            row = values.index(None)
            text = self.column(name)[row]
            raise InputError(f"{self.source}, {self.places[row]}: {name} is {quoted(text)}, not a number{_why(text)}")
        return np.array(values, dtype=np.float64)

    def blank(self, name: str) -> Flags:
        """Where a column holds nothing."""
        return np.array([is_blank(text) for text in self.column(name)], dtype=np.bool_)

    def rows(self, keep: Sequence[int]) -> Table:
        """The given rows."""
        columns = {name: [texts[row] for row in keep] for name, texts in self.columns.items()}
        return Table(self.source, columns, [self.places[row] for row in keep])


def _why(text: str) -> str:
    if re.fullmatch(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?", text.strip()):
        return "; write a decimal point for the comma"
    return ""


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that somebody may have meant; None if nothing is near.

    >>> nearest("Lr", ["seed", "peak_lr", "loss"])
    'peak_lr'
    """
    inside = [
        candidate
        for candidate in known
        if name and (name.lower() in candidate.lower() or candidate.lower() in name.lower())
    ]
    close = difflib.get_close_matches(name.lower(), [candidate.lower() for candidate in known], n=1, cutoff=0.5)
    typed = [candidate for candidate in known if close and candidate.lower() == close[0]]
    return next(iter([*typed, *sorted(inside, key=len)]), None)


def quoted(text: str) -> str:
    """A cell in a message, not more of it than can be read."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def shortened(words: Sequence[str], most: int) -> str:
    """Words with commas between them, the first few if there are many."""
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


def from_records(records: Sequence[Mapping[str, str]], places: Sequence[str], source: str) -> Table:
    """Rows from mappings that need not all have the same names; what is missing is empty."""
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {visible(name): [visible(record.get(name, "")) for record in records] for name in names}
    return Table(visible(source), columns, [visible(location) for location in places])
