"""What a saved state must hold: checks that are put together, and name what is wrong in one line.

A check is called with the name of a thing and the thing; it returns nothing or raises a `SpecError`.

>>> check = record({"step": integer(0), "rates": many(finite(0.0))})
>>> check("state", {"step": 3, "rates": [0.1]})
>>> check("state", {"step": 3, "rates": [0.1, -1.0]})
Traceback (most recent call last):
adaptive_lr.errors.SpecError: state.rates[1] must be a finite number of at least 0, got -1.0
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import NUMBERS

Check = Callable[[str, Any], None]


def integer(least: int, most: int = sys.maxsize) -> Check:
    """A whole number in [least, most]."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
            raise SpecError(_wrong(name, f"a whole number of at least {least}", value))

    return check


def finite(least: float = -math.inf) -> Check:
    """A finite number of at least ``least``, or a tensor of one element that is one."""

    def check(name: str, value: Any) -> None:
        single = isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()
        number = value.item() if single else value
        if (
            isinstance(number, bool)
            or not isinstance(number, NUMBERS)
            or not (math.isfinite(number) and number >= least)
        ):
            raise SpecError(_wrong(name, f"a finite number of at least {least:g}", value))

    return check


def text(name: str, value: Any) -> None:
    """A string.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(value, str):
        raise SpecError(_wrong(name, "a word", value))


def truth(name: str, value: Any) -> None:
    """True or false.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(value, bool):
        raise SpecError(_wrong(name, "true or false", value))


def mapping(name: str, value: Any) -> None:
    """A dictionary with words as keys.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SpecError(_wrong(name, "a dictionary", value))


def plain(name: str, value: Any) -> None:
    """Nothing but dictionaries, lists, words, numbers, truth values and None, as in JSON.

    Raises:
        SpecError: there is something else in it.
    """
    if isinstance(value, Mapping):
        mapping(name, value)
    elif not isinstance(value, list | tuple):
        if not (value is None or isinstance(value, (str, *NUMBERS))):
            raise SpecError(_wrong(name, "plain data", value))
        return
    for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
        plain(f"{name}.{key}", part)


def many(item: Check, count: int | None = None) -> Check:
    """A list or tuple, of ``count`` things if that is given, each of which passes ``item``."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            raise SpecError(_wrong(name, "a list" if count is None else f"a list of {count}", value))
        for index, part in enumerate(value):
            item(f"{name}[{index}]", part)

    return check


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A dictionary with these entries; others are let pass, since a newer version may write more."""

    def check(name: str, value: Any) -> None:
        mapping(name, value)
        for key, part in fields.items():
            if key not in value:
                raise SpecError(f"{name} has no {key!r}: it is damaged, or was written by something else")
            part(f"{name}.{key}", value[key])
        for key, part in (optional or {}).items():
            if key in value:
                part(f"{name}.{key}", value[key])

    return check


def nothing_or(inner: Check) -> Check:
    """None, or what passes ``inner``."""

    def check(name: str, value: Any) -> None:
        if value is not None:
            inner(name, value)

    return check


def tensor(shape: Sequence[int] | None = None, dtype: torch.dtype | None = None, *, least: float = -math.inf) -> Check:
    """A tensor, of this shape and type if they are given, finite and at least ``least`` if that is given."""
    rule = "a tensor"
    rule += "" if shape is None else f" of shape {list(shape)}"
    rule += "" if dtype is None else f" of {dtype}"
    rule += "" if least == -math.inf else f", finite and at least {least:g}"

    def check(name: str, value: Any) -> None:
        fits = isinstance(value, Tensor) and (shape is None or value.shape == torch.Size(shape))
        fits = fits and (dtype is None or value.dtype == dtype)
        if not fits or (least > -math.inf and not bool((value.isfinite() & (value >= least)).all())):
            raise SpecError(_wrong(name, rule, value))

    return check


def anything(name: str, value: Any) -> None:
    """No check."""


def each(item: Check, key: type = str) -> Check:
    """A dictionary with keys of a class, of which each value passes ``item``."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, dict) or not all(isinstance(part, key) for part in value):
            raise SpecError(_wrong(name, "a dictionary", value))
        for part, inner in value.items():
            item(f"{name}.{part}", inner)

    return check


def _wrong(name: str, rule: str, value: Any) -> str:
    if isinstance(value, Tensor):
        got = f"a tensor of shape {list(value.shape)} and type {value.dtype}"
    else:
        got = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    return f"{name} must be {rule}, got {got}"
