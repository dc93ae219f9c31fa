from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import SGD, Adam, Optimizer

from adaptive_lr import (
    Anchor,
    Constant,
    ControlledLR,
    DampedCosine,
    Linear,
    Plateau,
    Product,
    SpecError,
    Static,
    Warmup,
)
from tests.controlled import (
    STEPS,
    Alignment,
    Watch,
    controlled,
    loss_of,
    minibatches,
    perceptron,
    same,
    train,
    values,
)
from tests.feedback.test_linearity import WithAttributes


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fused optimizers start threads for the smallest tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"momentum": 0.9, "fused": True}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"fused": True}),
    ("AdamW", {}),
    ("AdamW", {"foreach": True}),
    ("AdamW", {"fused": True}),
    ("AdamW", {"lr": torch.tensor(0.01, dtype=torch.float64)}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("RMSprop", {"momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"fused": True}),
]


def made(name: str, model: nn.Module, **options: Any) -> Optimizer:
    return getattr(optim, name)(model.parameters(), **{"lr": 0.01} | options)  # type: ignore[no-any-return]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_probed_steps_are_those_of_the_optimizer_at_the_applied_rate(name: str, options: dict[str, Any]) -> None:
    options = {key: value.clone() if isinstance(value, Tensor) else value for key, value in options.items()}
    model, twin = perceptron(), perceptron()
    optimizer, reference = made(name, model, **options), made(name, twin, **options | {"lr": 0.01})
    scheduler, batches = controlled(optimizer, Anchor()), minibatches(STEPS)
    worst, applied, index = 0.0, [], 0

    def compare(_: Tensor) -> None:
        nonlocal worst, index
        reference.zero_grad()
        loss_of(twin, *batches[index]).backward()
        reference.param_groups[0]["lr"] = 0.01 * scheduler.applied_multiplier
        reference.step()
        pairs = zip(values(model), values(twin), strict=True)
        worst = max(worst, *(float((a - b).abs().max()) for a, b in pairs))
        applied.append(scheduler.applied_multiplier)
        index += 1

    train(model, optimizer, scheduler, batches, compare)
    assert worst < 1e-12
    assert len({*applied[:40]}) > 10
    assert scheduler.last_epoch == STEPS


def test_every_group_keeps_the_ratio_of_its_base_rate() -> None:
    model = perceptron()
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[3].parameters(), "lr": 0.03}]
    optimizer = SGD(groups, momentum=0.9)
    scheduler = controlled(optimizer, Anchor())

    def compare(_: Tensor) -> None:
        first, second = scheduler.get_last_lr()
        assert second == pytest.approx(3.0 * first, rel=1e-12)

    train(model, optimizer, scheduler, minibatches(STEPS), compare)


def test_tensor_rates_stay_the_same_tensors_and_give_the_same_run() -> None:
    runs = []
    for rate in (0.01, torch.tensor(0.01, dtype=torch.float64)):
        model = perceptron()
        optimizer = Adam(model.parameters(), lr=rate)
        runs.append(train(model, optimizer, controlled(optimizer, Anchor()), minibatches(60)))
        assert optimizer.param_groups[0]["lr"] is rate or isinstance(rate, float)
    assert runs[0] == pytest.approx(runs[1], rel=1e-9)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("controller", [Anchor(), Alignment(), Watch()])
@pytest.mark.parametrize("when", [0, 7, 60])
def test_group_added_later_is_controlled_too(controller: Any, when: int) -> None:
    model, extra = perceptron(), nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)

    def with_extra(x: Tensor) -> Tensor:
        return model(x) + extra  # type: ignore[no-any-return]

    for index, (x, y) in enumerate(minibatches(STEPS)):
        if index == when:
            ratio = 0.02 / float(scheduler.get_last_lr()[0])
            optimizer.add_param_group({"params": [extra], "lr": 0.02})
        optimizer.zero_grad()
        loss = loss_of(with_extra, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(with_extra, x, y))  # type: ignore[misc]
        if index >= when:
            first, second = (float(rate) for rate in scheduler.get_last_lr())
            assert second == pytest.approx(ratio * first, rel=1e-12)
    assert extra.abs().min() > 0.0
    assert scheduler.last_epoch == STEPS


def test_frozen_layers_may_be_thawed_on_the_way() -> None:
    model = perceptron()
    for one in model[0].parameters():
        one.requires_grad_(False)
    before = values(model[0])
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    train(model, optimizer, scheduler, minibatches(10))
    assert same(before, values(model[0]))
    model.requires_grad_(True)
    train(model, optimizer, scheduler, minibatches(10))
    assert not same(before, values(model[0]))


def test_warm_up_from_zero() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = ControlledLR(optimizer, Warmup(steps=10, then=DampedCosine()), Anchor(), total_steps=STEPS)
    start, applied = values(model), []
    train(model, optimizer, scheduler, minibatches(1), lambda _: applied.append(scheduler.applied_multiplier))
    assert applied == [0.0]
    assert same(start, values(model))
    losses = train(model, optimizer, scheduler, minibatches(STEPS)[1:])
    assert losses[-1] < 0.5 * losses[0]


def test_other_hyperparameters_follow_their_schedules_also_in_probed_steps() -> None:
    model = perceptron()
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    plan = {"lr": DampedCosine(), "weight_decay": Linear()}
    scheduler = ControlledLR(optimizer, plan, Anchor(), total_steps=STEPS)
    found = []
    optimizer.register_step_pre_hook(lambda *_: found.append(optimizer.param_groups[0]["weight_decay"]))
    train(model, optimizer, scheduler, minibatches(STEPS))
    assert found == pytest.approx([0.1 * (1.0 - step / STEPS) for step in range(STEPS)])


def test_extended_run_keeps_the_window_of_the_beginning() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = ControlledLR(optimizer, Constant(), Anchor(least_steps=10), total_steps=60)
    train(model, optimizer, scheduler, minibatches(5))
    scheduler.extend(10_000)
    train(model, optimizer, scheduler, minibatches(10))
    assert not scheduler.probes
    held = scheduler.readings()["held"]
    scheduler.extend(20_000)
    train(model, optimizer, scheduler, minibatches(10))
    assert scheduler.readings()["held"] == held


def test_reactive_schedule_follows_its_metric_and_not_the_training_loss() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    schedule = Product(schedules=(Constant(), Plateau(factor=0.5, patience=0)))
    scheduler = ControlledLR(optimizer, schedule, Static(), total_steps=STEPS)
    train(model, optimizer, scheduler, minibatches(5) * 4)
    assert scheduler.get_last_lr() == [0.01]
    scheduler.observe(1.0)
    scheduler.observe(2.0)
    assert scheduler.get_last_lr() == [0.005]


@pytest.mark.parametrize("where", ["step", "loss", "validate"])
def test_gradients_may_be_cleared_as_soon_as_the_optimizer_is_done(where: str) -> None:
    runs = []
    for early in (False, True):
        model = perceptron()
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        scheduler = controlled(optimizer, Anchor())
        losses = []
        for x, y in minibatches(50):
            loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()
            if early:
                optimizer.zero_grad()
            if early and where == "validate":
                model.eval()
                torch.rand(3)
                loss_of(model, x, y)
            scheduler.step(loss, closure=lambda model=model, x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
            model.train()
            optimizer.zero_grad()
            losses.append(loss.item())
        runs.append(losses)
    assert runs[0] == runs[1]


def test_gradients_zeroed_in_place_too_early_are_noticed() -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    x, y = minibatches(1)[0]
    loss_of(model, x, y).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    with pytest.raises(SpecError, match="gradients were changed between"):
        scheduler.step(1.0, lambda: loss_of(model, x, y))
    assert same(start, values(model))


def test_optimizer_that_clears_gradients_is_controlled_all_the_same() -> None:
    class Kept(WithAttributes):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            kept = [one.grad for one in self.param_groups[0]["params"]]
            super().step()
            for one, gradient in zip(self.param_groups[0]["params"], kept, strict=True):
                one.grad = gradient

    runs = []
    for kind in (WithAttributes, Kept):
        model = perceptron()
        optimizer = kind(model.parameters(), lr=0.01)
        runs.append(train(model, optimizer, controlled(optimizer, Watch()), minibatches(20)))
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0]


def test_step_that_calls_its_parents_step_is_one_step() -> None:
    class Child(Adam):
        def step(self, closure: Any = None) -> Any:
            with torch.no_grad():
                for one in self.param_groups[0]["params"]:
                    one.mul_(1.0 - self.param_groups[0]["lr"])
            return super().step()

    Adam([nn.Parameter(torch.ones(1))])  # from here on the parent's step calls hooks too
    model, twin = perceptron(), perceptron()
    optimizer, reference = Child(model.parameters(), lr=0.01), Child(twin.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    for x, y in minibatches(10):
        train(model, optimizer, scheduler, [(x, y)])
        reference.zero_grad()
        loss_of(twin, x, y).backward()
        reference.param_groups[0]["lr"] = 0.01 * scheduler.applied_multiplier
        reference.step()
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(values(model), values(twin), strict=True))


def test_step_that_raised_is_not_judged() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    batches = minibatches(3)
    with pytest.raises(RuntimeError, match="memory"):
        optimizer.step(lambda: (_ for _ in ()).throw(RuntimeError("out of memory")))
    train(model, optimizer, scheduler, batches)
    assert scheduler.last_epoch == 3
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0] < 0.011


def test_two_steps_without_judgement_are_an_error_inside_the_window() -> None:
    model, start = perceptron(), values(perceptron())
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    x, y = minibatches(1)[0]
    loss_of(model, x, y).backward()
    optimizer.step()
    with pytest.raises(SpecError, match="called again without scheduler"):
        optimizer.step()
    assert same(start, values(model))
    train(model, optimizer, scheduler, [(x, y)])
    assert scheduler.last_epoch == 1
