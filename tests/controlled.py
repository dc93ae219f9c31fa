"""Models, minibatches and controllers for the tests of `ControlledLR`."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adaptive_lr import AbstractController, ControlledLR, DampedCosine
from adaptive_lr.controllers.base import Moment, Observation, Signal, average, zeros
from adaptive_lr.spec import spec

STEPS = 120
"""Long enough that `Anchor` probes 40 steps and then follows its schedule."""


class AlignmentState(NamedTuple):
    log_scale: Tensor


@spec
class Alignment(AbstractController):
    """The rate rises while successive gradients point the same way."""

    kind = "test-alignment"
    needs = Signal.LOSS | Signal.GRADIENT | Signal.PREVIOUS_GRADIENT

    def init(self, trials: int) -> AlignmentState:
        return AlignmentState(zeros(trials))

    def multiplier(self, state: AlignmentState, now: Moment) -> Tensor:
        return state.log_scale.exp() * now.scheduled

    def update(self, state: AlignmentState, seen: Observation) -> tuple[AlignmentState, Tensor]:
        cosine = seen.gradient_dot_previous / (seen.gradient_square * seen.previous_gradient_square).sqrt()
        usable = cosine.isfinite()
        change = average(state.log_scale, state.log_scale + cosine.nan_to_num() / 10.0, 0.5, usable)
        return AlignmentState(change), seen.trial


class WatchState(NamedTuple):
    seen: Tensor


@spec
class Watch(AbstractController):
    """Probes every step at four times the rate, then makes it at the schedule's; with everything to look at."""

    kind = "test-watch"
    needs = (
        Signal.LOSS
        | Signal.GRADIENT
        | Signal.PREVIOUS_GRADIENT
        | Signal.PREVIOUS_STEP
        | Signal.STEP
        | Signal.PARAMETERS
        | Signal.AVERAGE
        | Signal.PROBE
        | Signal.PROBE_GRADIENT
    )

    def init(self, trials: int) -> WatchState:
        return WatchState(zeros(trials))

    def multiplier(self, state: WatchState, now: Moment) -> Tensor:
        return now.scheduled

    def trial(self, state: WatchState, now: Moment) -> Tensor:
        return 4.0 * now.scheduled + 1e-3

    def update(self, state: WatchState, seen: Observation) -> tuple[WatchState, Tensor]:
        return WatchState(state.seen + 1.0), seen.now.scheduled


@spec
class Losses(Watch):
    """The same, of which no second gradient is seen."""

    kind = "test-losses"
    needs = Watch.needs & ~Signal.PROBE_GRADIENT


@spec
class Nothing(Watch):
    """Probes at a rate of next to nothing, so that the probe's loss must be the training loss."""

    kind = "test-nothing"
    needs = Signal.LOSS | Signal.STEP | Signal.PROBE

    def trial(self, state: WatchState, now: Moment) -> Tensor:
        return torch.full_like(now.scheduled, 1e-12)


def perceptron(*, seed: int = 0, dtype: torch.dtype = torch.float64, drop: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = (nn.Linear(6, 8), nn.Tanh(), nn.Dropout(drop), nn.Linear(8, 3))
    return nn.Sequential(*layers).to(dtype)


def minibatches(count: int, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        x = torch.randn(16, 6, generator=source, dtype=torch.float64)
        found.append((x.to(dtype), (x[:, :3].sin() + x[:, 3:]).to(dtype)))
    return found


def loss_of(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(model(x), y)


def train(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: ControlledLR,
    batches: Iterable[tuple[Tensor, Tensor]],
    after: Callable[[Tensor], Any] = lambda loss: None,
) -> list[float]:
    """The losses, after a plain loop; ``after`` sees each once the step is done."""
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        losses.append(loss.item())
        after(loss)
    return losses


def controlled(optimizer: Optimizer, controller: AbstractController, **options: Any) -> ControlledLR:
    return ControlledLR(optimizer, DampedCosine(floor=0.01), controller, total_steps=STEPS, **options)


def values(model: nn.Module) -> list[Tensor]:
    return [one.detach().clone() for one in model.parameters()]


def same(a: Iterable[Tensor], b: Iterable[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def probed_equals_trained(scheduler: Any) -> None:
    seen = scheduler.readings()
    assert seen["probe_loss"] == pytest.approx(seen["loss"], rel=1e-9)
