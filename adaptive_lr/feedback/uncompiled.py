"""Functions that compiled code calls as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which compiled code calls as it is; without the price of ``torch.compiler.disable`` elsewhere."""
    apart = torch.compiler.disable(function)

    def call(*args: Any) -> Any:
        return apart(*args) if torch.compiler.is_compiling() else function(*args)

    return call
