"""Statistics of the whole gradient where the optimizer got a clipped one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.feedback.statistics import Statistics

_POWERS = {
    "gradient_square": 2,
    "gradient_dot_previous": 1,
    "gradient_dot_step": 1,
}
"""How what was read before the step grows with the gradient. The direction D is the one that the clipped gradient gave."""


def undo_clipping(statistics: Statistics, space: ModuleSpace, grad_norm: float | Tensor) -> None:
    """Go over from the clipped gradient to the one before, whose norm is ``grad_norm``, in values, memory and what comes."""
    square = float(space.gather([_clipped_square(statistics, space)])[0])
    norm = _number(grad_norm)
    if not (0.0 < square < norm * norm < float("inf")):
        return  # nothing was clipped, or it is not finite
    factor = norm / square**0.5
    values, buffers = statistics.values, statistics.buffers
    for name, power in _POWERS.items():
        if name in values:
            values[name] = values[name] * factor**power
    if "gradient" in buffers:
        buffers["gradient"] = list(torch._foreach_mul(buffers["gradient"], factor))  # they may be the optimizer's own
    space.gradient_scale = torch.tensor(1.0 / factor, dtype=torch.float64)


def _clipped_square(statistics: Statistics, space: ModuleSpace) -> Tensor:
    """As far as it was read before the step: by now the gradients may be cleared, or stayed behind in another process."""
    if "gradient_square" in statistics.values:
        return statistics.values["gradient_square"]
    gradients = statistics.buffers.get("gradient") or space.gradients()  # which are held where the step is revised
    return space.dot(gradients, gradients)


def _number(norm: Any) -> float:
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
