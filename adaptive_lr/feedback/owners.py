"""The modules that some parameters belong to, found by watching forward passes."""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

_HUSHED = re.compile(r"Using `torch\.compile\(module\)` when there are global hooks", re.IGNORECASE)


def hush() -> None:
    """Torch warns of hooks that run once more for a compiled module, which ours are made for.

    Only where that is not said yet: whoever touches the filters makes Python repeat all warnings that it would show once.
    """
    if not any(entry[1] is _HUSHED for entry in warnings.filters):
        warnings.filters.insert(0, ("ignore", _HUSHED, UserWarning, None, 0))  # type: ignore[attr-defined]


class Owners:
    """The outermost modules in training that hold one of the parameters, in the order of their first forward pass, and their buffers.

    Until each parameter has an owner, every call of a module is looked at; nothing is kept alive.

    Args:
        optimizer: by whose order of the parameters modules are named, which is the same in every process.
        parameters: those that are looked for.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._parameter_ids: set[int] = set()
        self._missing: set[int] = set()
        self._modules: list[weakref.ref[nn.Module]] = []
        self._known: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._early: dict[str, Tensor] = {}
        self._handle: RemovableHandle | None = None
        self.follow(parameters)

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Look for other parameters from now on; who holds one of the earlier ones stays."""
        modules = [module for reference in self._modules if (module := reference()) is not None]
        self._parameter_ids = {id(p) for p in parameters}
        self._missing = self._parameter_ids - {id(p) for module in modules for p in module.parameters()}
        self._known = weakref.WeakSet(part for module in modules for part in module.modules())
        if not self._missing or self._handle is not None:
            return
        me = weakref.ref(self)

        def forward(module: nn.Module, _: Any) -> None:
            owners = me()
            if owners is None:
                handle.remove()  # not when it was collected, which may be while torch goes through its hooks
            elif module.training and module not in owners._known:
                owners._take(module)

        handle = self._handle = register_module_forward_pre_hook(torch.compiler.disable(forward))
        hush()

    def copies(self, *, as_found: bool) -> dict[str, Tensor]:
        """Copies of the floating buffers; ``as_found`` before the first forward pass of each module."""
        if not self._missing and self._handle is not None:
            self._handle.remove()
            self._handle = None
        copies = {name: buffer.detach().clone() for name, buffer in self._buffers().items()}
        early, self._early = self._early, {}
        return copies | early if as_found else copies

    def restore(self, copies: dict[str, Tensor]) -> None:
        """Put back what `copies` returned, also in another process."""
        for name, buffer in self._buffers().items():
            if name in copies and copies[name].shape == buffer.shape:
                buffer.detach().copy_(copies[name])

    def _take(self, module: nn.Module) -> None:
        held = {id(p) for p in module.parameters()} & self._parameter_ids
        self._known.update(module.modules())
        if held:
            self._missing -= held
            before = self._buffers()
            self._modules.append(weakref.ref(module))
            new = {name: buffer for name, buffer in self._buffers().items() if name not in before}
            self._early |= {name: buffer.detach().clone() for name, buffer in new.items()}

    def _buffers(self) -> dict[str, Tensor]:
        """By the number of a module's first parameter in the optimizer, and the name in the module."""
        optimizer = self._optimizer()
        groups = [] if optimizer is None else optimizer.param_groups
        numbers = {id(p): number for number, p in enumerate(p for group in groups for p in group["params"])}
        named: dict[str, Tensor] = {}
        seen: set[int] = set()
        for reference in self._modules:
            module = reference()
            if module is None:
                continue
            number = min((numbers[id(p)] for p in module.parameters() if id(p) in numbers), default=-1)
            for name, buffer in module.named_buffers():
                if buffer.is_floating_point() and id(buffer) not in seen:
                    seen.add(id(buffer))
                    named.setdefault(f"{number}.{name}", buffer)
        return named
