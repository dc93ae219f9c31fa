"""Whether a controller got what it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.controllers.base import REPLAYING, AbstractController, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.sharding import local
from adaptive_lr.schedulers.hyperparameters import planned
from adaptive_lr.spec import encode


def check_plan(schedule: Any) -> None:
    """There must be one schedule of the rate.

    Raises:
        SpecError: there is none, or one for each group.
    """
    if isinstance(schedule, Sequence) and not isinstance(schedule, str):
        raise SpecError("a controller needs one schedule of the learning rate for all groups, got a list of schedules")
    if "lr" not in planned(schedule, 1)[0]:
        raise SpecError("a controller needs a schedule of lr to modulate, got schedules of other hyperparameters only")


def check_given(controller: AbstractController, signals: Signal, *, loss: Any, closure: Any, parts: bool) -> None:
    """What the controller asked for must have been handed to the scheduler.

    Raises:
        SpecError: it was not.
    """
    name, problem = type(controller).__name__, ""
    if Signal.LOSS in signals and loss is None:
        problem = f"{name} looks at the loss: call scheduler.step(loss) with that of the minibatch"
    elif signals & REPLAYING and not callable(closure):
        problem = (
            f"{name} probes the loss at this step: call scheduler.step(loss, closure=lambda: …) with a closure that evaluates "
            "it again on the same minibatch"
        )
    elif Signal.HALF in signals and not parts:
        problem = (
            f"{name} reads the gradient noise at this step: make the backward pass in equal parts, and call "
            "scheduler.micro_batch() after each but the last"
        )
    if problem:
        raise SpecError(f"{problem}; {fate(stays=Signal.STEP not in signals)}")


def fate(*, stays: bool) -> str:
    """What becomes of a step that the controller could not judge."""
    return "the step stays as it was made, but does not count" if stays else "the step was taken back"


UNSEEN = (
    "the parameters were changed but no optimizer.step() was seen before scheduler.step(), so the rate stands still: the step was made by "
    "another optimizer or by something that does not call its hooks"
)
JOINT = (
    "two controllers probe the parameters of one model: each sees only its own part of the joint step, and the result may depend on the "
    "starting rates again; give one optimizer all parameter groups, whose rates one controller then sets together"
)
TOO_EARLY = (
    "scheduler.step() was called before optimizer.step(): call it after, or every update is judged by the loss of the next minibatch and "
    "training may stand still; where an update is left out on purpose, call scheduler.step(skipped=True)"
)


FORGOTTEN = "optimizer.step() was called again without scheduler.step(): while the controller probes, every step must be judged before the next"
TAKEN_BACK = "the last one was taken back"
STAYED = "the parameters were written to since the last one, so they stay as they are"
REPLACED = "another ControlledLR was built on this optimizer after this one, and an optimizer has one: call step() of the last one only"
WRITTEN = (
    "the learning rate of parameter group {group} is {present:g} and not what this scheduler wrote ({written:g}): another scheduler or the "
    "training loop writes it too, so the step stays as it was made but is not judged and does not count; leave the rate to one of them"
)


OTHER_LOSS = (
    "the closure finds a loss of {again:.6g} where the training step had {loss:.6g}, before this optimizer's step: it evaluates another "
    "minibatch, other random numbers or modes, or parameters that another optimizer has changed since, so that what a probe finds is not what "
    "the step did; give it the same minibatch, let other optimizers step after scheduler.step(), and wrap a loss function that draws random "
    "numbers in scheduler.repeated(loss_function)"
)


def differs(loss: Tensor, again: Tensor) -> bool:
    """Whether two evaluations of a loss differ by more than rounding does, also that of reduced precision."""
    first, second = float(loss), float(again)
    if not (math.isfinite(first) and math.isfinite(second)):
        return False
    coarse = (
        again.dtype in (torch.float16, torch.bfloat16) or loss.dtype in (torch.float16, torch.bfloat16) or _autocast()
    )
    near = 0.05 if coarse else 1e-3
    return abs(first - second) > near * max(abs(first), abs(second)) + 1e-6


def _autocast() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


def waiting(parameters: Sequence[Tensor]) -> bool:
    """Whether there are gradients for the optimizer to step by; a scaler would have skipped those that are not finite."""
    gradients = [local(p.grad) for p in parameters if p.grad is not None]
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    return bool(dense) and all(bool(gradient.isfinite().all()) for gradient in dense)


_INSTEAD = "construct the ControlledLR with the saved one to go on, or leave the state out to start afresh"


def check_same(controller: AbstractController, saved: dict[str, Any] | None) -> None:
    """A state must be that of the controller it is loaded into; one of no controller at all is not looked at here.

    Raises:
        SpecError: it is that of another one.
    """
    differing = [] if saved is None else _differing(saved, encode(controller))
    if saved is not None and saved["kind"] != controller.kind:
        raise SpecError(f"the state is of the controller {saved['kind']}, not of {controller.kind}: {_INSTEAD}")
    if differing:
        raise SpecError(f"the state is of the controller {controller.kind} with {', '.join(differing)}: {_INSTEAD}")


def _differing(saved: Any, constructed: Any, name: str = "") -> list[str]:
    """The fields in which two encoded specs differ, in words."""
    if saved == constructed:
        return []
    nested = isinstance(saved, dict) and isinstance(constructed, dict)
    if not nested or saved["kind"] != constructed["kind"]:
        theirs, mine = (value["kind"] if isinstance(value, dict) else value for value in (saved, constructed))
        return [f"{name} {theirs}, not {mine}"]
    keys = [*saved, *(key for key in constructed if key not in saved)]
    fields = [_differing(saved.get(key), constructed.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
    return [field for differing in fields for field in differing]


def scalar(loss: float | Tensor | None) -> Tensor | None:
    """The loss as ``[1]``.

    Raises:
        SpecError: it is no number.
    """
    if loss is None:
        return None
    try:
        number = loss if isinstance(loss, Tensor) else torch.tensor(loss, dtype=torch.float64, device="cpu")
        return number.detach().reshape(1)
    except (RuntimeError, TypeError, ValueError) as error:
        got = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise SpecError(f"the loss must be a number or a tensor of one element, got {got}") from error
