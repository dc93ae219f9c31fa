"""What the state of a controller's scheduler must hold, and loading all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.feedback.statistics import ALONE
from adaptive_lr.feedback.update import Control
from adaptive_lr.schedulers.state import (
    anything,
    each,
    finite,
    integer,
    many,
    mapping,
    nothing_or,
    record,
    tensor,
    text,
    truth,
)
from adaptive_lr.spec import NUMBERS

_VECTOR = many(tensor())
_RANDOM = each(tensor(dtype=torch.uint8), object)


def _pair(name: str, value: Any) -> None:
    many(anything, 2)(name, value)
    text(f"{name}[0]", value[0])
    integer(0)(f"{name}[1]", value[1])


def _loss(name: str, value: Any) -> None:
    if not isinstance(value, int | float | Tensor):
        finite()(name, value)


_PASS = record(
    {
        "number": integer(0),
        "key": _pair,
        "random": _RANDOM,
        "modes": many(truth),
        "buffers": _VECTOR,
        "graded": truth,
        "used": nothing_or(truth),
    }
)
_UPDATE = record(
    {
        "gradients": _VECTOR,
        "inside": truth,
        "idle": truth,
        "loss": nothing_or(_loss),
        "micro": _VECTOR,
        "replay": record({"start": _RANDOM, "passes": many(_PASS)}),
    }
)


def check_controlled(state: Any, control: Control, space: ModuleSpace) -> None:
    """Everything that a `ControlledLR` adds to the state must be there, of the right kind and size.

    Raises:
        SpecError: something is not; it is named.
    """
    trials = control.space.trials
    number = tensor([trials], torch.float64, least=0.0)
    fields = {
        "held": finite(0.0),
        "applied": finite(0.0),
        "square": nothing_or(tensor([1])),
        "control": record(
            {
                "state": many(anything),  # which the controller knows
                "trial": number,
                "ignored": number,
                "rescues": number,
                "kept": tensor([trials], torch.bool),
                "values": each(tensor([trials])),
                "buffers": each(_VECTOR),
            }
        ),
        "kept": nothing_or(mapping) if space.keeper is None else record({"kept": _copy, "candidate": _copy}),
        "update": nothing_or(_UPDATE),
    }
    record(fields, {"trial": finite(0.0), "numbers": _numbers, "observed": nothing_or(_metric)})("the state", state)
    if space.keeper is not None and bool(state["control"]["kept"].any()) != (state["kept"]["kept"] is not None):
        raise SpecError("the state.kept.kept must be there exactly if control.kept says so")
    _check_parameters(state, space)
    if state["update"] is not None:
        _check_update(state["update"], state["control"]["buffers"], space)


def _numbers(name: str, value: Any) -> None:
    many(nothing_or(integer(0)))(name, value)
    present = [number for number in value if number is not None]
    if len(set(present)) < len(present):
        raise SpecError(f"{name} must be different numbers, got {value}")


def _metric(name: str, value: Any) -> None:
    """A number, which may be infinite or NaN, as metrics are.

    Raises:
        SpecError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        raise SpecError(f"{name} must be a number or None, got {value!r}")


def _copy(name: str, value: Any) -> None:
    if value is None:
        return
    record({"parameters": _VECTOR})(name, value)
    count = len(value["parameters"])
    inner = {
        "numbers": many(integer(0), count),
        "states": many(many(each(anything, object)), count),
        "buffers": each(tensor()),
    }
    record(inner)(name, value)


def _check_update(update: dict[str, Any], buffers: dict[str, Any], space: ModuleSpace) -> None:
    """What is known of a step that is not judged must be of the very parameters that are trained.

    Raises:
        SpecError: it is of others.
    """
    like = [p.shape for p in space.parameters()]
    gradients = update["gradients"]
    if gradients and [gradient.shape for gradient in gradients] != like:
        raise SpecError("the state.update.gradients are those of other parameters than the optimizer has")
    if gradients and [piece.shape for piece in buffers.get("start", [])] != like:
        raise SpecError(
            "the state.control.buffers.start must be there while a step is not judged, one tensor for each parameter"
        )


def _check_parameters(state: dict[str, Any], space: ModuleSpace) -> None:
    """What is remembered of parameters must be of those of the optimizer, by their numbers; some of them may not be trained any more.

    Groups that are added after loading come last.

    Raises:
        SpecError: it is of others.
    """
    shapes, trained = space.shapes(), space.numbers()
    numbers = state.get("numbers", trained)
    vectors = [vector for name, vector in state["control"]["buffers"].items() if name not in ALONE]
    copies = [part for part in (state["kept"] or {}).values() if part is not None]
    waiting = len(state["base_lrs"]) > space.groups()

    def fits(number: int | None, piece: Tensor) -> bool:
        if number is None or number >= len(shapes):
            return number is None or waiting
        return shapes[number] == piece.shape

    pairs = [(numbers, vector) for vector in vectors] + [(part["numbers"], part["parameters"]) for part in copies]
    if all(len(of) == len(vector) and all(map(fits, of, vector)) for of, vector in pairs):
        return
    raise SpecError(
        f"the state remembers {len(numbers)} parameters, and the optimizer trains {len(trained)} others: build model, optimizer and its "
        "parameter groups as they were when it was saved, or leave the state out to start afresh"
    )


@contextmanager
def all_or_nothing(objects: Sequence[Any]) -> Iterator[None]:
    """What goes wrong inside leaves the attributes of the objects as they were.

    Raises:
        SpecError: something went wrong.
    """
    attributes = [(instance, dict(vars(instance))) for instance in objects]
    try:
        yield
    except BaseException as error:
        for instance, before in attributes:
            vars(instance).clear()
            vars(instance).update(before)
        if isinstance(error, SpecError) or not isinstance(error, Exception):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SpecError(
            f"the state is damaged, or was written by something else, and nothing of it was loaded ({reason})"
        ) from error
