"""JSON and YAML that somebody else may have written: read within limits, and every name once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped]

from adaptive_lr.errors import SpecError

DEEPEST = 64
"""Levels of nesting in a document."""

MOST_DIGITS = 300
"""Digits of a whole number; a longer one is no floating-point number either."""

LONGEST_YAML = 1_000_000
"""Characters of a YAML text, which is read in pure Python; JSON may be longer."""

MOST_VALUES = 100_000
"""Values of a YAML text once its aliases are written out."""


def parse_json(text: str) -> Any:
    """What a JSON text says.

    Raises:
        SpecError: the text is no JSON, gives a name twice, is nested too deeply, or has a number with too many digits.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    adaptive_lr.errors.SpecError: the name 'a' is given twice
    """
    try:
        content = json.loads(text, object_pairs_hook=_mapping, parse_int=_whole_number)
    except RecursionError:
        raise SpecError(f"this is no JSON that can be read: {_TOO_DEEP}") from None
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(f"this is no JSON: {_one_line(error)}") from None
    _check_depth(content)
    return content


def parse_yaml(text: str) -> Any:
    """What a YAML text says, with numbers as YAML 1.2 has them: 1e-3 is one; 1_000, 1:30 and 010 are text.

    Raises:
        SpecError: the text is no YAML, gives a name twice, is nested too deeply, or too long once its aliases are written out.

    >>> parse_yaml("{a: 1e-3, b: &x [1, 2], c: *x}")
    {'a': 0.001, 'b': [1, 2], 'c': [1, 2]}
    """
    if len(text) > LONGEST_YAML:
        raise SpecError(
            f"a YAML text may have {LONGEST_YAML} characters, this one has {len(text)}: write it as JSON, which is read faster"
        )
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            content = loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise SpecError(_TOO_DEEP) from None
    except SpecError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        # the last four are what PyYAML makes of tags that do not fit their values, such as !!int "" or !!timestamp x
        raise SpecError(f"this is no YAML: {_one_line(error)}") from None
    _check_depth(content)
    return content


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with the numbers of YAML 1.2, and every name in a mapping once."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    replaced = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    return {
        first: [(tag, pattern) for tag, pattern in pairs if tag not in replaced]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _construct_int(loader: Any, node: Any) -> int:
    return _whole_number(loader.construct_scalar(node))


def _construct_mapping(loader: Any, node: Any) -> Iterable[dict[Any, Any]]:
    content: dict[Any, Any] = {}
    yield content  # before what it holds is read, as PyYAML does
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if len(set(names)) < len(names):
        _refuse_twice(names)
    loader.flatten_mapping(node)
    content.update(loader.construct_mapping(node, deep=True))


_Loader.yaml_implicit_resolvers = _resolvers()
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))\Z"
        r"|\.(?:nan|NaN|NAN)\Z"
    ),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)

_TOO_DEEP = f"the document is nested too deeply: {DEEPEST} levels are allowed"


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        _refuse_twice([name for name, _ in pairs])
    return content


def _refuse_twice(names: list[str]) -> None:
    known: set[str] = set()
    for name in names:
        if name in known:
            raise SpecError(f"the name {name!r} is given twice")
        known.add(name)


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise SpecError(f"a whole number may have {MOST_DIGITS} digits, one here has {len(text)}")
    return int(text)


def _check_size(node: Any) -> None:
    """Refuse what would be endless or huge with its aliases written out; each node is counted once."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise SpecError("an alias in the document stands inside of what it is an alias for")
        if depth > DEEPEST:
            raise SpecError(_TOO_DEEP)
        open_nodes.add(id(node))
        total = 1
        if isinstance(node, yaml.MappingNode):
            total += sum(size(key, depth + 1) + size(value, depth + 1) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(size(value, depth + 1) for value in node.value)
        open_nodes.discard(id(node))
        if total > MOST_VALUES:
            raise SpecError(f"the document is too large: {MOST_VALUES} values are allowed, those of aliases included")
        sizes[id(node)] = total
        return total

    size(node, 0)


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise SpecError(_TOO_DEEP)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
