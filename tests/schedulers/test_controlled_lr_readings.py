"""What there is to see of a controller, in any logger."""

import re
from dataclasses import fields
from typing import Any

import pytest
from torch.optim import SGD

from adaptive_lr import Anchor, DampedCosine, DistanceAnchor, MomoCap, ProgressAnchor, ScheduledLR, Static, log_damping
from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.controllers.base import AbstractController, Observation
from adaptive_lr.integrations.minibatch import damping
from adaptive_lr.training.controlled import Recorder
from tests.controlled import STEPS, Alignment, Losses, controlled, loss_of, minibatches, perceptron, train


class Written:
    def __init__(self) -> None:
        self.rows: dict[str, float] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows[name] = value


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_names_are_tags_and_no_two_mean_the_same(kind: type[AbstractController]) -> None:
    controller = kind()
    names = set(controller.readings(controller.init(1)))
    taken = {one.name for one in fields(Observation)} | {"multiplier", "held", "trial", "ignored"}
    assert not names & taken
    assert all(re.fullmatch(r"[a-z_/]+", one) for one in names)


@pytest.mark.parametrize("controller", [Anchor(), ProgressAnchor(), DistanceAnchor(), MomoCap()])
def test_every_logger_uses_the_same_names(controller: Any) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler, writer = controlled(optimizer, controller), Written()
    train(model, optimizer, scheduler, minibatches(3))
    log_damping(writer, scheduler)  # type: ignore[arg-type]
    assert writer.rows == damping(scheduler)
    recorder = Recorder(controller, STEPS, 1)
    recorded = {name.removeprefix("control/") for name in recorder_names(recorder, scheduler)}
    assert recorded <= set(scheduler.readings())


def recorder_names(recorder: Recorder, scheduler: Any) -> set[str]:
    made = scheduler.control.trial
    recorder.record(recorder.steps[0], scheduler.control, made, made > 0.0)
    return set(recorder.curves(0)) - {"control/step"}


def test_what_was_ignored_is_shown() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Alignment())
    x, y = minibatches(1)[0]
    for loss in (1.0, float("nan"), float("inf"), 1.0):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()
        scheduler.step(loss)
    assert scheduler.readings()["ignored"] == 2.0


def test_scheduler_without_a_controller_has_no_damping_to_log() -> None:
    scheduler: Any = ScheduledLR(SGD(perceptron().parameters(), lr=0.01), DampedCosine(), total_steps=STEPS)
    with pytest.raises(TypeError, match="must have a controller, as ControlledLR has, got ScheduledLR"):
        log_damping(Written(), scheduler)  # type: ignore[arg-type]


@pytest.mark.parametrize("controller", [Static(), Alignment(), Losses(), ProgressAnchor(), DistanceAnchor()])
@pytest.mark.parametrize("bare", [True, False])
def test_a_step_after_which_nothing_was_made_changes_no_reading(controller: Any, bare: bool) -> None:
    # Accelerate calls step() as often as there are processes.
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)

    def again(loss: Any) -> None:
        before = scheduler.last_epoch, scheduler.readings(), scheduler.applied_multiplier
        for _ in range(3):
            scheduler.step(*(() if bare else (loss,)))
        assert repr((scheduler.last_epoch, scheduler.readings(), scheduler.applied_multiplier)) == repr(before)

    train(model, optimizer, scheduler, minibatches(12), again)
    assert scheduler.applied_multiplier > 0.0
    scheduler.step(skipped=True)
    assert scheduler.applied_multiplier == scheduler.readings()["multiplier"] == 0.0
