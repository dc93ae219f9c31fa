"""Make a trainer's step again as it was, and leave no trace of that."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptive_lr.integrations.copies import LARGE, Copier

_OF_TORCH = frozenset(vars(nn.Module()))
"""What torch keeps in every module: hooks, and parameters, buffers and modes, which are put back elsewhere."""


@dataclass(frozen=True)
class Start:
    """What a step started from.

    Attributes:
        arguments: copies of its positional and keyword arguments.
        attributes: the namespaces that the step may write to, and copies of what was in them.
        weights: parameters that the step itself changes though no optimizer does, and their values, as far as they are known.
        generators: the random states of torch, on the CPU and on devices, of numpy, and of Python.
    """

    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    attributes: list[tuple[dict[str, Any], dict[str, Any]]]
    weights: dict[nn.Parameter, Tensor]
    generators: list[Any]

    def copied_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments to call it with again."""
        return copied_arguments(*self.arguments)


class Step(nn.Module):
    """A trainer's step as a module, so that it is recorded and repeated like any forward pass.

    At the start of a repetition, torch's, numpy's and Python's random numbers are those of the step, and so are arguments, buffers and
    plain attributes; at its end all are as they were before the repetition. Objects of other classes are not copied.

    Args:
        module: the module that the step belongs to, with all its parts; the outermost one that is called must not be among them.
        others: other objects whose attributes the step may change.
        devices: where random numbers may be drawn, besides the CPU.
    """

    def __init__(
        self, module: nn.Module | None = None, others: Sequence[object] = (), devices: Sequence[torch.device] = ()
    ) -> None:
        super().__init__()
        self.module = module
        self._others = others
        self._devices = devices
        self._changed: list[nn.Parameter] | None = None

    def forward(
        self, function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any], start: Start | None
    ) -> Any:
        """What the function returns, called for the first time or again from a start."""
        if start is None:
            return function(*arguments, **keywords)
        with self._put_back(start):
            return function(*arguments, **keywords)

    def first(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[Any, Start]:
        """What the function returns, and what it started from."""
        attributes = Copier()
        namespaces = [(space, attributes.each(_own(space))) for space in self._namespaces()]
        start = Start(
            arguments=copied_arguments(arguments, keywords),
            attributes=namespaces,
            weights={parameter: parameter.detach().clone() for parameter in self._watched()},
            generators=_generators(self._devices),
        )
        versions = [(parameter, parameter._version) for parameter in self.parameters()]
        result = self(function, arguments, keywords, None)
        self._changed = [parameter for parameter, version in versions if parameter._version != version]
        return result, start

    def _watched(self) -> list[nn.Parameter]:
        """Frozen parameters that the step may change, such as a momentum encoder's: those that it changed the last time."""
        candidates = self.parameters() if self._changed is None else self._changed
        frozen = [parameter for parameter in candidates if not parameter.requires_grad]
        unknown = self._changed is None and sum(parameter.nbytes for parameter in frozen) > LARGE
        return [] if unknown else frozen

    def _namespaces(self) -> list[dict[str, Any]]:
        return [vars(owner) for owner in (*(part for part in self.modules() if part is not self), *self._others)]

    @contextmanager
    def _put_back(self, start: Start) -> Iterator[None]:
        copier = Copier()
        present = [(space, _own(space)) for space, _ in start.attributes]
        weights = {parameter: parameter.detach().clone() for parameter in self._changed or ()}
        generators = _generators(self._devices)
        try:
            for space, values in start.attributes:
                _replace(space, copier.each(values))
            _write(start.weights)
            _set_generators(self._devices, start.generators)
            yield
        finally:
            for space, values in present:
                _replace(space, values)
            _write(weights)
            _set_generators(self._devices, generators)


def copied_arguments(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copies of a minibatch, whatever it is made of, as far as that can be copied."""
    copier = Copier(deep=True)
    return tuple(copier(value) for value in arguments), {name: copier(value) for name, value in keywords.items()}


def devices_of(optimizer: torch.optim.Optimizer) -> list[torch.device]:
    """The devices of the parameters, besides the CPU."""
    devices = {parameter.device for group in optimizer.param_groups for parameter in group["params"]}
    return sorted((device for device in devices if device.type not in ("cpu", "meta")), key=str)


def _own(space: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in space.items() if name not in _OF_TORCH}


def _replace(space: dict[str, Any], values: dict[str, Any]) -> None:
    for name in _own(space):
        if name not in values:
            del space[name]
    space.update(values)


@torch.no_grad()
def _write(weights: Mapping[nn.Parameter, Tensor]) -> None:
    for parameter, value in weights.items():
        parameter.copy_(value)


def _generators(devices: Sequence[torch.device]) -> list[Any]:
    on_devices = [torch.get_device_module(device).get_rng_state(device) for device in devices]
    return [random.getstate(), np.random.get_state(), torch.get_rng_state(), *on_devices]  # noqa: NPY002  # others' code


def _set_generators(devices: Sequence[torch.device], states: Sequence[Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    for device, state in zip(devices, states[3:], strict=True):
        torch.get_device_module(device).set_rng_state(state, device)
