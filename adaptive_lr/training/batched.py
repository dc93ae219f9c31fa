"""Train many trials: which are trained at once, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence

from adaptive_lr.errors import SpecError
from adaptive_lr.training.batch_run import BatchRun
from adaptive_lr.training.paused import Paused
from adaptive_lr.training.sequential import train
from adaptive_lr.training.trial import RunResult, Trial

_PARAMETERS_A_BATCH = 500_000
"""Parameters of all trials of a batch together: parameters, gradients and activations should stay in the cache."""


def batches(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials grouped into batches for `train_batch`: the plan depends on nothing but the list.

    Seeds with few trials share a batch; the trials of one with too many are spread over several.
    """
    groups: dict[object, dict[int, list[Trial]]] = {}
    for trial in trials:
        groups.setdefault(_batch_key(trial), {}).setdefault(trial.seed, []).append(trial)
    planned = []
    for seeds in groups.values():
        members = next(iter(seeds.values()))
        if not _pays(members[0]):
            planned += [[trial] for members in seeds.values() for trial in members]
            continue
        size = sum(value.numel() for value in members[0].task.initial(0).values())
        limit = min(512, max(8, _PARAMETERS_A_BATCH // size))
        for alike in _of_one_length(list(seeds.values())):
            count = -(-len(alike[0]) // limit)
            together = max(1, limit // len(alike[0]))
            for begin in range(0, len(alike), together):
                part = alike[begin : begin + together]
                planned += [[trial for row in part for trial in row[index::count]] for index in range(count)]
    return planned


def _of_one_length(rows: list[list[Trial]]) -> list[list[list[Trial]]]:
    by_length: dict[int, list[list[Trial]]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    return list(by_length.values())


def train_batch(trials: Sequence[Trial]) -> list[RunResult]:
    """Train trials of one task, optimizer, controller, horizon and precision; results in the same order.

    A trial whose loss is no longer finite is frozen and changes no other trial, not even by a bit. If not every seed has as many
    trials, the seeds are trained one after another.

    Raises:
        SpecError: the trials differ in more than schedule, base rate and seed.
    """
    if not trials:
        return []
    first = trials[0]
    if any(_batch_key(trial) != _batch_key(first) for trial in trials):
        raise SpecError("the trials of a batch may differ in schedule, base_lr and seed only")
    if not _pays(first):
        return [train(trial) for trial in trials]
    seeds: dict[int, list[int]] = {}
    for index, trial in enumerate(trials):
        seeds.setdefault(trial.seed, []).append(index)
    rows = list(seeds.values())
    results: dict[int, RunResult] = {}
    for together in [rows] if len({len(row) for row in rows}) == 1 else [[row] for row in rows]:
        indices = [index for row in together for index in row]
        results |= dict(zip(indices, _train_together([trials[index] for index in indices]), strict=True))
    return [results[index] for index in range(len(trials))]


def _train_together(trials: Sequence[Trial]) -> list[RunResult]:
    """Trials in the order of their seeds, as many of each."""
    run = BatchRun(Paused.begun(trials))
    run.advance(trials[0].steps)
    return run.results()


def _pays(trial: Trial) -> bool:
    """Whether such trials are trained together."""
    return trial.optimizer.batched and trial.task.batched


def _batch_key(trial: Trial) -> tuple[object, ...]:
    return trial.task, trial.optimizer, trial.controller, trial.steps, trial.dtype
