"""Weights that are trained once and then kept: training from a fixed seed, and the folder that holds what came of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from adaptive_lr.errors import OutputError
from adaptive_lr.files import make_folder, replace_file
from adaptive_lr.tasks.base import Minibatch, Parameters, as_tuple
from adaptive_lr.tasks.data.resolver import root

SEED = 4294967295
"""Of everything that is random in pre-training; the trials of a study have small ones."""

VERSION = 1
"""Raised whenever the same pre-training gives other weights than before."""

_CLIP = 1.0
_WARMUP = 0.05


def pretrain(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    minibatches: Iterable[Minibatch],
    *,
    steps: int,
    rate: float,
) -> Parameters:
    """The parameters and buffers of a module after ``steps`` updates, float64: AdamW, warm-up and cosine, clipping at 1.

    Computed in float32 on one thread, so that the number of cores does not matter.

    Args:
        module: with the values to begin from; it is changed.
        loss: a scalar from outputs and targets.
        minibatches: ``steps`` of them, float32.
        steps: how many.
        rate: the highest; 5 % of the steps lead up to it.
    """
    module.float().train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    with _one_thread(), torch.enable_grad():
        for step, (inputs, targets) in enumerate(minibatches):
            warm = min(1.0, (step + 1) / (_WARMUP * steps))
            optimizer.param_groups[0]["lr"] = rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            loss(module(*as_tuple(inputs)), targets).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
            optimizer.step()
    return {name: value.detach().double() for name, value in module.state_dict().items()}


def kept(name: str, content: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What ``make`` returns, from the folder of all data sets if it stands there, else made and written there.

    However many processes want it, it is made once. What is damaged is made again, and a folder that cannot be written to costs time only.

    Args:
        name: of the file, without what tells it from others of its kind.
        content: everything that the arrays depend on.
        make: arrays by their names.
    """
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    path = root() / "pretrained" / f"{name}-{digest}.npz"
    if (arrays := _read(path)) is not None:
        return arrays
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OutputError, OSError):
            make_folder(path.parent)
            stack.enter_context(FileLock(path.with_suffix(".lock")))
            if (arrays := _read(path)) is not None:  # another process was faster
                return arrays
        arrays = make()
        with contextlib.suppress(OutputError):
            replace_file(path, _packed(arrays))
    return arrays


def checksum(values: Tensor) -> str:
    """A text that stands for the values, ``[…]``, in what weights depend on."""
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    """The SHA-256 of an npz file, and the file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in a file; None if it is not there, cut or damaged."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        with np.load(io.BytesIO(content[32:]), allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
