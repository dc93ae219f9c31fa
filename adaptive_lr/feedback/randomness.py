"""The state of torch's random numbers, by device."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

RandomState = dict[str, Tensor]
"""From the name of a device to the state of its generator."""


def devices_of(parameters: Iterable[Tensor]) -> list[torch.device]:
    """Where the parameters are, besides the CPU: random numbers may be drawn there."""
    return sorted({p.device for p in parameters if p.device.type not in ("cpu", "meta")}, key=str)


def random_state(devices: Iterable[torch.device]) -> RandomState:
    """What comes next, on the CPU and on the given devices."""
    states = {str(device): torch.get_device_module(device).get_rng_state(device) for device in devices}
    return {"cpu": torch.get_rng_state()} | states


def set_random_state(states: RandomState) -> None:
    """Go back to what `random_state` returned."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state.cpu())
        else:
            torch.get_device_module(torch.device(name)).set_rng_state(state.cpu(), torch.device(name))
