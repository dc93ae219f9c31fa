"""Schedules as documents: ``{"format": 1, "adaptive_lr": "0.1.0", "spec": {"kind": …}}``, in JSON or YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from torch import Tensor

from adaptive_lr.documents import DEEPEST, MOST_DIGITS
from adaptive_lr.documents import parse_json as parse_json
from adaptive_lr.documents import parse_yaml as parse_yaml
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule
from adaptive_lr.spec import decode, encode, lookup

FORMAT = 1
"""Version of the layout of a document."""

_MOST_BITS = (10**MOST_DIGITS).bit_length()


def to_dict(spec: AbstractSchedule) -> dict[str, Any]:
    """Plain data: the version of the layout, that of this package, and the schedule.

    Raises:
        SpecError: ``spec`` is no schedule, or many of them stacked.

    >>> from adaptive_lr import Linear
    >>> to_dict(Linear())["spec"]
    {'kind': 'linear', 'floor': 0.0}
    """
    if not isinstance(spec, AbstractSchedule):
        raise SpecError(f"only schedules can be written, got {spec!r}")
    if any(isinstance(leaf, Tensor) for leaf in spec.leaves().values()):
        raise SpecError("a stack of schedules cannot be written: write them one by one")
    return {"format": FORMAT, "adaptive_lr": _version(), "spec": encode(spec)}


def from_dict(document: Mapping[str, Any]) -> AbstractSchedule:
    """The schedule that `to_dict` turned into ``document``; which version of this package wrote it does not matter.

    A `SpecError` says that the document has a newer format, is no such document, or holds a value that is not allowed.

    >>> from_dict({"format": 1, "adaptive_lr": "0.1.0", "spec": {"kind": "linear", "floor": 0.5}})
    Linear(floor=0.5)
    """
    return _decoded(document)


def to_json(spec: AbstractSchedule, *, indent: int | None = 2) -> str:
    """JSON of `to_dict`."""
    return json.dumps(to_dict(spec), indent=indent, allow_nan=False)


def from_json(text: str) -> AbstractSchedule:
    """The schedule that `to_json` wrote; a `SpecError` if the text is no JSON or gives a name twice, or see `from_dict`."""
    return from_dict(parse_json(text))


def to_yaml(spec: AbstractSchedule) -> str:
    """YAML of `to_dict`."""
    return cast(str, yaml.safe_dump(to_dict(spec), sort_keys=False))


def from_yaml(text: str) -> AbstractSchedule:
    """The schedule that `to_yaml` wrote, or that was written by hand; a `SpecError` if the text is no YAML, or see `from_dict`.

    >>> from_yaml("{format: 1, spec: {kind: damped_cosine, floor: 1e-3}}")
    DampedCosine(floor=0.001)
    """
    return from_dict(parse_yaml(text))


def _decoded(document: Any) -> AbstractSchedule:
    if not isinstance(document, Mapping):
        raise SpecError(f"a document must be a mapping with format and spec, got {type(document).__name__}")
    _check_content(document)
    number = document.get("format")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise SpecError(f"the format of a document must be a whole number of at least 1, got {number!r}")
    if number > FORMAT:
        raise SpecError(
            f"the document has format {number}, written by adaptive_lr {document.get('adaptive_lr', '?')}; version {_version()} "
            f"reads up to {FORMAT}: install a newer one"
        )
    for name in document:
        lookup(name, ("format", "adaptive_lr", "spec"), "field of a document")
    content = document.get("spec")
    if not isinstance(content, Mapping):
        raise SpecError(f"the spec of a document must be a mapping with a kind, got {type(content).__name__}")
    return cast(AbstractSchedule, decode(content, SCHEDULES))


def _check_content(document: Mapping[Any, Any]) -> None:
    """See that names are text, that a float can hold the numbers, and that nothing is nested without end.

    Raises:
        SpecError: one of that does not hold.
    """
    level: list[Any] = [document]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                if wrong := [name for name in value if not isinstance(name, str)]:
                    raise SpecError(f"the names in a document must be text, got {wrong[0]!r}")
                inner += value.values()
            elif isinstance(value, list | tuple):
                inner += value
            elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise SpecError(f"a whole number in the document has more than {MOST_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise SpecError(f"the document is nested too deeply: {DEEPEST} levels are allowed")


def _version() -> str:
    try:
        return version("adaptive-lr")
    except PackageNotFoundError:
        return "unknown"
