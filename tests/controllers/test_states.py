"""A state that a controller can never have been in is refused, and leaves everything as it was."""

import copy
import math
import warnings
from typing import Any

import pytest
import torch

from adaptive_lr import (
    CONTROLLERS,
    AbstractController,
    Anchor,
    Constant,
    ControlledLR,
    DistanceAnchor,
    NanRescue,
    ProgressAnchor,
    SpecError,
    Static,
)
from adaptive_lr.controllers import Moment, Signal
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
    run(1e-4, 200, 1.0)


def told(controller: AbstractController, steps: int, rate: float = 0.5) -> tuple[list[str], Any]:
    """What is told of a run on noisy least squares, and its scheduler."""
    source = torch.Generator().manual_seed(3)
    inputs = torch.randn(steps, 4, 5, generator=source, dtype=torch.float64)
    targets = inputs.sum(2) + torch.randn(steps, 4, generator=source, dtype=torch.float64)
    w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=rate)
    scheduler = ControlledLR(optimizer, Constant(), controller, total_steps=steps)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x, y in zip(inputs, targets, strict=True):

            def evaluate(x: Any = x, y: Any = y) -> Any:
                return (x @ w - y).square().mean()

            optimizer.zero_grad()
            loss = evaluate()
            loss.backward()
            optimizer.step()
            scheduler.step(loss.detach(), closure=evaluate)
    return [str(warning.message) for warning in caught], scheduler


@pytest.mark.parametrize("controller", [Anchor(), ProgressAnchor(), NanRescue(then=Anchor())], ids=repr)
def test_a_window_that_takes_more_than_a_quarter_of_the_run_is_said_once(controller: AbstractController) -> None:
    (text,) = told(controller, 159)[0]
    assert text == (
        "the window of 40 probed steps (T = 159) takes 25% of the run: train for 160 steps or more, or write Anchor(least_steps=39) for the window"
    )
    assert told(controller, 160)[0] == []


def test_a_window_that_somebody_made_large_is_not_told_of() -> None:
    assert told(Anchor(window=0.5, least_steps=10), 100)[0] == []
    (text,) = told(DistanceAnchor(), 60)[0]
    assert "takes 33% of the run: train for 80 steps or more, or write Anchor(least_steps=15) for the window" in text


@pytest.mark.parametrize(
    ("rate", "length", "way"), [(1e-9, 23, "failed"), (1e-9, 24, "failed"), (1e9, 27, "passed"), (1e-9, 30, None)]
)
def test_an_edge_that_still_moves_at_the_end_of_the_window_is_said_once(
    rate: float, length: int, way: str | None
) -> None:
    # A search from nine decades off overshoots, and has just turned back.
    texts, scheduler = told(ProgressAnchor(probing=Anchor(least_steps=length)), 400, rate)
    state = scheduler.control.state.probing
    assert bool(state.passed * state.failed)
    assert (float(state.streak) >= 3) == (way is not None)
    assert len(texts) == (way is not None)
    if way is not None:
        shown = f"the window of {length} probed steps (T = 400) ended while the edge of the rate still moved"
        assert texts[0].startswith(f"{shown}: the last {int(state.streak) + 1} probes all {way}, the edge is")
        assert f"start at some {float(state.log_edge.exp()):.2g} times the base rate" in texts[0]


def test_a_short_window_whose_edge_moves_is_told_of_in_one_line() -> None:
    state = Anchor().init(1)
    ones, last = torch.ones(1, dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
    state = state._replace(passed=ones, failed=ones, streak=4.0 * ones, last=last)
    text = Anchor().remark(state, Moment(39, 100, 0.39, ones, torch.ones_like))
    assert text is not None
    assert text.startswith(
        "the window of 40 probed steps (T = 100) ended while the edge of the rate still moved: the last 5 probes all failed"
    )
    assert "or train for more steps; and it takes 40% of the run: train for 160 steps or more" in text
    assert Anchor().remark(state, Moment(38, 100, 0.38, ones, torch.ones_like)) is None
    assert Anchor().remark(state, Moment(40, 100, 0.4, ones, torch.ones_like)) is None


def test_a_remark_is_told_once_whatever_its_numbers() -> None:
    class Talking(Static):
        def signals(self, step: int, total_steps: int) -> Signal:
            return Signal.LOSS

        def remark(self, state: Any, now: Any) -> str | None:
            return f"step {now.step}" if now.step < 5 else f"later than 1e-3, {now.step}"

    assert told(Talking(), 10)[0] == ["step 0", "later than 1e-3, 5"]


def test_readings_show_the_edge_and_the_share_that_are_used() -> None:
    for controller in (ProgressAnchor(), DistanceAnchor()):
        readings, held = told(controller, 400)[1].readings(), told(controller, 400)[1].get_last_lr()[0]
        rate = readings["edge"] * readings["share"] * readings.get("lift", 1.0)
        assert held / 0.5 == pytest.approx(rate, rel=1e-12)
    scheduler = told(Anchor(), 400)[1]
    assert scheduler.get_last_lr()[0] / 0.5 == pytest.approx(0.25 * scheduler.readings()["edge"], rel=1e-12)
    assert scheduler.readings()["edge"] != pytest.approx(float(scheduler.control.state.log_edge.exp()), rel=1e-3)
