"""Specs: frozen values that declare the legal domain and the search range of every number in them.

Everything configurable (a schedule, a task, an optimizer, a trial) is a spec. From one declaration follow equality, hashing,
JSON and back, a digest, a readable ``repr``, the search space, and stacking many specs into one batch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard, TypeVar, Union, dataclass_transform

import numpy as np

from adaptive_lr.errors import SpecError

if TYPE_CHECKING:  # a search of a function that does not use torch need not wait for it
    from torch import Tensor

NUMBERS = (int, float, np.integer, np.floating)
"""What counts as a number: Python's and NumPy's; a bool must be left out beside."""

Scalar = Union[float, "Tensor"]
"""One number, or one number per trial as a tensor of shape ``[B, 1]``."""


@dataclass(frozen=True)
class Domain:
    """An interval of legal values, written as in mathematics: ``Domain.parse("(0, 1]")``."""

    low: float
    high: float
    low_open: bool
    high_open: bool

    @classmethod
    @lru_cache
    def parse(cls, text: str) -> Domain:
        """Read interval notation; ``inf`` is allowed as an open end.

        >>> Domain.parse("(0, 64]").contains(0.0)
        False
        """
        low, high = text[1:-1].split(",")
        return cls(float(low), float(high), text[0] == "(", text[-1] == ")")

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN never does."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class Range:
    """Where a search should look for a number: ``[low, high]``, on a logarithmic axis if ``log``."""

    low: float
    high: float
    log: bool = False


def number(
    domain: str,
    *,
    default: Any = MISSING,
    search: Range | None = None,
    integer: bool = False,
    optional: bool = False,
) -> Any:
    """Declare a numeric field; integers become floats unless ``integer``, None passes if ``optional``."""
    rule = {"domain": Domain.parse(domain), "search": search, "integer": integer, "optional": optional}
    return field(default=default, metadata=rule)


def numbers(domain: str, *, default: Any = MISSING, integer: bool = False) -> Any:
    """Declare a field that holds a tuple of numbers, each inside ``domain``."""
    return field(default=default, metadata={"domain": Domain.parse(domain), "integer": integer, "many": True})


def choice(options: Sequence[str], *, default: Any = MISSING, added: bool = False) -> Any:
    """Declare a field that holds one of a few words; ``added`` if specs were stored without it: see `canonical_json`."""
    return field(default=default, metadata={"options": tuple(options)} | ({"omitted": default} if added else {}))


def component(base: type[Spec], *, default: Any = MISSING, added: bool = False) -> Any:
    """Declare a field that holds another spec of the given base class; ``added`` as in `choice`."""
    return field(default=default, metadata={"component": base} | ({"omitted": default} if added else {}))


def components(base: type[Spec], *, default: Any = MISSING) -> Any:
    """Declare a field that holds a tuple of specs of the given base class, at least one."""
    return field(default=default, metadata={"components": base})


S = TypeVar("S")


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(number, numbers, choice, component, components),
)
def spec(cls: type[S]) -> type[S]:
    """Class decorator: a frozen, keyword-only dataclass that keeps ``Spec``'s ``repr``."""
    return dataclass(frozen=True, kw_only=True, repr=False)(cls)


class Spec:
    """A frozen value whose fields check themselves. Subclasses are decorated with ``@spec``."""

    kind: ClassVar[str]
    """Stable public name, used in JSON and on the command line."""

    def __post_init__(self) -> None:
        for name, title, rule in _rules(type(self)):  # type: ignore[arg-type]  # a class can be hashed
            object.__setattr__(self, name, _checked(title, getattr(self, name), rule))
        self.check()

    def check(self) -> None:
        """Raise ``SpecError`` for a rule that involves several fields. Nothing by default."""

    def leaves(self) -> dict[str, Scalar]:
        """Every number in the spec under its dotted name, nested specs included.

        Returns:
            For instance ``{"fraction": 0.05, "then.exponent": 2.0}``; None is left out.
        """
        leaves: dict[str, Scalar] = {}
        for item in fields(self):  # type: ignore[arg-type]
            _collect(leaves, item.name, getattr(self, item.name), "domain" in item.metadata)
        return leaves

    def with_leaves(self, values: Mapping[str, Scalar]) -> Self:
        """A copy with the named numbers replaced, and checked like any others.

        Raises:
            KeyError: a name is not among ``leaves()``.
        """
        known = self.leaves()
        for name in values:
            if name not in known:
                raise KeyError(f"{type(self).__name__} has no leaf {name!r}; it has {', '.join(known)}")
        rebuilt: Self = _rebuilt(self, "", values)
        return rebuilt

    def search_space(self) -> dict[str, Range]:
        """The search ranges declared in this spec and in those inside it, by leaf name."""
        space: dict[str, Range] = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            inner = nested(item.name, value)
            if inner:
                for prefix, part in inner.items():
                    space |= {f"{prefix}.{name}": r for name, r in part.search_space().items()}
            elif item.metadata.get("search") is not None and value is not None:
                space[item.name] = item.metadata["search"]
        return space

    def digest(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the canonical JSON: a stable identity."""
        return hashlib.sha256(canonical_json(self).encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        shown = []
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if _is_tensor(value) or item.default is MISSING or value != item.default:
                shown.append(f"{item.name}={_short(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def nested(name: str, value: Any) -> dict[str, Spec]:
    """The specs in a field by their dotted name: ``{"then": …}``, or ``{"schedules.0": …, "schedules.1": …}``."""
    if isinstance(value, Spec):
        return {name: value}
    if isinstance(value, tuple):
        return {f"{name}.{index}": part for index, part in enumerate(value) if isinstance(part, Spec)}
    return {}


def encode(value: Spec) -> dict[str, Any]:
    """Plain data for JSON: the spec's ``kind`` and all its fields, nested specs included."""
    encoded: dict[str, Any] = {"kind": value.kind}
    for item in fields(value):  # type: ignore[arg-type]
        content = getattr(value, item.name)
        if isinstance(content, tuple):
            encoded[item.name] = [encode(part) if isinstance(part, Spec) else part for part in content]
        else:
            encoded[item.name] = encode(content) if isinstance(content, Spec) else content
    return encoded


def decode(data: Mapping[str, Any], kinds: Iterable[type[Spec]]) -> Spec:
    """The spec that ``encode`` turned into ``data``.

    Args:
        data: what ``encode`` returned, possibly after a trip through JSON.
        kinds: the spec classes that may occur.

    Raises:
        SpecError: a kind or field is unknown, a field is missing, or a value is not allowed.
    """
    known = {cls.kind: cls for cls in kinds}
    cls = known.get(lookup(str(data.get("kind")), known, "kind"))
    assert cls is not None
    names = {item.name for item in fields(cls)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in data.items():
        if name == "kind":
            continue
        lookup(name, names, f"field of {cls.__name__}")
        if isinstance(value, list | tuple):
            arguments[name] = tuple(_decoded(part, known.values()) for part in value)
        else:
            arguments[name] = _decoded(value, known.values())
    for item in fields(cls):  # type: ignore[arg-type]
        if item.default is MISSING and item.name not in arguments:
            raise SpecError(f"{cls.__name__} needs the field {item.name!r}")
    return cls(**arguments)


def _decoded(value: Any, kinds: Iterable[type[Spec]]) -> Any:
    return decode(value, kinds) if isinstance(value, Mapping) else value


def lookup(name: str, known: Iterable[str], what: str) -> str:
    """``name`` if it is known; otherwise an error that suggests the nearest known name.

    Raises:
        SpecError: the name is not among ``known``.
    """
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    raise SpecError(f"unknown {what} {name!r}; {hint}")


@lru_cache(maxsize=65536)
def canonical_json(value: Spec) -> str:
    """JSON, the kind first, then the fields by name, but ``added`` ones with their default: older digests stand, equal specs give equal text."""
    parts = [f'"kind":{json.dumps(value.kind)}']
    for name, _, rule in sorted(_rules(type(value)), key=lambda rule: rule[0]):  # type: ignore[arg-type]
        if (content := getattr(value, name)) == rule.get("omitted", MISSING):
            continue
        if isinstance(content, Spec):
            text = canonical_json(content)
        elif inner := nested(name, content):
            text = f"[{','.join(canonical_json(part) for part in inner.values())}]"
        else:
            text = repr(content) if type(content) is int else json.dumps(content)
        parts.append(f'"{name}":{text}')
    return "{" + ",".join(parts) + "}"


@lru_cache(maxsize=1024)
def _rules(kind: type[Spec]) -> tuple[tuple[str, str, Mapping[str, Any]], ...]:
    """The fields of a class by name: what messages call each, and what it may hold."""
    return tuple((item.name, f"{kind.__name__}.{item.name}", item.metadata) for item in fields(kind))  # type: ignore[arg-type]


def structure(value: Spec) -> tuple[Any, ...]:
    """What must agree for specs to be stacked: the classes, the words and which numbers are given."""
    parts: list[Any] = [type(value)]
    for item in fields(value):  # type: ignore[arg-type]
        content = getattr(value, item.name)
        if inner := nested(item.name, content):
            parts.append(tuple(structure(part) for part in inner.values()))
        elif isinstance(content, tuple):
            parts.append(len(content))
        elif "domain" in item.metadata:
            parts.append(content is None)
        else:
            parts.append(content)
    return tuple(parts)


def on_cpu() -> AbstractContextManager[Any]:
    """Within it tensors are made on the CPU, whatever default device was set."""
    import torch

    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def stack(specs: Sequence[S]) -> S:
    """One spec whose numbers are columns of shape ``[B, 1]``, float64, from B specs of one structure.

    Raises:
        SpecError: there are no specs, or their structures differ.
    """
    import torch

    if not specs:
        raise SpecError("cannot stack an empty list of specs")
    first = specs[0]
    assert isinstance(first, Spec)
    if any(structure(other) != structure(first) for other in specs[1:]):  # type: ignore[arg-type]
        raise SpecError("cannot stack specs of different structure")
    leaves = [member.leaves() for member in specs]  # type: ignore[attr-defined]
    columns = {
        name: torch.tensor([[row[name]] for row in leaves], dtype=torch.float64, device="cpu") for name in leaves[0]
    }
    stacked: S = _rebuilt(first, "", columns)
    return stacked


def _checked(name: str, value: Any, rule: Mapping[str, Any]) -> Any:
    if "options" in rule:
        if value not in rule["options"]:
            raise SpecError(f"{name} must be one of {', '.join(rule['options'])}, got {value!r}")
    elif "component" in rule:
        base: type[Spec] = rule["component"]
        if not isinstance(value, base):
            raise SpecError(f"{name} must be an instance of {base.__name__}, got {value!r}")
    elif "components" in rule:
        kind: type[Spec] = rule["components"]
        if not isinstance(value, list | tuple) or not value or not all(isinstance(part, kind) for part in value):
            raise SpecError(f"{name} must be one or more of {kind.__name__}, got {value!r}")
        return tuple(value)
    elif rule.get("many"):
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SpecError(f"{name} must be a sequence of numbers, got {value!r}")
        return tuple(_checked_number(name, element, rule) for element in value)
    elif "domain" in rule:
        if value is None and rule["optional"]:
            return None
        return _checked_number(name, value, rule)
    return value


def _checked_number(name: str, value: Any, rule: Mapping[str, Any]) -> Any:
    domain: Domain = rule["domain"]
    if _is_tensor(value):
        for element in value.flatten().tolist():
            _checked_number(name, element, rule)
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        raise SpecError(f"{name} must be a number, got {value!r}")
    if rule["integer"] and (not math.isfinite(value) or value != int(value)):
        raise SpecError(f"{name} must be a whole number, got {value!r}")
    if not domain.contains(float(value)):
        raise SpecError(f"{name} must lie in {domain}, got {value!r}")
    return int(value) if rule["integer"] else float(value) + 0.0  # +0.0 turns -0.0 into 0.0


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor, which nothing is where torch has not been imported."""
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))


def _collect(leaves: dict[str, Scalar], name: str, value: Any, numeric: bool) -> None:
    if inner := nested(name, value):
        for prefix, part in inner.items():
            leaves.update({f"{prefix}.{leaf}": number for leaf, number in part.leaves().items()})
    elif isinstance(value, tuple):
        leaves.update({f"{name}.{index}": leaf for index, leaf in enumerate(value)})
    elif numeric and value is not None:
        leaves[name] = value


def _rebuilt(value: Any, prefix: str, leaves: Mapping[str, Scalar]) -> Any:
    if isinstance(value, Spec):
        changes = {
            item.name: _rebuilt(getattr(value, item.name), f"{prefix}{item.name}.", leaves)
            for item in fields(value)  # type: ignore[arg-type]
        }
        return replace(value, **changes)  # type: ignore[type-var]
    if isinstance(value, tuple):
        return tuple(
            _rebuilt(element, f"{prefix}{index}.", leaves)
            if isinstance(element, Spec)
            else leaves.get(f"{prefix}{index}", element)
            for index, element in enumerate(value)
        )
    return leaves.get(prefix[:-1], value)


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return repr(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
