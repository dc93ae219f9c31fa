"""The parameters of one optimizer as a space of vectors."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from adaptive_lr.controllers.base import Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.keeping import Keeper, parameters_of
from adaptive_lr.feedback.last_gradient import LastGradient
from adaptive_lr.feedback.momentum import momentum_of
from adaptive_lr.feedback.sharding import local, part_of, sharded, shards
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

    @property
    def alone(self) -> bool:
        """See `Space`."""
        return self._processes() == 1 and self._unsharded

    @property
    def memory(self) -> float:
        """See `Space`; where groups that are trained differ, the largest."""
        groups = self._optimizer.param_groups
        trained = [group for group in groups if any(p.requires_grad or p.grad is not None for p in group["params"])]
        return max(map(momentum_of, trained), default=0.0)

    def __init__(self, optimizer: Optimizer, process_group: Any = None) -> None:
        self._optimizer, self._group = optimizer, process_group
        self._parameters: list[Tensor] = []
        self._weights: list[float] = []
        self._zeros: dict[Tensor, Tensor] = {}
        self._held: list[Tensor | None] = []
        self._marks: list[int] = []
        self._direction: Vector = []
        self._last = LastGradient()
        self._devices_and_dtypes: list[tuple[torch.device, torch.dtype]] = []
        self.keeper: Keeper | None = None
        """What copies the parameters to go back to, if that was asked for."""
        self.gradient_scale: Tensor | None = None
        """What the gradients are multiplied by: by a scaler, where a fused optimizer undoes that itself, or by clipping."""
        self.known: tuple[Vector, Tensor] | None = None
        """A vector and its squared length, where that was computed before."""
        self.refresh()

    def refresh(self) -> list[int | None] | None:
        """Take the parameters from the optimizer anew; where they are others, the number that each had before, None for a new one."""
        groups = self._optimizer.param_groups
        trained = [p for group in groups for p in group["params"] if p.requires_grad or p.grad is not None]
        devices_and_dtypes = [(p.device, p.dtype) for p in trained]
        same = len(trained) == len(self._parameters) and all(map(operator.is_, trained, self._parameters))
        if same and devices_and_dtypes == self._devices_and_dtypes:
            return None
        numbers = {id(p): number for number, p in enumerate(self._parameters)}
        origins = [numbers.get(id(p)) for p in trained]
        self._parameters, self._devices_and_dtypes = trained, devices_and_dtypes
        self._weights = [shards(p) for p in trained]
        self._cut = any(weight != 1.0 for weight in self._weights)
        self._unsharded = not any(sharded(p) for p in trained)
        self._small = sum(p.numel() for p in trained) <= SMALL and self._unsharded and _alike(trained)
        self._direction, self._zeros, self._held, self._last = [], {}, [], LastGradient()
        if self.keeper is not None:
            self.keeper.follow(trained)
        return None if same else origins

    def numbers(self) -> list[int | None]:
        """For each parameter its number in the optimizer, None where that has it no longer."""
        known = {id(p): number for number, p in enumerate(parameters_of(self._optimizer))}
        return [known.get(id(p)) for p in self._parameters]

    def shapes(self) -> list[torch.Size]:
        """Those of all parameters of the optimizer, whether they are trained at present or not."""
        return [local(p.data).shape for p in parameters_of(self._optimizer)]

    def groups(self) -> int:
        """How many parameter groups the optimizer has."""
        return len(self._optimizer.param_groups)

    def prepare(self, needs: Signal) -> None:
        """See `Space`.

        Raises:
            SpecError: a second gradient is asked for, and the parameters are sharded.
        """
        if needs & (Signal.PROBE_GRADIENT | Signal.CURVATURE) and not self._unsharded:
            raise SpecError(
                "the controller evaluates a second gradient, which cannot be done with sharded parameters (DTensor, FSDP): use "
                "DistributedDataParallel, or a controller that evaluates losses only, such as ProgressAnchor()"
            )
        if Signal.KEEP in needs:
            self.keeper = Keeper(self._optimizer, self._parameters)

    def hold(self, *, copies: bool) -> None:
        """Keep the gradients as they are until `release`, whatever happens to ``grad`` meanwhile.

        Args:
            copies: the optimizer is known to change them in its step.
        """
        self._held = [None if p.grad is None else local(p.grad) for p in self._parameters]
        if copies:
            self._held = [None if gradient is None else gradient.clone() for gradient in self._held]

    def seal(self) -> None:
        """From now on the gradients that are held must not change."""
        self._marks = self._versions_held()

    def release(self) -> None:
        """Hold the gradients no longer."""
        self._held, self._marks, self.gradient_scale = [], [], None

    def check_held(self) -> None:
        """The gradients must be those that the step was made from.

        Raises:
            SpecError: there are none, or they were changed since the step.
        """
        if all(gradient is None for gradient in self._held):
            raise SpecError("the optimizer made a step without any gradient, so the controller cannot judge it")
        if self._marks and self._marks != self._versions_held():
            raise SpecError(
                "the gradients were changed between optimizer.step() and scheduler.step(): call "
                "zero_grad(set_to_none=False) after scheduler.step() or before the next backward pass"
            )

    def _versions_held(self) -> list[int]:
        return [-1 if gradient is None else gradient._version for gradient in self._held]

    def held(self) -> Vector:
        """Copies of the gradients that are held, for a state; empty if there are none."""
        return [gradient.clone() for gradient in self.gradients()] if self._held else []

    def load_held(self, gradients: Vector) -> None:
        """Take over what another one's `held` returned."""
        pairs = zip(gradients, self._parameters, strict=False)
        self._held, self._marks = [gradient.to(local(p.data), copy=True) for gradient, p in pairs], []

    def leaves(self) -> list[Tensor]:
        """The parameters, with their gradients."""
        return self._parameters

    def parameters(self) -> Vector:
        """See `Space`."""
        if self._unsharded:
            return [p.data for p in self._parameters]
        return [local(p.data) for p in self._parameters]

    def gradients(self) -> Vector:
        """See `Space`.

        Raises:
            SpecError: a gradient is sparse.
        """
        dense: Vector = []
        present = self._held or [p.grad for p in self._parameters]
        for parameter, gradient in zip(self._parameters, present, strict=True):
            if gradient is None:
                if parameter not in self._zeros:
                    self._zeros[parameter] = torch.zeros_like(local(parameter.data))
                gradient = self._zeros[parameter]
            elif gradient.layout is not torch.strided:
                raise SpecError("a controller that reads gradients needs dense ones, got a sparse gradient")
            dense.append(gradient if self._unsharded else local(gradient))
        if self.gradient_scale is not None:
            scale = 1.0 / self.gradient_scale
            return [gradient * scale.to(gradient) for gradient in dense]
        return dense

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
            products = [product * weight for product, weight in zip(products, self._weights, strict=True)]
        if any(product.device != products[0].device for product in products):
            products = [product.to(products[0].device) for product in products]
        return torch.stack(products).sum().reshape(1)

    def direction(self) -> Vector:
        """See `Space`."""
        if not self._direction:
            source = torch.Generator("cpu").manual_seed(0)
            drawn = [
                torch.randn(p.shape, generator=source, dtype=torch.float64, device="cpu") for p in self._parameters
            ]
            length = float(torch.stack([z.square().sum() for z in drawn]).sum().sqrt())
            self._direction = [part_of(z / length, p) for z, p in zip(drawn, self._parameters, strict=True)]
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
            rows = torch.cat([value.to("cpu", torch.float64) for value in values]).detach().reshape(-1, 1)
        else:  # some accelerators have no double precision
            rows = torch.stack([value.detach().to(device, torch.float32).reshape(1) for value in values]).cpu().double()
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
        averaged: dict[int, Tensor] = {}
        kinds = {(gradient.dtype, gradient.device) for gradient in gradients}
        for dtype, device in sorted(kinds, key=str):
            alike = [
                index
                for index, gradient in enumerate(gradients)
                if (gradient.dtype, gradient.device) == (dtype, device)
            ]
            flat = torch.cat([gradients[index].reshape(-1) for index in alike])
            parts = self._averaged(flat, device).to(device).split([gradients[index].numel() for index in alike])
            averaged |= {index: part.view(gradients[index].shape) for index, part in zip(alike, parts, strict=True)}
        return [averaged[index] for index in range(len(gradients))]

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
        if self.keeper is not None:
            self.keeper.keep()

    def confirm(self, trials: Tensor) -> None:
        """See `Space`."""
        if self.keeper is not None and bool(trials.all()):
            self.keeper.confirm()

    def restore(self, trials: Tensor) -> None:
        """See `Space`."""
        if self.keeper is not None and bool(trials.any()):
            self.keeper.restore()

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


def _nonzero(gradient: Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())


def _alike(vector: Vector) -> bool:
    """Whether the pieces can be put into one."""
    kinds = {(piece.dtype, piece.device) for piece in vector}
    return len(vector) > 1 and len(kinds) == 1 and vector[0].dtype in (torch.float32, torch.float64)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    if x.is_complex():
        x, y = torch.view_as_real(x), torch.view_as_real(y)
    if x.dtype in (torch.float16, torch.bfloat16):
        x, y = x.float(), y.float()
    if x.is_contiguous() and y.is_contiguous():
        return torch.dot(x.view(-1), y.view(-1))
    return (x * y).sum()
