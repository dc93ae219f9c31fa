"""What looking at gradients and probing costs, as shares of a training step.

Two runs are made in turn on one thread, some steps of one and some of the other, and the processor's time is taken, so that whoever else
uses the machine matters little.

Gradients as views into two flat buffers were measured in bare loops of tensors and not built: at 1.2 M parameters they cost 11 to 12 % where
products by parameter and a copy cost 6 to 8 %, because zeroing and adding cost more than the copy that they save.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from pairs import one_core
from rows import Aim, Case, Measured
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adaptive_lr import AbstractController, Anchor, ControlledLR, DampedCosine, ProgressAnchor, ScheduledLR
from adaptive_lr.controllers.base import Moment, Observation, Signal, zeros
from adaptive_lr.spec import number, spec

TITLE = "Looking at gradients and probing"
ABOUT = """What a controller adds to a step, as a share of that step's processor time: a run with it and one without, some steps of each in turn.
A star marks the middle half of the pieces instead of their range."""

SIZES = {"1.2 M": ((784, 1024, 384, 10), 128), "0.1 M": ((784, 100, 100, 10), 100)}
"""Layers, and the size of a minibatch."""


class Nothing(NamedTuple):
    """What `Reader` keeps."""

    readings: Tensor


@spec
class Reader(AbstractController):
    """Reads the gradient's norm and its inner product with the one before, at every so many steps, and follows the schedule."""

    kind = "bench-reader"
    needs = Signal.GRADIENT | Signal.PREVIOUS_GRADIENT
    every: int = number("[1, inf)", default=1, integer=True)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def init(self, trials: int) -> Nothing:
        """See the base class."""
        return Nothing(zeros(trials))

    def multiplier(self, state: Nothing, now: Moment) -> Tensor:
        """See the base class."""
        return now.scheduled

    def update(self, state: Nothing, seen: Observation) -> tuple[Nothing, Tensor]:
        """See the base class."""
        return Nothing(state.readings + seen.gradient_dot_previous.isfinite()), seen.trial


class Cost(NamedTuple):
    """Something that is measured."""

    what: str
    size: str
    controller: AbstractController
    steps: int
    aim: float


COSTS = [
    Cost("norm and product with the last gradient, every step", "1.2 M", Reader(), 400, 0.08),
    Cost("the same every 10 steps", "1.2 M", Reader(every=10), 400, 0.01),
    Cost("Anchor, a run of 1000 steps", "1.2 M", Anchor(), 1000, 0.06),
    Cost("ProgressAnchor, a run of 1000 steps", "1.2 M", ProgressAnchor(), 1000, 0.06),
    Cost("norm and product with the last gradient, every step", "0.1 M", Reader(), 2000, 0.08),
    Cost("the same every 10 steps", "0.1 M", Reader(every=10), 2000, 0.01),
    Cost("Anchor, a run of 2000 steps", "0.1 M", Anchor(), 2000, 0.06),
]


def run(size: str, controller: AbstractController | None, total_steps: int) -> Callable[[], object]:
    """One step of a new run, each time it is called."""
    layers, batch = SIZES[size]
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(layers):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = torch.randn(batch, layers[0]), torch.randint(0, layers[-1], (batch,))
    schedule = DampedCosine()
    plain = ScheduledLR(optimizer, schedule, total_steps=total_steps) if controller is None else None
    controlled = None if controller is None else ControlledLR(optimizer, schedule, controller, total_steps=total_steps)

    def step() -> None:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if plain is not None:
            plain.step()
        elif controlled is not None:
            controlled.step(loss, lambda: cross_entropy(model(x), y))

    return step


def overheads(cost: Cost, pieces: int = 50) -> list[float]:
    """By which share a run is slower, estimated by each of some pieces of it; of whole runs if the cost is not spread evenly."""
    each = cost.steps // pieces
    times: list[tuple[float, float]] = []
    for _ in range(3 if isinstance(cost.controller, Anchor | ProgressAnchor) else 1):
        pair = [run(cost.size, controller, cost.steps) for controller in (None, cost.controller)]
        timings = []
        for _ in range(pieces):
            seconds = []
            for step in pair:
                started = time.process_time()
                for _ in range(each):
                    step()
                seconds.append(time.process_time() - started)
            timings.append((seconds[0], seconds[1]))
        if isinstance(cost.controller, Anchor | ProgressAnchor):
            times.append((sum(a for a, _ in timings), sum(b for _, b in timings)))
        else:
            times += timings[1:]
    return sorted(slow / fast - 1.0 for fast, slow in times)


def overhead(cost: Cost) -> Measured:
    """The shares of a cost, on one core."""
    with one_core():
        return Measured(overheads(cost), middle_half=True)


def cases(*, quick: bool) -> list[Case]:
    """All costs, with what they should be."""

    def case(cost: Cost) -> Case:
        shorter = cost._replace(steps=max(50, cost.steps // 4)) if quick else cost
        return Case(
            what=f"{cost.what}, {cost.size} parameters",
            aim=Aim(cost.aim, at_most=True),
            unit="share",
            measure=lambda count: overhead(shorter),
        )

    return [case(cost) for cost in COSTS]
