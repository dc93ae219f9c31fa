"""Whether an optimizer's update is linear in the learning rate, so that a step can be shortened after it was made."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError

_PROBES = ((1e-3, 1e-3), (4e-3, 1e-3))
"""Rates of the first and the second step in two runs; only the first differs."""


def check_linear(optimizer: Optimizer) -> None:
    """Try the optimizer out on small parameters of its own kind.

    The first step is made at two rates. Its length must be proportional to the rate, and the second step, from the same point, must
    not remember which rate it was: then theta + share (theta' - theta) is exactly what the optimizer would have done at share times the
    rate. SGD with momentum, the Adam family, RMSprop, Lion and most others pass; line searches, step-size adaptation of their own and
    averaging do not. The optimizer itself is not touched.

    Raises:
        SpecError: it does not pass, or cannot be tried out.
    """
    name = type(optimizer).__name__
    try:
        runs = [_displacements(optimizer, rates) for rates in _PROBES]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SpecError(
            f"{name} cannot be stepped like SGD or Adam, so its steps cannot be probed ({reason})"
        ) from error
    (first, second), (longer, after) = runs
    factor = _PROBES[1][0] / _PROBES[0][0]
    if not torch.allclose(longer, factor * first, rtol=1e-3, atol=1e-12) or not bool((first != 0.0).any()):
        raise SpecError(f"the steps of {name} are not proportional to its learning rate, so they cannot be probed")
    if not torch.allclose(second, after, rtol=1e-3, atol=1e-12):
        raise SpecError(f"{name} remembers the learning rates of earlier steps, so its steps cannot be probed")


def _displacements(optimizer: Optimizer, rates: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """What two steps at the given rates add to the parameters of a copy; the second starts where the first did."""
    small = _small_copy(optimizer)
    source = torch.Generator().manual_seed(0)
    parameters = [one for group in small.param_groups for one in group["params"]]
    start = [torch.randn(one.shape, generator=source, dtype=torch.float64).to(one.dtype) for one in parameters]
    found = []
    for rate in rates:
        with torch.no_grad():
            for one, value in zip(parameters, start, strict=True):
                one.copy_(value)
        for group in small.param_groups:
            group["lr"] = torch.full_like(group["lr"], rate) if isinstance(group["lr"], Tensor) else rate
        for one in parameters:
            one.grad = torch.randn(one.shape, generator=source, dtype=torch.float64).to(one.dtype)
        type(small).step(small)
        moved = [(one.detach() - value).flatten() for one, value in zip(parameters, start, strict=True)]
        found.append(torch.cat([one.to(torch.float64) for one in moved]))
    return found[0], found[1]


def _small_copy(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with one small double-precision parameter a group, and no memory."""
    memo: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}
    for group in optimizer.param_groups:
        substitutes = [torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)]
        memo[id(group["params"])] = substitutes
    return copy.deepcopy(optimizer, memo)
