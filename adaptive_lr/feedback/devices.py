"""Where the machinery's own tensors live."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def on_cpu(function: Callable[P, R]) -> Callable[P, R]:
    """The function, in which tensors are made on the CPU where no device is named, whatever the default device is."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.get_default_device().type == "cpu":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return call


def on(device: torch.device) -> AbstractContextManager[object]:
    """The default device is this one, as it was for whoever called."""
    return nullcontext() if device == torch.get_default_device() else device
