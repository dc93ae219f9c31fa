import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import (
    REX,
    SCHEDULES,
    WSD,
    AbstractSchedule,
    DampedCosine,
    Eigencurve,
    ElasticStep,
    Exponential,
    ExponentialCosine,
    GridAware,
    InverseSqrt,
    InverseTime,
    Linear,
    Polynomial,
    Staircase,
    Step,
    Tanh,
    table,
)
from tests.conftest import legal_runs

FALLING: tuple[type[AbstractSchedule], ...] = (
    Linear,
    Polynomial,
    Step,
    Exponential,
    InverseSqrt,
    DampedCosine,
    WSD,
    InverseTime,
    Staircase,
    REX,
    Tanh,
    ExponentialCosine,
    ElasticStep,
    Eigencurve,
    GridAware,
)
"""The families that never rise; the others warm up, restart, cycle, follow points, or are made of parts that may."""


def test_families_that_fall_are_families() -> None:
    assert set(FALLING) <= set(SCHEDULES)


@pytest.mark.parametrize("falling", FALLING, ids=lambda schedule: schedule.kind)
@given(data=st.data())
def test_the_multiplier_never_rises(falling: type[AbstractSchedule], data: st.DataObject) -> None:
    schedule, total_steps = data.draw(legal_runs(falling))
    row = table([schedule], total_steps)[0]
    assert (row[1:] - row[:-1]).max() <= 1e-12
