"""Be called around the steps of an optimizer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from adaptive_lr.feedback.uncompiled import uncompiled

_PRESENT: weakref.WeakKeyDictionary[Optimizer, list[RemovableHandle]] = weakref.WeakKeyDictionary()


def attach(optimizer: Optimizer, before: Callable[..., Any], after: Callable[..., Any]) -> None:
    """Call two methods around each step, as hooks of the optimizer, for as long as their object lives.

    An optimizer listens to one object: who comes replaces who was there. In compiled code the methods run as they are.
    """
    for handle in _PRESENT.get(optimizer, []):
        handle.remove()
    _PRESENT[optimizer] = [
        optimizer.register_step_pre_hook(_weakly(before)),
        optimizer.register_step_post_hook(_weakly(after)),
    ]


def nests(optimizer: Optimizer) -> bool:
    """Whether the hooks may run twice in one step, because its class calls the step of its parent."""
    steps = [vars(one)["step"] for one in type(optimizer).__mro__ if "step" in vars(one)]
    return sum(bool(getattr(one, "hooked", False)) for one in steps) > 1


def bare(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of the one that Accelerate makes of it."""
    if type(optimizer).__module__.startswith("accelerate."):
        found: Optimizer = cast(Any, optimizer).optimizer
        return found
    return optimizer


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    reference = weakref.WeakMethod(method)

    def plainly(*args: Any) -> Any:
        found = reference()
        return None if found is None else found(*args)

    return uncompiled(plainly)
