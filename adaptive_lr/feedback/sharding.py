"""Tensors that are spread over processes."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, distributed


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


def part_of(complete: Tensor, parameter: Tensor) -> Tensor:
    """What this process holds of a tensor that is cut like the parameter."""
    like = complete.to(parameter.device, parameter.dtype)
    if not sharded(parameter):
        return like
    from torch.distributed.tensor import distribute_tensor

    cut = _as_dtensor(parameter)
    return local(distribute_tensor(like, cut.device_mesh, cut.placements, src_data_rank=None))


def shards(tensor: Tensor) -> float:
    """Into how many different parts the tensor is cut."""
    if not sharded(tensor):
        return 1.0
    cut = _as_dtensor(tensor)
    sizes = zip(cut.placements, cut.device_mesh.shape, strict=True)
    return float(math.prod(size for placement, size in sizes if placement.is_shard()))
