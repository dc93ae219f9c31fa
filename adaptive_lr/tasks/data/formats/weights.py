"""The tensors in a file of the format safetensors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.errors import DataError

_DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}


def tensors(content: np.ndarray, name: str) -> dict[str, Tensor]:
    """Copies of the tensors by their names: the length of the header, the header in JSON, and their values one after the other.

    Raises:
        DataError: it is not in this format, or is cut.
    """
    data = content.tobytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        values = bytearray(data[8 + length :])
        return {key: _tensor(values, entry) for key, entry in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{name} is no file of the format safetensors, or is cut: {error}") from None


def _tensor(values: bytearray, entry: dict[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    shape, dtype = entry["shape"], _DTYPES[entry["dtype"]]
    if not start < end <= len(values):
        raise ValueError(f"{len(values)} bytes of values, expected {end}")
    count = (end - start) // dtype.itemsize
    return torch.frombuffer(values, dtype=dtype, offset=start, count=count).reshape(shape).clone()
