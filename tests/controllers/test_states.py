"""A state that a controller can never have been in is refused, and leaves everything as it was."""

import copy
import math
from typing import Any

import pytest
import torch

from adaptive_lr import (
    CONTROLLERS,
    AbstractController,
    Anchor,
    Constant,
    ControlledLR,
    NanRescue,
    ProgressAnchor,
    SpecError,
)
from adaptive_lr.controllers.base import FINITE
from adaptive_lr.feedback.update import flattened, rebuilt

TESTED: list[Any] = [*(kind() for kind in CONTROLLERS), NanRescue(then=ProgressAnchor())]
SPOILT = (math.nan, math.inf, -math.inf, -1e30, 1e30)


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("controller", TESTED, ids=repr)
def test_the_first_state_is_legal_and_limits_name_its_fields(controller: AbstractController, trials: int) -> None:
    state = controller.init(trials)
    controller.check_state(state, trials)
    names = set(_names(state))
    assert set(controller.limits()) <= names


def _names(state: Any) -> list[str]:
    if not hasattr(state, "_asdict"):
        return []
    return [*state._fields, *(name for part in state for name in _names(part))]


@pytest.mark.parametrize("controller", TESTED, ids=repr)
def test_a_spoilt_number_of_the_state_is_refused_or_harmless(controller: AbstractController) -> None:
    state = controller.init(1)
    tensors = flattened(state)
    for index in range(len(tensors)):
        for value in SPOILT:
            changed = [tensor.clone() for tensor in tensors]
            changed[index].fill_(value)
            spoilt = rebuilt(state, changed)
            if math.isnan(value):
                with pytest.raises(SpecError, match="must lie in"):
                    controller.check_state(spoilt, 1)
                continue
            try:
                controller.check_state(spoilt, 1)
            except SpecError:
                continue
            w = torch.nn.Parameter(torch.ones(2))
            scheduler = ControlledLR(torch.optim.SGD([w], lr=0.1), Constant(), controller, total_steps=100)
            scheduler.control.state = spoilt
            scheduler._update_lr()
            for step in (0, 90):
                scheduler.last_epoch = step
                scheduler._present = None
                rate = float(scheduler.control.held(scheduler._now)[0])
                assert math.isfinite(rate)
                assert rate > 0.0


@pytest.mark.parametrize("controller", TESTED, ids=repr)
def test_another_shape_precision_or_count_is_refused(controller: AbstractController) -> None:
    state = controller.init(1)
    tensors = flattened(state)
    for index in range(len(tensors)):
        for other in (tensors[index].float(), tensors[index].expand(2, *tensors[index].shape[1:]), 1.0):
            changed: list[Any] = [*tensors[:index], other, *tensors[index + 1 :]]
            with pytest.raises(SpecError, match="must be a tensor"):
                controller.check_state(rebuilt(state, changed), 1)
    with pytest.raises(SpecError, match="must be a"):
        controller.check_state(AnotherState(), 1)


class AnotherState(tuple[()]):
    """Of no controller."""


def test_a_refused_state_changes_nothing() -> None:
    w = torch.nn.Parameter(torch.ones(2))
    scheduler = ControlledLR(torch.optim.SGD([w], lr=0.1), Constant(), Anchor(), total_steps=100)
    saved = scheduler.control.state_dict()
    before = copy.deepcopy(scheduler.control.state)
    for change in (
        {"state": saved["state"][:-1]},
        {"state": [torch.full_like(part, math.nan) for part in saved["state"]]},
    ):
        with pytest.raises(SpecError, match="Anchor"):
            scheduler.control.load_state_dict({**saved, **change})
        assert scheduler.control.state == before
    assert FINITE[1] < math.inf


def test_a_window_that_found_nothing_is_said_once() -> None:
    def run(rate: float, steps: int, factor: float) -> None:
        w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer = torch.optim.SGD([w], lr=rate)
        scheduler = ControlledLR(optimizer, Constant(), ProgressAnchor(), total_steps=steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = factor * w.square().sum()
            loss.backward()
            optimizer.step()
            scheduler.step(loss.detach(), closure=lambda: factor * w.square().sum())

    for rate, steps, factor, text in [
        (0.1, 60, 0.0, "no probe said anything"),
        (0.0, 60, 1.0, "base learning rate is 0"),
        (1e-10, 10, 1.0, "every probe passed"),
        (1e10, 10, 1.0, "no probe passed"),
    ]:
        with pytest.warns(UserWarning, match=text) as caught:
            run(rate, steps, factor)
        assert len(caught) == 1
    run(1e-4, 100, 1.0)
