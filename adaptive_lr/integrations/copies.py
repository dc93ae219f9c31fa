"""Copies of what a trainer's step may change: minibatches, attributes, generators."""

from __future__ import annotations

import copy
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGE = 2**28
"""Bytes: larger attributes, and those in containers of more than `MOST` parts, are taken for data sets and not copied."""
MOST = 10_000

_IMMUTABLE = frozenset(
    {int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size, range}
)
_MAPPINGS = (dict, OrderedDict, Counter, defaultdict)
_SEQUENCES = (list, tuple, set, frozenset, deque)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)


class Copier:
    """Copies that share what their originals share.

    Tensors, arrays, random generators and the containers of Python are copied. Anything else is used as it is, or with ``deep`` copied
    as it says itself, if it can be. Tensors that the graph of autograd made, and parameters, are used as they are.
    """

    def __init__(self, *, deep: bool = False) -> None:
        self._deep = deep
        self._known: dict[int, tuple[Any, Any]] = {}
        """Copies by the identity of their originals, which are kept alive."""
        self._left = MOST

    def each(self, values: dict[str, Any]) -> dict[str, Any]:
        """Copies of some attributes; those that are too large are used as they are."""
        copies = {}
        for name, value in values.items():
            self._left = MOST
            try:
                copies[name] = self(value)
            except _TooLarge:
                copies[name] = value
        return copies

    def __call__(self, value: Any) -> Any:
        """A copy of one value."""
        if type(value) in _IMMUTABLE:
            return value
        if id(value) not in self._known:
            self._known[id(value)] = (self._copied(value), value)
        return self._known[id(value)][0]

    def _copied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            self._check(value.nbytes, LARGE)
            return value.copy()
        if isinstance(value, torch.Generator):
            return value.clone_state()
        if type(value) in _GENERATORS:
            return copy.deepcopy(value)
        if type(value) in _MAPPINGS:
            return self._mapping(value)
        if type(value) in _SEQUENCES:
            return self._sequence(value)
        if self._deep:
            with suppress(Exception):  # somebody's class, of which nothing is known
                return copy.deepcopy(value, {id(old): new for new, old in self._known.values()})
        return value

    def _tensor(self, value: Tensor) -> Tensor:
        if isinstance(value, nn.Parameter) or value.grad_fn is not None:
            return value
        self._check(value.numel() * value.element_size(), LARGE)
        return value.detach().clone().requires_grad_(value.requires_grad)

    def _mapping(self, value: Any) -> Any:
        new = copy.copy(value)
        self._known[id(value)] = (new, value)  # it may contain itself
        if not _are_immutable(value.values()):
            self._check(len(value), self._left)
            self._left -= len(value)
            for key, part in value.items():
                new[key] = self(part)
        return new

    def _sequence(self, value: Any) -> Any:
        if _are_immutable(value):
            return copy.copy(value)
        self._check(len(value), self._left)
        self._left -= len(value)
        if not isinstance(value, list):
            parts = [self(part) for part in value]
            return deque(parts, value.maxlen) if isinstance(value, deque) else type(value)(parts)
        new: list[Any] = []
        self._known[id(value)] = (new, value)
        new.extend(self(part) for part in value)
        return new

    def _check(self, size: int, most: int) -> None:
        if size > most and not self._deep:
            raise _TooLarge


class _TooLarge(Exception):  # noqa: N818  # caught where it is raised
    """An attribute that is no state of a step but data."""


def _are_immutable(parts: Iterable[Any]) -> bool:
    return set(map(type, parts)) <= _IMMUTABLE
