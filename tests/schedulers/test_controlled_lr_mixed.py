"""Mixed precision, clipping, closures of the optimizer, compiled code."""

import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, Optimizer

from adaptive_lr import Anchor, ControlledLR
from tests.controlled import (
    STEPS,
    Alignment,
    Nothing,
    Watch,
    controlled,
    loss_of,
    minibatches,
    perceptron,
    same,
    train,
    values,
)

SHORT = Anchor(least_steps=10)
BATCHES = minibatches(20, dtype=torch.float32)


def single() -> nn.Sequential:
    return perceptron(dtype=torch.float32)


def scaled_run(
    optimizer: Optimizer,
    model: nn.Module,
    scheduler: ControlledLR,
    scaler: Any,
    poisoned: set[int],
    *,
    norm: Any = None,
) -> list[dict[str, float]]:
    found = []
    for index, (x, y) in enumerate(BATCHES):
        before = values(model), scheduler.get_last_lr(), scheduler.last_epoch
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        scaler.scale(loss * (float("inf") if index in poisoned else 1.0)).backward()
        if norm is not None:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        if index in poisoned:
            assert same(before[0], values(model))
            assert (scheduler.get_last_lr(), scheduler.last_epoch) == before[1:]
            assert scheduler.applied_multiplier == 0.0
        else:
            found.append(scheduler.readings() | {"training": loss.item()})
    return found


@pytest.mark.sampled(3)
@pytest.mark.parametrize("controller", [SHORT, Alignment(), Watch()])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_updates_that_the_scaler_skips_change_nothing(controller: Any, fused: bool, given: bool, kind: Any) -> None:
    def run(poisoned: set[int]) -> list[dict[str, float]]:
        model = single()
        optimizer = kind(model.parameters(), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        scheduler = controlled(optimizer, controller, grad_scaler=scaler if given else None)
        return scaled_run(optimizer, model, scheduler, scaler, poisoned)

    poisoned = {0, 3, 4, 13, 17}
    found = run(poisoned)
    # As if the poisoned minibatches had not been there; powers of two scale exactly.
    global BATCHES
    kept = BATCHES
    BATCHES = [one for index, one in enumerate(kept) if index not in poisoned]
    try:
        expected = run(set())
    finally:
        BATCHES = kept
    assert len(found) == len(expected) == 15
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_statistics_do_not_know_of_the_scale(kind: Any) -> None:
    runs = []
    for fused, scale in ((False, 1.0), (False, 2.0**12), (True, 2.0**12)):
        model = single()
        optimizer = kind(model.parameters(), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        runs.append(scaled_run(optimizer, model, controlled(optimizer, Watch()), scaler, set()))
    for names in zip(*runs, strict=True):
        assert names[0] == pytest.approx(names[1], rel=1e-3, abs=1e-6)
        assert names[0] == pytest.approx(names[2], rel=1e-3, abs=1e-6)


def test_autocast() -> None:
    model = single()
    optimizer = AdamW(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    for x, y in BATCHES[:10]:

        def evaluate(x: Tensor = x, y: Tensor = y) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return loss_of(model, x, y)

        optimizer.zero_grad()
        loss = evaluate()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, evaluate)
        seen = scheduler.readings()
        assert seen["probe_loss"] == pytest.approx(seen["loss"], rel=1e-6)


@pytest.mark.parametrize("as_number", [False, True])
def test_norm_before_clipping_gives_the_statistics_of_the_whole_gradient(as_number: bool) -> None:
    clipped, whole = perceptron(), perceptron()
    pairs = []
    for model, clips in ((clipped, True), (whole, False)):
        # Twice clipped to the same length, SGD makes the same steps: the whole gradient is what a rate of its own undoes.
        optimizer = SGD(model.parameters(), lr=0.01)
        pairs.append((model, optimizer, controlled(optimizer, Watch()), clips))
    for x, y in minibatches(20):
        found = []
        for model, optimizer, scheduler, clips in pairs:
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            norm = clip_grad_norm_(model.parameters(), 0.05 if clips else float("inf"))
            optimizer.step()
            given = norm.item() if as_number else norm
            scheduler.step(loss, lambda x=x, y=y, model=model: loss_of(model, x, y), grad_norm=given)  # type: ignore[misc]
            found.append(scheduler.readings() | {"norm": norm.item()})
        mine, reference = found
        assert mine["gradient_square"] == pytest.approx(mine["norm"] ** 2, rel=1e-6)
        assert mine["norm"] > 0.05
        # The same point, so the same gradient; the direction is that of the clipped one.
        share = 0.05 / mine["norm"]
        assert mine["gradient_square"] == pytest.approx(reference["gradient_square"], rel=1e-4)
        assert mine["descent"] == pytest.approx(reference["descent"] * share, rel=1e-4)
        assert mine["gradient_dot_parameters"] == pytest.approx(reference["gradient_dot_parameters"], rel=1e-4)
        assert mine["average_dot_parameters"] == pytest.approx(reference["average_dot_parameters"], rel=1e-4)
        for name in ("gradient_dot_previous", "previous_gradient_square"):
            assert mine.get(name, -1.0) == pytest.approx(reference.get(name, -1.0), rel=1e-4)
        with torch.no_grad():
            for one, other in zip(clipped.parameters(), whole.parameters(), strict=True):
                other.copy_(one)


def test_norm_of_a_gradient_that_was_not_clipped_changes_nothing() -> None:
    runs = []
    for give in (False, True):
        model = perceptron()
        optimizer = SGD(model.parameters(), lr=0.01)
        scheduler = controlled(optimizer, SHORT)
        losses = []
        for x, y in minibatches(15):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            norm = clip_grad_norm_(model.parameters(), 1e6)
            optimizer.step()
            scheduler.step(loss, lambda x=x, y=y, model=model: loss_of(model, x, y), grad_norm=norm if give else None)  # type: ignore[misc]
            losses.append(loss.item())
        runs.append(losses)
    assert runs[0] == pytest.approx(runs[1], rel=1e-9)


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("by_name", [False, True])
def test_loss_is_taken_from_the_closure_of_the_optimizer(kind: Any, by_name: bool) -> None:
    runs = []
    for with_closure in (False, True):
        model = perceptron()
        optimizer = kind(model.parameters(), lr=0.01)
        scheduler = controlled(optimizer, SHORT)
        if not with_closure:
            runs.append(train(model, optimizer, scheduler, minibatches(15)))
            continue
        losses = []
        for x, y in minibatches(15):

            def both(x: Tensor = x, y: Tensor = y, model: Any = model, optimizer: Any = optimizer) -> Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, x, y)
                loss.backward()
                return loss

            losses.append((optimizer.step(closure=both) if by_name else optimizer.step(both)).item())
            scheduler.step(closure=lambda x=x, y=y, model=model: loss_of(model, x, y))  # type: ignore[misc]
        runs.append(losses)
    assert runs[0] == runs[1]


def test_what_was_shown_is_used_by_a_bare_step() -> None:
    runs = []
    for shows in (False, True):
        model = perceptron()
        optimizer = SGD(model.parameters(), lr=0.01)
        scheduler = controlled(optimizer, SHORT)
        losses = []
        for x, y in minibatches(15):

            def evaluate(x: Tensor = x, y: Tensor = y, model: Any = model) -> Tensor:
                return loss_of(model, x, y)

            optimizer.zero_grad()
            loss = evaluate()
            loss.backward()
            optimizer.step()
            if shows:
                scheduler.show(loss, evaluate)
                scheduler.step()
            else:
                scheduler.step(loss, evaluate)
            losses.append(loss.item())
        runs.append(losses)
    assert runs[0] == runs[1]


def plainly(steps: int, drop: float = 0.0) -> list[float]:
    """The losses without compilation; leaves no hooks behind, which torch.compile would warn of."""
    model = perceptron(drop=drop)
    optimizer = SGD(model.parameters(), lr=0.01)
    losses = train(model, optimizer, controlled(optimizer, SHORT), minibatches(steps))
    gc.collect()
    model(torch.zeros(1, 6, dtype=torch.float64))
    return losses


pytestmark = [
    pytest.mark.filterwarnings("ignore:Profiler record function"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]


@pytest.fixture
def compiler() -> Any:
    torch.compiler.reset()
    gc.collect()
    nn.Identity()(torch.zeros(1))  # hooks of schedulers that are gone leave with the next forward pass
    return torch.compile


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_model(compiler: Any, backend: str) -> None:
    expected, model = plainly(15), perceptron()
    compiled = compiler(model, backend=backend)
    optimizer = SGD(model.parameters(), lr=0.01)
    assert train(compiled, optimizer, controlled(optimizer, SHORT), minibatches(15)) == pytest.approx(expected)


def test_compiled_model_with_dropout_is_probed_with_its_masks(compiler: Any) -> None:
    model = perceptron(drop=0.5)
    compiled = compiler(model, backend="eager")
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())

    def compare(_: Tensor) -> None:
        seen = scheduler.readings()
        assert seen["probe_loss"] == pytest.approx(seen["loss"], rel=1e-9)

    train(compiled, optimizer, scheduler, minibatches(6), compare)


@pytest.mark.parametrize("when", ["before", "after", "inside"])
def test_compiled_step_of_the_optimizer(compiler: Any, when: str) -> None:
    expected = plainly(13)
    model = perceptron()
    optimizer: Optimizer = SGD(model.parameters(), lr=torch.tensor(0.01, dtype=torch.float64))
    if when == "before":
        optimizer.step = compiler(optimizer.step, backend="eager")  # type: ignore[method-assign]
    scheduler = controlled(optimizer, SHORT)
    if when == "after":
        optimizer.step = compiler(optimizer.step, backend="eager")  # type: ignore[method-assign]
    if when != "inside":
        assert train(model, optimizer, scheduler, minibatches(13)) == pytest.approx(expected)
        return
    made = compiler(lambda: optimizer.step(), backend="eager")
    losses = []
    for x, y in minibatches(13):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        made()
        scheduler.step(loss, lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        losses.append(loss.item())
    assert losses == pytest.approx(expected)
    assert scheduler.last_epoch == 13 < STEPS
