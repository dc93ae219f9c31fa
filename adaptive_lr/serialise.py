"""Schedules as documents: ``{"format": 1, "adaptive_lr": "0.1.0", "spec": {"kind": …}}``, in JSON or YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import yaml  # type: ignore[import-untyped]
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule
from adaptive_lr.spec import decode, encode, lookup

FORMAT = 1
"""Version of the layout of a document."""


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

    Raises:
        SpecError: the document has a newer format, is no such document, or holds a value that is not allowed.

    >>> from_dict({"format": 1, "adaptive_lr": "0.1.0", "spec": {"kind": "linear", "floor": 0.5}})
    Linear(floor=0.5)
    """
    try:
        return _decoded(document)
    except RecursionError:
        raise SpecError("the document is nested too deeply") from None


def to_json(spec: AbstractSchedule, *, indent: int | None = 2) -> str:
    """JSON of `to_dict`."""
    return json.dumps(to_dict(spec), indent=indent, allow_nan=False)


def from_json(text: str) -> AbstractSchedule:
    """The schedule that `to_json` wrote.

    Raises:
        SpecError: the text is no JSON, or see `from_dict`.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"this is no JSON: {_one_line(error)}") from None
    return from_dict(document)


def to_yaml(spec: AbstractSchedule) -> str:
    """YAML of `to_dict`."""
    return cast(str, yaml.safe_dump(to_dict(spec), sort_keys=False))


def from_yaml(text: str) -> AbstractSchedule:
    """The schedule that `to_yaml` wrote, or that was written by hand; a `SpecError` if the text is no YAML, or see `from_dict`.

    >>> from_yaml("{format: 1, spec: {kind: damped_cosine, floor: 1e-3}}")
    DampedCosine(floor=0.001)
    """
    return from_dict(parse_yaml(text))


def parse_yaml(text: str) -> Any:
    """What a YAML text says, with 1e-3 for a number.

    Raises:
        SpecError: the text is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"this is no YAML: {_one_line(error)}") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, which also knows 1e-3 for a number; YAML 1.1 wants a point in it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def _decoded(document: Any) -> AbstractSchedule:
    if not isinstance(document, Mapping):
        raise SpecError(f"a document must be a mapping with format and spec, got {type(document).__name__}")
    _check_keys(document)
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


def _check_keys(value: Any) -> None:
    if isinstance(value, Mapping):
        for name, content in value.items():
            if not isinstance(name, str):
                raise SpecError(f"the names in a document must be text, got {name!r}")
            _check_keys(content)
    elif isinstance(value, list | tuple):
        for content in value:
            _check_keys(content)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _version() -> str:
    try:
        return version("adaptive-lr")
    except PackageNotFoundError:
        return "unknown"
