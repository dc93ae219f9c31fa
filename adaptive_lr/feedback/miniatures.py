"""Small copies of an optimizer, to try out what it does."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Dtypes = Callable[[dict[str, Any]], list[torch.dtype]]
"""The precisions of the parameters that stand for those of a group, one small parameter each."""


def double(group: dict[str, Any]) -> list[torch.dtype]:
    """One in double precision, or the best that there is on the device."""
    return [torch.float32 if _device(group).type == "mps" else torch.float64]


def own(group: dict[str, Any]) -> list[torch.dtype]:
    """One for each precision in the group."""
    dtypes = {p.dtype for p in group["params"]}
    return sorted(dtypes, key=str) or [torch.float32]


def held_optimizers(optimizer: Any) -> list[Optimizer]:
    """The optimizers that this one holds, directly or in lists and dictionaries."""
    held: list[Optimizer] = []
    for value in vars(optimizer).values():
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        held += [inner for inner in inside if isinstance(inner, Optimizer) and inner is not optimizer]
    return held


def _bare(optimizer: Optimizer, dtypes: Dtypes) -> Optimizer:
    """The same optimizer with small parameters, and no memory."""
    memo: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}
    memo |= {id(large): small for large, small in _substitutes(optimizer, dtypes)}
    return copy.deepcopy(optimizer, memo)


def _with_attributes(optimizer: Optimizer, dtypes: Dtypes) -> Optimizer:
    """The same for a class that keeps numbers, or other optimizers, outside of its groups."""
    small = _bare(optimizer, dtypes)
    memo: dict[int, Any] = {id(optimizer.state): small.state, id(optimizer.param_groups): small.param_groups}
    for mine, theirs in zip(optimizer.param_groups, small.param_groups, strict=True):
        memo |= {id(mine): theirs} | {id(p): theirs["params"][0] for p in mine["params"]}
        memo[id(mine["params"])] = theirs["params"]  # held optimizers may have the list in groups of their own
    for inner in held_optimizers(optimizer):
        memo.setdefault(id(inner.state), defaultdict(dict))
    for name, value in vars(optimizer).items():
        if name not in vars(small) and name != "step" and not isinstance(value, torch.nn.Module):
            vars(small)[name] = copy.deepcopy(value, memo)
    return small


def _with_memory(optimizer: Optimizer, dtypes: Dtypes) -> Optimizer:
    """The same for a class that makes its memory at construction, cut down to the small parameters."""
    small = _with_attributes(optimizer, dtypes)
    for mine, theirs in zip(optimizer.param_groups, small.param_groups, strict=True):
        for substitute in theirs["params"]:
            large = next((p for p in mine["params"] if p.dtype == substitute.dtype), mine["params"][0])
            for key, value in optimizer.state.get(large, {}).items():
                small.state[substitute][key] = _cut(value, large, substitute)
    return small


MINIATURES = (_bare, _with_attributes, _with_memory)
"""Ways to make one, the most faithful last; the first that can be stepped is taken."""


def _substitutes(optimizer: Optimizer, dtypes: Dtypes) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Lists of parameters with what stands for them.

    Yields:
        Pairs of the two.
    """
    for group in optimizer.param_groups:
        device = _device(group)
        small = [torch.zeros(3, 2, dtype=dtype, device=device, requires_grad=True) for dtype in dtypes(group)]
        yield group["params"], small


def _device(group: dict[str, Any]) -> torch.device:
    device: torch.device = group["params"][0].device if group["params"] else torch.device("cpu")
    return device


def _cut(value: Any, large: Tensor, small: Tensor) -> Any:
    if isinstance(value, Tensor) and value.shape == large.shape:
        return value.detach().flatten()[:1].to(small).repeat(small.numel()).view(small.shape).abs()
    return copy.deepcopy(value)
