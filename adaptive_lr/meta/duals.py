"""Torch's forward mode, loaded without what it says of itself."""

from __future__ import annotations

import functools
import warnings

import torch
from torch.autograd import forward_ad


@functools.cache
def load_forward_mode() -> None:
    """Have torch load the rules of its forward mode, whose code is deprecated by torch itself and warns of it, once."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
