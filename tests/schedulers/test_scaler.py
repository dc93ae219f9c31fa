"""Steps that a gradient scaler skipped, and no others, are not followed; whatever became of its scale."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr import Anchor, ControlledLR, Linear, ScheduledLR, Static

STEPS = 20
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def scheduled(optimizer: Optimizer, scaler: GradScaler) -> ScheduledLR:
    return ScheduledLR(optimizer, Linear(), total_steps=STEPS, grad_scaler=scaler)


def controlled(optimizer: Optimizer, scaler: GradScaler) -> ScheduledLR:
    return ControlledLR(optimizer, Linear(), Static(), total_steps=STEPS, grad_scaler=scaler)


def probing(optimizer: Optimizer, scaler: GradScaler) -> ScheduledLR:
    return ControlledLR(optimizer, Linear(), Anchor(), total_steps=STEPS, grad_scaler=scaler)


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda parameters: SGD(parameters, lr=0.1),
    "fused": lambda parameters: AdamW(parameters, lr=0.1, fused=True),
}


class Run:
    def __init__(self, make: Any, kind: str) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        self.optimizer: Optimizer = OPTIMIZERS[kind](self.model.parameters())
        self.scaler = GradScaler("cpu")
        self.scheduler: ScheduledLR = make(self.optimizer, self.scaler)

    def loss(self) -> torch.Tensor:
        return self.model(X).square().mean()  # type: ignore[no-any-return]

    def train(self, steps: int, overflow: tuple[int, ...] = ()) -> list[float]:
        rates = []
        for step in range(steps):
            self.optimizer.zero_grad()
            loss = self.loss()
            self.scaler.scale(loss).backward()
            if step in overflow:
                self.model.weight.grad.fill_(float("inf"))  # type: ignore[union-attr]
            rates.append(float(self.optimizer.param_groups[0]["lr"]))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            given: tuple[Any, ...] = (loss, self.loss) if isinstance(self.scheduler, ControlledLR) else ()
            self.scheduler.step(*given)
        return rates

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler, "scheduler": self.scheduler}


MAKERS = [scheduled, controlled, probing]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "order",
    [
        ("model", "optimizer", "scaler", "scheduler"),
        ("model", "optimizer", "scheduler", "scaler"),
        ("scaler", "scheduler", "model", "optimizer"),
        ("scheduler", "model", "optimizer", "scaler"),
    ],
)
def test_no_step_is_dropped_after_a_scaler_with_a_lower_scale_was_loaded(make: Any, kind: str, order: Any) -> None:
    # https://github.com/mosaicml/composer/pull/1376
    run = Run(make, kind)
    run.train(8, overflow=(1, 2))
    assert run.scheduler.last_epoch == 6
    states = copy.deepcopy({name: part.state_dict() for name, part in run.parts().items()})
    resumed = Run(make, kind)
    for name in order:
        resumed.parts()[name].load_state_dict(copy.deepcopy(states[name]))
    assert resumed.train(6, overflow=(2,)) == run.train(6, overflow=(2,))
    assert resumed.scheduler.last_epoch == run.scheduler.last_epoch == 11
    assert torch.equal(resumed.model.weight, run.model.weight)


@pytest.mark.parametrize("make", MAKERS)
def test_a_scale_that_was_set_by_hand_drops_no_step(make: Any) -> None:
    run = Run(make, "sgd")
    run.train(3)
    run.scaler.update(1024.0)
    run.train(3)
    assert run.scheduler.last_epoch == 6


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("make", MAKERS)
def test_the_very_first_updates_may_be_skipped(make: Any, kind: str) -> None:
    run = Run(make, kind)
    assert run.train(4, overflow=(0, 1))[:3] == [0.1, 0.1, 0.1]
    assert run.scheduler.last_epoch == 2


def test_a_skip_among_several_updates_of_an_epoch_does_not_drop_the_epoch() -> None:
    run = Run(lambda optimizer, scaler: scheduled(optimizer, scaler), "sgd")
    epochs, run.scheduler = run.scheduler, Run(scheduled, "sgd").scheduler
    for _ in range(3):
        run.train(4, overflow=(2,))
        epochs.step()
    assert epochs.last_epoch == 3


def test_a_copy_sees_the_updates_of_its_own_optimizer() -> None:
    run = Run(scheduled, "sgd")
    run.train(2)
    for copied in (copy.deepcopy(run.scheduler), pickle.loads(pickle.dumps(run.scheduler))):
        copied.step()  # nothing was made
        assert copied.last_epoch == 2
        copied.optimizer.step()
        copied.step()
        assert copied.last_epoch == 3


def test_schedulers_that_are_gone_leave_no_hook() -> None:
    optimizer, scaler = SGD(nn.Linear(4, 1).parameters(), lr=0.1), GradScaler("cpu")
    before = len(optimizer._optimizer_step_post_hooks)
    for _ in range(5):
        scheduler = scheduled(optimizer, scaler)
    gc.collect()
    assert len(optimizer._optimizer_step_post_hooks) == before + 1
    gone = weakref.ref(scheduler)
    del scheduler
    gc.collect()
    assert gone() is None
    assert len(optimizer._optimizer_step_post_hooks) == before


def test_two_schedulers_of_one_optimizer_both_see_what_the_scaler_skipped() -> None:
    run = Run(scheduled, "sgd")
    other = ScheduledLR(run.optimizer, {"weight_decay": Linear()}, total_steps=STEPS, grad_scaler=run.scaler)
    step = run.scheduler.step

    def both() -> None:
        step()
        other.step()

    run.scheduler.step = both  # type: ignore[method-assign, assignment]
    run.train(6, overflow=(2,))
    assert (run.scheduler.last_epoch, other.last_epoch) == (5, 5)
