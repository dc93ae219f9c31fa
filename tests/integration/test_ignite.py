from collections.abc import Callable
from typing import Any

import pytest
import torch

from adaptive_lr import Linear, ScheduledLR
from tests.integration.tutorial import BATCHES, SCHEDULE, one_group, rates, run

pytestmark = [pytest.mark.usefixtures("ignite")]

Used = list[list[float]]


def optimizer(*bases: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.ones(2, requires_grad=True)], "lr": base} for base in bases])


def step_of(one: torch.optim.SGD) -> Callable[..., None]:
    def step(engine: Any, batch: Any) -> None:
        one.step()

    return step


def test_tutorial_has_no_step_too_early_or_too_late(used: Used) -> None:
    run("Ignite")
    assert one_group(used) == rates(2 * BATCHES)


def test_tutorial_without_the_wrapper(used: Used) -> None:
    names = run("Without the wrapper")
    assert one_group(used) == rates(6)
    assert names["optimizer"].param_groups[0]["weight_decay"] == 0.0


def test_wrapper_serves_several_groups_and_records_what_it_set(ignite: Any, used: Used) -> None:
    one = optimizer(0.1, 0.03)
    scheduler = ScheduledLR(one, [SCHEDULE, Linear(floor=0.25)], total_steps=BATCHES)
    engine = ignite.engine.Engine(step_of(one))
    wrapper = ignite.handlers.param_scheduler.LRScheduler(scheduler, save_history=True)
    engine.add_event_handler(ignite.engine.Events.ITERATION_STARTED, wrapper)
    state = engine.run(range(BATCHES), max_epochs=1)
    expected = [list(pair) for pair in zip(rates(BATCHES), rates(BATCHES, Linear(floor=0.25), 0.03), strict=True)]
    assert used == expected
    assert state.param_history["lr"] == expected


def test_resumed_wrapper_has_the_rates_of_an_uninterrupted_one(ignite: Any, used: Used) -> None:
    events, wrapped = ignite.engine.Events, ignite.handlers.param_scheduler.LRScheduler

    def prepared() -> tuple[Any, Any, torch.optim.SGD]:
        one = optimizer(0.1)
        wrapper = wrapped(ScheduledLR(one, SCHEDULE, total_steps=2 * BATCHES))
        engine = ignite.engine.Engine(step_of(one))
        engine.add_event_handler(events.ITERATION_STARTED, wrapper)
        return engine, wrapper, one

    engine, wrapper, one = prepared()
    engine.run(range(BATCHES), max_epochs=1)
    states = engine.state_dict(), wrapper.state_dict(), one.state_dict()
    parts = prepared()
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    parts[0].run(range(BATCHES), max_epochs=2)
    assert one_group(used) == rates(2 * BATCHES)


def test_wrapper_can_start_every_second_iteration(ignite: Any) -> None:
    one = optimizer(0.1)
    seen: list[float] = []

    def update(engine: Any, batch: Any) -> None:
        if engine.state.iteration % 2 == 0:
            seen.append(one.param_groups[0]["lr"])
            one.step()

    engine = ignite.engine.Engine(update)
    wrapper = ignite.handlers.param_scheduler.LRScheduler(ScheduledLR(one, SCHEDULE, total_steps=4))
    engine.add_event_handler(ignite.engine.Events.ITERATION_STARTED(every=2), wrapper)
    engine.run(range(8), max_epochs=1)
    assert seen == rates(4)
