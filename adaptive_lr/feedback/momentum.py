"""What a parameter group says of its momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def momentum_of(group: Mapping[str, Any]) -> float:
    """Beta of a group: the first of ``betas``, or ``momentum``; 0 if it has neither, or one outside [0, 1).

    >>> momentum_of({"betas": (0.9, 0.999)}), momentum_of({"momentum": 0.5}), momentum_of({"lr": 0.1})
    (0.9, 0.5, 0.0)
    """
    betas = group.get("betas")
    beta = betas[0] if isinstance(betas, (tuple, list)) and betas else group.get("momentum")
    beta = 0.0 if beta is None else float(beta)
    return beta if 0.0 <= beta < 1.0 else 0.0
