"""The kit passes a right scheduler, and of each wrong one it finds what is wrong and nothing else."""

import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr import SpecError
from adaptive_lr.testing import CHECKS, Case, NotApplicable, errors, failures
from adaptive_lr.testing.suite import SchedulerConformance
from tests.conformance.right import PEAK, STEPS, Right, RightDownToZero, RightPlateau
from tests.conformance.wrong import WRONG, HoldsALambda
from tests.conformance.wrong_elsewhere import WRONG_ELSEWHERE

EVERY_WRONG = WRONG | WRONG_ELSEWHERE


def case_of(scheduler: type[Right]) -> Case:
    floor = scheduler.FLOOR
    numpy: dict[str, Any] = {"total_steps": np.int64(STEPS), "floor": np.float32(floor)}
    shared: dict[str, Any] = {
        "name": scheduler.__name__,
        "factory": lambda optimizer: scheduler(optimizer, total_steps=STEPS, floor=floor),
        "total_steps": STEPS,
        "takes_metrics": True,
        "with_horizon": lambda optimizer, steps: scheduler(optimizer, total_steps=steps),
        "with_scaler": lambda optimizer, scaler: scheduler(optimizer, grad_scaler=scaler),
        "numpy": lambda optimizer: scheduler(optimizer, **numpy),
        "reordered": lambda optimizer: scheduler(optimizer, floor=floor, total_steps=STEPS),
        "refused": [lambda scheduler: scheduler.extend(2)],
    }
    if issubclass(scheduler, RightPlateau):
        maximizing = lambda optimizer: scheduler(optimizer, maximize=True)  # noqa: E731
        return Case(**shared, ends=False, metric=lambda step: 1.0, maximizing=maximizing)
    long = Case(name="long", factory=lambda optimizer: scheduler(optimizer, total_steps=200), total_steps=200)
    return Case(
        **shared,
        first=0.25,
        peak=(PEAK, 1.0),
        last=floor,
        resume_at=lambda optimizer, last: scheduler(optimizer, last_epoch=last),
        other=lambda optimizer: scheduler(optimizer, floor=floor + 0.0625),
        long=long,
    )


SLOW = pytest.mark.slow


class TestRight(SchedulerConformance):
    @pytest.fixture(
        params=[
            pytest.param((Right, False), id="Right-float"),
            pytest.param((RightDownToZero, True), id="RightDownToZero-tensor"),
            pytest.param((RightPlateau, False), id="RightPlateau-float"),
            pytest.param((Right, True), id="Right-tensor", marks=SLOW),
            pytest.param((RightDownToZero, False), id="RightDownToZero-float", marks=SLOW),
            pytest.param((RightPlateau, True), id="RightPlateau-tensor", marks=SLOW),
        ]
    )
    def case(self, request: pytest.FixtureRequest) -> Case:
        scheduler, as_tensor = request.param
        return replace(case_of(scheduler), as_tensor=as_tensor)


class TestKnownFailure(SchedulerConformance):
    known_failures = {"pickle": "it holds a lambda"}  # noqa: RUF012

    @pytest.fixture
    def case(self) -> Case:
        return case_of(HoldsALambda)


@pytest.mark.parametrize("scheduler", EVERY_WRONG, ids=lambda scheduler: scheduler.__name__)
def test_wrong_scheduler_fails_the_check_that_is_meant_for_it(scheduler: type[Right]) -> None:
    meant = EVERY_WRONG[scheduler]
    reasons = failures(case_of(scheduler), [check for check in CHECKS if check.name == meant])
    assert list(reasons) == [meant]
    assert reasons[meant]
    assert "\n" not in reasons[meant]


SAMPLE = list(EVERY_WRONG)[::12]
"""Wrong in several rooms; the others are held to every check by the slow suite."""


@pytest.mark.parametrize(
    "scheduler",
    [pytest.param(scheduler, marks=[] if scheduler in SAMPLE else SLOW) for scheduler in EVERY_WRONG],
    ids=lambda scheduler: scheduler.__name__,
)
def test_wrong_scheduler_fails_no_other_check(scheduler: type[Right]) -> None:
    reasons = failures(case_of(scheduler))
    assert list(reasons) == [EVERY_WRONG[scheduler]], reasons


def test_every_check_is_failed_by_a_wrong_scheduler() -> None:
    assert set(EVERY_WRONG.values()) == {check.name for check in CHECKS}


def test_the_page_of_measurements_has_the_claims_that_are_checked_today() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    for check in CHECKS:
        assert f"| {check.name} | {check.claim} |" in page, "python benchmarks/conformance_table.py"


def test_names_differ_and_claims_are_sentences() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.claim.endswith("."), check.name


def test_check_without_a_promise_does_not_apply() -> None:
    bare = Case(name="bare", factory=Right, total_steps=STEPS)
    silent = set()
    for check in CHECKS:
        try:
            check(bare)
        except NotApplicable:
            silent.add(check.name)
    assert silent == {
        *("first_value", "peak", "last_value", "resume_by_last_epoch", "changed_hyperparameters"),
        *("reordered_arguments", "grad_scaler", "told_past_the_end", "refused_call", "numpy_arguments"),
        *("negative_metric", "maximized_metric", "cost_of_a_step", "memory_of_a_long_run"),
    }


def test_scheduler_that_raises_fails_with_the_reason_in_one_line() -> None:
    def broken(optimizer: Optimizer) -> LRScheduler:
        raise RuntimeError("no\nscheduler")

    reasons = failures(Case(name="broken", factory=broken, total_steps=STEPS))
    assert set(reasons.values()) == {"RuntimeError: no scheduler"}


@pytest.mark.parametrize(("field", "value"), [("total_steps", 5), ("rates", (0.1,))])
def test_case_that_is_too_small_is_refused(field: str, value: object) -> None:
    with pytest.raises(SpecError, match=f"Case.{field} must"):
        Case(**{"name": "small", "factory": Right, "total_steps": STEPS, field: value})  # type: ignore[arg-type]


def test_what_a_scheduler_raised_comes_with_its_traceback() -> None:
    def broken(optimizer: Optimizer) -> LRScheduler:
        raise FloatingPointError("out of luck")

    case = Case(name="broken", factory=broken, total_steps=STEPS)
    raised = errors(case)
    assert raised
    assert {name: str(error) for name, error in raised.items()} == failures(case)
    for error in raised.values():
        cause = error.__cause__
        assert isinstance(cause, FloatingPointError)
        assert traceback.extract_tb(cause.__traceback__)[-1].name == "broken"
