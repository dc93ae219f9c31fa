"""Evaluate a loss again without leaving a trace: same dropout masks, same buffers afterwards, same random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from adaptive_lr.errors import SpecError
from adaptive_lr.statistics import Vector

Closure = Callable[[], Tensor]


class Replayer:
    """Records the random state of a training step's first forward pass, and repeats the loss from there.

    Nothing needs to be told which model it is: while armed, the first call of a module in training mode that holds one of the
    parameters is the one.

    Args:
        parameters: of the model.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._known = {id(one) for one in parameters}
        self._device = parameters[0].device
        self._recorded: tuple[Tensor, Tensor | None] | None = None
        self._handle: Any = None

    def arm(self) -> None:
        """Record at the next forward pass."""
        self.disarm()
        self._recorded = None
        self._handle = register_module_forward_pre_hook(self._record)

    def disarm(self) -> None:
        """Record nothing any more; what was recorded stays."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def __call__(self, closure: Closure, parameters: Sequence[Tensor], gradient: bool) -> tuple[Tensor, Vector]:
        """The loss of the closure, ``[1]``, and its gradient if that is wanted.

        Raises:
            SpecError: the closure returns no scalar tensor, or calls ``backward``.
            RuntimeError: anything else that goes wrong in it.
        """
        with self._untouched(), torch.set_grad_enabled(gradient):
            try:
                loss = closure()
            except RuntimeError as error:
                if "does not require grad" in str(error):
                    raise SpecError(
                        "the closure must only compute the loss and return it, without backward()"
                    ) from error
                raise
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise SpecError(f"the closure must return the loss as a tensor of one element, got {_named(loss)}")
            if not gradient:
                return loss.detach().reshape(1), []
            if not loss.requires_grad:
                raise SpecError("the closure's loss has no gradient: leave out no_grad() and detach() in it")
            found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
        return loss.detach().reshape(1), [
            torch.zeros_like(one.data) if g is None else g for g, one in zip(found, parameters, strict=True)
        ]

    def _record(self, module: nn.Module, _: Any) -> None:
        if module.training and torch.is_grad_enabled() and any(id(one) in self._known for one in module.parameters()):
            self._recorded = _random_state(self._device)
            self.disarm()

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        """Random numbers as at the recorded pass, and everything as before at the end."""
        before = _random_state(self._device)
        buffers: dict[tuple[int, str], tuple[dict[str, Tensor | None], str, Tensor, Tensor]] = {}

        def remember(module: nn.Module, _: Any) -> None:
            for owner in module.modules():
                for name, buffer in owner._buffers.items():
                    if buffer is not None and (id(owner), name) not in buffers:
                        buffers[id(owner), name] = (owner._buffers, name, buffer, buffer.detach().clone())

        handle = register_module_forward_pre_hook(remember)
        try:
            if self._recorded is not None:
                _set_random_state(self._device, self._recorded)
            yield
        finally:
            handle.remove()
            _set_random_state(self._device, before)
            with torch.no_grad():
                for holder, name, buffer, value in buffers.values():
                    buffer.copy_(value)
                    holder[name] = buffer


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    if device.type == "cpu":
        return torch.get_rng_state(), None
    return torch.get_rng_state(), torch.get_device_module(device).get_rng_state(device)


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(device).set_rng_state(state[1], device)


def _named(value: object) -> str:
    return f"one of {value.numel()}" if isinstance(value, Tensor) else type(value).__name__
