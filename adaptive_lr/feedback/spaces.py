"""The parameters of one optimizer as a space of vectors."""

from __future__ import annotations

import copy
import math
import operator
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from adaptive_lr.controllers.base import Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.last_gradient import LastGradient
from adaptive_lr.feedback.owners import Owners
from adaptive_lr.feedback.statistics import Vector

SMALL = 1 << 18
"""Of so many parameters or fewer, inner products are taken of a copy in one piece."""


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
        self._zeros: dict[Tensor, Tensor] = {}
        self._held: list[Tensor | None] = []
        self._marks: list[int] = []
        self._direction: Vector = []
        self._last = LastGradient()
        self._kept: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._owners: Owners | None = None
        self.gradient_scale: Tensor | None = None
        """What the gradients are multiplied by: by a scaler, where a fused optimizer undoes that itself, or by clipping."""
        self.known: tuple[Vector, Tensor] | None = None
        """A vector and its squared length, where that was computed before."""
        self.refresh()

    def refresh(self) -> bool:
        """Take the parameters from the optimizer anew; whether there are others than before."""
        groups = self._optimizer.param_groups
        found = [p for group in groups for p in group["params"] if p.requires_grad or p.grad is not None]
        if len(found) == len(self._parameters) and all(map(operator.is_, found, self._parameters)):
            return False
        self._parameters, self._weights = found, [_shards(one) for one in found]
        self._cut = any(weight != 1.0 for weight in self._weights)
        self._whole = not any(sharded(one) for one in found)
        self._small = sum(one.numel() for one in found) <= SMALL and self._whole and _alike(found)
        self._direction, self._kept, self._candidate, self._zeros, self._held = [], {}, {}, {}, []
        self._last = LastGradient()
        self._owners = None if self._owners is None else Owners(found)
        return True

    def prepare(self, needs: Signal) -> None:
        """See `Space`.

        Raises:
            SpecError: a second gradient is asked for, and the parameters are sharded.
        """
        if needs & (Signal.PROBE_GRADIENT | Signal.CURVATURE) and not self._whole:
            raise SpecError(
                "the controller evaluates a second gradient, which cannot be done with sharded parameters (DTensor, FSDP): use "
                "DistributedDataParallel, or a controller that evaluates losses only, such as ProgressAnchor()"
            )
        if Signal.KEEP in needs:
            self._owners = Owners(self._parameters)

    def hold(self, *, copies: bool) -> None:
        """Keep the gradients as they are until `release`, whatever happens to ``grad`` meanwhile.

        Args:
            copies: the optimizer is known to change them in its step.
        """
        self._held = [None if one.grad is None else local(one.grad) for one in self._parameters]
        if copies:
            self._held = [None if one is None else one.clone() for one in self._held]

    def seal(self) -> None:
        """From now on the gradients that are held must not change."""
        self._marks = [-1 if one is None else one._version for one in self._held]

    def release(self) -> None:
        """Hold the gradients no longer."""
        self._held, self._marks, self.gradient_scale = [], [], None

    def check_held(self) -> None:
        """The gradients must be those that the step was made from.

        Raises:
            SpecError: there are none, or they were changed since the step.
        """
        if all(one is None for one in self._held):
            raise SpecError("the optimizer made a step without any gradient, so the controller cannot judge it")
        if self._marks and self._marks != [-1 if one is None else one._version for one in self._held]:
            raise SpecError(
                "the gradients were changed between optimizer.step() and scheduler.step(): call "
                "zero_grad(set_to_none=False) after scheduler.step() or before the next backward pass"
            )

    def held(self) -> Vector:
        """Copies of the gradients that are held, for a state; empty if there are none."""
        return [one.clone() for one in self.gradients()] if self._held else []

    def load_held(self, gradients: Vector) -> None:
        """Take over what another one's `held` returned."""
        pairs = zip(gradients, self._parameters, strict=False)
        self._held, self._marks = [one.to(local(p.data), copy=True) for one, p in pairs], []

    def leaves(self) -> list[Tensor]:
        """The parameters, with their gradients."""
        return self._parameters

    def parameters(self) -> Vector:
        """See `Space`."""
        if self._whole:
            return [one.data for one in self._parameters]
        return [local(one.data) for one in self._parameters]

    def gradients(self) -> Vector:
        """See `Space`.

        Raises:
            SpecError: a gradient is sparse.
        """
        found: Vector = []
        present = self._held or [one.grad for one in self._parameters]
        for one, gradient in zip(self._parameters, present, strict=True):
            if gradient is None:
                if one not in self._zeros:
                    self._zeros[one] = torch.zeros_like(local(one.data))
                gradient = self._zeros[one]
            elif gradient.layout is not torch.strided:
                raise SpecError("a controller that reads gradients needs dense ones, got a sparse gradient")
            found.append(gradient if self._whole else local(gradient))
        if self.gradient_scale is not None:
            scale = 1.0 / self.gradient_scale
            return [one * scale.to(one) for one in found]
        return found

    def dot(self, a: Vector, b: Vector) -> Tensor:
        """See `Space`; half precision is summed up in single."""
        if a is b and self.known is not None and a is self.known[0]:
            return self.known[1]
        if self._small:
            # Ten small calls in C++ cost less than one in Python for each parameter.
            first = torch._C._nn.flatten_dense_tensors(a)
            second = first if a is b else torch._C._nn.flatten_dense_tensors(b)
            return torch.dot(first, second).reshape(1)
        products = [_dot(x, y) for x, y in zip(a, b, strict=True)]
        if self._cut:
            # Each process holds a part; times the number of parts, the average that `gather` takes is the sum.
            products = [one * weight for one, weight in zip(products, self._weights, strict=True)]
        if any(one.device != products[0].device for one in products):
            products = [one.to(products[0].device) for one in products]
        return torch.stack(products).sum().reshape(1)

    def direction(self) -> Vector:
        """See `Space`."""
        if not self._direction:
            source = torch.Generator().manual_seed(0)
            drawn = [torch.randn(one.shape, generator=source, dtype=torch.float64) for one in self._parameters]
            length = float(torch.stack([one.square().sum() for one in drawn]).sum().sqrt())
            self._direction = [_part_of(z / length, one) for z, one in zip(drawn, self._parameters, strict=True)]
        return self._direction

    def blend(self, start: Vector, share: Tensor) -> None:
        """See `Space`."""
        weight, parameters = float(share), self.parameters()
        if weight == 0.0:
            torch._foreach_copy_(parameters, start)
        else:
            torch._foreach_lerp_(parameters, start, 1.0 - weight)

    def where(self, trials: Tensor, vector: Vector) -> Vector:
        """See `Space`."""
        return [torch.where(trials.to(piece.device).reshape(()), piece, 0.0) for piece in vector]  # keeps shape []

    def gather(self, values: list[Tensor]) -> Tensor:
        """See `Space`; every process of a group gets the same bits."""
        device = self._parameters[0].device
        if device.type == "cpu":
            rows = torch.cat(values).to(torch.float64).detach().reshape(-1, 1)
        else:  # some accelerators have no double precision
            rows = torch.stack([one.detach().to(device, torch.float32).reshape(1) for one in values]).cpu().double()
        if self._processes() > 1:
            rows = self._averaged(rows, device).cpu()
        return rows

    def remember(self, gradients: Vector) -> Vector:
        """See `Space`."""
        return self._last.keep(gradients)

    def intact(self, remembered: Vector, present: Vector | None = None) -> bool:
        """See `Space`."""
        return self._last.intact(remembered, present)

    def synchronised(self, gradients: Vector) -> Vector:
        """See `Space`; the parameters are the same in every process."""
        if self._processes() == 1:
            return gradients
        found: dict[int, Tensor] = {}
        kinds = {(one.dtype, one.device) for one in gradients}
        for dtype, device in sorted(kinds, key=str):
            places = [place for place, one in enumerate(gradients) if (one.dtype, one.device) == (dtype, device)]
            flat = torch.cat([gradients[place].reshape(-1) for place in places])
            parts = self._averaged(flat, device).to(device).split([gradients[place].numel() for place in places])
            found |= {place: part.view(gradients[place].shape) for place, part in zip(places, parts, strict=True)}
        return [found[place] for place in range(len(gradients))]

    def _processes(self) -> int:
        if not (distributed.is_available() and distributed.is_initialized()):
            return 1
        return distributed.get_world_size(self._group)

    def _averaged(self, values: Tensor, device: torch.device) -> Tensor:
        sent = values.to(device if distributed.get_backend(self._group) == "nccl" else "cpu")
        distributed.all_reduce(sent, group=self._group)
        return sent / self._processes()

    def keep(self) -> None:
        """See `Space`."""
        copies = [{name: _copied(value) for name, value in self._state_of(one).items()} for one in self._parameters]
        # Before the first step all there is to go back to is what was before its forward pass.
        buffers = {} if self._owners is None else self._owners.copies(as_found=not self._kept)
        self._candidate = {
            "parameters": [one.clone() for one in self.parameters()],
            "state": copies,
            "buffers": buffers,
        }

    def confirm(self, trials: Tensor) -> None:
        """See `Space`."""
        if bool(trials.all()):
            self._kept, self._candidate = self._candidate, {}

    def restore(self, trials: Tensor) -> None:
        """See `Space`."""
        if not self._kept or not bool(trials.any()):
            return
        torch._foreach_copy_(self.parameters(), self._kept["parameters"])
        if self._owners is not None:
            self._owners.restore(self._kept["buffers"])
        for one, saved in zip(self._parameters, self._kept["state"], strict=True):
            state = self._state_of(one)
            for name in list(state):
                if name not in saved:
                    del state[name]  # made since; the optimizer makes it anew
            for name, value in saved.items():
                present = state.get(name)
                if isinstance(value, Tensor) and isinstance(present, Tensor) and value.shape == present.shape:
                    present.copy_(value)
                else:
                    state[name] = _copied(value)

    def version(self) -> int:
        """Changes if a parameter is written to, as far as the first and the last one tell."""
        return self._parameters[0]._version + self._parameters[-1]._version

    def versions(self) -> int:
        """Changes if any parameter is written to."""
        return sum(p._version for p in self._parameters)

    def idle(self, *, look: bool) -> bool:
        """Whether there is no gradient at all; with ``look``, which waits for an accelerator, or each is zero."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        look = look and self._processes() == 1  # all processes must find the same
        return not gradients or (look and not any(_nonzero(gradient) for gradient in gradients))

    def candidate(self) -> dict[str, Any]:
        """What `keep` copied last, if it is not confirmed yet, for a state."""
        return self._candidate

    def load_candidate(self, candidate: dict[str, Any]) -> None:
        """Take over what another one's `candidate` returned."""
        self._candidate = candidate

    def kept(self) -> dict[str, Any]:
        """What was kept, for a state."""
        return self._kept

    def load_kept(self, kept: dict[str, Any]) -> None:
        """Take over what another `kept` returned."""
        self._kept = kept

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self._optimizer.state[parameter]
        return state


def _nonzero(gradient: Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())


def _alike(vector: Vector) -> bool:
    """Whether the pieces can be put into one."""
    kinds = {(one.dtype, one.device) for one in vector}
    return len(vector) > 1 and len(kinds) == 1 and vector[0].dtype in (torch.float32, torch.float64)


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


def local(tensor: Tensor) -> Tensor:
    """This process's part of the tensor."""
    if not sharded(tensor):
        return tensor
    part: Tensor = _as_dtensor(tensor).to_local()
    return part


def _part_of(whole: Tensor, parameter: Tensor) -> Tensor:
    """What this process holds of a tensor that is cut like the parameter."""
    found = whole.to(parameter.device, parameter.dtype)
    if not sharded(parameter):
        return found
    from torch.distributed.tensor import distribute_tensor

    cut = _as_dtensor(parameter)
    return local(distribute_tensor(found, cut.device_mesh, cut.placements, src_data_rank=None))


def _shards(tensor: Tensor) -> float:
    """Into how many different parts the tensor is cut."""
    if not sharded(tensor):
        return 1.0
    found = _as_dtensor(tensor)
    sizes = zip(found.placements, found.device_mesh.shape, strict=True)
    return float(math.prod(size for placement, size in sizes if placement.is_shard()))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
