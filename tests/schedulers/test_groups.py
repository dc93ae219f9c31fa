"""Whatever becomes of the optimizer's parameter groups: shared tensors, groups that come, go, or are replaced by loading."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from adaptive_lr import (
    Constant,
    ControlledLR,
    DampedCosine,
    DistanceAnchor,
    Exponential,
    Linear,
    ProgressAnchor,
    ScheduledLR,
    SpecError,
    Static,
    Warmup,
)

STEPS = 12
COSINE = DampedCosine()


def parameter() -> nn.Parameter:
    weights = nn.Parameter(torch.ones(2, dtype=torch.float64))
    weights.grad = torch.zeros_like(weights)
    return weights


def sgd(*rates: float | Tensor) -> SGD:
    return SGD([{"params": [parameter()], "lr": rate} for rate in rates], lr=0.1)


def rates_of(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def advance(optimizer: Optimizer, scheduler: ScheduledLR, steps: int) -> list[list[float]]:
    used = []
    for _ in range(steps):
        used.append(rates_of(optimizer))
        optimizer.step()
        scheduler.step(*((1.0,) if isinstance(scheduler, ControlledLR) else ()))
    return used


def controlled(optimizer: Optimizer, controller: Any = None) -> ControlledLR:
    return ControlledLR(optimizer, COSINE, controller or Static(), total_steps=STEPS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("groups", [2, 7])
@pytest.mark.parametrize("make", [lambda o: ScheduledLR(o, COSINE, total_steps=STEPS), controlled])
def test_a_tensor_rate_shared_by_groups_is_base_times_multiplier(make: Any, groups: int, dtype: torch.dtype) -> None:
    # https://github.com/pytorch/ao/issues/2574
    rate = torch.tensor(0.5, dtype=dtype)
    optimizer = AdamW([{"params": [parameter()]} for _ in range(groups)], lr=rate)
    scheduler = make(optimizer)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # which keeps it shared
    used = advance(optimizer, scheduler, STEPS)
    expected = [float(torch.tensor(0.5 * COSINE.at(step, STEPS), dtype=dtype)) for step in range(STEPS)]
    for row, value in zip(used, expected, strict=True):
        assert row == pytest.approx([value] * groups, rel=0 if dtype != torch.bfloat16 else 0.01, abs=0)


def test_two_groups_share_a_tensor_and_a_third_has_a_number() -> None:
    rate = torch.tensor(0.5)
    optimizer = sgd(rate, rate, 0.25)
    used = advance(optimizer, ScheduledLR(optimizer, Linear(), total_steps=4), 3)
    assert used == [[0.5, 0.5, 0.25], [0.375, 0.375, 0.1875], [0.25, 0.25, 0.125]]


def test_views_of_one_number_are_one_tensor() -> None:
    rates = torch.tensor([0.5]).expand(3)
    optimizer = sgd(*rates)
    assert advance(optimizer, ScheduledLR(optimizer, Linear(), total_steps=4), 3)[2] == [0.25] * 3


def test_a_shared_tensor_among_betas_and_decays_is_written_once() -> None:
    beta, decay = torch.tensor(0.9), torch.tensor(0.25)
    groups = [{"params": [parameter()]} for _ in range(2)]
    optimizer = AdamW(groups, lr=0.1, betas=(beta, torch.tensor(0.99)), weight_decay=decay, capturable=True)  # type: ignore[arg-type]
    scheduler = ScheduledLR(optimizer, {"beta1": Exponential(rate=0.1), "weight_decay": Linear()}, total_steps=4)
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        scheduler.step()
    for group in optimizer.param_groups:
        assert float(group["betas"][0]) == pytest.approx(0.9 * Exponential(rate=0.1).at(1, 4), rel=1e-6)
        assert float(group["weight_decay"]) == 0.1875


@pytest.mark.parametrize("plan", [[Constant(), Linear()], [Linear(), {"lr": COSINE}]])
def test_one_tensor_for_two_schedules_is_refused(plan: Any) -> None:
    rate = torch.tensor(0.5)
    optimizer = sgd(rate, rate)
    with pytest.raises(
        SpecError, match="the lr of parameter groups 0 and 1 is one tensor, but they have different sched"
    ):
        ScheduledLR(optimizer, plan, total_steps=4)
    assert rates_of(optimizer) == [0.5, 0.5]
    assert all("initial_lr" not in group for group in optimizer.param_groups)


@pytest.mark.parametrize("kind", ["scheduled", "controlled"])
@pytest.mark.parametrize("order", [("optimizer", "scheduler"), ("scheduler", "optimizer")])
@pytest.mark.parametrize("added", ["before loading", "between the two", "after the scheduler"])
def test_a_run_with_an_added_group_is_resumed(kind: str, order: tuple[str, str], added: str) -> None:
    # https://github.com/Lightning-AI/pytorch-lightning/issues/6891
    def made() -> tuple[SGD, ScheduledLR]:
        optimizer = sgd(0.1)
        return optimizer, controlled(optimizer) if kind == "controlled" else ScheduledLR(
            optimizer, COSINE, total_steps=STEPS
        )

    def thaw(optimizer: SGD) -> None:
        optimizer.add_param_group({"params": [parameter()], "lr": 0.01})

    optimizer, scheduler = made()
    advance(optimizer, scheduler, 4)
    thaw(optimizer)
    advance(optimizer, scheduler, 3)
    states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    states = copy.deepcopy(states)
    again, resumed = made()
    parts: dict[str, Any] = {"optimizer": again, "scheduler": resumed}
    late = added != "before loading" and order[0] == "scheduler"
    if not late:
        thaw(again)
    parts[order[0]].load_state_dict(states[order[0]])
    if late:
        thaw(again)
    parts[order[1]].load_state_dict(states[order[1]])
    assert resumed.base_lrs == scheduler.base_lrs or late
    assert advance(again, resumed, 4)[1:] == advance(optimizer, scheduler, 4)[1:]
    assert resumed.base_lrs == scheduler.base_lrs


def test_a_state_of_fewer_groups_leaves_those_that_were_added_since() -> None:
    optimizer = sgd(0.1)
    scheduler = ScheduledLR(optimizer, COSINE, total_steps=STEPS)
    advance(optimizer, scheduler, 4)
    again = sgd(0.1)
    resumed = ScheduledLR(again, COSINE, total_steps=STEPS)
    again.add_param_group({"params": [parameter()], "lr": 0.01})
    resumed.load_state_dict(scheduler.state_dict())
    assert rates_of(again) == [0.1 * COSINE.at(4, STEPS), 0.01 * COSINE.at(4, STEPS)]


@pytest.mark.parametrize("at", [1, 6, 11])
def test_an_added_group_goes_on_from_its_rate_as_under_torchs_cosine(at: int) -> None:
    # https://github.com/Lightning-AI/pytorch-lightning/issues/12141
    ours, theirs = sgd(0.1), sgd(0.1)
    scheduler, other = ScheduledLR(ours, COSINE, total_steps=STEPS), CosineAnnealingLR(theirs, STEPS)
    for step in range(STEPS):
        if step == at:
            for optimizer in (ours, theirs):
                optimizer.add_param_group({"params": [parameter()], "lr": optimizer.param_groups[0]["lr"] / 10})
        assert rates_of(ours) == pytest.approx(rates_of(theirs), rel=1e-9, abs=1e-15)
        ours.step()
        theirs.step()
        scheduler.step()
        other.step()


def test_an_explicit_initial_rate_of_an_added_group_is_its_base() -> None:
    optimizer = sgd(0.1)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    advance(optimizer, scheduler, 2)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.3, "initial_lr": 0.8})
    advance(optimizer, scheduler, 1)
    assert rates_of(optimizer) == [0.1 * 0.25, 0.8 * 0.25]


def test_a_group_added_at_a_rate_of_zero_is_told_of() -> None:
    optimizer = sgd(0.1)
    scheduler = ScheduledLR(optimizer, Warmup(steps=4, then=Linear()), total_steps=STEPS)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.0})
    with pytest.warns(UserWarning, match="parameter group 1 was added with a rate of 0 while the schedule is at 0"):
        advance(optimizer, scheduler, 1)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.2})
    advance(optimizer, scheduler, 1)
    assert rates_of(optimizer)[1:] == [0.0, pytest.approx(0.2 * 2)]


@pytest.mark.parametrize("kind", ["scheduled", "controlled"])
def test_a_group_added_in_a_warm_up_is_told_how_high_its_base_is(kind: str) -> None:
    optimizer = sgd(1e-3, 2e-3)
    plan = Warmup(steps=1000, then=Constant())
    if kind == "scheduled":
        scheduler = ScheduledLR(optimizer, plan, total_steps=5000)
    else:
        scheduler = ControlledLR(optimizer, plan, Static(), total_steps=5000)
    advance(optimizer, scheduler, 10)
    optimizer.add_param_group({"params": [parameter()], "lr": 1e-5})
    optimizer.add_param_group({"params": [parameter()], "lr": 1e-3, "initial_lr": 5.0})
    advance(optimizer, scheduler, 1)  # a base of 0.001 is usual, and another one was chosen
    optimizer.add_param_group({"params": [parameter()], "lr": 1e-3})
    message = (
        "parameter group 4 was added at a rate of 0.001 where the multiplier is 0.011, so its base rate is 0.0909091, over 10 times "
        r"the largest of the others \(0.002\).* give the group its base rate as initial_lr="
    )
    with pytest.warns(UserWarning, match=message) as told:
        advance(optimizer, scheduler, 1)
    if kind == "scheduled":
        assert told[0].filename == __file__
    optimizer.add_param_group({"params": [parameter()], "lr": 1e-3})
    advance(optimizer, scheduler, 1)  # once
    assert scheduler.base_lrs[4] == pytest.approx(1e-3 / 0.011)


@pytest.mark.parametrize("controller", [Static(), ProgressAnchor(), DistanceAnchor(until=0.9)])
def test_an_added_group_keeps_its_ratio_under_a_controller(controller: Any) -> None:
    torch.manual_seed(0)
    body, head = nn.Linear(3, 3), nn.Linear(3, 1)
    optimizer = SGD(head.parameters(), lr=1e-3)
    scheduler = ControlledLR(optimizer, COSINE, controller, total_steps=60)
    x = torch.randn(16, 3)

    def loss() -> Tensor:
        return (head(body(x)) - 1.0).square().mean()  # type: ignore[no-any-return]

    for step in range(40):
        if step == 30:
            optimizer.add_param_group({"params": list(body.parameters()), "lr": rates_of(optimizer)[0] / 10})
        if step >= 30:
            assert rates_of(optimizer)[1] == pytest.approx(rates_of(optimizer)[0] / 10, rel=1e-9)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        scheduler.step(value, loss)


@pytest.mark.parametrize("kind", ["one", "several", "controlled"])
@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_group_may_be_taken_out(kind: str, taken: int) -> None:
    optimizer = sgd(0.1, 0.2, 0.4)
    plan = [Linear(), Constant(), COSINE] if kind == "several" else Linear()
    scheduler = (
        ControlledLR(optimizer, Linear(), Static(), total_steps=STEPS)
        if kind == "controlled"
        else ScheduledLR(optimizer, plan, total_steps=STEPS)
    )
    advance(optimizer, scheduler, 5)
    del optimizer.param_groups[taken]
    advance(optimizer, scheduler, 2)
    schedules = plan if isinstance(plan, list) else [Linear()] * 3
    expected = [base * part.at(7, STEPS) for base, part in zip((0.1, 0.2, 0.4), schedules, strict=True)]
    assert rates_of(optimizer) == [*expected[:taken], *expected[taken + 1 :]]
    assert len(scheduler.get_lr()) == len(scheduler.base_lrs) == 2
    state = scheduler.state_dict()
    again = sgd(*(rate for index, rate in enumerate((0.1, 0.2, 0.4)) if index != taken))
    if kind == "one":
        resumed = ScheduledLR(again, Linear(), total_steps=STEPS)
        resumed.load_state_dict(state)
        assert rates_of(again) == rates_of(optimizer)


def test_all_groups_may_go_and_others_come() -> None:
    optimizer = sgd(0.1, 0.2)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    advance(optimizer, scheduler, 1)
    optimizer.param_groups.clear()
    optimizer.step()
    scheduler.step()
    optimizer.add_param_group({"params": [parameter()], "lr": 0.3})
    advance(optimizer, scheduler, 1)
    assert rates_of(optimizer) == [pytest.approx(0.3 / 2)]


def test_groups_with_keys_of_their_own_and_groups_without_parameters_do_no_harm() -> None:
    groups = [{"params": [parameter()], "name": "lora", "scaling": 2}, {"params": [], "lr": 0.2}]
    optimizer = AdamW(groups, lr=0.1)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    advance(optimizer, scheduler, 1)
    assert rates_of(optimizer) == [0.1 * 0.75, 0.2 * 0.75]
    assert optimizer.param_groups[0]["name"] == "lora"
