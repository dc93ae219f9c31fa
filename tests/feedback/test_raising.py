"""Whatever raises while a step is judged, nothing of the probe stays, and training goes on."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from adaptive_lr import AbstractController, CurvatureCap, DistanceAnchor, NanRescue, PolyakReanchor, ProgressAnchor
from adaptive_lr.feedback.statistics import Statistics
from tests.controlled import Watch, controlled, loss_of, minibatches, same, train, values

CONTROLLERS: list[AbstractController] = [
    ProgressAnchor(),
    DistanceAnchor(),
    NanRescue(then=ProgressAnchor()),
    PolyakReanchor(),
    CurvatureCap(every=1),
    Watch(),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def state_of(control: Any) -> list[Tensor]:
    saved = control.state_dict()
    average = saved["buffers"].get("average", [])
    return [part.nan_to_num(-7.0) for part in (*saved["state"], saved["ignored"], saved["rescues"], *average)]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("when", [1, 2])
@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda controller: controller.kind)
def test_closure_that_raises_half_of_the_way_leaves_no_trace(
    controller: AbstractController, when: int, error: type[BaseException]
) -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = controlled(optimizer, controller)
    train(model, optimizer, scheduler, minibatches(2))
    x, y = minibatches(3)[2]
    start, calls = values(model), 0
    loss = loss_of(model, x, y)
    optimizer.zero_grad()
    loss.backward()
    gradients = [p.grad for p in model.parameters()]
    copies = [gradient.clone() for gradient in gradients if gradient is not None]
    optimizer.step()
    buffers, random, known = (
        [buffer.clone() for buffer in model.buffers()],
        torch.get_rng_state(),
        state_of(scheduler.control),
    )

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        prediction = model(x)
        model.eval()
        if calls == when:
            raise error("half of the way")
        model.train()
        return nn.functional.mse_loss(prediction, y)

    if not scheduler.probes:
        return
    for _ in range(when):
        if calls < when:
            try:
                scheduler.step(loss, closure)
            except error:
                break
            loss = loss_of(model, x, y)
            optimizer.zero_grad()
            loss.backward()
            gradients = [p.grad for p in model.parameters()]
            copies = [gradient.clone() for gradient in gradients if gradient is not None]
            start = values(model)
            optimizer.step()
            buffers, random, known = (
                [buffer.clone() for buffer in model.buffers()],
                torch.get_rng_state(),
                state_of(scheduler.control),
            )
    assert calls == when
    assert same(start, values(model))
    assert same(buffers, model.buffers())
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert all(gradient is p.grad for gradient, p in zip(gradients, model.parameters(), strict=True))
    assert same(copies, [p.grad for p in model.parameters() if p.grad is not None])
    assert same(known, state_of(scheduler.control))
    assert scheduler.applied_multiplier == 0.0
    done = scheduler.last_epoch
    train(model, optimizer, scheduler, minibatches(3))
    assert scheduler.last_epoch == done + 3


def test_step_that_cannot_be_shortened_is_taken_back_and_has_taught_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    train(model, optimizer, scheduler, minibatches(2))
    x, y = minibatches(3)[2]
    start, known = values(model), scheduler.control.state
    optimizer.zero_grad()
    loss = loss_of(model, x, y)
    loss.backward()
    optimizer.step()
    revise = Statistics.revise

    def failing(statistics: Statistics, share: Tensor) -> None:
        if float(share) != 0.0:
            with torch.no_grad():
                next(model.parameters()).mul_(2.0)
            raise torch.OutOfMemoryError("half of the way")
        revise(statistics, share)

    monkeypatch.setattr(Statistics, "revise", failing)
    with pytest.raises(torch.OutOfMemoryError):
        scheduler.step(loss, lambda: loss_of(model, x, y))
    assert same(start, values(model))
    assert scheduler.control.state is known
    monkeypatch.undo()
    train(model, optimizer, scheduler, minibatches(2))
    assert scheduler.last_epoch == 4
