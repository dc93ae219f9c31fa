"""Trials that have had the same rates so far are trained as one: schedules that differ only in their tails share the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adaptive_lr.controllers import Static
from adaptive_lr.schedules import table
from adaptive_lr.training.batch_run import BatchRun
from adaptive_lr.training.paused import Paused
from adaptive_lr.training.trial import RunResult, Trial

_LEAST_SHARE = 0.1
"""Of a run that must be shared: less does not repay that the trials are set down and taken up again."""


@dataclass(frozen=True)
class Branches:
    """From which step on each trial of a seed is trained by itself, and which trial is trained in its stead before.

    Attributes:
        begins: a step for each trial, 0 for those that are trained from the start.
        sources: a trial for each, by its number among those of the seed; itself where it begins at 0.
    """

    begins: tuple[int, ...]
    sources: tuple[int, ...]

    def at(self, step: int) -> list[int]:
        """The trials that are trained by themselves from this step on."""
        return [index for index, begin in enumerate(self.begins) if begin <= step]

    def source(self, index: int, step: int) -> int:
        """The trial that is trained in the stead of another just before a step."""
        while self.begins[index] >= step > 0:
            index = self.sources[index]
        return index


def branches(trials: Sequence[Trial]) -> Branches:
    """Which of the trials of a seed begin alike: with the same base rate and, to the last bit, the same multipliers."""
    steps, count = trials[0].steps, len(trials)
    begins, sources = [0] * count, list(range(count))
    if len({trial.base_lr for trial in trials}) == count:
        return Branches(tuple(begins), tuple(sources))
    multipliers = table([trial.schedule for trial in trials], steps)
    by_rate: dict[float, list[int]] = {}
    for index, trial in enumerate(trials):
        before = by_rate.setdefault(trial.base_lr, [])
        shared = _shared(multipliers[index], multipliers[before]) if before else [0]
        longest = max(range(len(shared)), key=shared.__getitem__)
        if shared[longest] >= _LEAST_SHARE * steps:
            begins[index], sources[index] = min(shared[longest], steps - 1), before[longest]
        before.append(index)
    return Branches(tuple(begins), tuple(sources))


def _shared(multipliers: Tensor, others: Tensor) -> list[int]:
    """How many steps rows ``[n, T]`` begin like another ``[T]``."""
    lengths: list[int] = (others == multipliers).to(torch.int8).cumprod(1).sum(1).tolist()
    return lengths


def train_sharing(trials: Sequence[Trial], *, compiled: bool) -> list[RunResult]:
    """Train trials in the order of their seeds, as many of each, what they share only once."""
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    each, steps = len(trials) // len(seeds), trials[0].steps
    rows = [trials[begin : begin + each] for begin in range(0, len(trials), each)]
    branching = _same_for_all(rows)
    points = sorted(set(branching.begins))
    present = branching.at(0)
    paused = Paused.begun([row[index] for row in rows for index in present])
    for point, following in zip(points, [*points[1:], steps], strict=True):
        if point > 0:
            paused, present = _branched(paused, rows, branching, present, point)
        run = BatchRun(paused, compiled=compiled, of_a_seed=each)
        run.advance(following)
        if following < steps:
            paused = run.paused()
    return run.results()


def _same_for_all(rows: Sequence[Sequence[Trial]]) -> Branches:
    """The branches of all seeds, where they have the same trials in the same order; else none is shared."""
    alike = len({tuple((trial.schedule, trial.base_lr) for trial in row) for row in rows}) == 1
    if alike and len(rows[0]) > 1 and isinstance(rows[0][0].controller, Static):
        return branches(rows[0])
    count = len(rows[0])
    return Branches((0,) * count, tuple(range(count)))


def _branched(
    paused: Paused, rows: Sequence[Sequence[Trial]], branching: Branches, present: list[int], step: int
) -> tuple[Paused, list[int]]:
    """The trials at a step at which some of them go on by themselves."""
    members = branching.at(step)
    origins = [present.index(branching.source(index, step)) for index in members]
    index = torch.tensor([seed * len(present) + origin for seed in range(len(rows)) for origin in origins])
    trials = tuple(row[member] for row in rows for member in members)
    taken = {name: value[index] for name, value in paused.rows.items()}
    shares = torch.bincount(index, minlength=len(paused.trials))[index]
    taken["seconds"] = taken["seconds"] / shares  # what was trained once has cost once
    return Paused(trials, step, taken), members
