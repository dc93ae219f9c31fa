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
from torch.utils.hooks import RemovableHandle

_HUSHED = re.compile(r"Using `torch\.compile\(module\)` when there are global hooks", re.IGNORECASE)


def hush() -> None:
    """Torch warns of hooks that run once more for a compiled module, which ours are made for.

    Only where that is not said yet: whoever touches the filters makes Python repeat all warnings that it would show once.
    """
    if not any(one[1] is _HUSHED for one in warnings.filters):
        warnings.filters.insert(0, ("ignore", _HUSHED, UserWarning, None, 0))  # type: ignore[attr-defined]


class Owners:
    """The outermost modules in training that hold one of the parameters, in the order of their first forward pass, and their buffers.

    Until each parameter has an owner, every call of a module is looked at; nothing is kept alive.

    Args:
        parameters: those that are looked for.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._wanted = {id(one) for one in parameters}
        self._missing = set(self._wanted)
        self._modules: list[weakref.ref[nn.Module]] = []
        self._known: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._found: dict[str, Tensor] = {}
        me = weakref.ref(self)

        def forward(module: nn.Module, _: Any) -> None:
            owners = me()
            if owners is None:
                handle.remove()  # not when it was collected, which may be while torch goes through its hooks
            elif module.training and module not in owners._known:
                owners._take(module)

        handle = register_module_forward_pre_hook(torch.compiler.disable(forward))
        self._handle: RemovableHandle = handle
        hush()

    def copies(self, *, as_found: bool) -> dict[str, Tensor]:
        """Copies of the floating buffers; ``as_found`` before the first forward pass of each module."""
        if not self._missing:
            self._handle.remove()
        found = {name: one.detach().clone() for name, one in self._buffers().items()}
        early, self._found = self._found, {}
        return found | early if as_found else found

    def restore(self, copies: dict[str, Tensor]) -> None:
        """Put back what `copies` returned, also in another process."""
        for name, one in self._buffers().items():
            if name in copies and copies[name].shape == one.shape:
                one.detach().copy_(copies[name])

    def _take(self, module: nn.Module) -> None:
        held = {id(one) for one in module.parameters()} & self._wanted
        self._known.update(module.modules())
        if held:
            self._missing -= held
            before = self._buffers()
            self._modules.append(weakref.ref(module))
            new = {name: one for name, one in self._buffers().items() if name not in before}
            self._found |= {name: one.detach().clone() for name, one in new.items()}

    def _buffers(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        for place, reference in enumerate(self._modules):
            module = reference()
            for name, one in [] if module is None else module.named_buffers():
                if one.is_floating_point() and id(one) not in seen:
                    seen.add(id(one))
                    found[f"{place}.{name}"] = one
        return found
