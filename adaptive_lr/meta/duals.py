"""Torch's forward mode, without what it says of itself."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from torch.autograd import forward_ad


@contextlib.contextmanager
def quiet_forward_mode() -> Iterator[None]:
    """Within it torch's forward mode warns of nothing that only torch can do something about.

    Its rules are loaded by code that is deprecated, and its derivative of the squared loss resizes a tensor of its own.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "An output with one or more elements was resized", UserWarning)
        yield


@contextlib.contextmanager
def dual_numbers() -> Iterator[None]:
    """`torch.autograd.forward_ad.dual_level`, quietly."""
    with quiet_forward_mode(), forward_ad.dual_level():
        yield
