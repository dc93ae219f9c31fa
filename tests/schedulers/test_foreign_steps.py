"""Steps of the optimizer that nobody trains with change nothing, and training goes on as if they had not been."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr import (
    AbstractController,
    Anchor,
    ControlledLR,
    DampedCosine,
    LossPlateau,
    MomoCap,
    NanRescue,
    PolyakReanchor,
    ProgressAnchor,
    ScheduledLR,
    SpecError,
)
from tests.controlled import STEPS, Alignment, Watch, controlled, loss_of, minibatches, perceptron, same, train, values

END = 40
ANCHOR = Anchor(least_steps=10)
PROGRESS = ProgressAnchor(probing=ANCHOR)
CONTROLLERS: list[AbstractController | None] = [
    None,
    ANCHOR,
    PROGRESS,
    NanRescue(then=PROGRESS),
    NanRescue(),
    PolyakReanchor(),
    MomoCap(),
    LossPlateau(),
    Alignment(),
    Watch(),
]
NAMES = [
    "schedule",
    "anchor",
    "progress",
    "rescued progress",
    "rescue",
    "polyak",
    "momo",
    "plateau",
    "alignment",
    "watch",
]
RATES: dict[str, Callable[[], Any]] = {
    "float": lambda: 0.1,
    "tensor": lambda: torch.tensor(0.1, dtype=torch.float64),
}


class Run:
    def __init__(self, controller: AbstractController | None, rate: Any = 0.1, *, created: bool = False) -> None:
        self.model = perceptron()
        self.optimizer = AdamW(self.model.parameters(), lr=rate, weight_decay=0.5)
        if created:
            get_optimizer_state_dict(self.model, self.optimizer)
        self.scheduler: ScheduledLR | ControlledLR
        if controller is None:
            self.scheduler = ScheduledLR(self.optimizer, DampedCosine(floor=0.01), total_steps=END)
        else:
            self.scheduler = ControlledLR(self.optimizer, DampedCosine(floor=0.01), controller, total_steps=END)

    def train(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        if isinstance(self.scheduler, ControlledLR):
            train(self.model, self.optimizer, self.scheduler, batches)
            return
        for x, y in batches:
            self.optimizer.zero_grad()
            loss_of(self.model, x, y).backward()
            self.optimizer.step()
            self.scheduler.step()

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("controller", CONTROLLERS, ids=NAMES)
def test_step_that_creates_the_optimizers_state_moves_nothing(controller: AbstractController | None, rate: str) -> None:
    run, early = Run(controller, RATES[rate]()), Run(controller, RATES[rate](), created=True)
    before, present = values(run.model), run.rate()
    get_optimizer_state_dict(run.model, run.optimizer)
    assert same(before, values(run.model))
    assert run.rate() == present
    for one_run in (run, early):
        one_run.train(minibatches(12))
    assert run.rate() == early.rate()
    assert same(values(run.model), values(early.model))


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "order",
    [("model", "optimizer", "scheduler"), ("model", "scheduler", "optimizer"), ("optimizer", "model", "scheduler")],
)
@pytest.mark.parametrize("stop", [0, 4, 14])
@pytest.mark.parametrize("controller", CONTROLLERS, ids=NAMES)
def test_run_resumed_through_a_distributed_checkpoint_is_the_same_to_the_last_bit(
    controller: AbstractController | None, stop: int, order: tuple[str, ...]
) -> None:
    batches = minibatches(18)
    whole = Run(controller)
    whole.train(batches[:stop])
    if stop == 0:
        get_optimizer_state_dict(whole.model, whole.optimizer)
    saved: dict[str, Any] = copy.deepcopy(
        {
            "model": get_model_state_dict(whole.model),
            "optimizer": get_optimizer_state_dict(whole.model, whole.optimizer),
            "scheduler": whole.scheduler.state_dict(),
        }
    )
    run = Run(controller)
    for part in order:
        if part == "model":
            set_model_state_dict(run.model, saved["model"])
        elif part == "optimizer":
            set_optimizer_state_dict(run.model, run.optimizer, saved["optimizer"])
        else:
            run.scheduler.load_state_dict(saved["scheduler"])
    assert same(values(whole.model), values(run.model))
    for one_run in (whole, run):
        one_run.train(batches[stop:])
    assert same(values(whole.model), values(run.model))
    assert run.rate() == whole.rate()


def at_rest(optimizer: Optimizer) -> None:
    """What `torch.distributed.checkpoint` does, also where the optimizer has a state."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


@pytest.mark.parametrize("controller", [ANCHOR, Watch(), NanRescue(then=ANCHOR), Alignment()])
def test_step_at_rest_between_step_and_judgement_leaves_the_step_as_it_was(controller: AbstractController) -> None:
    runs = []
    for disturbed in (False, True):
        model = perceptron()
        optimizer = SGD(model.parameters(), lr=0.01, weight_decay=0.1)
        scheduler = controlled(optimizer, controller)
        for x, y in minibatches(14):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            if disturbed:
                at_rest(optimizer)
            optimizer.step()
            if disturbed:
                at_rest(optimizer)
            scheduler.step(loss, closure=lambda x=x, y=y, model=model: loss_of(model, x, y))  # type: ignore[misc]
        runs.append((values(model), scheduler.get_last_lr()))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


@pytest.mark.parametrize("gradients", ["none", "zero", "random"])
@pytest.mark.parametrize("controller", [ANCHOR, Watch(), NanRescue(then=ANCHOR)])
def test_step_of_a_warm_up_that_no_forward_pass_came_before_is_none_of_training(
    controller: AbstractController, gradients: str
) -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    for parameter in model.parameters():
        if gradients != "none":
            parameter.grad = torch.zeros_like(parameter) if gradients == "zero" else torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    if gradients != "random":
        assert same(start, values(model))
    x, y = minibatches(1)[0]
    loss = loss_of(model, x, y)
    loss.backward()
    optimizer.step()  # which takes a foreign step back
    scheduler.step(loss, closure=lambda: loss_of(model, x, y))
    train(model, optimizer, scheduler, minibatches(14)[1:])
    assert scheduler.last_epoch == 14


def test_rate_that_the_loop_writes_is_not_made_a_probe_and_told_once() -> None:
    model, twin = perceptron(), perceptron()
    optimizer, reference = SGD(model.parameters(), lr=0.01), SGD(twin.parameters(), lr=0.002)
    scheduler = controlled(optimizer, Anchor())
    batches = minibatches(5)

    def update(x: Tensor, y: Tensor) -> None:
        optimizer.param_groups[0]["lr"] = 0.002
        train(model, optimizer, scheduler, [(x, y)])
        reference.zero_grad()
        loss_of(twin, x, y).backward()
        reference.step()

    with pytest.warns(
        UserWarning, match=r"group 0 is 0.002 and not what this scheduler wrote \(0.01\).*leave the rate to one"
    ) as told:
        update(*batches[0])
    assert [warning.filename for warning in told] == [train.__code__.co_filename]
    for batch in batches[1:]:  # a second warning would be an error
        update(*batch)
    assert same(values(model), values(twin))
    assert scheduler.last_epoch == 0


@pytest.mark.parametrize("other", ["ScheduledLR", "StepLR"])
def test_second_scheduler_on_the_optimizer_is_told(other: str) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    second: Any = (
        ScheduledLR(optimizer, DampedCosine(), total_steps=STEPS)
        if other == "ScheduledLR"
        else torch.optim.lr_scheduler.StepLR(optimizer, 1)
    )
    scheduler = controlled(optimizer, Anchor())
    with warnings.catch_warnings(record=True) as told:  # the other one may have something to say too
        warnings.simplefilter("always")
        train(model, optimizer, scheduler, minibatches(5), lambda _: second.step())
    messages = [str(warning.message) for warning in told]
    assert sum("another scheduler or the training loop writes it too" in message for message in messages) == 1


def test_rates_that_a_finder_tries_are_its_own() -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for trial, (x, y) in enumerate(minibatches(20)):
        optimizer.param_groups[0]["lr"] = 1e-6 * 1.5**trial
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert same(start, values(model))
    train(model, optimizer, scheduler, minibatches(20))
    assert scheduler.last_epoch == 20


def test_state_that_is_loaded_takes_back_a_step_that_was_not_judged() -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    saved = copy.deepcopy(scheduler.state_dict())
    loss_of(model, *minibatches(1)[0]).backward()
    optimizer.step()
    assert not same(start, values(model))
    scheduler.load_state_dict(saved)
    assert same(start, values(model))
    train(model, optimizer, scheduler, minibatches(3))


def test_model_that_was_loaded_after_the_step_stays_as_it_was_loaded() -> None:
    model, other = perceptron(), perceptron(seed=1)
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    saved = copy.deepcopy(scheduler.state_dict())
    for again in (lambda: scheduler.load_state_dict(saved), optimizer.step):
        loss_of(model, *minibatches(1)[0]).backward()
        optimizer.step()
        model.load_state_dict(other.state_dict())
        if again is optimizer.step:
            with pytest.raises(
                SpecError, match="the parameters were written to since the last one, so they stay as they are"
            ):
                optimizer.step()
        else:
            again()
        assert same(values(other), values(model))


class Raising(SGD):
    """Runs out of memory half of the way."""

    fails = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self.fails:
            first = self.param_groups[0]["params"][0]
            first.sub_(first.grad, alpha=self.param_groups[0]["lr"])
            raise MemoryError("half of the way")
        super().step()


@pytest.mark.parametrize("judged", [False, True], ids=["caught", "judged"])
def test_step_that_raised_half_of_the_way_is_taken_back_and_the_next_probe_has_its_own_masks(judged: bool) -> None:
    model, start = perceptron(drop=0.5), values(perceptron(drop=0.5))
    optimizer = Raising(model.parameters(), lr=0.0)
    optimizer.param_groups[0]["lr"] = 1e-9
    scheduler = controlled(optimizer, Anchor())
    (x, y), *others = minibatches(4)
    optimizer.fails = True
    loss = loss_of(model, x, y)
    loss.backward()
    with pytest.raises(MemoryError):
        optimizer.step()
    optimizer.fails = False
    if judged:
        scheduler.step(loss, closure=lambda: loss_of(model, x, y))
        assert same(start, values(model))
    train(model, optimizer, scheduler, others)
    seen = scheduler.readings()
    assert seen["probe_loss"] == pytest.approx(seen["loss"], rel=1e-6)
    assert scheduler.last_epoch == 3


def test_checkpoint_of_a_step_that_raised_is_taken_back_after_loading() -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = Raising(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    optimizer.fails = True
    loss_of(model, *minibatches(1)[0]).backward()
    with pytest.raises(MemoryError):
        optimizer.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
    assert not same(start, values(model))
    again = perceptron(seed=5)
    resumed = SGD(again.parameters(), lr=0.01)
    scheduler = controlled(resumed, Anchor())
    for part, state in zip((again, resumed, scheduler), saved, strict=True):
        part.load_state_dict(state)  # type: ignore[attr-defined]
    train(again, resumed, scheduler, minibatches(3))
    plain = perceptron()
    reference = SGD(plain.parameters(), lr=0.01)
    train(plain, reference, controlled(reference, Anchor()), minibatches(1))
    assert scheduler.last_epoch == 3


def test_linear_regression_without_a_module_may_have_no_gradient_at_first() -> None:
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = SGD([weight], lr=0.01)
    scheduler = ControlledLR(optimizer, DampedCosine(), Anchor(), total_steps=STEPS)
    for _ in range(5):
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda: weight.square().sum())
    assert scheduler.last_epoch == 5
