"""Whether an optimizer's update is linear in the learning rate, so that a step can be shortened after it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.miniatures import MINIATURES, Dtypes, double, held_optimizers, own

_CHANGING = (0.1, 1e-3, 4e-3, 10.0, 1e-3, 1e-2, 3.0, 1e-3, 1e-3, 0.3, 4e-3, 1e-3)
_USUAL = (1e-3,) * len(_CHANGING)
"""Rates of two runs. Every step begins at the same point as in the other, so divided by its rate it must be the same."""

_EVEN = (1e-2,) * len(_CHANGING)
_JUMP, _NEAR = 2.0, 0.5
"""The points from which a run in the parameters' own precision begins lie at + and - the first in turn; a step that was
made from another one ends 4 away, half a one with a slow copy that follows half of the way 2, and rounding of bfloat16 0.1."""


def check_linear(optimizer: Optimizer) -> bool:
    """Try the optimizer out on small parameters of its own kind; whether it leaves the gradients as they are.

    Twelve steps from given points are made at an even rate, and again at changing ones. Divided by the rate they must agree: then
    theta + share (theta' - theta) is exactly what the optimizer would have done at share times the rate, and nothing remembers which rate
    it was. SGD with momentum, the Adam family, RMSprop, Lion and most others pass; line searches, step-size adaptation of their own,
    averaging and momentum with the rate inside do not, nor does one that maximises: a probe asks whether the loss has fallen.

    That is done in double precision, and once more in the precision of the parameters: an optimizer that keeps a second copy of them
    (single-precision master weights) would go on from its copy and not from where the shortened step ended. The optimizer itself is not
    touched.

    Raises:
        SpecError: it does not pass, or cannot be tried out.
    """
    name = type(optimizer).__name__
    if any(numbers.get("maximize") for numbers in (vars(optimizer), *optimizer.param_groups)):
        raise SpecError(
            f"{name} maximises, so its steps cannot be probed for a loss that falls: leave out maximize=True and minimise "
            "the negative loss"
        )
    miniature, usual, untouched = _tried(optimizer)
    changing, _ = _directions(miniature(optimizer, double), _CHANGING, _anywhere)
    if not bool((usual != 0.0).any()):
        raise SpecError(
            f"{name} made no step when it was tried out, so its steps cannot be probed{_holding(optimizer)}; {_INSTEAD}"
        )
    if not torch.allclose(usual[0], changing[0], rtol=1e-5, atol=1e-10):
        raise SpecError(
            f"the steps of {name} are not proportional to its learning rate, so they cannot be probed{_holding(optimizer)}; {_INSTEAD}"
        )
    if not torch.allclose(usual, changing, rtol=1e-5, atol=1e-10):
        raise SpecError(
            f"the steps of {name} depend on the learning rates of earlier steps or are not proportional to their own, so they "
            f"cannot be probed{_holding(optimizer)}; {_INSTEAD}"
        )
    _check_no_copy(optimizer, miniature)
    return untouched


_INSTEAD = "take a controller that does not probe, such as LossPlateau() or NanRescue(), or ScheduledLR"

Start = Callable[[int, Tensor], Tensor]
"""From the number of a step and random numbers, the point that it begins at."""


def _anywhere(step: int, drawn: Tensor) -> Tensor:
    return drawn


def _far_apart(step: int, drawn: Tensor) -> Tensor:
    return _JUMP * (-1.0) ** step + 0.1 * drawn.tanh()


def _tried(optimizer: Optimizer) -> tuple[Callable[[Optimizer, Dtypes], Optimizer], Tensor, bool]:
    """The first way to make a miniature of the optimizer that can be stepped, its steps at an even rate, and whether gradients outlive them.

    Raises:
        SpecError: there is none.
    """
    failure = ""
    for miniature in MINIATURES:
        try:
            steps, untouched = _directions(miniature(optimizer, double), _USUAL, _anywhere)
        except Exception as error:  # whatever a foreign optimizer may raise
            failure = failure or f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        return miniature, steps, untouched
    raise SpecError(
        f"{type(optimizer).__name__} cannot be stepped like SGD or Adam, so its steps cannot be probed ({failure}); {_INSTEAD}"
    )


def _check_no_copy(optimizer: Optimizer, miniature: Callable[[Optimizer, Dtypes], Optimizer]) -> None:
    """In the precision of the parameters, every step must begin at the parameters, wherever they were put after the last one.

    Raises:
        SpecError: one begins elsewhere.
    """
    dtypes = {p.dtype for group in optimizer.param_groups for p in group["params"]}
    if not dtypes - {torch.float64} or not all(dtype.is_floating_point for dtype in dtypes):
        return
    try:
        steps, _ = _directions(miniature(optimizer, own), _EVEN, _far_apart)
    except Exception:  # a precision that is not made for stepping on this device
        return
    expected, _ = _directions(miniature(optimizer, lambda group: [torch.float64] * len(own(group))), _EVEN, _far_apart)
    missed = ((steps - expected) * _EVEN[0]).abs()
    if bool((missed > _NEAR).any()):
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise SpecError(
            f"{type(optimizer).__name__} keeps a second copy of {names} parameters (master weights) and goes on from that, so its "
            "steps cannot be shortened and not be probed: keep the parameters in float32 and train under torch.autocast, or take "
            "an optimizer without such a copy"
        )


def _directions(small: Optimizer, rates: tuple[float, ...], start_at: Start) -> tuple[Tensor, bool]:
    """What steps at the given rates add to the parameters, divided by the rate, ``[steps, N]``; whether gradients outlive them."""
    source = torch.Generator("cpu").manual_seed(0)
    parameters = [p for group in small.param_groups for p in group["params"]]
    steps, untouched = [], True
    make = _unhooked(type(small).step)

    def drawn(parameter: Tensor) -> Tensor:
        return torch.randn(parameter.shape, generator=source, dtype=torch.float64, device="cpu")

    for index, rate in enumerate(rates):
        starts = [start_at(index, drawn(p)).to(p) for p in parameters]
        with torch.no_grad():
            for parameter, start in zip(parameters, starts, strict=True):
                parameter.copy_(start)
        used = [_set_rate(group, rate) for group in small.param_groups for _ in group["params"]]
        gradients = [drawn(p).to(p) for p in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        make(small)
        untouched = untouched and all(
            p.grad is not None and torch.equal(p.grad, gradient)
            for p, gradient in zip(parameters, gradients, strict=True)
        )
        moved = [
            ((p.detach().double() - start.double()) / step_rate).flatten().cpu()
            for p, start, step_rate in zip(parameters, starts, used, strict=True)
        ]
        steps.append(torch.cat(moved))
    return torch.stack(steps), untouched


def _holding(optimizer: Optimizer) -> str:
    """What to do where the optimizer holds others, which may be the reason."""
    held = held_optimizers(optimizer)
    if not held:
        return ""
    names = ", ".join(type(inner).__name__ for inner in held)
    mine = {id(group) for group in optimizer.param_groups}
    if not all(id(group) in mine for inner in held for group in inner.param_groups):
        return (
            f": the groups of the {names} that it holds are not its own, so that a rate set in it does not get there; share them "
            "(self.param_groups = inner.param_groups), or build one scheduler on what it holds"
        )
    return f": it holds {names} and does more than step by it; build the scheduler on what it holds, if that makes the steps"


def _set_rate(group: dict[str, Any], rate: float) -> float:
    rates = group["lr"]
    group["lr"] = torch.full_like(rates, rate, dtype=torch.float64) if isinstance(rates, Tensor) else rate
    return float(group["lr"])


def _unhooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Without what torch puts around it to call hooks, those for all optimizers among them."""
    while getattr(step, "hooked", False) and hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    return step
