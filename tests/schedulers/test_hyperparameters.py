import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from adaptive_lr import WSD, Constant, DampedCosine, Exponential, Linear, ScheduledLR, SpecError, Warmup, table

STEPS = 12


def adamw(groups: int = 2, **changes: Any) -> torch.optim.AdamW:
    parameters = [{"params": [torch.ones(2, requires_grad=True)], "lr": 0.1 * 2**-index} for index in range(groups)]
    return torch.optim.AdamW(parameters, weight_decay=0.05, betas=(0.9, 0.99), **changes)


def advance(optimizer: torch.optim.Optimizer, scheduler: ScheduledLR, steps: int) -> None:
    for _ in range(steps):
        optimizer.step()
        scheduler.step()


def values(optimizer: torch.optim.Optimizer) -> list[tuple[float, float, tuple[float, ...]]]:
    return [(float(g["lr"]), g["weight_decay"], tuple(g["betas"])) for g in optimizer.param_groups]


PLAN = {"lr": DampedCosine(), "weight_decay": Linear(floor=0.5), "beta1": Exponential(rate=0.2)}


def test_any_hyperparameter_follows_its_own_schedule() -> None:
    optimizer = adamw()
    scheduler = ScheduledLR(optimizer, PLAN, total_steps=STEPS)
    rates, decays, betas = table(list(PLAN.values()), STEPS).tolist()
    for step in range(STEPS + 3):
        place = min(step, STEPS)
        for group, base in zip(optimizer.param_groups, (0.1, 0.05), strict=True):
            assert group["lr"] == base * rates[place]
            assert group["weight_decay"] == 0.05 * decays[place]
            assert group["betas"] == (0.9 * betas[place], 0.99)
        advance(optimizer, scheduler, 1)


def test_a_clip_norm_kept_in_the_group_is_scheduled() -> None:
    optimizer = adamw()
    for group in optimizer.param_groups:
        group["clip_norm"] = 2.0
    scheduler = ScheduledLR(optimizer, {"clip_norm": Linear()}, total_steps=4)
    advance(optimizer, scheduler, 1)
    assert [group["clip_norm"] for group in optimizer.param_groups] == [1.5, 1.5]
    assert scheduler.get_last_lr() == [0.1, 0.05]


def test_every_group_may_have_its_own_schedules() -> None:
    optimizer = adamw()
    scheduler = ScheduledLR(optimizer, [DampedCosine(), {"weight_decay": Linear()}], total_steps=4)
    advance(optimizer, scheduler, 2)
    assert scheduler.get_last_lr() == [pytest.approx(0.05), 0.05]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.025]


@pytest.mark.parametrize("scheduler_first", [False, True])
def test_all_of_it_resumes_bit_for_bit(scheduler_first: bool) -> None:
    optimizer = adamw()
    scheduler = ScheduledLR(optimizer, PLAN, total_steps=STEPS)
    advance(optimizer, scheduler, 5)
    buffer = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    again = adamw()
    resumed = ScheduledLR(again, PLAN, total_steps=STEPS)
    loads: list[Callable[[], None]] = [
        lambda: again.load_state_dict(saved["optimizer"]),
        lambda: resumed.load_state_dict(saved["scheduler"]),
    ]
    for load in loads[::-1] if scheduler_first else loads:
        load()
    for _ in range(STEPS):
        assert values(again) == values(optimizer)
        advance(again, resumed, 1)
        advance(optimizer, scheduler, 1)


def test_a_group_that_is_added_follows_the_first_groups_schedule() -> None:
    optimizer = adamw()
    scheduler = ScheduledLR(optimizer, PLAN, total_steps=STEPS)
    advance(optimizer, scheduler, 3)
    optimizer.add_param_group({"params": [torch.ones(1, requires_grad=True)], "lr": 0.8, "weight_decay": 0.2})
    advance(optimizer, scheduler, 3)
    base = 0.8 / DampedCosine().at(3, STEPS)
    assert scheduler.get_last_lr()[2] == base * DampedCosine().at(6, STEPS)
    assert optimizer.param_groups[2]["weight_decay"] == 0.2 * Linear(floor=0.5).at(6, STEPS)
    again = adamw()
    again.add_param_group({"params": [torch.ones(1, requires_grad=True)], "lr": 0.8, "weight_decay": 0.2})
    resumed = ScheduledLR(again, PLAN, total_steps=STEPS)
    resumed.load_state_dict(scheduler.state_dict())
    advance(again, resumed, 1)
    advance(optimizer, scheduler, 1)
    assert values(again) == values(optimizer)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ({"momentum": Linear()}, SpecError, "parameter group 0 has no 'momentum' to schedule"),
        ({}, SpecError, "at least one hyperparameter"),
        ([Linear()], SpecError, "1 schedules for 2 parameter groups: give one for all groups, or a list of 2"),
        ([Linear(), {"lr": 3}], TypeError, "the schedule of 'lr' must be a schedule"),
        ({"lr": "cosine"}, TypeError, "the schedule of 'lr' must be a schedule"),
        ("cosine", TypeError, "must be a schedule such as"),
        (None, TypeError, "must be a schedule such as"),
    ],
)
def test_bad_plan_is_refused_and_the_optimizer_left_alone(plan: Any, error: type[Exception], message: str) -> None:
    optimizer = adamw()
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(error, match=message):
        ScheduledLR(optimizer, plan, total_steps=STEPS)
    assert [dict(group) for group in optimizer.param_groups] == before


@pytest.mark.parametrize("value", [math.nan, -0.1, math.inf, "big"])
def test_bad_base_value_is_refused_by_name(value: object) -> None:
    optimizer = adamw()
    optimizer.param_groups[1]["weight_decay"] = value
    with pytest.raises(SpecError, match="weight_decay of parameter group 1 must be finite and >= 0"):
        ScheduledLR(optimizer, {"weight_decay": Linear()}, total_steps=STEPS)


def test_tensor_rates_replaced_by_loading_are_found_again() -> None:
    def made() -> tuple[torch.optim.SGD, ScheduledLR]:
        optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=torch.tensor(0.5, dtype=torch.float64))
        return optimizer, ScheduledLR(optimizer, Linear(), total_steps=8)

    optimizer, scheduler = made()
    advance(optimizer, scheduler, 3)
    again, resumed = made()
    advance(again, resumed, 2)
    again.load_state_dict(optimizer.state_dict())  # new tensors in new groups
    resumed.load_state_dict(scheduler.state_dict())
    advance(again, resumed, 2)
    assert float(again.param_groups[0]["lr"]) == 0.5 * Linear().at(5, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensor_rates_are_written_in_place(dtype: torch.dtype) -> None:
    rates = [torch.tensor(0.5, dtype=dtype), torch.tensor(0.25, dtype=dtype)]
    optimizer = torch.optim.SGD([{"params": [torch.ones(1, requires_grad=True)], "lr": rate} for rate in rates])
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    places = [rate.data_ptr() for rate in rates]
    for step in range(1, 5):
        advance(optimizer, scheduler, 1)
        for group, rate, place, base in zip(optimizer.param_groups, rates, places, (0.5, 0.25), strict=True):
            assert group["lr"] is rate
            assert rate.data_ptr() == place
            assert float(rate) == float(torch.tensor(base * (1 - step / 4), dtype=dtype))


@pytest.mark.parametrize("told", [True, False])
def test_a_skipped_update_is_not_followed(told: bool) -> None:
    optimizer = adamw(1)
    scaler = GradScaler("cpu", init_scale=4.0, growth_interval=100)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4, grad_scaler=None if told else scaler)
    rates = []
    for overflow in (True, False, True, False):
        (parameter,) = optimizer.param_groups[0]["params"]
        loss = (parameter * (math.inf if overflow else 1.0)).sum()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if told:
            scheduler.step(skipped=scaler.get_scale() < before)
        else:
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.075, 0.075, 0.05])


def curve(how: str, at: int, total_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    scheduler = ScheduledLR(optimizer, WSD(cooldown=0.5, shape="linear"), total_steps=8)
    advance(optimizer, scheduler, at)
    scheduler.extend(total_steps, how)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(total_steps - at + 2):
        advance(optimizer, scheduler, 1)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_stretching_reads_the_schedule_on_the_new_horizon() -> None:
    planned = table([WSD(cooldown=0.5, shape="linear")], 12)[0].tolist()
    assert curve("stretch", 6, 12) == pytest.approx([*planned[6:], 0.0, 0.0], abs=1e-15)


def test_holding_keeps_the_present_value_for_the_added_steps() -> None:
    planned = table([WSD(cooldown=0.5, shape="linear")], 8)[0].tolist()
    assert curve("hold", 6, 12) == pytest.approx([planned[6]] * 5 + [planned[7], planned[8], 0.0, 0.0], abs=1e-15)


def test_holding_on_the_plateau_is_the_usual_extension_of_wsd() -> None:
    assert curve("hold", 3, 12) == pytest.approx([1.0] * 6 + [0.75, 0.5, 0.25, 0.0, 0.0, 0.0], abs=1e-15)


def test_continuing_never_jumps_and_ends_at_the_new_horizon() -> None:
    found = curve("continue", 6, 12)
    assert found == pytest.approx([0.5 - 0.5 * step / 6 for step in range(7)] + [0.0, 0.0], abs=1e-12)
    assert found[6] == 0.0


def test_continuing_may_shorten_a_run() -> None:
    assert curve("continue", 4, 6) == pytest.approx([1.0, 0.5, 0.0, 0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("how", ["stretch", "hold", "continue"])
@pytest.mark.parametrize("constructed", [8, 12])
def test_an_extension_survives_a_checkpoint(how: str, constructed: int) -> None:
    schedule = Warmup(steps=2, then=WSD(cooldown=0.5))

    def made(total_steps: int) -> tuple[torch.optim.SGD, ScheduledLR]:
        optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        return optimizer, ScheduledLR(optimizer, schedule, total_steps=total_steps)

    optimizer, scheduler = made(8)
    advance(optimizer, scheduler, 4)
    scheduler.extend(12, how)
    again, resumed = made(constructed)
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(10):
        assert resumed.get_last_lr() == scheduler.get_last_lr()
        advance(optimizer, scheduler, 1)
        advance(again, resumed, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.extend(3), "total_steps must be above the 4 steps already done, got 3"),
        (lambda one: one.extend(12, "shrink"), "how must be one of stretch, hold, continue, got 'shrink'"),
        (lambda one: one.extend(6, "hold"), "how='hold' cannot shorten the run from 8 to 6 steps"),
        (lambda one: one.extend(0), "total_steps must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_extension_is_refused_and_changes_nothing(call: Callable[[ScheduledLR], None], message: str) -> None:
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    scheduler = ScheduledLR(optimizer, Constant(), total_steps=8)
    advance(optimizer, scheduler, 4)
    before = scheduler.state_dict()
    with pytest.raises(SpecError, match=message):
        call(scheduler)
    assert scheduler.state_dict() == before


def test_two_optimizers_with_a_scheduler_each_do_not_meet() -> None:
    first, second = adamw(1), adamw(1)
    one, other = ScheduledLR(first, Linear(), total_steps=4), ScheduledLR(second, Constant(), total_steps=4)
    advance(first, one, 2)
    advance(second, other, 1)
    assert (one.get_last_lr(), other.get_last_lr()) == ([0.05], [0.1])


def test_a_step_that_was_compiled_before_does_not_matter() -> None:
    optimizer = adamw(1)
    plain = optimizer.step
    optimizer.step = lambda *arguments: plain(*arguments)  # type: ignore[method-assign]  # what torch.compile leaves
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    advance(optimizer, scheduler, 2)
    assert scheduler.get_last_lr() == [0.05]
