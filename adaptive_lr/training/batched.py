"""Train many trials: which are trained at once, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from adaptive_lr.errors import SpecError
from adaptive_lr.training.prefixes import train_sharing
from adaptive_lr.training.sequential import train
from adaptive_lr.training.trial import RunResult, Trial

_PARAMETERS_A_BATCH = 500_000
"""Parameters of all trials of a batch together: parameters, gradients and activations should stay in the cache."""


class Backend(StrEnum):
    """How trials are trained; the results are the same up to rounding."""

    LITERAL = "one by one"
    """A module, an optimizer of `torch.optim` and a scheduler each."""
    STACKED = "together"
    """With one operation for all, step by step."""
    COMPILED = "compiled"
    """A few at once, with a compiled loop from one look of a controller to the next."""


def backends(trial: Trial) -> list[Backend]:
    """Those that such trials can be trained with, the usual one first."""
    if trial.tuning.searches:
        return [Backend.LITERAL]
    stacked = trial.optimizer.batched and trial.task.batched
    usual = [Backend.STACKED, Backend.LITERAL] if stacked else [Backend.LITERAL]
    can_be = trial.task.compilable and trial.optimizer.pure() is not None
    return [*usual, Backend.COMPILED] if can_be else usual


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
        if backends(members[0])[0] is Backend.LITERAL:
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


def train_batch(trials: Sequence[Trial], backend: Backend | None = None) -> list[RunResult]:
    """Train trials of one task, optimizer, controller, horizon and precision; results in the same order.

    Args:
        trials: those of a batch.
        backend: one of `backends`; the first of them if none is given. Where no loop can be compiled, `CompileError` says why.

    A trial whose loss is no longer finite is frozen and changes no other trial, not even by a bit. If not every seed has as many
    trials, the seeds are trained one after another. What trials of a seed have in common at their beginning is trained once.

    Raises:
        SpecError: the trials differ in more than schedule, base rate and seed, or cannot be trained with the backend.
    """
    if not trials:
        return []
    first = trials[0]
    if any(_batch_key(trial) != _batch_key(first) for trial in trials):
        raise SpecError(
            "the trials of a batch may differ in schedule, base_lr, seed and some controllers' numbers only"
        )
    possible = backends(first)
    backend = possible[0] if backend is None else backend
    if backend not in possible:
        names = " or ".join(repr(str(other)) for other in possible)
        raise SpecError(f"these trials of {first.task!r} must be trained {names}, got {str(backend)!r}")
    if backend is Backend.LITERAL:
        return [train(trial) for trial in trials]
    compiled = backend is Backend.COMPILED
    seeds: dict[int, list[int]] = {}
    for index, trial in enumerate(trials):
        seeds.setdefault(trial.seed, []).append(index)
    rows = list(seeds.values())
    results: dict[int, RunResult] = {}
    for together in [rows] if len({len(row) for row in rows}) == 1 else [[row] for row in rows]:
        indices = [index for row in together for index in row]
        results |= dict(
            zip(indices, train_sharing([trials[index] for index in indices], compiled=compiled), strict=True)
        )
    return [results[index] for index in range(len(trials))]


def _batch_key(trial: Trial) -> tuple[object, ...]:
    return trial.task, trial.optimizer, trial.controller.batch_key(), trial.steps, trial.dtype, trial.tuning
