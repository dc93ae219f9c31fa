"""Which function a search is of, and whether it is still the same: its name, and a digest of its source."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any


def name_of(function: Any) -> str:
    """``MODULE:NAME``, in which a script and a file have their own names, however they were started or found.

    >>> name_of(name_of)
    'named:name_of'
    """
    inner = _inner(function)
    module = sys.modules.get(getattr(inner, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    where = Path(file).stem if file is not None else getattr(inner, "__module__", None) or "?"
    return f"{where}:{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def source_of(function: Any) -> str | None:
    """A digest of the source of the function and of what it uses of its own module, or None where there is no source.

    >>> source_of(source_of) == source_of(source_of) != source_of(name_of)
    True
    """
    texts: dict[str, str] = {}
    try:
        _collect(_inner(function), texts)
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    content = "\n".join(texts[name] for name in sorted(texts))
    return hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _inner(function: Any) -> Any:
    """The function or class below partials, methods and objects that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function if isinstance(function, FunctionType | type) or inspect.isbuiltin(function) else type(function)


def _collect(definition: Any, texts: dict[str, str]) -> None:
    key = f"{definition.__module__}:{definition.__qualname__}"
    if key in texts:
        return
    texts[key] = inspect.getsource(definition)
    module = sys.modules.get(definition.__module__)
    if module is None:
        return
    codes = [definition.__code__] if isinstance(definition, FunctionType) else _codes_of(definition)
    for name in {name for code in codes for name in _names(code)}:
        used = _used(module, name)
        if used is not None:
            _collect(used, texts)


def _codes_of(class_: type) -> list[CodeType]:
    return [member.__code__ for member in vars(class_).values() if isinstance(member, FunctionType)]


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(each) for each in inner))


def _used(module: ModuleType, name: str) -> Any:
    """The function or class of that name, if it stands in the module itself."""
    definition = getattr(module, name, None)
    own = isinstance(definition, FunctionType | type) and definition.__module__ == module.__name__
    return definition if own else None
