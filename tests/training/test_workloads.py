"""Every workload trains at its smoke size; those on fetched data where it can be fetched."""

import math

import pytest

from adaptive_lr.errors import DataError, SpecError
from adaptive_lr.tasks.data import CATALOGUE
from adaptive_lr.tasks.data.declaration import FetchedDataset
from adaptive_lr.training import SGD, RunResult, Status, Trial, train_batch
from adaptive_lr.training.workloads import SIZES, WORKLOADS, Workload

pytestmark = pytest.mark.usefixtures("one_thread")


def fetched(workload: Workload) -> bool:
    names = {str(value).replace("_", "-") for value in vars(workload.trial("smoke").task).values()}
    return any(isinstance(CATALOGUE[name], FetchedDataset) for name in names & set(CATALOGUE))


every_workload = pytest.mark.parametrize(
    "workload",
    [
        pytest.param(workload, id=name, marks=pytest.mark.slow if fetched(workload) else [])
        for name, workload in WORKLOADS.items()
    ],
)


def trained(trial: Trial) -> RunResult:
    try:
        (result,) = train_batch([trial])
    except DataError as error:
        pytest.skip(str(error))
    return result


@every_workload
def test_a_few_steps_are_made(workload: Workload) -> None:
    result = trained(workload.trial("smoke", steps=2))
    assert result.status is Status.OK
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert {result.trial.task.selection_metric, result.trial.task.report_metric} <= set(result.metrics)


@pytest.mark.slow
@every_workload
def test_the_smoke_size_learns(workload: Workload) -> None:
    result = trained(workload.trial("smoke"))
    metric = result.trial.task.selection_metric
    assert result.metrics[metric] < result.initial[metric]


def test_workloads_have_both_sizes_and_names_of_their_own() -> None:
    areas = {"images", "language", "inference", "convex", "fine-tuning"}
    assert {workload.area for workload in WORKLOADS.values()} == areas
    for name, workload in WORKLOADS.items():
        assert workload.name == name
        assert {"smoke", "standard"} <= set(workload.sizes) <= set(SIZES)
        assert workload.trial("smoke").steps < workload.trial("standard").steps
        assert workload.trial("smoke").seed == 0


def test_a_field_can_be_changed_and_a_wrong_size_is_named() -> None:
    workload = WORKLOADS["digits-conv"]
    assert workload.trial(optimizer=SGD(), seed=7) == Trial(
        task=workload.trial().task,
        schedule=workload.trial().schedule,
        optimizer=SGD(),
        base_lr=workload.trial().base_lr,
        steps=workload.trial().steps,
        seed=7,
    )
    with pytest.raises(SpecError, match=r"standart.*standard"):
        workload.trial("standart")
