"""The parameters of one optimizer as a space of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.statistics import Vector


class ModuleSpace:
    """The parameters that one optimizer updates: B = 1, on any device, replicated or sharded.

    Args:
        optimizer: whose parameters they are.
        process_group: over which statistics are averaged; the default group if there is one, None otherwise.
    """

    trials = 1

    def __init__(self, optimizer: Optimizer, process_group: Any = None) -> None:
        self._optimizer, self._group = optimizer, process_group
        self._parameters: list[Tensor] = []
        self._weights: list[float] = []
        self._zeros: dict[int, Tensor] = {}
        self._direction: Vector = []
        self._kept: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self.gradient_scale: Tensor | None = None
        """What the gradients are multiplied by, where a fused optimizer undoes that by itself."""
        self.refresh()

    def refresh(self) -> None:
        """Take the parameters from the optimizer anew."""
        groups = self._optimizer.param_groups
        self._parameters = [one for group in groups for one in group["params"] if one.requires_grad]
        self._weights = [_shards(one) for one in self._parameters]

    def leaves(self) -> list[Tensor]:
        """The parameters, with their gradients."""
        return self._parameters

    def parameters(self) -> Vector:
        """See `Space`."""
        return [_local(one.data) for one in self._parameters]

    def gradients(self) -> Vector:
        """See `Space`.

        Raises:
            SpecError: a gradient is sparse.
        """
        found = []
        for index, one in enumerate(self._parameters):
            gradient = one.grad
            if gradient is None:
                if index not in self._zeros:
                    self._zeros[index] = torch.zeros_like(_local(one.data))
                gradient = self._zeros[index]
            elif gradient.layout is not torch.strided:
                raise SpecError("a controller that reads gradients needs dense ones, got a sparse gradient")
            found.append(_local(gradient))
        if self.gradient_scale is not None:
            scale = 1.0 / self.gradient_scale
            return [one * scale.to(one.device) for one in found]
        return found

    def dot(self, a: Vector, b: Vector) -> Tensor:
        """See `Space`; half precision is summed up in single."""
        device = a[0].device
        products = [_dot(x, y).to(device) for x, y in zip(a, b, strict=True)]
        if any(weight != 1.0 for weight in self._weights):
            # Each process holds a part; times the number of parts, the average that `gather` takes is the sum.
            products = [one * weight for one, weight in zip(products, self._weights, strict=True)]
        return torch.stack(products).sum().reshape(1)

    def direction(self) -> Vector:
        """See `Space`."""
        if not self._direction:
            source = torch.Generator().manual_seed(0)
            drawn = [torch.randn(one.shape, generator=source, dtype=torch.float64) for one in self._parameters]
            length = float(torch.stack([one.square().sum() for one in drawn]).sum().sqrt())
            self._direction = [(z / length).to(one) for z, one in zip(drawn, self._parameters, strict=True)]
        return self._direction

    def blend(self, start: Vector, share: Tensor) -> None:
        """See `Space`."""
        weight, parameters = float(share), self.parameters()
        if weight == 0.0:
            torch._foreach_copy_(parameters, start)
        else:
            torch._foreach_lerp_(parameters, start, 1.0 - weight)

    def gather(self, values: list[Tensor]) -> Tensor:
        """See `Space`; every process of a group gets the same bits."""
        device = self._parameters[0].device
        if device.type == "cpu":
            rows = torch.stack([one.detach().to("cpu", torch.float64).reshape(1) for one in values])
        else:  # some accelerators have no double precision
            rows = torch.stack([one.detach().to(device, torch.float32).reshape(1) for one in values]).cpu().double()
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size(self._group) > 1:
            on_device = distributed.get_backend(self._group) == "nccl"
            sent = rows.to(device) if on_device else rows
            distributed.all_reduce(sent, group=self._group)
            rows = sent.cpu() / distributed.get_world_size(self._group)
        return rows

    def keep(self) -> None:
        """See `Space`."""
        copies = [{name: _copied(value) for name, value in self._state_of(one).items()} for one in self._parameters]
        self._candidate = {"parameters": [one.clone() for one in self.parameters()], "state": copies}

    def confirm(self, trials: Tensor) -> None:
        """See `Space`."""
        if bool(trials.all()):
            self._kept, self._candidate = self._candidate, {}

    def restore(self, trials: Tensor) -> None:
        """See `Space`."""
        if not self._kept or not bool(trials.any()):
            return
        torch._foreach_copy_(self.parameters(), self._kept["parameters"])
        for one, saved in zip(self._parameters, self._kept["state"], strict=True):
            state = self._state_of(one)
            for name in list(state):
                if name not in saved:
                    del state[name]  # made since; the optimizer makes it anew
            for name, value in saved.items():
                if isinstance(value, Tensor) and isinstance(state.get(name), Tensor):
                    state[name].copy_(value)
                else:
                    state[name] = _copied(value)

    def kept(self) -> dict[str, Any]:
        """What was kept, for a state."""
        return self._kept

    def load_kept(self, kept: dict[str, Any]) -> None:
        """Take over what another `kept` returned."""
        self._kept = kept

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self._optimizer.state[parameter]
        return state


def _dot(x: Tensor, y: Tensor) -> Tensor:
    if x.is_complex():
        x, y = torch.view_as_real(x), torch.view_as_real(y)
    if x.dtype in (torch.float16, torch.bfloat16):
        x, y = x.float(), y.float()
    if x.is_contiguous() and y.is_contiguous():
        return torch.dot(x.view(-1), y.view(-1))
    return (x * y).sum()


def sharded(tensor: Tensor) -> bool:
    """Whether the tensor is spread over processes, as FSDP does it."""
    return distributed.is_available() and distributed.is_initialized() and _as_dtensor(tensor) is not None


def _as_dtensor(tensor: Tensor) -> Any:
    from torch.distributed.tensor import DTensor  # a third of a second to import, so only where there may be one

    return tensor if isinstance(tensor, DTensor) else None


def _local(tensor: Tensor) -> Tensor:
    """This process's part of the tensor."""
    if not sharded(tensor):
        return tensor
    part: Tensor = _as_dtensor(tensor).to_local()
    return part


def _shards(tensor: Tensor) -> float:
    """Into how many different parts the tensor is cut."""
    if not sharded(tensor):
        return 1.0
    found = _as_dtensor(tensor)
    sizes = zip(found.placements, found.device_mesh.shape, strict=True)
    return float(math.prod(size for placement, size in sizes if placement.is_shard()))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def check_gradients(parameters: Sequence[Tensor]) -> None:
    """A step can be judged only with the gradient it was made from.

    Raises:
        SpecError: no parameter has one.
    """
    if all(one.grad is None for one in parameters):
        raise SpecError(
            "the optimizer made a step but no parameter has a gradient after it: a controller that revises steps needs "
            "gradients that outlive optimizer.step()"
        )
