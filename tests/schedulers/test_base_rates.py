"""Base rates, and rates that somebody else writes: one place for each number, and nothing is overwritten or ignored in silence."""

import copy
import io
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import SWALR

from adaptive_lr import (
    Anchor,
    Constant,
    ControlledLR,
    DampedCosine,
    Linear,
    Plateau,
    Product,
    ScheduledLR,
    SpecError,
    Static,
    from_timm,
)

STEPS = 12


def sgd(*rates: float | Tensor) -> SGD:
    groups = []
    for rate in rates or (1.0,):
        weights = nn.Parameter(torch.ones(2))
        weights.grad = torch.zeros(2)
        groups.append({"params": [weights], "lr": rate})
    return SGD(groups)


def scheduled(optimizer: Optimizer, **changes: Any) -> ScheduledLR:
    return ScheduledLR(optimizer, Linear(floor=0.25), **{"total_steps": STEPS} | changes)


def controlled(optimizer: Optimizer) -> ControlledLR:
    return ControlledLR(optimizer, Linear(floor=0.25), Static(), total_steps=STEPS)


MAKERS = [scheduled, controlled]


def advance(optimizer: Optimizer, scheduler: LRScheduler, steps: int = 1) -> list[float]:
    for _ in range(steps):
        optimizer.step()
        scheduler.step(*((1.0,) if isinstance(scheduler, ControlledLR) else ()))
    return [float(group["lr"]) for group in optimizer.param_groups]


def multiplier(step: int) -> float:
    return Linear(floor=0.25).at(step, STEPS)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize(
    "rebase",
    [
        lambda scheduler: scheduler.rebase(0.5),
        lambda scheduler: scheduler.rebase([0.5, 0.5]),
        lambda scheduler: scheduler.rebase(np.float64(0.5)),
        lambda scheduler: scheduler.rebase(torch.tensor([0.5, 0.5])),
        lambda scheduler: setattr(scheduler, "base_lrs", [0.5, 0.5]),
    ],
)
def test_rebase_adopts_a_new_base_rate_from_here_on(make: Any, as_tensor: bool, rebase: Callable[[Any], None]) -> None:
    optimizer = sgd(*(torch.tensor(rate) if as_tensor else rate for rate in (1.0, 2.0)))
    scheduler = make(optimizer)
    advance(optimizer, scheduler, 3)
    rebase(scheduler)
    assert scheduler.base_lrs == [0.5, 0.5]
    assert [float(rate) for rate in scheduler.get_last_lr()] == pytest.approx([0.5 * multiplier(3)] * 2)
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    assert advance(optimizer, scheduler, 2) == pytest.approx([0.5 * multiplier(5)] * 2)
    again = sgd(1.0, 2.0)
    resumed = make(again)
    resumed.load_state_dict(scheduler.state_dict())
    assert advance(again, resumed) == advance(optimizer, scheduler)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, "fast", True, [0.1], [0.1, -0.1], [0.1, 0.1, 0.1]])
def test_a_base_rate_that_is_none_is_refused(wrong: Any) -> None:
    optimizer = sgd(1.0, 2.0)
    scheduler = scheduled(optimizer)
    advance(optimizer, scheduler, 2)
    before = scheduler.state_dict(), copy.deepcopy([group["lr"] for group in optimizer.param_groups])
    with pytest.raises(SpecError, match="base rate"):
        scheduler.rebase(wrong)
    assert (scheduler.state_dict(), [group["lr"] for group in optimizer.param_groups]) == before


def test_one_base_rate_cannot_be_written_into_the_list() -> None:
    scheduler = scheduled(sgd())
    with pytest.raises(SpecError, match=r"base_lrs is a copy: call scheduler\.rebase"):
        scheduler.base_lrs[0] = 0.1


@pytest.mark.parametrize("make", MAKERS)
def test_a_state_with_another_base_rate_is_told_of(make: Any) -> None:
    optimizer, again = sgd(1.0), sgd(0.1)
    scheduler, resumed = make(optimizer), make(again)
    advance(optimizer, scheduler, 3)
    with pytest.warns(
        UserWarning, match=r"saved base values of lr \[1\.0\] are not the constructed ones \[0\.1\].*rebase"
    ) as told:
        resumed.load_state_dict(scheduler.state_dict())
    assert len(told) == 1
    assert advance(again, resumed) == advance(optimizer, scheduler)
    resumed.rebase(0.1)
    assert advance(again, resumed) == [0.1 * multiplier(5)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_rate_that_was_written_by_hand_is_told_of_once(make: Any, as_tensor: bool) -> None:
    optimizer = sgd(torch.tensor(1.0) if as_tensor else 1.0)
    scheduler = make(optimizer)

    def train() -> None:
        for _ in range(STEPS):
            if as_tensor:
                optimizer.param_groups[0]["lr"].fill_(0.01)
            else:
                optimizer.param_groups[0]["lr"] = 0.01
            advance(optimizer, scheduler)

    with pytest.warns(UserWarning, match=r"parameter group 0 is 0\.01 where .* scheduler\.rebase") as told:
        train()
    assert len(told) == 1
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(multiplier(STEPS))


@pytest.mark.parametrize("at", [1, 3, 7, 11])
def test_a_single_change_by_hand_is_told_of_whenever_it_is_made(at: int) -> None:
    optimizer = sgd(1.0, 0.5)
    scheduler = scheduled(optimizer)
    advance(optimizer, scheduler, at)
    optimizer.param_groups[1]["lr"] = 0.01
    with pytest.warns(UserWarning, match="parameter group 1 is 0.01"):
        assert advance(optimizer, scheduler) == [multiplier(at + 1), 0.5 * multiplier(at + 1)]


def test_a_second_scheduler_of_the_same_rates_is_told_of() -> None:
    optimizer = sgd()
    scheduler, other = scheduled(optimizer), ExponentialLR(optimizer, gamma=0.5)

    def train() -> None:
        for _ in range(5):
            advance(optimizer, scheduler)
            other.step()

    with pytest.warns(UserWarning, match="if another scheduler or a line of the training loop sets it too") as told:
        train()
    assert len(told) == 1


def through_disk(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("order", [("o", "s"), ("s", "o")])
def test_loading_is_no_change_by_hand(make: Any, as_tensor: bool, order: tuple[str, str]) -> None:
    def rate() -> Any:
        return torch.tensor(1.0) if as_tensor else 1.0

    optimizer = sgd(rate())
    scheduler = make(optimizer)
    advance(optimizer, scheduler, 4)
    states = through_disk({"o": optimizer.state_dict(), "s": scheduler.state_dict()})
    again = sgd(rate())
    resumed = make(again)
    advance(again, resumed, 2)
    for part in order:
        (again if part == "o" else resumed).load_state_dict(states[part])
        resumed.get_last_lr()
    assert advance(again, resumed, 3) == advance(optimizer, scheduler, 3)
    again.load_state_dict(states["o"])  # by itself too
    advance(again, resumed)


def test_a_finder_that_restores_a_chain_and_swa_are_no_changes_by_hand() -> None:
    optimizer = sgd()
    scheduler = scheduled(optimizer)
    advance(optimizer, scheduler, 2)
    kept = [group["lr"] for group in optimizer.param_groups]
    for rate in (1e-4, 1e-2):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for group, rate in zip(optimizer.param_groups, kept, strict=True):
        group["lr"] = float(np.float32(rate))  # through single precision
    advance(optimizer, scheduler, 2)
    averaged = SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    for _ in range(3):
        optimizer.step()
        averaged.step()
    chained = sgd()
    parts: list[LRScheduler] = [scheduled(chained), ScheduledLR(chained, DampedCosine(), total_steps=STEPS)]
    advance(chained, SequentialLR(chained, parts, milestones=[3]), 8)


def test_probes_are_no_changes_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = SGD(model.parameters(), lr=1e-3)
    scheduler = ControlledLR(optimizer, DampedCosine(), Anchor(), total_steps=30)
    x = torch.randn(8, 3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, lambda: model(x).square().mean())


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("first", [lambda o: scheduled(o), lambda o: CosineAnnealingLR(o, STEPS)])
def test_a_rate_set_between_two_schedulers_is_told_of(make: Any, first: Callable[[Optimizer], LRScheduler]) -> None:
    # https://github.com/pytorch/pytorch/issues/21965
    optimizer = sgd(1.0)
    advance(optimizer, first(optimizer), 3)
    optimizer.param_groups[0]["lr"] = 1e-3
    second = make(optimizer)
    assert second.base_lrs == [1.0]
    with pytest.warns(
        UserWarning, match=r"base rate of parameter group 0 is 1, the initial_lr .* call scheduler\.rebase\(0\.001\)"
    ):
        advance(optimizer, second)
    second.rebase(1e-3)
    assert advance(optimizer, second) == [1e-3 * multiplier(2)]


def test_a_second_scheduler_right_after_the_first_is_not_told_of() -> None:
    optimizer = sgd(1.0)
    first = scheduled(optimizer)
    advance(optimizer, first, STEPS)
    assert advance(optimizer, scheduled(optimizer)) == [multiplier(1)]


def test_a_number_that_nothing_looks_at_is_told_of_once() -> None:
    # https://github.com/facebookresearch/deit/issues/145
    optimizer = sgd()
    scheduler = scheduled(optimizer)

    def train() -> None:
        for epoch in range(5):
            optimizer.step()
            scheduler.step(epoch + 0.5)

    with pytest.warns(UserWarning, match="no part of the schedule looks at a metric: it is not an epoch") as told:
        train()
    assert len(told) == 1
    assert scheduler.last_epoch == 5


def test_a_metric_that_is_looked_at_is_not_told_of() -> None:
    optimizer = sgd()
    scheduler = ScheduledLR(optimizer, Product(schedules=(Linear(), Plateau())), total_steps=STEPS)
    optimizer.step()
    scheduler.step(1.0)


@pytest.mark.parametrize("make", MAKERS)
def test_an_epoch_is_refused(make: Any) -> None:
    optimizer = sgd()
    scheduler = make(optimizer)
    optimizer.step()
    with pytest.raises(SpecError, match=r"step\(\) takes no epoch, steps are counted: .*, got epoch=3"):
        scheduler.step(epoch=3)
    assert scheduler.last_epoch == 0


@pytest.mark.parametrize(
    "make", [lambda o, s: ScheduledLR(o, s, total_steps=4), lambda o, s: ControlledLR(o, s, Static(), total_steps=4)]
)
def test_steps_past_the_end_at_a_rate_of_zero_are_told_of_once(make: Any) -> None:
    optimizer = sgd()
    scheduler = make(optimizer, Linear())
    advance(optimizer, scheduler, 4 + 9)
    with pytest.warns(UserWarning, match="this is step 14 of 4, and the rate is 0 since the end") as told:
        advance(optimizer, scheduler, 20)
    assert len(told) == 1
    other = sgd()
    advance(other, make(other, Linear(floor=0.1)), 40)


@pytest.mark.parametrize("how", ["hold", "continue", "stretch"])
@pytest.mark.parametrize(
    "make", [lambda o, s: ScheduledLR(o, s, total_steps=4), lambda o, s: ControlledLR(o, s, Static(), total_steps=4)]
)
def test_a_finished_run_that_is_extended_at_a_rate_of_zero_is_told_of(make: Any, how: str) -> None:
    optimizer = sgd()
    scheduler = make(optimizer, Linear())
    advance(optimizer, scheduler, 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scheduler.extend(8, how)
        advance(optimizer, scheduler, 2)
    assert len(told) == (how != "stretch")
    assert all("how='stretch' reads the schedule over the whole new run" in str(warning.message) for warning in told)


def test_layer_scales_of_timm_are_followed_or_told_of() -> None:
    # https://github.com/huggingface/pytorch-image-models/pull/2532
    scales = [0.5625, 0.75, 1.0]
    optimizer = sgd(1e-3, 1e-3, 1e-3)
    for group, scale in zip(optimizer.param_groups, scales, strict=True):
        group["lr_scale"] = scale
    with pytest.warns(UserWarning, match=r"lr_scale \[0\.5625, 0\.75, 1\.0\], by which timm's schedulers multiply"):
        ScheduledLR(optimizer, Constant(), total_steps=STEPS)
    plan = from_timm("cosine", t_initial=STEPS, total_steps=STEPS, groups=optimizer.param_groups)
    scheduler = ScheduledLR(optimizer, plan, total_steps=STEPS)
    assert advance(optimizer, scheduler, 3) == [1e-3 * (scale * DampedCosine().at(3, STEPS)) for scale in scales]
