"""A state that was changed anywhere is loaded with rates that are numbers, or refused in one line with everything as it was."""

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import AdamW, Optimizer

from adaptive_lr import (
    Constant,
    ControlledLR,
    DampedCosine,
    Linear,
    Plateau,
    Product,
    ScheduledLR,
    SpecError,
    Static,
    Warmup,
)

STEPS = 12
SCHEDULE = Warmup(steps=2, then=Product(schedules=(DampedCosine(floor=0.1), Plateau(patience=1))))


def adamw(groups: int = 2) -> AdamW:
    return AdamW([{"params": [nn.Parameter(torch.ones(2))], "lr": 0.1 * 2**-index} for index in range(groups)])


def made() -> tuple[AdamW, ScheduledLR]:
    optimizer = adamw()
    return optimizer, ScheduledLR(optimizer, {"lr": SCHEDULE, "weight_decay": Linear()}, total_steps=STEPS)


def trained() -> dict[str, Any]:
    optimizer, scheduler = made()
    for step in range(6):
        optimizer.step()
        scheduler.step(1.0 + step)
    scheduler.extend(20, "hold")
    return scheduler.state_dict()


def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    return [path] * bool(path) + [leaf for key, part in inner for leaf in leaves(part, (*path, key))]


def values(optimizer: Optimizer) -> list[Any]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def loaded(scheduler: ScheduledLR, state: Any) -> str | None:
    """Why it was refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler.load_state_dict(state)
        except SpecError as error:
            return str(error)
    return None


STATE = trained()
WRONG: list[Any] = [
    None,
    "x",
    -1,
    0,
    3,
    0.5,
    -0.5,
    math.nan,
    math.inf,
    10**30,
    [],
    {},
    True,
    torch.tensor([1.0, 2.0]),
    torch.tensor(math.nan),
]


@pytest.mark.parametrize("path", leaves(STATE), ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_a_changed_state_is_loaded_soundly_or_not_at_all(path: tuple[Any, ...], data: st.DataObject) -> None:
    state = copy.deepcopy(STATE)
    holder = state
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans(), label="removed"):
        del holder[path[-1]]
    else:
        holder[path[-1]] = data.draw(st.sampled_from(WRONG))
    optimizer, scheduler = made()
    before = copy.deepcopy((values(optimizer), scheduler.state_dict(), scheduler.last_epoch, scheduler.horizon))
    refusal = loaded(scheduler, state)
    if refusal is not None:
        assert "\n" not in refusal
        assert (values(optimizer), scheduler.state_dict(), scheduler.last_epoch, scheduler.horizon) == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            optimizer.step()
            scheduler.step(1.0)
    for group in optimizer.param_groups:
        assert math.isfinite(group["lr"])
        assert group["lr"] >= 0.0
        assert math.isfinite(group["weight_decay"])


@pytest.mark.parametrize("wrong", [None, [], "state", 3])
def test_what_is_no_state_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError, match="the state must be a dictionary, got"):
        made()[1].load_state_dict(wrong)


@pytest.mark.parametrize("name", ["held", "applied", "trial"])
@pytest.mark.parametrize("wrong", [math.nan, -1.0, "fast", None])
def test_what_a_controlled_rate_holds_is_checked(name: str, wrong: Any) -> None:
    scheduler = ControlledLR(adamw(1), Constant(), Static(), total_steps=STEPS)
    state = scheduler.state_dict() | {name: wrong}
    before = str(scheduler.state_dict())
    with pytest.raises(SpecError, match=rf"the state\.{name} must be a finite number of at least 0"):
        scheduler.load_state_dict(state)
    assert str(scheduler.state_dict()) == before


def test_a_plan_in_another_order_is_matched_by_name() -> None:
    plan = {"lr": DampedCosine(), "weight_decay": Linear()}
    first, second = adamw(), adamw()
    scheduler = ScheduledLR(first, plan, total_steps=STEPS)
    for _ in range(4):
        first.step()
        scheduler.step()
    resumed = ScheduledLR(second, dict(reversed(plan.items())), total_steps=STEPS)
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(3):
        assert values(second) == [group | {"initial_weight_decay": 0.01} for group in values(first)]
        for optimizer, one in ((first, scheduler), (second, resumed)):
            optimizer.step()
            one.step()


def test_fewer_schedules_than_were_saved_are_followed_by_all_groups() -> None:
    first, second = adamw(), adamw()
    scheduler = ScheduledLR(first, [Linear(), DampedCosine()], total_steps=STEPS)
    for _ in range(4):
        first.step()
        scheduler.step()
    resumed = ScheduledLR(second, Linear(), total_steps=STEPS)
    with pytest.warns(UserWarning, match=r"saved schedule of lr .*damped_cosine.* is not the constructed one") as told:
        resumed.load_state_dict(scheduler.state_dict())
    assert len(told) == 1
    assert resumed.get_last_lr() == [base * Linear().at(4, STEPS) for base in (0.1, 0.05)]


def test_more_schedules_than_were_saved_begin_from_what_is_constructed() -> None:
    first, second, third = adamw(), adamw(), adamw()
    scheduler = ScheduledLR(first, Linear(), total_steps=STEPS)
    for _ in range(4):
        first.step()
        scheduler.step()
    resumed = ScheduledLR(second, {"lr": Linear(), "weight_decay": Linear(floor=0.5)}, total_steps=STEPS)
    with pytest.warns(UserWarning, match="the state has no schedule of weight_decay: it begins with Linear"):
        resumed.load_state_dict(scheduler.state_dict())
    assert [group["weight_decay"] for group in second.param_groups] == [0.01 * Linear(floor=0.5).at(4, STEPS)] * 2
    fewer = ScheduledLR(third, {"lr": Linear()}, total_steps=STEPS)
    with pytest.warns(UserWarning, match="the saved schedule of weight_decay is not among the constructed ones"):
        fewer.load_state_dict(resumed.state_dict())


@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_a_state_mapped_to_another_device_is_loaded(where: str) -> None:
    optimizer = AdamW([nn.Parameter(torch.ones(2))], lr=torch.tensor(0.5))
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=4)
    optimizer.step()
    scheduler.step()
    state = scheduler.state_dict()
    assert not any(isinstance(rate, torch.Tensor) for rate in state["base_lrs"])
    state["base_lrs"] = [torch.tensor(0.5)]  # as written by earlier versions
    again = AdamW([nn.Parameter(torch.ones(2))], lr=torch.tensor(0.5))
    resumed = ScheduledLR(again, Linear(), total_steps=4)
    with torch.device(where):
        resumed.load_state_dict(state)
    assert float(again.param_groups[0]["lr"]) == 0.375


class Run:
    """A scheduler that waits for a group of a state that was loaded, and a state that is refused when that is there."""

    def __init__(self, kind: str, rate: float | torch.Tensor = 0.1) -> None:
        self.kind, self.rate = kind, rate
        first, scheduler = self.made()
        for step in range(6):
            if step == 3:
                first.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 1e-4})
            first.step()
            scheduler.step(1.0)
        self.state = scheduler.state_dict()
        self.damaged = copy.deepcopy(self.state)
        self.damaged["tracks"][0]["schedule"]["then"]["schedules"][1]["best"] = "x"
        self.optimizer, self.scheduler = self.made()

    def made(self) -> tuple[AdamW, ScheduledLR]:
        rate = self.rate.clone() if isinstance(self.rate, torch.Tensor) else self.rate
        optimizer = AdamW([nn.Parameter(torch.ones(2))], lr=rate)
        if self.kind == "scheduled":
            return optimizer, ScheduledLR(optimizer, SCHEDULE, total_steps=STEPS)
        optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
        return optimizer, ControlledLR(optimizer, SCHEDULE, Static(), total_steps=STEPS)

    def add(self) -> None:
        self.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.05})


@pytest.mark.parametrize("kind", ["scheduled", "controlled"])
@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_a_refused_state_leaves_the_base_of_a_group_still_to_come(kind: str, rate: Any) -> None:
    run, other = Run(kind, rate), Run(kind, rate)
    for each in (run, other):
        each.scheduler.load_state_dict(each.state)
        each.add()
    before = copy.deepcopy(values(run.optimizer))
    for _ in range(2):
        with pytest.raises(SpecError, match="best must be a number, got 'x'"):
            run.scheduler.load_state_dict(run.damaged)
        assert values(run.optimizer) == before
    for each in (run, other):
        each.optimizer.step()
        each.scheduler.step(1.0)
    assert run.scheduler.base_lrs == other.scheduler.base_lrs == run.state["base_lrs"]
    assert values(run.optimizer) == values(other.optimizer)


@pytest.mark.parametrize("kind", ["scheduled", "controlled"])
def test_what_is_followed_stands_in_the_groups(kind: str) -> None:
    run = Run(kind, 0.2)
    state = copy.deepcopy(run.state)
    state["base_lrs"] = [0.1, *state["base_lrs"][1:]]
    with pytest.warns(UserWarning, match=r"saved base values of lr \[0.1\] are not the constructed ones"):
        run.scheduler.load_state_dict(state)
    run.add()
    run.optimizer.step()
    run.scheduler.step(1.0)
    assert [group["initial_lr"] for group in run.optimizer.param_groups] == run.scheduler.base_lrs == state["base_lrs"]
    again = ScheduledLR(run.optimizer, SCHEDULE, total_steps=STEPS)
    assert again.base_lrs == state["base_lrs"]
