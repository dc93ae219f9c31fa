"""The hypothesis profile; fixtures; an example and a strategy of legal values for every schedule."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

import tests.reference.composed  # noqa: F401  # adds its formulas to the others
import tests.reference.families  # noqa: F401
from adaptive_lr import (
    SCHEDULES,
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Plateau,
    Polynomial,
    Product,
    Restarts,
    Scaled,
    Sequence,
    Step,
    Warmup,
)
from tests.strategies import DEPENDENT, FAMILY_EXAMPLES

os.environ.pop("COLUMNS", None)  # xdist sets it, and rich would then take it for good instead of what a test says

# Where a later run of the tests has them, and nobody's own are touched.
os.environ.setdefault("ADAPTIVE_LR_COMPILED", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))

torch.set_num_threads(1)  # networks of tests are too small for more, and the workers of xdist share the cores

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("suite")

EXAMPLES: dict[type[AbstractSchedule], AbstractSchedule] = {
    Constant: Constant(),
    Linear: Linear(floor=0.125),
    Polynomial: Polynomial(power=1.5, floor=0.01),
    Step: Step(milestones=(0.3, 0.6, 0.9), factor=0.2),
    Exponential: Exponential(rate=3),
    InverseSqrt: InverseSqrt(steps=4),
    DampedCosine: DampedCosine(k=1.5, exponent=2, floor=0.05),
    WSD: WSD(cooldown=0.4, shape="cosine", floor=0.1),
    Warmup: Warmup(steps=2, then=DampedCosine(exponent=2), start=0.25),
    Sequence: Sequence(schedules=(Linear(floor=0.5), DampedCosine(), Constant()), fractions=(0.3, 0.5)),
    Restarts: Restarts(then=DampedCosine(floor=0.1), steps=2, mult=2, decay=0.5),
    Product: Product(schedules=(DampedCosine(), Step(milestones=(0.5,), factor=0.5))),
    Scaled: Scaled(then=Linear(), factor=0.5),
    Plateau: Plateau(damping=0.25),
    **FAMILY_EXAMPLES,
}


def pytest_configure(config: pytest.Config) -> None:
    """Any k of the additive k-decay but 1 is cut off somewhere and warns; the tests of that warning expect it."""
    config.addinivalue_line("filterwarnings", "ignore::adaptive_lr.schedules.additive.ClippedScheduleWarning")


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked ``sampled(n)`` the combinations whose indices add up to a multiple of n are fast, the others slow."""
    orders: dict[tuple[str, int], dict[str, int]] = {}
    for item in items:
        marker = item.get_closest_marker("sampled")
        if marker is None or not isinstance(item, pytest.Function):
            continue
        (every,) = marker.args
        total = 0
        for place, name in enumerate(item.callspec._idlist):  # `indices` counts combinations, not values
            order = orders.setdefault((item.nodeid.partition("[")[0], place), {})
            total += order.setdefault(name, len(order))
        if total % every:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty working directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread, on which results do not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=SCHEDULES, ids=lambda schedule: schedule.kind)
def schedule_class(request: pytest.FixtureRequest) -> type[AbstractSchedule]:
    """Every member of ``SCHEDULES`` in turn."""
    family: type[AbstractSchedule] = request.param
    return family


@pytest.fixture(scope="session")
def example(schedule_class: type[AbstractSchedule]) -> AbstractSchedule:
    """One schedule of every class."""
    return EXAMPLES[schedule_class]


def shortest_run(schedule: AbstractSchedule) -> int:
    """The least number of steps that leaves something after every warm-up inside ``schedule``."""
    if isinstance(schedule, Sequence):
        last = schedule.steps[-1] if schedule.steps else 1
        return last + 60 + max(shortest_run(part) for part in schedule.schedules) * 20
    if isinstance(schedule, Product):
        return max(shortest_run(part) for part in schedule.schedules)
    if isinstance(schedule, Scaled | Restarts):
        return 200 * shortest_run(schedule.then)
    if not isinstance(schedule, Warmup):
        return 1
    rest = shortest_run(schedule.then)
    if schedule.steps is not None:
        return schedule.steps + rest
    assert isinstance(schedule.fraction, float)
    return math.ceil((rest + 1) / (1.0 - schedule.fraction))


def legal_numbers(rule: Mapping[str, Any], *, searched: bool) -> st.SearchStrategy[float]:
    """Numbers that a field's declaration allows, the unbounded domains cut off; if ``searched``, those worth searching."""
    domain, search = rule["domain"], rule.get("search")
    if rule["integer"]:
        return st.integers(math.ceil(domain.low), min(domain.high, 20))
    if rule.get("many"):
        # On a grid, so that two milestones are never nearer to each other or to a step than rounding.
        return st.integers(1, 1000).map(lambda thousandths: thousandths / 1000)
    if searched and search is not None:
        return st.floats(search.low, search.high)
    high = min(0.9 * domain.high if domain.high_open else domain.high, 100.0)
    return st.floats(domain.low, high, exclude_min=domain.low_open, allow_subnormal=False)


Schedules = st.SearchStrategy[AbstractSchedule]

SIMPLE: tuple[type[AbstractSchedule], ...] = (Linear, Polynomial, DampedCosine, Exponential)
"""What composed schedules are tried with."""

COMPOSED: dict[type[AbstractSchedule], Callable[[Schedules], Schedules]] = {
    Sequence: lambda inner: st.builds(
        lambda first, second, boundary: Sequence(schedules=(first, second), steps=(boundary,)),
        inner,
        inner,
        st.integers(1, 9),
    ),
    Restarts: lambda inner: st.builds(
        lambda then, steps, mult, decay: Restarts(then=then, steps=steps, mult=mult, decay=decay),
        inner,
        st.integers(2, 9),
        st.sampled_from((1, 2, 3)),
        st.floats(0.125, 1.0),
    ),
    Product: lambda inner: st.builds(lambda first, second: Product(schedules=(first, second)), inner, inner),
    Scaled: lambda inner: st.builds(lambda then, factor: Scaled(then=then, factor=factor), inner, st.floats(0.0, 1.0)),
    Plateau: lambda inner: st.builds(lambda damping: Plateau(damping=damping), st.floats(0.0, 1.0)),
}
"""Strategies for the schedules whose fields depend on each other."""


@st.composite
def legal_schedules(
    draw: st.DrawFn,
    schedule_class: type[AbstractSchedule],
    *,
    searched: bool = False,
    inside: tuple[type[AbstractSchedule], ...] = SCHEDULES,
) -> AbstractSchedule:
    """Schedules of one class with any legal values; ``inside`` are the classes that a composed one may hold."""
    if schedule_class in COMPOSED:
        return draw(COMPOSED[schedule_class](legal_schedules(draw(st.sampled_from(SIMPLE)), searched=searched)))
    if schedule_class in DEPENDENT:
        return draw(DEPENDENT[schedule_class]())
    data: dict[str, Any] = {}
    optional = [item.name for item in fields(schedule_class) if item.metadata.get("optional")]  # type: ignore[arg-type]
    # The optional fields of a schedule are alternatives, of which it takes exactly one.
    given = draw(st.sampled_from(optional)) if optional else None
    for item in fields(schedule_class):  # type: ignore[arg-type]
        rule = item.metadata
        if "component" in rule:
            # A warm-up may hold a warm-up, and no third one.
            others = tuple(family for family in inside if family is not schedule_class and family not in COMPOSED)
            inner = legal_schedules(draw(st.sampled_from(others)), searched=searched, inside=others)
            data[item.name] = draw(inner)
        elif "options" in rule:
            data[item.name] = draw(st.sampled_from(rule["options"]))
        elif rule.get("many"):
            ascending = st.lists(legal_numbers(rule, searched=searched), max_size=4, unique=True).map(sorted)
            data[item.name] = tuple(draw(ascending))
        elif item.name not in optional or item.name == given:
            data[item.name] = draw(legal_numbers(rule, searched=searched))
    make: Callable[..., AbstractSchedule] = schedule_class
    return make(**data)


@st.composite
def legal_runs(
    draw: st.DrawFn,
    schedule_class: type[AbstractSchedule],
    *,
    searched: bool = False,
    inside: tuple[type[AbstractSchedule], ...] = SCHEDULES,
) -> tuple[AbstractSchedule, int]:
    """A legal schedule and a number of steps that is long enough for it."""
    schedule = draw(legal_schedules(schedule_class, searched=searched, inside=inside))
    return schedule, shortest_run(schedule) + draw(st.integers(0, 100))
