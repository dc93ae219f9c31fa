"""What a folder below papers/ declares: the paper, and its claims with what is expected of them; read from ``paper.toml``."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptive_lr.errors import InputError

FOLDER = Path("papers")
"""Where papers are declared, below the working directory."""

VERDICTS = ("reproduced", "in part", "not reproduced")
"""What a claim is declared to be, and what its measurement comes to."""

RELATIONS = ("close", "at most", "at least", "between")
"""How a measured number lies to the expected one."""

TIERS = ("fast", "slow")
"""Fast claims are measured with every run of the tests."""

_PAPER: dict[str, type | tuple[type, ...]] = {
    "title": str,
    "authors": list,
    "year": int,
    "arxiv": str,
    "doi": str,
    "venue": str,
    "notation": dict,
    "claim": list,
}
_CRITERION: dict[str, type | tuple[type, ...]] = {
    "relation": str,
    "expected": (int, float, list),
    "tolerance": (int, float),
}
_CLAIM: dict[str, type | tuple[type, ...]] = _CRITERION | {
    "id": str,
    "source": str,
    "statement": str,
    "tier": str,
    "verdict": str,
    "why": str,
    "n": int,
    "data": str,
    "trains": bool,
    "part": dict,
    "measured": (int, float),
}


@dataclass(frozen=True)
class Criterion:
    """The numbers that count as reproduced: low <= number <= high.

    Attributes:
        relation: one of ``RELATIONS``.
        expected: the number, or both ends of ``between``.
        tolerance: of ``close``, as a share of the expected number, or of 1 where that is 0.
    """

    relation: str
    expected: tuple[float, ...]
    tolerance: float = 0.0

    @property
    def range(self) -> tuple[float, float]:
        """Low and high.

        >>> Criterion("close", (2.0,), 0.25).range
        (1.5, 2.5)
        """
        first, last = self.expected[0], self.expected[-1]
        if self.relation == "close":
            room = self.tolerance * (abs(first) or 1.0)
            return first - room, first + room
        if self.relation == "at most":
            return -math.inf, first
        if self.relation == "at least":
            return first, math.inf
        return first, last

    def holds(self, low: float, high: float) -> bool:
        """Whether all that is between two numbers counts as reproduced."""
        least, most = self.range
        return least <= low and high <= most

    def __str__(self) -> str:
        numbers = " and ".join(f"{number:.6g}" for number in self.expected)
        if self.relation != "close":
            return f"{self.relation} {numbers}"
        return numbers if self.tolerance < 1e-5 else f"{numbers} ± {100.0 * self.tolerance:.3g} %"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper, and what a measurement must give for it to hold.

    Attributes:
        id: its name; ``reproduce.py`` has a function of this name, with _ for -.
        source: where the paper says so.
        statement: the sentence.
        criterion: what counts as reproduced.
        tier: one of ``TIERS``.
        verdict: one of ``VERDICTS``, as declared.
        why: the reason for a verdict that is not ``reproduced``.
        part: what counts as reproduced in part.
        measured: the number that a claim that is not reproduced gives here, within 1 %.
        n: the number of independent measurements that were decided on beforehand.
        data: a folder with recorded runs that the measure reads, below the one that is named when papers are judged.
        trains: whether the measure keeps trials in a store.
    """

    id: str
    source: str
    statement: str
    criterion: Criterion
    tier: str
    verdict: str
    why: str = ""
    part: Criterion | None = None
    measured: float | None = None
    n: int | None = None
    data: str = ""
    trains: bool = False

    @property
    def measure(self) -> str:
        """The name of the function in ``reproduce.py``."""
        return self.id.replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A folder below papers/.

    Attributes:
        name: of the folder.
        folder: where it lies.
        title: of the paper.
        authors: in order.
        year: of publication.
        arxiv: the identifier there, or nothing.
        doi: or nothing.
        venue: where it was published, or nothing.
        notation: the paper's symbols to the fields of this package.
        claims: in order.
    """

    name: str
    folder: Path
    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str
    doi: str
    venue: str
    notation: Mapping[str, str]
    claims: tuple[Claim, ...]

    @property
    def short(self) -> str:
        """First author's family name and year, as in a text.

        Two authors are both named, of more the first.
        """
        families = [author.split()[-1] for author in self.authors]
        named = (
            families[0]
            if len(families) == 1
            else " & ".join(families)
            if len(families) == 2
            else f"{families[0]} et al."
        )
        return f"{named} {self.year}"


def paper_names(folder: Path = FOLDER) -> list[str]:
    """The names of the folders that declare a paper, in order."""
    return sorted(path.parent.name for path in folder.glob("*/paper.toml"))


def load_paper(name: str, folder: Path = FOLDER) -> Paper:
    """What ``folder/name/paper.toml`` declares; nothing is executed.

    Raises:
        InputError: there is no such paper, or a key or a value is not one that a paper has; the line names paper and claim.
    """
    path = folder / name / "paper.toml"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name):
        raise InputError(f"a paper is named as in loshchilov-2017-sgdr, got {name!r}")
    if not path.is_file():
        known = ", ".join(paper_names(folder)) or "none"
        raise InputError(f"there is no paper {name}: {path} is absent; there are {known}")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: paper.toml cannot be read: {error}") from None
    _check(name, data, _PAPER, ("title", "authors", "year", "claim"))
    if not ("arxiv" in data or "doi" in data):
        raise InputError(f"{name}: paper.toml needs arxiv or doi")
    for key in ("authors", "claim"):
        if not data[key]:
            raise InputError(f"{name}: {key} must not be empty")
    claims = tuple(_claim(name, index, row) for index, row in enumerate(data["claim"], start=1))
    ids = [claim.id for claim in claims]
    if repeated := sorted({identifier for identifier in ids if ids.count(identifier) > 1}):
        raise InputError(f"{name}: the claim {repeated[0]} is declared twice")
    return Paper(
        name=name,
        folder=path.parent,
        title=data["title"],
        authors=tuple(data["authors"]),
        year=data["year"],
        arxiv=data.get("arxiv", ""),
        doi=data.get("doi", ""),
        venue=data.get("venue", ""),
        notation=data.get("notation", {}),
        claims=claims,
    )


def _claim(paper: str, index: int, row: Any) -> Claim:
    named = row.get("id") if isinstance(row, dict) else None
    where = f"{paper}: {named if isinstance(named, str) else f'claim {index}'}"
    _check(where, row, _CLAIM, ("id", "source", "statement", "relation", "expected", "tier", "verdict"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", row["id"]):
        raise InputError(f"{where}: id is words of small letters and digits with - between them, got {row['id']!r}")
    _choose(where, "tier", row["tier"], TIERS)
    _choose(where, "verdict", row["verdict"], VERDICTS)
    verdict, number = row["verdict"], row.get("measured")
    if (verdict != "reproduced") != bool(row.get("why")):
        raise InputError(f"{where}: a verdict other than reproduced needs why, and only it has one")
    if (verdict == "in part") != ("part" in row):
        raise InputError(
            f"{where}: the verdict in part needs a table part with relation and expected, and only it has one"
        )
    if (verdict == "not reproduced") != (number is not None):
        raise InputError(
            f"{where}: the verdict not reproduced needs measured, what it gives instead, and only it has one"
        )
    if row.get("n", 1) < 1:
        raise InputError(f"{where}: n must be at least 1, got {row['n']}")
    return Claim(
        id=row["id"],
        source=row["source"],
        statement=row["statement"],
        criterion=_criterion(where, {key: row[key] for key in _CRITERION if key in row}),
        tier=row["tier"],
        verdict=verdict,
        why=row.get("why", ""),
        part=_criterion(f"{where}: part", row["part"]) if "part" in row else None,
        measured=None if number is None else float(number),
        n=row.get("n"),
        data=row.get("data", ""),
        trains=row.get("trains", False),
    )


def _criterion(where: str, row: Mapping[str, Any]) -> Criterion:
    _check(where, row, _CRITERION, ("relation", "expected"))
    relation, expected, tolerance = row["relation"], row["expected"], row.get("tolerance")
    _choose(where, "relation", relation, RELATIONS)
    numbers = expected if isinstance(expected, list) else [expected]
    wanted = 2 if relation == "between" else 1
    if len(numbers) != wanted or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        raise InputError(
            f"{where}: {relation} needs {'two finite numbers' if wanted == 2 else 'one finite number'}, got {expected!r}"
        )
    if (relation == "close") != (tolerance is not None):
        raise InputError(f"{where}: close needs a tolerance, and only it has one")
    if tolerance is not None and not 0.0 <= tolerance < 1.0:
        raise InputError(f"{where}: tolerance is a share in [0, 1), got {tolerance!r}")
    if wanted == 2 and numbers[0] > numbers[1]:
        raise InputError(f"{where}: the two numbers of between must ascend, got {expected!r}")
    return Criterion(relation, tuple(map(float, numbers)), float(tolerance or 0.0))


def _choose(where: str, key: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise InputError(f"{where}: {key} is one of {', '.join(options)}, got {value!r}")


def _check(where: str, row: Any, keys: Mapping[str, type | tuple[type, ...]], needed: tuple[str, ...]) -> None:
    if not isinstance(row, dict):
        raise InputError(f"{where}: a table is needed, got {row!r}")
    for key, value in row.items():
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}; there are {', '.join(keys)}")
        kinds = keys[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise InputError(f"{where}: {key} has a value of another kind, got {value!r}")
    for key in needed:
        if key not in row:
            raise InputError(f"{where}: {key} is missing")
