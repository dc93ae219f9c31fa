"""Whether an optimizer's update is linear in the learning rate, so that a step can be shortened after it was made."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError

_CHANGING = (0.1, 1e-3, 4e-3, 10.0, 1e-3, 1e-2, 3.0, 1e-3, 1e-3, 0.3, 4e-3, 1e-3)
_USUAL = (1e-3,) * len(_CHANGING)
"""Rates of two runs. Every step begins at the same point as in the other, so divided by its rate it must be the same."""


def check_linear(optimizer: Optimizer) -> bool:
    """Try the optimizer out on small parameters of its own kind; whether it leaves the gradients as they are.

    Twelve steps from given points are made at an even rate, and again at changing ones. Divided by the rate they must agree: then
    theta + share (theta' - theta) is exactly what the optimizer would have done at share times the rate, and nothing remembers which rate
    it was. SGD with momentum, the Adam family, RMSprop, Lion and most others pass; line searches, step-size adaptation of their own,
    averaging and momentum with the rate inside do not, nor does one that maximises: a probe asks whether the loss has fallen. The optimizer
    itself is not touched.

    Raises:
        SpecError: it does not pass, or cannot be tried out.
    """
    name, failure = type(optimizer).__name__, ""
    if any(numbers.get("maximize") for numbers in (vars(optimizer), *optimizer.param_groups)):
        raise SpecError(
            f"{name} maximises, so its steps cannot be probed for a loss that falls: leave out maximize=True and minimise "
            "the negative loss"
        )
    for copied in _COPIES:
        try:
            (usual, whole), (changing, _) = (_directions(copied(optimizer), rates) for rates in (_USUAL, _CHANGING))
        except Exception as error:  # whatever a foreign optimizer may raise
            failure = failure or f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if not bool((usual[0] != 0.0).any()) or not torch.allclose(usual[0], changing[0], rtol=1e-5, atol=1e-10):
            raise SpecError(f"the steps of {name} are not proportional to its learning rate, so they cannot be probed")
        if not torch.allclose(usual, changing, rtol=1e-5, atol=1e-10):
            raise SpecError(
                f"the steps of {name} depend on the learning rates of earlier steps or are not proportional to their own, so they "
                "cannot be probed"
            )
        return whole
    raise SpecError(f"{name} cannot be stepped like SGD or Adam, so its steps cannot be probed ({failure})")


def _directions(small: Optimizer, rates: tuple[float, ...]) -> tuple[Tensor, bool]:
    """What steps at the given rates add to the parameters, divided by the rate, and whether gradients outlive them."""
    source = torch.Generator().manual_seed(0)
    parameters = [one for group in small.param_groups for one in group["params"]]
    found, whole = [], True
    step = _unhooked(type(small).step)
    for rate in rates:
        start = [torch.randn(one.shape, generator=source, dtype=torch.float64).to(one) for one in parameters]
        with torch.no_grad():
            for one, value in zip(parameters, start, strict=True):
                one.copy_(value)
        used = [_set_rate(group, rate) for group in small.param_groups for _ in group["params"]]
        gradients = [torch.randn(one.shape, generator=source, dtype=torch.float64).to(one) for one in parameters]
        for one, gradient in zip(parameters, gradients, strict=True):
            one.grad = gradient.clone()
        step(small)
        whole = whole and all(
            one.grad is not None and torch.equal(one.grad, gradient)
            for one, gradient in zip(parameters, gradients, strict=True)
        )
        moved = zip(parameters, start, used, strict=True)
        found.append(torch.cat([((one.detach() - value) / rate).flatten().cpu() for one, value, rate in moved]))
    return torch.stack(found), whole


def _set_rate(group: dict[str, Any], rate: float) -> float:
    rates = group["lr"]
    group["lr"] = torch.full_like(rates, rate, dtype=torch.float64) if isinstance(rates, Tensor) else rate
    return float(group["lr"])


def _unhooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Without what torch puts around it to call hooks, those for all optimizers among them."""
    while getattr(step, "hooked", False) and hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    return step


def _fresh(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with one small double-precision parameter a group, and no memory."""
    memo: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}
    memo |= {id(old): new for old, new in _substitutes(optimizer)}
    return copy.deepcopy(optimizer, memo)


def _with_attributes(optimizer: Optimizer) -> Optimizer:
    """The same for a class that keeps numbers outside of its groups."""
    small = _fresh(optimizer)
    memo: dict[int, Any] = {}
    for mine, theirs in zip(optimizer.param_groups, small.param_groups, strict=True):
        memo |= {id(one): theirs["params"][0] for one in mine["params"]}
    for name, value in vars(optimizer).items():
        if name not in vars(small) and name != "step" and not isinstance(value, torch.nn.Module):
            vars(small)[name] = copy.deepcopy(value, memo)
    return small


def _with_memory(optimizer: Optimizer) -> Optimizer:
    """The same for a class that makes its memory at construction, cut down to the small parameters."""
    small = _with_attributes(optimizer)
    for mine, theirs in zip(optimizer.param_groups, small.param_groups, strict=True):
        large, substitute = mine["params"][0], theirs["params"][0]
        for key, value in optimizer.state.get(large, {}).items():
            small.state[substitute][key] = _cut(value, large, substitute)
    return small


_COPIES = (_fresh, _with_attributes, _with_memory)


def _substitutes(optimizer: Optimizer) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Lists of parameters with what stands for them.

    Yields:
        Pairs of the two.
    """
    for group in optimizer.param_groups:
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        dtype = torch.float32 if device.type == "mps" else torch.float64
        yield group["params"], [torch.zeros(3, 2, dtype=dtype, device=device, requires_grad=True)]


def _cut(value: Any, large: Tensor, small: Tensor) -> Any:
    if isinstance(value, Tensor) and value.shape == large.shape:
        return value.detach().flatten()[:1].to(small).repeat(small.numel()).view(small.shape).abs()
    return copy.deepcopy(value)
