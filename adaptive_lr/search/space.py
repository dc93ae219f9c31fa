"""What a search may choose: numbers within ranges and words from lists, from specs, dictionaries, YAML or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from adaptive_lr.errors import SpecError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from adaptive_lr.spec import Range, Spec

Value: TypeAlias = float | int | str | bool | None
"""One coordinate of a point."""

Point: TypeAlias = dict[str, Value]
"""A value for every name of the space."""

SpaceLike: TypeAlias = "Spec | Mapping[str, Any] | str | Path"
"""A spec, of which the declared search ranges count; a dictionary; or the path of a YAML or JSON file that holds one."""

_KEYS = ("low", "high", "log", "integer", "points", "choices")
_FORMS = "a Range, a range of whole numbers, a list of choices, a spec, or a mapping with low and high"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One name of the space: an interval of numbers, or a list of choices.

    Attributes:
        low: the least value.
        high: the greatest value.
        log: whether the logarithm is what is uniform.
        integer: whether only whole numbers are meant.
        points: how many values the grid sampler takes of an interval.
        choices: the values to choose from; then the others mean nothing.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False
    points: int | None = None
    choices: tuple[Value, ...] = ()

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def at(self, unit: float) -> Value:
        """The value at a place in [0, 1): every value of the axis is as likely as the axis says.

        >>> Axis(low=0.01, high=1.0, log=True).at(0.5)
        0.1
        >>> Axis(choices=("sgd", "adamw")).at(0.7)
        'adamw'
        """
        if self.choices:
            return self.choices[int(unit * len(self.choices))]
        low, high = (self.low - 0.5, self.high + 0.5) if self.integer else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        else:
            value = low + unit * (high - low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.integer else float(f"{value:.12g}")

    def grid(self, name: str) -> list[Value]:
        """The values that a grid takes.

        Raises:
            SpecError: the axis is an interval of real numbers without ``points``.
        """
        if self.choices:
            return list(self.choices)
        if self.points is None and self.integer:
            return list(range(int(self.low), int(self.high) + 1))
        if self.points is None:
            raise SpecError(f"a grid needs the values of {name!r}: give a list, or points with low and high")
        last = max(self.points - 1, 1)
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        values = [ends[0] + (ends[1] - ends[0]) * index / last for index in range(self.points)]
        if self.log:
            values = [math.exp(value) for value in values]
        return list(dict.fromkeys(round(value) if self.integer else float(f"{value:.12g}") for value in values))


@dataclass(frozen=True)
class Space:
    """The axes of a search by name."""

    axes: dict[str, Axis]

    def distributions(self) -> dict[str, BaseDistribution]:
        """The same for Optuna."""
        return {name: axis.distribution() for name, axis in self.axes.items()}

    def encoded(self) -> dict[str, Any]:
        """Plain data that tells one space from another."""
        return {name: json.loads(json.dumps(asdict(axis))) for name, axis in self.axes.items()}

    @classmethod
    def read(cls, source: SpaceLike) -> Space:
        """The space that is meant by a spec, a dictionary or a file.

        Raises:
            SpecError: it cannot be understood; the message names the entry, the rule and the value.

        >>> from adaptive_lr import DampedCosine, Range
        >>> list(Space.read({"lr": Range(1e-4, 1.0, log=True), "optimizer": ["sgd", "adamw"]}).axes)
        ['lr', 'optimizer']
        >>> list(Space.read(DampedCosine()).axes)
        ['k', 'exponent']
        """
        from adaptive_lr.spec import Spec

        if isinstance(source, str | Path):
            source = _file(Path(source))
        if isinstance(source, Spec):
            axes = {name: _interval(name, interval) for name, interval in source.search_space().items()}
            if not axes:
                raise SpecError(f"{source!r} declares no search range: give a dictionary of names and ranges")
            return cls(axes)
        if not isinstance(source, Mapping):
            raise SpecError(f"a search space must be a spec, a mapping or a file, got {source!r}")
        axes = dict[str, Axis]()
        for name, entry in source.items():
            if not isinstance(name, str) or not name or not _is_text(name):
                raise SpecError(f"the names of a search space must be text, got {name!r}")
            if isinstance(entry, Spec):
                inner = entry.search_space()
                axes |= {f"{name}.{leaf}": _interval(f"{name}.{leaf}", each) for leaf, each in inner.items()}
            else:
                axes[name] = _axis(name, entry)
        if not axes:
            raise SpecError("the search space is empty: name at least one thing to search")
        return cls(axes)


def _is_text(word: str) -> bool:
    """Whether a file can hold it: a lone surrogate is half of a letter."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot read the search space {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SpecError(f"cannot read the search space {path}: it is no text") from None
    try:
        from adaptive_lr.documents import parse_json, parse_yaml

        content = parse_json(text) if path.suffix == ".json" else parse_yaml(text)
    except ValueError as error:  # a SpecError is one
        raise SpecError(f"{path}: {error}") from None
    if not isinstance(content, Mapping):
        raise SpecError(f"{path} must hold a mapping of names to ranges, got {type(content).__name__}")
    return content


def _axis(name: str, entry: Any) -> Axis:
    from adaptive_lr.spec import Range, lookup

    if isinstance(entry, Range):
        return _interval(name, entry)
    if isinstance(entry, range):
        if len(entry) < 2 or entry.step != 1:
            raise SpecError(f"the range of {name!r} must hold at least two neighbouring whole numbers, got {entry!r}")
        return Axis(low=entry[0], high=entry[-1], integer=True)
    if isinstance(entry, Sequence) and not isinstance(entry, str | bytes):
        return _choices(name, entry)
    if isinstance(entry, Mapping):
        for key in entry:
            lookup(str(key), _KEYS, f"key of {name!r} in the search space")
        if "choices" in entry:
            if len(entry) > 1:
                raise SpecError(f"{name!r} has choices, so it can have no {', '.join(sorted({*entry} - {'choices'}))}")
            return _choices(name, entry["choices"])
        for key in ("low", "high"):
            if key not in entry:
                raise SpecError(f"{name!r} needs {key}: it must be {_FORMS}")
        return _from_mapping(name, entry)
    raise SpecError(f"{name!r} must be {_FORMS}, got {entry!r}")


def _from_mapping(name: str, entry: Mapping[str, Any]) -> Axis:
    from adaptive_lr.spec import Range

    flags = {key: entry.get(key, False) for key in ("log", "integer")}
    for key, flag in flags.items():
        if not isinstance(flag, bool):
            raise SpecError(f"{key} of {name!r} must be true or false, got {flag!r}")
    points = entry.get("points")
    if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
        raise SpecError(f"points of {name!r} must be a whole number of at least 1, got {points!r}")
    axis = _interval(name, Range(entry["low"], entry["high"], flags["log"]))
    if flags["integer"] and not (axis.low == int(axis.low) and axis.high == int(axis.high)):
        raise SpecError(f"{name!r} is of whole numbers, so low and high must be, got {axis.low:g} and {axis.high:g}")
    return Axis(low=axis.low, high=axis.high, log=flags["log"], integer=flags["integer"], points=points)


def _interval(name: str, interval: Range) -> Axis:
    for key, value in (("low", interval.low), ("high", interval.high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SpecError(f"{key} of {name!r} must be a finite number, got {value!r}")
    if not interval.low < interval.high:
        raise SpecError(f"low of {name!r} must be below high, got {interval.low:g} and {interval.high:g}")
    if interval.log and interval.low <= 0:
        raise SpecError(f"{name!r} has a logarithmic axis, so low must be above 0, got {interval.low:g}")
    return Axis(low=float(interval.low), high=float(interval.high), log=interval.log)


def _choices(name: str, choices: Any) -> Axis:
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise SpecError(f"the choices of {name!r} must be a list of at least one value, got {choices!r}")
    for choice in choices:
        if choice is not None and not isinstance(choice, bool | int | float | str):
            raise SpecError(f"the choices of {name!r} must be words, numbers, true, false or null, got {choice!r}")
        if isinstance(choice, str) and not _is_text(choice):
            raise SpecError(f"the choices of {name!r} must be text that a file can hold, got {choice!r}")
        if isinstance(choice, float) and not math.isfinite(choice):
            raise SpecError(f"the choices of {name!r} must be finite, got {choice!r}")
    if len({(type(choice), choice) for choice in choices}) < len(choices) or len(set(choices)) < len(choices):
        raise SpecError(f"the choices of {name!r} must differ, got {list(choices)!r}")
    return Axis(choices=tuple(choices))
