import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import adaptive_lr
from adaptive_lr.controllers import CONTROLLERS, AbstractController
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule
from adaptive_lr.spec import Spec
from adaptive_lr.tasks import TASKS, AbstractTask
from adaptive_lr.training import KINDS, OPTIMIZERS, AbstractOptimizer

PACKAGE = Path(adaptive_lr.__file__).parent
MODULES = sorted(
    one.name
    for one in pkgutil.walk_packages(adaptive_lr.__path__, prefix="adaptive_lr.")
    if not one.name.endswith(".__main__")
)
LINES = 400


def concrete_subclasses(base: type[Spec]) -> set[type[Spec]]:
    for module in MODULES:
        importlib.import_module(module)
    found, open_ends = set(), [base]
    while open_ends:
        for one in open_ends.pop().__subclasses__():
            open_ends.append(one)
            if one.__module__.startswith("adaptive_lr.") and not inspect.isabstract(one):
                found.add(one)
    return found


@pytest.mark.parametrize(
    ("base", "members"),
    [
        (AbstractSchedule, SCHEDULES),
        (AbstractController, CONTROLLERS),
        (AbstractTask, TASKS),
        (AbstractOptimizer, OPTIMIZERS),
    ],
    ids=["schedules", "controllers", "tasks", "optimizers"],
)
def test_every_concrete_subclass_is_a_member(base: type[Spec], members: tuple[type[Spec], ...]) -> None:
    assert concrete_subclasses(base) == set(members)
    assert len(members) == len(set(members))


def test_every_spec_can_stand_in_the_json_of_a_trial() -> None:
    assert concrete_subclasses(Spec) == set(KINDS)


def test_kinds_are_unique() -> None:
    kinds = [one.kind for one in KINDS]
    assert sorted(set(kinds)) == sorted(kinds)


def test_public_names_are_sorted_and_exist() -> None:
    assert list(adaptive_lr.__all__) == sorted(adaptive_lr.__all__)
    for name in adaptive_lr.__all__:
        assert getattr(adaptive_lr, name) is not None


@pytest.mark.parametrize("name", adaptive_lr.__all__)
def test_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(adaptive_lr, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        written = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        assert written
        assert not written.startswith(f"{name}(")  # what a dataclass makes up


def test_docstring_of_a_schedule_is_its_formula_and_an_example(schedule_class: type[AbstractSchedule]) -> None:
    written = vars(schedule_class)["__doc__"]
    assert written.startswith("m(u) =")
    assert doctest.DocTestParser().get_examples(written)


@pytest.mark.parametrize("controller_class", CONTROLLERS, ids=lambda one: one.kind)
def test_docstring_of_a_controller_begins_with_its_formula(controller_class: type[AbstractController]) -> None:
    assert vars(controller_class)["__doc__"].startswith("eta_t =")


def test_help_need_not_wait_for_torch() -> None:
    program = (
        "import sys, adaptive_lr, adaptive_lr.cli; "
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'optuna', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_file_is_short_enough_to_read(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LINES
