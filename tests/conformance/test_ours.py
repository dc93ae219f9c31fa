"""ScheduledLR conforms, with every schedule and with every way to hold a rate and to make an update."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr import (
    SCHEDULES,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Linear,
    Plateau,
    ScheduledLR,
    Warmup,
    table,
)
from adaptive_lr.testing import CHECKS, Case, Check, failures
from adaptive_lr.testing.case import Groups, with_momentum
from adaptive_lr.testing.suite import SchedulerConformance
from adaptive_lr.testing.values import VALUES
from tests.conftest import EXAMPLES

STEPS = 12
LONG = 1000

OPTIMIZERS: dict[str, Callable[[Groups], Optimizer]] = {
    "adamw": AdamW,
    "fused": lambda groups: AdamW(groups, fused=True),
    "foreach": lambda groups: SGD(groups, foreach=True, momentum=0.9),
}


REFUSED: list[Callable[[Any], object]] = [
    lambda scheduler: scheduler.extend(2),
    lambda scheduler: scheduler.extend(20, "for ever"),
]


def factory(schedule: AbstractSchedule, total_steps: int = STEPS) -> Callable[[Optimizer], LRScheduler]:
    return lambda optimizer: ScheduledLR(optimizer, schedule, total_steps=total_steps)


def case_of(
    schedule: AbstractSchedule,
    *,
    as_tensor: bool = False,
    optimizer: Callable[[Groups], Optimizer] = with_momentum,
    metric: Callable[[int], float] | None = None,
    long: int = LONG,
) -> Case:
    multipliers = table([schedule], STEPS)[0].tolist()
    peak = max(multipliers)
    return Case(
        name=type(schedule).kind,
        factory=factory(schedule),
        total_steps=STEPS,
        ends=metric is None,
        as_tensor=as_tensor,
        optimizer=optimizer,
        first=None if metric else multipliers[0],
        peak=None if metric else (multipliers.index(peak), peak),
        last=None if metric else multipliers[-1],
        resume_at=None
        if metric
        else lambda optimizer, last: ScheduledLR(optimizer, schedule, total_steps=STEPS, last_epoch=last),
        other=factory(Constant() if not isinstance(schedule, Constant) else DampedCosine()),
        long=Case(name="long", factory=factory(schedule, long), total_steps=long),
        takes_metrics=True,
        metric=metric,
        with_horizon=lambda optimizer, steps: ScheduledLR(optimizer, schedule, total_steps=steps),
        with_scaler=lambda optimizer, scaler: ScheduledLR(optimizer, schedule, total_steps=STEPS, grad_scaler=scaler),
        numpy=lambda optimizer: ScheduledLR(optimizer, schedule, total_steps=np.int64(STEPS)),  # type: ignore[arg-type]
        refused=REFUSED,
    )


OF_THE_SCHEDULE = [
    *VALUES,
    *(check for check in CHECKS if check.name in {"resume", "state_is_plain_data", "changed_hyperparameters"}),
    *(
        check
        for check in CHECKS
        if check.name in {"deepcopy", "pickle", "told_past_the_end", "tensor_rates_do_not_drift"}
    ),
]
"""Those that the formula or the fields of a schedule can fail; the others see the scheduler alone, whatever it follows."""


@pytest.mark.parametrize("check", OF_THE_SCHEDULE, ids=lambda check: check.name)
def test_every_family_conforms(example: AbstractSchedule, check: Check) -> None:
    assert failures(case_of(example, long=200), [check]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
def test_every_family_passes_every_check(example: AbstractSchedule, as_tensor: bool) -> None:
    assert failures(case_of(example, as_tensor=as_tensor)) == {}


PAIRWISE = [
    *(("adamw", "float", DampedCosine), ("adamw", "tensor", Warmup), ("fused", "float", Warmup)),
    *(("fused", "tensor", DampedCosine), ("foreach", "float", DampedCosine), ("foreach", "tensor", Warmup)),
]
"""Every optimizer with every kind of rate and with both schedules, and every kind of rate with both schedules."""


class TestEveryOptimizer(SchedulerConformance):
    @pytest.fixture(params=PAIRWISE, ids=lambda combination: f"{combination[0]}-{combination[1]}")
    def case(self, request: pytest.FixtureRequest) -> Case:
        optimizer, rate, family = request.param
        return case_of(EXAMPLES[family], as_tensor=rate == "tensor", optimizer=OPTIMIZERS[optimizer])


@pytest.mark.slow
@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_family_conforms_with_every_optimizer(example: AbstractSchedule, optimizer: str, as_tensor: bool) -> None:
    assert failures(case_of(example, as_tensor=as_tensor, optimizer=OPTIMIZERS[optimizer])) == {}


class TestDrivenByAMetric(SchedulerConformance):
    @pytest.fixture(params=["float", "tensor"])
    def case(self, request: pytest.FixtureRequest) -> Case:
        schedule = Plateau(damping=0.5, patience=1)
        case = case_of(schedule, as_tensor=request.param == "tensor", metric=lambda at: 1.0)
        return replace(case, maximizing=factory(Plateau(damping=0.5, patience=1, mode="max")))


class TestSeveralSchedules(SchedulerConformance):
    """A schedule by name for what is set, in either order."""

    @pytest.fixture
    def case(self) -> Case:
        plan: dict[str, AbstractSchedule] = {"lr": DampedCosine(exponent=2), "weight_decay": Linear(floor=0.5)}
        backwards = dict(reversed(plan.items()))
        return Case(
            name="a plan",
            factory=lambda optimizer: ScheduledLR(optimizer, plan, total_steps=STEPS),
            total_steps=STEPS,
            optimizer=lambda groups: AdamW(groups, weight_decay=0.1),
            reordered=lambda optimizer: ScheduledLR(optimizer, backwards, total_steps=STEPS),
        )


def test_all_families_are_covered() -> None:
    assert set(EXAMPLES) == set(SCHEDULES)
