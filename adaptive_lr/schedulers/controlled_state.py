"""What the state of a controller's scheduler must hold, and loading all of it or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.feedback.statistics import ALONE
from adaptive_lr.feedback.update import Control

Test = Callable[[Any], bool]


def check_controlled(state: Any, control: Control, space: ModuleSpace) -> None:
    """Everything that a `ControlledLR` adds to the state must be there, of the right kind and size.

    Raises:
        SpecError: something is not; it is named.
    """
    if not isinstance(state, dict):
        raise SpecError(f"the state must be a dictionary, got {type(state).__name__}")
    for name in ("held", "applied", *(["trial"] if "trial" in state else [])):
        _require(state, name, _rate, "a finite number of at least 0")
    _require(state, "square", lambda value: value is None or _tensor(value, 1), "None or a tensor of one element")
    _check_control(_require(state, "control", _is(dict), "a dictionary"), control)
    copies = _require(state, "kept", lambda value: value is None or isinstance(value, dict), "None or a dictionary")
    if space.keeper is not None:
        for name in ("kept", "candidate"):
            _check_copy(
                _require(copies or {}, name, lambda value: value is None or isinstance(value, dict), "a copy", "kept.")
            )
        if bool(state["control"]["kept"].any()) != (copies["kept"] is not None):
            raise SpecError("the state's kept.kept must be there exactly if control.kept says so")
    _check_parameters(state, space)
    update = _require(state, "update", lambda value: value is None or isinstance(value, dict), "None or a dictionary")
    if update is not None:
        _check_update(update, state["control"]["buffers"], space)


def _check_control(saved: dict[str, Any], control: Control) -> None:
    trials = control.space.trials
    _require(saved, "state", _is(list), "a list of tensors", "control.")  # what is in it, the controller knows
    for name in ("trial", "ignored", "rescues"):
        _require(
            saved,
            name,
            lambda value: _tensor(value, trials) and _sound(value),
            f"{trials} finite numbers of at least 0",
            "control.",
        )
    _require(
        saved, "kept", lambda value: _tensor(value, trials) and value.dtype == torch.bool, "true or false", "control."
    )
    values = _require(saved, "values", _is(dict), "a dictionary", "control.")
    buffers = _require(saved, "buffers", _is(dict), "a dictionary", "control.")
    for name in values:
        _require(values, name, lambda value: _tensor(value, trials), "a tensor of one element", "control.values.")
    for name in buffers:
        _require(buffers, name, _tensors, "a list of tensors", "control.buffers.")


def _check_parameters(state: dict[str, Any], space: ModuleSpace) -> None:
    """What is remembered of parameters must be of those of the optimizer, by their numbers; some of them may not be trained any more.

    Groups that are added after loading come last.

    Raises:
        SpecError: it is of others.
    """
    shapes, trained = space.shapes(), space.numbers()
    numbers = state.get("numbers", trained)
    pieces = _require({"numbers": numbers}, "numbers", _numbers, "different whole numbers, or None")
    vectors = [vector for name, vector in state["control"]["buffers"].items() if name not in ALONE]
    copies = [part for part in (state["kept"] or {}).values() if part is not None]
    waiting = len(state["base_lrs"]) > space.groups()

    def fits(number: int | None, piece: Tensor) -> bool:
        if number is None or number >= len(shapes):
            return number is None or waiting
        return shapes[number] == piece.shape

    pairs = [(pieces, vector) for vector in vectors] + [(part["numbers"], part["parameters"]) for part in copies]
    if all(len(of) == len(vector) and all(map(fits, of, vector)) for of, vector in pairs):
        return
    raise SpecError(
        f"the state remembers {len(numbers)} parameters, and the optimizer trains {len(trained)} others: build model, optimizer and its "
        "parameter groups as they were when it was saved, or leave the state out to start afresh"
    )


def _numbers(value: Any) -> bool:
    if not isinstance(value, list) or not all(
        number is None or (type(number) is int and number >= 0) for number in value
    ):
        return False
    present = [number for number in value if number is not None]
    return len(set(present)) == len(present)


def _check_copy(saved: dict[str, Any] | None) -> None:
    if saved is None:
        return
    parameters = _require(saved, "parameters", _tensors, "a list of tensors", "kept.")
    count = len(parameters)
    for name, fits, kind in (
        (
            "numbers",
            lambda v: isinstance(v, list) and len(v) == count and all(type(n) is int and n >= 0 for n in v),
            "whole numbers",
        ),
        (
            "states",
            lambda v: isinstance(v, list) and len(v) == count and all(_dictionaries(part) for part in v),
            "dictionaries",
        ),
        ("buffers", lambda v: isinstance(v, dict) and _tensors(list(v.values())), "tensors by name"),
    ):
        _require(saved, name, fits, f"{kind}, as many as parameters", "kept.")


def _check_update(update: dict[str, Any], buffers: dict[str, Any], space: ModuleSpace) -> None:
    like = [p.shape for p in space.parameters()]
    gradients = _require(update, "gradients", _tensors, "a list of tensors", "update.")
    if gradients and [gradient.shape for gradient in gradients] != like:
        raise SpecError("the state's update.gradients are those of other parameters than the optimizer has")
    if gradients and [piece.shape for piece in buffers.get("start", [])] != like:
        raise SpecError(
            "the state's control.buffers.start must be there while a step is not judged, one tensor for each parameter"
        )
    for name in ("inside", "idle"):
        _require(update, name, _is(bool), "true or false", "update.")
    _require(update, "loss", lambda v: v is None or isinstance(v, int | float | Tensor), "a number or None", "update.")
    _require(update, "micro", _tensors, "a list of tensors", "update.")
    replay = _require(update, "replay", _is(dict), "a dictionary", "update.")
    _require(replay, "start", _random, "random states by device", "update.replay.")
    passes = _require(replay, "passes", _is(list), "a list", "update.replay.")
    for index, began in enumerate(passes):
        where = f"update.replay.passes[{index}]"
        if not isinstance(began, dict):
            raise SpecError(f"the state's {where} must be a dictionary, got {_named(began)}")
        _require(began, "number", lambda v: type(v) is int and v >= 0, "a whole number", f"{where}.")
        _require(
            began,
            "key",
            lambda v: isinstance(v, list) and [type(part) for part in v] == [str, int],
            "a class and a number",
            f"{where}.",
        )
        _require(began, "random", _random, "random states by device", f"{where}.")
        _require(
            began,
            "modes",
            lambda v: isinstance(v, list) and all(type(mode) is bool for mode in v),
            "a list of true and false",
            f"{where}.",
        )
        _require(began, "buffers", _tensors, "a list of tensors", f"{where}.")
        _require(began, "graded", _is(bool), "true or false", f"{where}.")
        _require(began, "used", lambda v: v is None or type(v) is bool, "true, false or None", f"{where}.")


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


def _require(saved: dict[str, Any], name: str, fits: Test, kind: str, where: str = "") -> Any:
    if name not in saved:
        raise SpecError(f"the state has no {where}{name}: it is damaged, or was written by something else")
    if not fits(saved[name]):
        raise SpecError(f"the state's {where}{name} must be {kind}, got {_named(saved[name])}")
    return saved[name]


def _is(kind: type) -> Test:
    return lambda value: type(value) is kind


def _rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0.0


def _tensor(value: Any, elements: int) -> bool:
    return isinstance(value, Tensor) and value.shape == (elements,)


def _sound(value: Tensor) -> bool:
    return value.is_floating_point() and bool(value.isfinite().all()) and bool((value >= 0.0).all())


def _tensors(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, Tensor) for part in value)


def _dictionaries(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _random(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(state, Tensor) and state.dtype == torch.uint8 for state in value.values()
    )


def _named(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} and {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
