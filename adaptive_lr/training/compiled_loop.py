"""The steps of training as one compiled loop: gradients, update and the next minibatch without Python between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functionalize, grad_and_value, vmap

from adaptive_lr.tasks.base import AbstractTask, Inputs, Objective, as_tuple, on_each
from adaptive_lr.training.base import AbstractOptimizer, PureUpdate, Slots
from adaptive_lr.training.packages import package


@dataclass(frozen=True)
class Structure:
    """What a compiled loop is made for; rates, data and the number of steps may differ from call to call.

    Attributes:
        task: what is trained.
        optimizer: how.
        dtype: in which precision.
        trials: how many at once.
        apart: whether each has a minibatch of its own.
    """

    task: AbstractTask
    optimizer: AbstractOptimizer
    dtype: torch.dtype
    trials: int
    apart: bool


class State(NamedTuple):
    """What a step changes, of B trials: tensors ``[B, …]``."""

    parameters: list[Tensor]
    slots: Slots
    buffers: list[Tensor]

    def flat(self) -> list[Tensor]:
        """All of them, in order."""
        return [*self.parameters, *(value for slot in self.slots for value in slot), *self.buffers]

    def like(self, values: Sequence[Tensor]) -> State:
        """Values in the order of ``flat`` as such a state; what comes after them is left out."""
        count, slots = len(self.parameters), len(self.slots)
        end = count * (1 + slots)
        remembered = [list(values[count * (1 + index) : count * (2 + index)]) for index in range(slots)]
        return State(list(values[:count]), remembered, list(values[end : end + len(self.buffers)]))


Step = Callable[[State, Inputs, Tensor, Tensor, Tensor], tuple[State, Tensor]]
"""The state after a step and the losses ``[B]``, from the state and the minibatch, rates ``[B]`` and number of the step."""


Loop = Callable[[State, Inputs, Tensor, Tensor, Tensor], Tensor]
"""Trains for K steps and gives the losses ``[K, B]``; the state is changed in place.

Arguments: the state, inputs ``[K, n, …]`` (``[K, B, n, …]`` if the minibatches are apart), targets likewise, rates ``[K, B]`` and
numbers of the updates ``[K, B]``, float64, from 1 on.
"""

_WITH_ONE_INPUT = 4
"""What a step is given besides the state: inputs, targets, rates and numbers."""

_LOOPS: dict[Structure, Loop] = {}


def loop(structure: Structure, state: State, inputs: Inputs, targets: Tensor) -> Loop:
    """A compiled loop, made, loaded from disk, or as it was made before; where it cannot be made, `CompileError` says why.

    Args:
        structure: what it is for.
        state: of as many trials; only shapes and precision matter.
        inputs: minibatches of K steps, as for the loop.
        targets: those of the same steps.
    """
    if structure not in _LOOPS:
        _LOOPS[structure] = _made(structure, state, inputs, targets)
    return _LOOPS[structure]


def _made(structure: Structure, state: State, inputs: Inputs, targets: Tensor) -> Loop:
    update = structure.optimizer.pure()
    assert update is not None
    parts = as_tuple(inputs)
    shape = len(targets), structure.trials
    rates, numbers = torch.zeros(shape, dtype=structure.dtype), torch.ones(shape, dtype=torch.float64)
    series = [*parts, targets, rates, numbers]
    if len(targets) == 1:  # the number of steps must be seen to be no constant
        series = [torch.cat([part, part]) for part in series]
    body = traced(structure, update, state, series)
    run = package(body, state.flat(), series)
    width = len(state.flat())

    def compiled(state: State, inputs: Inputs, targets: Tensor, rates: Tensor, numbers: Tensor) -> Tensor:
        old = state.flat()
        # The program takes it for granted that they are contiguous.
        series = [part.contiguous() for part in (*as_tuple(inputs), targets, rates, numbers)]
        results = run([value.contiguous() for value in old], series)
        for into, value in zip(old, results[:width], strict=True):
            into.copy_(value)
        losses: Tensor = results[width]
        return losses

    return compiled


def traced(structure: Structure, update: PureUpdate, state: State, series: Sequence[Tensor]) -> torch.fx.GraphModule:
    """One step as a graph of plain operations: state and what the step is given, to the new state and the losses ``[B]``."""
    once, several = step_function(structure, update), len(series) > _WITH_ONE_INPUT

    def step(*values: Tensor) -> list[Tensor]:
        *parts, targets, rates, numbers = values[len(state.flat()) :]
        inputs = tuple(parts) if several else parts[0]
        after, losses = once(state.like(values), inputs, targets, rates, numbers)
        # What is handed on must not be what was handed in.
        return [*(new.clone() if any(new is old for old in values) else new for new in after.flat()), losses]

    return graph_of(step, [*state.flat(), *(part[0] for part in series)])


def graph_of(step: Callable[..., list[Tensor]], values: Sequence[Tensor]) -> torch.fx.GraphModule:
    """A function of tensors as a graph of plain operations; of the values only shapes and precision matter."""
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():
        graph: torch.fx.GraphModule = make_fx(functionalize(step), tracing_mode="fake")(*values)
    graph.eval()
    return graph


def step_function(structure: Structure, update: PureUpdate, *, differentiated: bool = False) -> Step:
    """One step as a pure function.

    Args:
        structure: of what.
        update: the optimizer's.
        differentiated: whether derivatives are taken of it.
    """
    task = structure.task
    if differentiated and task.compilable:
        # Of a mapped gradient torch 2.13 computes a wrong derivative where there is layer normalisation, and none of the squared
        # loss of a trial alone; of the gradient of a sum the right one. Recurrent networks, which are not compilable, can only be mapped.
        gradients = _of_the_sum(vmap(task.objective()) if structure.apart else task.shared_objective())
    else:
        gradients = _gradients(structure)

    def step(state: State, inputs: Inputs, targets: Tensor, rates: Tensor, numbers: Tensor) -> tuple[State, Tensor]:
        slopes, (losses, changed) = gradients(state.parameters, state.buffers, inputs, targets)
        moved, slots = update(state.parameters, state.slots, slopes, rates, numbers)
        return State(moved, slots, changed), losses

    return step


def _gradients(structure: Structure) -> Callable[..., Any]:
    if structure.trials > 1 and structure.apart:
        return vmap(grad_and_value(structure.task.objective(), has_aux=True))
    if structure.trials > 1:
        return _of_the_sum(structure.task.shared_objective())
    objective = grad_and_value(structure.task.objective(), has_aux=True)

    def alone(parameters: list[Tensor], buffers: list[Tensor], inputs: Inputs, targets: Tensor) -> Any:
        first = [value[0] for value in parameters], [value[0] for value in buffers]
        if structure.apart:
            inputs, targets = on_each(lambda part: part[0], inputs), targets[0]
        slopes, (loss, changed) = objective(*first, inputs, targets)
        return [slope.unsqueeze(0) for slope in slopes], (loss.unsqueeze(0), [value.unsqueeze(0) for value in changed])

    return alone


def _of_the_sum(objective: Objective) -> Callable[..., Any]:
    """Gradients, losses and buffers of trials none of which depends on another's parameters."""

    def total(*values: Any) -> Any:
        losses, changed = objective(*values)
        return losses.sum(), (losses, changed)

    def gradients(*values: Any) -> Any:
        slopes, (_, (losses, changed)) = grad_and_value(total, has_aux=True)(*values)
        return slopes, (losses, changed)

    return gradients
