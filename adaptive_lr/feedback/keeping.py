"""A copy of parameters, optimizer state and buffers to go back to."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.feedback.miniatures import held_optimizers
from adaptive_lr.feedback.owners import Owners
from adaptive_lr.feedback.sharding import local

State = dict[str, Any]


@dataclass
class Copy:
    """What was copied, by parameter."""

    values: dict[Tensor, Tensor] = field(default_factory=dict)
    states: dict[Tensor, list[State]] = field(default_factory=dict)
    """The state of a parameter in the optimizer, and in those that it holds."""
    buffers: dict[str, Tensor] = field(default_factory=dict)

    def add(self, parameter: Tensor, value: Tensor, states: list[State]) -> None:
        """Take in one parameter."""
        self.values[parameter], self.states[parameter] = value, states


class Keeper:
    """Copies what one optimizer trains, and goes back to it.

    The parameters may become others on the way: one that is trained from now on had its present value when the copy was made, and one that
    is frozen now goes back with the rest.

    Args:
        optimizer: whose parameters and state they are.
        parameters: those that are trained at present.
    """

    def __init__(self, optimizer: Optimizer, parameters: list[Tensor]) -> None:
        self._optimizer = optimizer
        self._parameters = parameters
        self._owners = Owners(optimizer, parameters)
        self._confirmed: Copy | None = None
        self._candidate: Copy | None = None

    def follow(self, parameters: list[Tensor]) -> None:
        """Other parameters are trained from now on."""
        self._parameters, self._candidate = parameters, None
        self._owners.follow(parameters)
        if self._confirmed is not None:
            for parameter in parameters:
                if parameter not in self._confirmed.values:
                    self._confirmed.add(parameter, _local(parameter).clone(), [{} for _ in self._optimizers()])

    def keep(self) -> None:
        """Copy everything, to be confirmed."""
        # Before the first step all there is to go back to is what was before its forward pass.
        candidate = Copy(buffers=self._owners.copies(as_found=self._confirmed is None))
        for parameter in self._parameters:
            states = [{name: _copied(value) for name, value in state.items()} for state in self._states_of(parameter)]
            candidate.add(parameter, _local(parameter).clone(), states)
        self._candidate = candidate

    def confirm(self) -> None:
        """What was copied last is what to go back to."""
        if self._candidate is not None:
            self._confirmed, self._candidate = self._candidate, None

    def restore(self) -> None:
        """Go back to it."""
        if self._confirmed is None:
            return
        with torch.no_grad():
            for parameter, value in self._confirmed.values.items():
                _local(parameter).copy_(value)
        self._owners.restore(self._confirmed.buffers)
        for parameter, states in self._confirmed.states.items():
            for state, saved in zip(self._states_of(parameter), states, strict=False):
                _put_back(state, saved)

    def state(self) -> dict[str, Any]:
        """Both copies, as plain data and tensors."""
        return {"kept": self._numbered(self._confirmed), "candidate": self._numbered(self._candidate)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what another one's `state` returned."""
        self._confirmed, self._candidate = self._named(saved["kept"]), self._named(saved["candidate"])

    def _numbered(self, copied: Copy | None) -> dict[str, Any] | None:
        """By the number of the parameter in the optimizer, whether it is trained at present or not."""
        if copied is None:
            return None
        numbers = {parameter: index for index, parameter in enumerate(parameters_of(self._optimizer))}
        inside = [parameter for parameter in copied.values if parameter in numbers]
        return {
            "numbers": [numbers[parameter] for parameter in inside],
            "parameters": [copied.values[parameter] for parameter in inside],
            "states": [copied.states[parameter] for parameter in inside],
            "buffers": copied.buffers,
        }

    def _named(self, saved: dict[str, Any] | None) -> Copy | None:
        if saved is None:
            return None
        copied, parameters = Copy(buffers=saved["buffers"]), parameters_of(self._optimizer)
        for number, value, states in zip(saved["numbers"], saved["parameters"], saved["states"], strict=True):
            if number < len(parameters):
                copied.add(parameters[number], value, states)
        return copied

    def _optimizers(self) -> list[Optimizer]:
        """The optimizer, and those that it holds with memories of their own."""
        return [
            self._optimizer,
            *(held for held in held_optimizers(self._optimizer) if held.state is not self._optimizer.state),
        ]

    def _states_of(self, parameter: Tensor) -> list[State]:
        return [optimizer.state[parameter] for optimizer in self._optimizers()]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer in the order of its state, whether they are trained at present or not."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _put_back(state: State, saved: State) -> None:
    for name in list(state):
        if name not in saved:
            del state[name]  # made since; the optimizer makes it anew
    for name, value in saved.items():
        present = state.get(name)
        if isinstance(value, Tensor) and isinstance(present, Tensor) and value.shape == present.shape:
            present.copy_(value)
        else:
            state[name] = _copied(value)


def _local(parameter: Tensor) -> Tensor:
    return local(parameter.data)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
