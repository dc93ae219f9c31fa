"""A column of the table of conformance: one scheduler of a package, with the arguments that it is built with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.testing import Case

STEPS = 12
LONG = 1000
RATES = (0.5, 0.125)

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One scheduler: a short name, the call that builds it, and the case."""

    label: str
    call: str
    case: Case


@dataclass(frozen=True)
class Package:
    """A distribution, how it is imported, and its columns."""

    distribution: str
    module: str
    columns: Callable[[Any], Iterator[Column]]

    def version(self) -> str | None:
        """The installed version, or nothing."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None

    def load(self) -> list[Column]:
        """The columns; an `ImportError` if the package cannot be used."""
        return list(self.columns(importlib.import_module(self.module)))


def column(
    make: Callable[..., Any],
    arguments: Arguments,
    *,
    other: Arguments | None = None,
    long: Arguments | None = None,
    label: str | None = None,
    call: str | None = None,
    resumable: bool = True,
    **promises: Any,
) -> Column:
    """A column; ``other`` and ``long`` are the arguments that differ in the other configuration and in the long run."""
    name = getattr(make, "__name__", label or "")
    label = label or name

    def factory(changed: Arguments | None = None) -> Callable[[Optimizer], LRScheduler]:
        return lambda optimizer: make(optimizer, **{**arguments, **(changed or {})})

    case = Case(
        name=label,
        factory=factory(),
        total_steps=STEPS,
        rates=RATES,
        other=None if other is None else factory(other),
        long=None if long is None else Case(name=label, factory=factory(long), total_steps=LONG),
        resume_at=(lambda optimizer, last: make(optimizer, **arguments, last_epoch=last)) if resumable else None,
        with_horizon=_horizon(make, arguments, long or {}),
        numpy=lambda optimizer: make(optimizer, **{name: in_numpy(value) for name, value in arguments.items()}),
        **promises,
    )
    shown = ", ".join(f"{name}={getattr(value, '__name__', value)!s}" for name, value in arguments.items())
    return Column(label, call or f"{name}({shown})", case)


def in_numpy(value: Any) -> Any:
    """A number as a NumPy number, also in a list; anything else as it is."""
    if isinstance(value, list):
        return [in_numpy(entry) for entry in value]
    if type(value) is int:
        return np.int64(value)
    return np.float64(value) if type(value) is float else value


def _horizon(
    make: Callable[..., Any], arguments: Arguments, long: Arguments
) -> Callable[[Optimizer, int], LRScheduler] | None:
    """The scheduler for any number of steps, if the argument that makes a long run is that number."""
    if list(long.values()) != [LONG]:
        return None
    (name,) = long
    return lambda optimizer, steps: make(optimizer, **{**arguments, name: steps})
