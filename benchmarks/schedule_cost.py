"""A step of a scheduler, against those of torch, transformers and timm."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from pairs import one_core, ratios, seconds
from rows import Aim, Case, LeftOutError, Measured
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from adaptive_lr import AbstractSchedule, DampedCosine, ScheduledLR, from_transformers, table

TITLE = "A step of the scheduler"
ABOUT = """Processor time of a step of the other package's cosine over that of `ScheduledLR` with the same schedule, on one optimizer
with so many parameter groups, whose rates are floats or tensors. The table of multipliers is what a sweep evaluates once."""

LONG = 10_000_000
"""Steps of a run; a step costs the same in a short one."""

WARMUP = 1000

STEPS = (
    ("float", 1, 4.0, 20_000),
    ("float", 10, 4.0, 4_000),
    ("float", 100, 4.0, 500),
    ("tensor", 1, 3.0, 3_000),
    ("tensor", 10, 8.0, 400),
    ("tensor", 100, 20.0, 40),
)
"""Kind of the rates, parameter groups, aim, and steps that are timed at once: long enough that nothing else counts."""

Factory = Callable[[SGD], Any]


def _torch() -> tuple[Factory, AbstractSchedule]:
    return lambda optimizer: CosineAnnealingLR(optimizer, T_max=LONG), DampedCosine()


def _transformers() -> tuple[Factory, AbstractSchedule]:
    transformers = _imported("transformers")
    arguments = {"num_warmup_steps": WARMUP, "num_training_steps": LONG}
    schedule = from_transformers("cosine", total_steps=LONG, **arguments)
    return lambda optimizer: transformers.get_cosine_schedule_with_warmup(optimizer, **arguments), schedule


def _timm() -> tuple[Factory, AbstractSchedule]:
    scheduler = _imported("timm.scheduler")

    def build(optimizer: SGD) -> Any:
        cosine = scheduler.CosineLRScheduler(optimizer, t_initial=LONG, t_in_epochs=False)
        return _Counted(cosine)

    return build, DampedCosine()


class _Counted:
    """timm's scheduler, which is told the number of the update."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler, self._updates = scheduler, 0

    def step(self) -> None:
        self._updates += 1
        self._scheduler.step_update(self._updates)


def _imported(name: str) -> Any:
    """A module.

    Raises:
        LeftOutError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            raise LeftOutError(f"{package} is not installed") from error
        raise LeftOutError(f"{package} cannot be imported: {error}") from error


PACKAGES: dict[str, Callable[[], tuple[Factory, AbstractSchedule]]] = {
    "CosineAnnealingLR of torch": _torch,
    "get_cosine_schedule_with_warmup of transformers": _transformers,
    "CosineLRScheduler of timm": _timm,
}
"""Schedulers by what they are called in the table, each with the same schedule of this package."""


def stepping(package: str, groups: int, count: int, *, as_tensor: bool, repeats: int) -> Measured:
    """Time of the other's steps over that of ours, for each pair."""
    build, schedule = PACKAGES[package]()

    def stepper(make: Factory) -> Callable[[], None]:
        parameters = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(groups)]
        optimizer = SGD(parameters, lr=torch.tensor(0.1) if as_tensor else 0.1)
        scheduler = make(optimizer)
        optimizer.step()

        def steps() -> None:
            for _ in range(repeats):
                scheduler.step()

        return steps

    with one_core():
        ours = stepper(lambda optimizer: ScheduledLR(optimizer, schedule, total_steps=LONG))
        return Measured(ratios(stepper(build), ours, count))


def tabulating(count: int) -> Measured:
    """Seconds for the multipliers of 1000 schedules."""
    schedules = [DampedCosine(k=0.5 + index / 1000) for index in range(1000)]
    with one_core():
        return Measured([seconds(lambda: table(schedules, 10_000)) for _ in range(count)])


def cases(*, quick: bool) -> list[Case]:
    """Floats and tensors, 1, 10 and 100 groups, for each package."""
    rows = []
    for package in PACKAGES:
        for kind, groups, aim, repeats in STEPS:

            def measure(
                count: int,
                package: str = package,
                groups: int = groups,
                kind: str = kind,
                repeats: int = repeats // 10 if quick else repeats,
            ) -> Measured:
                return stepping(package, groups, count, as_tensor=kind == "tensor", repeats=repeats)

            plural = "group" if groups == 1 else "groups"
            rows.append(Case(what=f"{package}, {kind} rates, {groups} {plural}", aim=Aim(aim), measure=measure))
    what = "table of 1000 damped cosines, 10 001 steps"
    return [*rows, Case(what=what, aim=Aim(1.0, at_most=True), unit="s", measure=tabulating)]
