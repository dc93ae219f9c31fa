"""Nothing is judged on what it was tuned on."""

import pytest

from adaptive_lr.controllers import CONTROLLERS, AbstractController
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment import AnyRate, load_experiment
from adaptive_lr.experiment.protocol import (
    DEVELOPMENT,
    DEVELOPMENT_INDICES,
    HORIZONS,
    REPORT,
    UNTOUCHED,
    UNTOUCHED_INDICES,
    ProtocolTask,
    drawn,
    judged,
    provenance,
)
from adaptive_lr.tasks.data.catalogue import find
from adaptive_lr.tasks.data.declaration import InstalledDataset
from adaptive_lr.tasks.random_family import REPORT as REPORT_INDICES
from adaptive_lr.tasks.teacher import TeacherPerceptron

JUDGED = ("e02_any_learning_rate", "e03_controller_ablation", "e16_any_learning_rate_longer")


def cell(task: ProtocolTask) -> str:
    """A task with its optimizer: what a controller may not have been tuned on, at any horizon."""
    return f"{task.task!r} {task.optimizer!r}"


def developed(name: str) -> ProtocolTask:
    if name in DEVELOPMENT:
        return DEVELOPMENT[name]
    kind, index = name.split("-")
    return drawn(int(index), kind)


def test_no_family_is_in_two_groups() -> None:
    groups = [{task.family for task in tasks.values()} for tasks in (DEVELOPMENT, judged(), UNTOUCHED)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    drawn_ones = [task for task in judged().values() if task.family.startswith("random")]
    indices = {int(task.name.split("-")[1]) for task in drawn_ones}
    assert indices <= set(REPORT_INDICES) - set(UNTOUCHED_INDICES)
    assert not set(DEVELOPMENT_INDICES) & set(REPORT_INDICES)


def test_no_judged_task_is_a_development_task_by_another_name() -> None:
    known = {cell(task) for task in DEVELOPMENT.values()}
    assert not known & {cell(task) for task in (judged() | UNTOUCHED).values()}


def test_the_random_tasks_are_those_that_the_rule_names() -> None:
    firsts: dict[tuple[str, str], str] = {}
    for index in range(4000, 4100):
        task = drawn(index, "convex")
        firsts.setdefault((task.task.kind, repr(task.optimizer)), task.name)
    networks = [drawn(index, "network") for index in range(4000, 4030)]
    teachers = [task.name for task in networks if isinstance(task.task, TeacherPerceptron)]
    assert sorted(name for name in REPORT if name.startswith("convex")) == sorted(firsts.values())
    assert sorted(name for name in REPORT if name.startswith("network")) == teachers[:4]


@pytest.mark.parametrize("kind", CONTROLLERS, ids=lambda kind: kind.kind)
def test_no_controller_is_judged_on_a_task_that_its_constants_come_from(kind: type[AbstractController]) -> None:
    assert len(set(kind.tuned_on)) == len(kind.tuned_on)
    tuned = {cell(developed(name)) for name in provenance(kind.tuned_on)}
    assert bool(tuned) == bool(kind.tuned_on)
    assert not tuned & {cell(task) for task in judged().values()}


def test_every_anchor_was_tuned_on_something() -> None:
    anchors = [kind for kind in CONTROLLERS if kind.__name__.endswith(("Anchor", "Lift"))]
    assert len(anchors) >= 3
    assert all(kind.tuned_on for kind in anchors)


@pytest.mark.parametrize("name", JUDGED)
def test_experiments_judge_on_the_tasks_of_the_protocol_alone(name: str) -> None:
    experiment = load_experiment(name)
    assert isinstance(experiment, AnyRate)
    allowed = {cell(task) for task in judged().values()}
    for study in experiment.studies:
        trial = experiment.by_label[experiment.reference].trials(study)[0][0]
        assert f"{trial.task!r} {trial.optimizer!r}" in allowed, study.name
        assert study.factor in HORIZONS
    for label, contestant in experiment.by_label.items():
        known = {cell(developed(task)) for task in provenance(contestant.controller.tuned_on)}
        for study in experiment.studies:
            assert f"{study.task!r} {study.optimizer!r}" not in known, (label, study.name)


def test_all_contestants_of_a_study_start_at_the_same_rates() -> None:
    experiment = load_experiment("e02_any_learning_rate")
    assert isinstance(experiment, AnyRate)
    for study in experiment.studies:
        grids = {
            tuple(contestant.grid(study))
            for label, contestant in experiment.cells(study).items()
            if label != experiment.reference and not contestant.rates and not contestant.tuning.searches
        }
        assert len(grids) == 1
        assert len(next(iter(grids))) == 5


def test_the_tasks_of_make_experiments_need_no_download() -> None:
    for task in judged().values():
        for field in ("dataset", "text", "source"):
            value = getattr(task.task, field, None)
            assert value is None or isinstance(find(value), InstalledDataset), task.name


@pytest.mark.parametrize(
    "entry", ["nonsense", "random-convex 4000", "random-convex 5..3", "squares seed", "random-tree 3"]
)
def test_an_entry_that_names_no_development_task_is_told_of(entry: str) -> None:
    with pytest.raises(ExperimentError, match=r"development task"):
        provenance([entry])
