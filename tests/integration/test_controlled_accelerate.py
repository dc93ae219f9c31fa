import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from adaptive_lr import ControlledLR, ScheduledLR, SpecError
from tests.controlled import Nothing
from tests.integration.controlled import BATCHES, CONTROLLER, SCHEDULE, by_hand, close, loader, network, sees_its_masks


@pytest.fixture(autouse=True)
def without_state_of_other_tests(accelerate: Any) -> Iterator[None]:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


class Run:
    """The loop of the tutorial."""

    def __init__(self, accelerate: Any, epochs: int, parts: int = 1, late: bool = False, drop: float = 0.0) -> None:
        from adaptive_lr.integrations.accelerate import Controlled

        self.accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=parts)
        model = network(drop)
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.05)
        total_steps = epochs * -(-BATCHES // parts)
        if late:
            optimizer = self.accelerator.prepare(optimizer)
        scheduler: Any = ControlledLR(optimizer, SCHEDULE, Nothing() if drop else CONTROLLER, total_steps=total_steps)
        if late:
            self.model, self.loader = self.accelerator.prepare(model, loader())
            self.optimizer, self.scheduler = optimizer, self.accelerator.prepare(scheduler)
        else:
            parts_of = self.accelerator.prepare(model, optimizer, scheduler, loader())
            self.model, self.optimizer, self.scheduler, self.loader = parts_of
        self.control = Controlled(self.accelerator, self.scheduler)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return mse_loss(self.model(x), y)

    def train(self, epochs: int, max_norm: float | None = None) -> list[float]:
        applied = []
        self.readings: list[dict[str, float]] = []
        for _ in range(epochs):
            for x, y in self.loader:
                with self.accelerator.accumulate(self.model):
                    self.control.backward(self.loss, x, y)
                    if max_norm is not None and self.accelerator.sync_gradients:
                        self.control.clip_grad_norm_(self.model.parameters(), max_norm)
                    self.optimizer.step()
                    self.scheduler.step()
                    self.optimizer.zero_grad()
                if self.accelerator.sync_gradients:
                    applied.append(self.control.scheduler.applied_multiplier)
                    self.readings.append(self.control.scheduler.readings())
        return applied


@pytest.mark.parametrize("late", [False, True], ids=["made before prepare", "made of the prepared optimizer"])
@pytest.mark.parametrize(("parts", "max_norm"), [(1, None), (3, None), (2, 0.1)])
def test_it_does_what_a_loop_by_hand_does(accelerate: Any, parts: int, max_norm: float | None, late: bool) -> None:
    expected, weights = by_hand(4, parts, max_norm=max_norm)
    run = Run(accelerate, 4, parts, late)
    assert run.train(4, max_norm) == pytest.approx(expected, rel=1e-4)
    assert close(run.model, weights)


@pytest.mark.parametrize("parts", [1, 2])
def test_probes_see_the_masks_of_training(accelerate: Any, parts: int) -> None:
    run = Run(accelerate, 2, parts, drop=0.6)
    run.train(2)
    assert sees_its_masks(run.readings)


class Noisy(Run):
    """A loss that draws random numbers of all kinds and changes its batch."""

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        x.mul_(random.random())
        noise = torch.randn_like(x) * float(np.random.beta(1.0, 1.0))  # noqa: NPY002
        return mse_loss(self.model(x + noise), y)


@pytest.mark.parametrize("parts", [1, 3])
def test_probes_find_the_loss_of_the_step_whatever_it_draws(accelerate: Any, parts: int) -> None:
    run = Noisy(accelerate, 2, parts, drop=0.6)
    run.train(2)
    assert len(run.readings) == 2 * -(-BATCHES // parts)
    assert all(one["probe_loss"] == one["loss"] for one in run.readings)
    assert len({one["loss"] for one in run.readings}) == len(run.readings)


def test_probes_do_not_change_which_numbers_are_drawn(accelerate: Any) -> None:
    drawn: list[tuple[float, float, float]] = []

    class Draws(Run):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            drawn.append((torch.rand(()).item(), random.random(), float(np.random.rand())))  # noqa: NPY002
            return super().loss(x, y)

    accelerate.utils.set_seed(0)
    Draws(accelerate, 1, drop=0.6).train(1)
    assert drawn[::2] == drawn[1::2]
    accelerate.utils.set_seed(0)
    network(0.6)
    seen, expected = drawn[::2], []
    for _ in seen:
        torch.rand(())
        expected.append((random.random(), float(np.random.rand())))  # noqa: NPY002
    assert [numbers[1:] for numbers in seen] == expected


def test_saved_and_loaded_state_goes_on_to_the_last_bit(accelerate: Any, tmp_path: Path) -> None:
    first = Run(accelerate, 3)
    first.train(1)
    first.accelerator.save_state(str(tmp_path / "state"))
    expected = first.train(2)
    second = Run(accelerate, 3)
    second.accelerator.load_state(str(tmp_path / "state"))
    assert second.train(2) == expected
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def test_more_processes_do_not_advance_it_more_often(accelerate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(accelerate, 1)
    monkeypatch.setitem(accelerate.state.PartialState._shared_state, "num_processes", 3)
    run.train(1)
    assert run.control.scheduler.last_epoch == BATCHES


def test_another_scheduler_is_refused(accelerate: Any) -> None:
    from adaptive_lr.integrations.accelerate import Controlled

    plain = ScheduledLR(torch.optim.SGD(network().parameters(), lr=0.1), SCHEDULE, total_steps=10)
    with pytest.raises(SpecError, match="must be a ControlledLR"):
        Controlled(None, plain)
