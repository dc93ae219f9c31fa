"""ScheduledLR conforms, with every schedule and with every way to hold a rate and to make an update."""

from collections.abc import Callable

import pytest
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr import (
    SCHEDULES,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Plateau,
    ScheduledLR,
    Warmup,
    table,
)
from adaptive_lr.testing import Case, failures
from adaptive_lr.testing.case import Groups, with_momentum
from adaptive_lr.testing.suite import SchedulerConformance
from tests.conftest import EXAMPLES

STEPS = 12
LONG = 1000

OPTIMIZERS: dict[str, Callable[[Groups], Optimizer]] = {
    "adamw": AdamW,
    "fused": lambda groups: AdamW(groups, fused=True),
    "foreach": lambda groups: SGD(groups, foreach=True, momentum=0.9),
}


def factory(schedule: AbstractSchedule, total_steps: int = STEPS) -> Callable[[Optimizer], LRScheduler]:
    return lambda optimizer: ScheduledLR(optimizer, schedule, total_steps=total_steps)


def case_of(
    schedule: AbstractSchedule,
    *,
    as_tensor: bool = False,
    optimizer: Callable[[Groups], Optimizer] = with_momentum,
    metric: Callable[[int], float] | None = None,
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
        long=Case(name="long", factory=factory(schedule, LONG), total_steps=LONG),
        takes_metrics=True,
        metric=metric,
    )


class TestEveryFamily(SchedulerConformance):
    @pytest.fixture
    def case(self, example: AbstractSchedule) -> Case:
        return case_of(example)


def test_every_family_conforms_with_tensor_rates(example: AbstractSchedule) -> None:
    assert failures(case_of(example, as_tensor=True)) == {}


class TestEveryOptimizer(SchedulerConformance):
    @pytest.fixture(params=["float", "tensor"])
    def rate(self, request: pytest.FixtureRequest) -> str:
        kind: str = request.param
        return kind

    @pytest.fixture(params=OPTIMIZERS)
    def case(self, request: pytest.FixtureRequest, rate: str, family: type[AbstractSchedule]) -> Case:
        return case_of(EXAMPLES[family], as_tensor=rate == "tensor", optimizer=OPTIMIZERS[request.param])

    @pytest.fixture(params=[DampedCosine, Warmup], ids=lambda family: family.kind)
    def family(self, request: pytest.FixtureRequest) -> type[AbstractSchedule]:
        family: type[AbstractSchedule] = request.param
        return family


@pytest.mark.slow
@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_family_conforms_with_every_optimizer(example: AbstractSchedule, optimizer: str, as_tensor: bool) -> None:
    assert failures(case_of(example, as_tensor=as_tensor, optimizer=OPTIMIZERS[optimizer])) == {}


class TestDrivenByAMetric(SchedulerConformance):
    @pytest.fixture(params=["float", "tensor"])
    def case(self, request: pytest.FixtureRequest) -> Case:
        schedule = Plateau(damping=0.5, patience=1)
        return case_of(schedule, as_tensor=request.param == "tensor", metric=lambda at: 1.0)


def test_all_families_are_covered() -> None:
    assert set(EXAMPLES) == set(SCHEDULES)
