"""Be called around the steps of an optimizer."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any, cast

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from adaptive_lr.feedback.uncompiled import uncompiled

_PRESENT: weakref.WeakKeyDictionary[Optimizer, tuple[weakref.ref[Any], list[RemovableHandle]]] = (
    weakref.WeakKeyDictionary()
)
"""Who listens to an optimizer, and by which hooks."""

_HOOKING = Optimizer.profile_hook_step.__code__.co_filename


def attach(optimizer: Optimizer, before: Callable[..., Any], after: Callable[..., Any]) -> None:
    """Call two methods around each step, as hooks of the optimizer, for as long as their object lives.

    An optimizer listens to one object: who comes replaces who was there. In compiled code the methods run as they are.
    """
    detach(optimizer)
    hooks = [
        optimizer.register_step_pre_hook(weakly(before)),
        optimizer.register_step_post_hook(weakly(after)),
    ]
    _PRESENT[optimizer] = weakref.ref(cast(Any, before).__self__), hooks


def attached(optimizer: Optimizer) -> object:
    """The object that listens to an optimizer, or None."""
    reference, _ = _PRESENT.get(optimizer, (None, []))
    return None if reference is None else reference()


def detach(optimizer: Optimizer) -> None:
    """Let nobody listen to an optimizer any more."""
    _, hooks = _PRESENT.pop(optimizer, (None, []))
    for hook in hooks:
        hook.remove()


def nested(optimizer: Optimizer) -> bool:
    """Whether a step of the optimizer is made inside of another one of its own, because its class calls the step of its parent."""
    steps = [vars(kind)["step"] for kind in type(optimizer).__mro__ if "step" in vars(kind)]
    if sum(bool(getattr(step, "hooked", False)) for step in steps) < 2:
        return False
    # Only the stack tells a step inside of another from one after another that raised.
    frame, calls = inspect.currentframe(), 0
    while frame is not None:
        hooking = frame.f_code.co_name == "wrapper" and frame.f_code.co_filename == _HOOKING
        calls += hooking and frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return calls > 1


def bare(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of the one that Accelerate makes of it."""
    if type(optimizer).__module__.startswith("accelerate."):
        inner: Optimizer = cast(Any, optimizer).optimizer
        return inner
    return optimizer


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that does nothing once its object is gone."""
    reference = weakref.WeakMethod(method)

    def plainly(*args: Any) -> Any:
        bound = reference()
        return None if bound is None else bound(*args)

    return uncompiled(plainly)
