import copy
import io
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, StepLR

from adaptive_lr import (
    AbstractSchedule,
    DampedCosine,
    Linear,
    Polynomial,
    ScheduledLR,
    SpecError,
    Step,
    Warmup,
    table,
)

SCHEDULE = Warmup(steps=3, then=DampedCosine(exponent=1.7, k=0.8, floor=0.02), start=0.3)
STEPS = 12


def weight() -> Tensor:
    return torch.ones(2, requires_grad=True)


def make_optimizer(*rates: float | Tensor) -> SGD:
    return SGD([{"params": [weight()], "lr": rate} for rate in rates or (0.1,)], lr=1.0, momentum=0.9)


def make_pair(*rates: float | Tensor, schedule: AbstractSchedule = SCHEDULE) -> tuple[SGD, ScheduledLR]:
    optimizer = make_optimizer(*rates)
    return optimizer, ScheduledLR(optimizer, schedule, total_steps=STEPS)


def group_rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def train(optimizer: Optimizer, scheduler: LRScheduler, updates: int) -> list[list[float]]:
    used = []
    for _ in range(updates):
        optimizer.zero_grad()
        torch.stack([(one**4).sum() for group in optimizer.param_groups for one in group["params"]]).sum().backward()
        used.append(group_rates(optimizer))
        optimizer.step()
        scheduler.step()
    return used


def parameters(optimizer: Optimizer) -> list[list[float]]:
    return [one.tolist() for group in optimizer.param_groups for one in group["params"]]


def unchanged(state: dict[str, Any]) -> dict[str, Any]:
    return state


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def test_every_update_uses_the_base_rate_times_the_table(example: AbstractSchedule) -> None:
    optimizer = make_optimizer(0.3)
    used = train(optimizer, ScheduledLR(optimizer, example, total_steps=STEPS), STEPS)
    assert used == [[0.3 * multiplier] for multiplier in table([example], STEPS)[0, :-1].tolist()]


def test_the_first_update_uses_the_start_of_the_warmup() -> None:
    optimizer, scheduler = make_pair(0.5)
    assert group_rates(optimizer) == scheduler.get_last_lr() == [0.5 * 0.3]
    assert scheduler.base_lrs == [0.5]
    assert train(optimizer, scheduler, 4)[3] == [0.5]


def test_last_lr_equals_the_groups_of_the_optimizer_up_to_the_horizon_and_past_it() -> None:
    optimizer, scheduler = make_pair(0.1, 0.003, 2.0)
    multipliers = table([SCHEDULE], STEPS)[0].tolist()
    for step in range(STEPS + 5):
        multiplier = multipliers[min(step, STEPS)]
        expected = [0.1 * multiplier, 0.003 * multiplier, 2.0 * multiplier]
        assert scheduler.get_last_lr() == group_rates(optimizer) == expected
        train(optimizer, scheduler, 1)


def test_plain_cosine_drives_the_optimizer_like_that_of_torch() -> None:
    ours, theirs = make_optimizer(0.1), make_optimizer(0.1)
    used = train(ours, ScheduledLR(ours, DampedCosine(), total_steps=50), 50)
    expected = train(theirs, CosineAnnealingLR(theirs, T_max=50), 50)
    torch.testing.assert_close(torch.tensor(used), torch.tensor(expected), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensor_rate_is_written_in_place(dtype: torch.dtype) -> None:
    rate = torch.tensor(0.5, dtype=dtype)
    optimizer, scheduler = make_pair(rate, 0.25)
    rate = optimizer.param_groups[0]["lr"]
    address = rate.data_ptr()
    for multiplier in table([SCHEDULE], STEPS)[0].tolist():
        assert optimizer.param_groups[0]["lr"] is rate
        assert rate.data_ptr() == address
        assert rate.dtype == dtype
        assert rate.item() == torch.tensor(0.5 * multiplier, dtype=dtype).item()
        assert optimizer.param_groups[1]["lr"] == 0.25 * multiplier
        train(optimizer, scheduler, 1)


@pytest.mark.parametrize("loaded", [False, True])
def test_last_lr_of_a_tensor_rate_is_a_copy(loaded: bool) -> None:
    optimizer, scheduler = make_pair(torch.tensor(0.5))
    if loaded:
        scheduler.load_state_dict(scheduler.state_dict())
    last = scheduler.get_last_lr()[0]
    assert isinstance(last, Tensor)
    last.fill_(7.0)
    assert group_rates(optimizer) == [torch.tensor(0.5 * 0.3).item()]


def test_loading_a_state_writes_a_tensor_rate_in_place() -> None:
    optimizer, scheduler = make_pair(torch.tensor(0.5, dtype=torch.float64))
    train(optimizer, scheduler, 5)
    state = saved_and_loaded(scheduler.state_dict())
    fresh, restored = make_pair(torch.tensor(0.5, dtype=torch.float64))
    rate = fresh.param_groups[0]["lr"]
    restored.load_state_dict(state)
    assert fresh.param_groups[0]["lr"] is rate
    assert rate.item() == restored.get_last_lr()[0] == optimizer.param_groups[0]["lr"].item()


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first", "optimizer before construction"])
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 7, STEPS, STEPS + 2])
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(order: str, as_tensor: bool, stop: int) -> None:
    def rates() -> list[float | Tensor]:
        return [torch.tensor(rate, dtype=torch.float64) if as_tensor else rate for rate in (0.05, 0.01)]

    optimizer, scheduler = make_pair(*rates())
    before = train(optimizer, scheduler, stop)
    weights = copy.deepcopy(parameters(optimizer))
    state = saved_and_loaded({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    after = train(optimizer, scheduler, STEPS + 4 - stop)

    fresh = make_optimizer(*rates())
    for group, values in zip(fresh.param_groups, weights, strict=True):
        group["params"][0].data = torch.tensor(values)
    if order == "optimizer before construction":
        fresh.load_state_dict(state["optimizer"])
    restored = ScheduledLR(fresh, SCHEDULE, total_steps=STEPS)
    if order == "optimizer first":
        fresh.load_state_dict(state["optimizer"])
    restored.load_state_dict(state["scheduler"])
    if order == "scheduler first":
        fresh.load_state_dict(state["optimizer"])

    assert restored.last_epoch == stop
    assert restored.get_last_lr() == group_rates(fresh)
    assert train(fresh, restored, STEPS + 4 - stop) == after
    assert parameters(fresh) == parameters(optimizer)
    assert len(before + after) == STEPS + 4


def test_state_of_a_pair_with_other_base_rates_brings_its_base_rates_along() -> None:
    optimizer, scheduler = make_pair(0.5)
    train(optimizer, scheduler, 6)
    fresh, restored = make_pair(0.125)
    with pytest.warns(UserWarning, match=r"saved base values of lr \[0\.5\] are not the constructed ones \[0\.125\]"):
        restored.load_state_dict(scheduler.state_dict())
    assert group_rates(fresh) == group_rates(optimizer)
    assert train(fresh, restored, 6) == train(optimizer, scheduler, 6)


def test_state_is_plain_data_that_names_the_schedule_and_the_horizon() -> None:
    optimizer, scheduler = make_pair(0.5)
    train(optimizer, scheduler, 2)
    state = through_json(scheduler.state_dict())
    assert state["last_epoch"] == 2
    assert state["base_lrs"] == [0.5]
    assert state["total_steps"] == STEPS
    assert state["tracks"][0]["schedule"]["then"] == {"kind": "damped_cosine", "k": 0.8, "exponent": 1.7, "floor": 0.02}


def test_scheduler_is_not_tied_to_the_states_that_it_gives_and_takes() -> None:
    _, scheduler = make_pair(0.5)
    scheduler.state_dict()["base_lrs"][0] = 9.0
    assert scheduler.base_lrs == [0.5]
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    state["base_lrs"][0] = 9.0
    assert scheduler.base_lrs == [0.5]


def test_restored_scheduler_has_the_state_it_was_given() -> None:
    optimizer, scheduler = make_pair(0.5)
    train(optimizer, scheduler, 5)
    _, restored = make_pair(0.5)
    restored.load_state_dict(scheduler.state_dict())
    assert restored.state_dict() == scheduler.state_dict()


def test_no_warning_when_a_state_saved_between_the_two_steps_is_resumed() -> None:
    optimizer, scheduler = make_pair(0.5)
    train(optimizer, scheduler, 5)
    optimizer.step()
    fresh, restored = make_pair(0.5)
    restored.load_state_dict(scheduler.state_dict())
    restored.step()
    scheduler.step()
    assert group_rates(fresh) == group_rates(optimizer)


@pytest.mark.parametrize("round_trip", [unchanged, saved_and_loaded, through_json])
def test_no_warning_when_the_saved_schedule_is_the_constructed_one(
    example: AbstractSchedule, round_trip: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    _, scheduler = make_pair(schedule=example)
    scheduler.load_state_dict(round_trip(scheduler.state_dict()))
    assert scheduler.schedule == example


def test_warning_when_the_saved_schedule_differs_and_the_constructed_one_is_followed() -> None:
    optimizer, scheduler = make_pair(0.5, schedule=Linear())
    train(optimizer, scheduler, 4)
    fresh, restored = make_pair(0.5, schedule=Polynomial(power=3))
    with pytest.warns(UserWarning, match="saved schedule .*'linear'.* continuing with .*'polynomial'"):
        restored.load_state_dict(scheduler.state_dict())
    assert restored.schedule == Polynomial(power=3)
    assert group_rates(fresh) == [0.5 * Polynomial(power=3).at(4, STEPS)]


def test_warning_when_the_saved_horizon_differs_and_the_constructed_one_is_followed() -> None:
    optimizer, scheduler = make_pair(0.5, schedule=Linear())
    train(optimizer, scheduler, 4)
    fresh = make_optimizer(0.5)
    restored = ScheduledLR(fresh, Linear(), total_steps=16)
    with pytest.warns(UserWarning, match="saved total_steps 12 .* continuing with 16") as caught:
        restored.load_state_dict(scheduler.state_dict())
    assert len(caught) == 1
    assert group_rates(fresh) == [0.375]


def test_copy_goes_on_by_itself() -> None:
    optimizer, scheduler = make_pair(0.05)
    train(optimizer, scheduler, 4)
    copied = copy.deepcopy(scheduler)
    assert copied.optimizer is not optimizer
    weights = parameters(optimizer)
    used = train(copied.optimizer, copied, 6)
    assert parameters(optimizer) == weights
    assert scheduler.last_epoch == 4
    assert train(optimizer, scheduler, 6) == used
    assert parameters(optimizer) == parameters(copied.optimizer)


def test_pickled_scheduler_goes_on() -> None:
    optimizer, scheduler = make_pair(0.05)
    train(optimizer, scheduler, 4)
    restored = pickle.loads(pickle.dumps(scheduler))
    assert restored.schedule == SCHEDULE
    assert train(restored.optimizer, restored, 6) == train(optimizer, scheduler, 6)


def test_get_lr_is_a_pure_function_of_last_epoch() -> None:
    optimizer, scheduler = make_pair(0.5, 0.25)
    multipliers = table([SCHEDULE], STEPS)[0].tolist()
    before = group_rates(optimizer)
    for step in [5, 2, STEPS, STEPS + 7, 0, 5, -1]:
        scheduler.last_epoch = step
        multiplier = multipliers[min(max(step, 0), STEPS)]
        assert scheduler.get_lr() == scheduler.get_lr() == [0.5 * multiplier, 0.25 * multiplier]
        assert group_rates(optimizer) == before


def test_resuming_by_last_epoch_alone_follows_the_convention_of_torch() -> None:
    def make() -> SGD:
        return SGD([{"params": [weight()], "initial_lr": 0.5}], lr=0.123)

    ours, theirs = make(), make()
    scheduler = ScheduledLR(ours, Linear(), total_steps=8, last_epoch=3)
    other = LambdaLR(theirs, lambda step: max(0.0, 1 - step / 8), last_epoch=3)
    assert scheduler.get_last_lr() == other.get_last_lr() == [0.25]
    assert train(ours, scheduler, 6) == train(theirs, other, 6)


def test_resuming_by_last_epoch_needs_the_initial_rates() -> None:
    with pytest.raises(KeyError, match="initial_lr"):
        ScheduledLR(make_optimizer(0.5), Linear(), total_steps=8, last_epoch=3)


def test_torch_warns_as_always_when_the_scheduler_steps_before_the_optimizer() -> None:
    _, scheduler = make_pair(0.5)
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        scheduler.step()


def test_any_optimizer_will_do() -> None:
    optimizer = AdamW([weight()], lr=1e-3)
    used = train(optimizer, ScheduledLR(optimizer, Step(), total_steps=4), 4)
    assert used == [[1e-3], [1e-3], [1e-3 * 0.1], [1e-3 * Step().at(3, 4)]]


def test_a_rate_of_zero_is_allowed_and_stays() -> None:
    optimizer, scheduler = make_pair(0.0)
    assert train(optimizer, scheduler, 3) == [[0.0]] * 3


def test_has_no_attribute_that_makes_accelerate_stop_stepping_it() -> None:
    _, scheduler = make_pair()
    assert "total_steps" not in dir(scheduler)


@pytest.mark.parametrize("wrong", ["cosine", DampedCosine, None, lambda u: u, 0.5])
def test_schedule_of_a_wrong_type_is_refused(wrong: Any) -> None:
    optimizer = make_optimizer(0.5)
    with pytest.raises(TypeError) as caught:
        ScheduledLR(optimizer, wrong, total_steps=5)
    assert str(caught.value) == f"schedule must be a schedule such as DampedCosine(), got {wrong!r}"
    assert_untouched(optimizer, [0.5])


def test_optimizer_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a torch optimizer, got"):
        ScheduledLR(torch.nn.Linear(1, 1), Linear(), total_steps=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "10"])
def test_horizon_that_is_not_a_whole_number_is_refused(wrong: Any) -> None:
    optimizer = make_optimizer(0.5)
    with pytest.raises(SpecError) as caught:
        ScheduledLR(optimizer, Linear(), total_steps=wrong)
    assert str(caught.value) == f"total_steps must be a whole number of at least 1, got {wrong!r}"
    assert_untouched(optimizer, [0.5])


def test_horizon_that_is_too_short_for_the_warmup_is_refused() -> None:
    optimizer = make_optimizer(0.5)
    with pytest.raises(SpecError, match=r"Warmup\.steps must be below total_steps=3, got 3"):
        ScheduledLR(optimizer, SCHEDULE, total_steps=3)
    assert_untouched(optimizer, [0.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.5])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_rate_that_is_negative_or_not_finite_is_refused_and_names_its_group(bad: float, as_tensor: bool) -> None:
    optimizer = make_optimizer(0.5, 0.25)
    optimizer.param_groups[1]["lr"] = torch.tensor(bad) if as_tensor else bad
    with pytest.raises(ValueError, match="parameter group 1") as caught:
        ScheduledLR(optimizer, Linear(), total_steps=5)
    assert str(caught.value) == f"the learning rate of parameter group 1 must be finite and >= 0, got {bad}"
    assert_untouched(optimizer, [0.5, bad])


def assert_untouched(optimizer: Optimizer, rates: list[float]) -> None:
    assert group_rates(optimizer) == pytest.approx(rates, rel=0, abs=0, nan_ok=True)
    assert all("initial_lr" not in group for group in optimizer.param_groups)
    assert "step" not in vars(optimizer)  # torch's schedulers wrap it


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: CosineAnnealingLR(optimizer, T_max=5),
        lambda optimizer: StepLR(optimizer, step_size=2),
        lambda optimizer: LambdaLR(optimizer, lambda step: 1.0),
    ],
)
def test_state_of_another_class_is_refused(make: Callable[[Optimizer], LRScheduler]) -> None:
    optimizer, scheduler = make_pair(0.5)
    train(optimizer, scheduler, 2)
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"the state of a .*, not of a ScheduledLR"):
        scheduler.load_state_dict(make(make_optimizer(0.5)).state_dict())
    assert scheduler.state_dict() == before


def test_state_with_another_number_of_groups_is_refused() -> None:
    optimizer, scheduler = make_pair(0.5, 0.25)
    other_optimizer, other = make_pair(0.5)
    train(other_optimizer, other, 4)
    with pytest.raises(ValueError, match=r"is of 1 parameter groups, .* was constructed on 2: construct it on 1"):
        scheduler.load_state_dict(other.state_dict())
    assert scheduler.last_epoch == 0
    assert group_rates(optimizer) == [0.5 * 0.3, 0.25 * 0.3]
