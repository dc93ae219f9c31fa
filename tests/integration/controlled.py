"""What a trainer must do, done by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from adaptive_lr import Anchor, ControlledLR, DampedCosine

SCHEDULE = DampedCosine(floor=0.01)
CONTROLLER = Anchor(least_steps=8)
BATCHES = 10
"""Minibatches an epoch."""


def examples() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(x, x.sum(0, keepdim=True).sin()) for x in torch.randn(8 * BATCHES, 4, generator=generator)]


def loader() -> DataLoader[Any]:
    return DataLoader(examples(), batch_size=8)  # type: ignore[arg-type]


def network(drop: float = 0.0) -> nn.Sequential:
    """Without dropout by default: trainers draw random numbers for loaders."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(drop), nn.Linear(16, 1))


def by_hand(
    epochs: int,
    parts: int = 1,
    make: Callable[..., Optimizer] = torch.optim.SGD,
    max_norm: float | None = None,
    lr: float = 0.05,
) -> tuple[list[float], list[Tensor]]:
    """Multipliers of the updates, and the weights at the end; what is left of an epoch makes an update, divided like the others."""
    model, batches = network(), list(loader())
    optimizer = make(model.parameters(), lr=lr)
    updates = -(-len(batches) // parts)
    scheduler = ControlledLR(optimizer, SCHEDULE, CONTROLLER, total_steps=epochs * updates)
    applied = []
    for _ in range(epochs):
        for start in range(0, len(batches), parts):
            some, total = batches[start : start + parts], torch.zeros(())
            optimizer.zero_grad()
            for x, y in some:
                loss = mse_loss(model(x), y) / parts
                loss.backward()
                total = total + loss.detach()
            norm = None if max_norm is None else nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            scheduler.step(total, _closure(model, some, parts), grad_norm=norm)
            applied.append(scheduler.applied_multiplier)
    return applied, [one.detach().clone() for one in model.parameters()]


def _closure(model: nn.Module, some: Sequence[tuple[Tensor, Tensor]], parts: int) -> Callable[[], Tensor]:
    return lambda: torch.stack([mse_loss(model(x), y) / parts for x, y in some]).sum()


def close(model: nn.Module, weights: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(model.parameters(), weights, strict=True))


def sees_its_masks(readings: list[dict[str, float]]) -> bool:
    """Whether probes that go nowhere found the training loss."""
    assert len(readings) >= BATCHES
    return all(abs(one["probe_loss"] - one["loss"]) < 1e-6 for one in readings)
