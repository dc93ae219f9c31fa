"""What learned damping minimises: what training loses, over tasks, horizons, seeds and a base rate that is wrong by up to two decades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.any_rate import CLOSE, LOST
from adaptive_lr.analysis.held_out import WORST
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import DampedCosine
from adaptive_lr.training import Trial
from adaptive_lr.training.random_workloads import random_workload
from adaptive_lr.trials.store import Store

Array = NDArray[np.float64]

PER_DECADE = 3
"""Rates a decade at which a cosine is tuned, for what it gives to be compared with."""

DECADES = 4
"""So far its rates reach, with the workload's own in the middle."""

WRONG = 100.0
"""The base rate is wrong by a factor between 1/100 and 100, log-uniform."""

TAIL = 0.2
"""The share of trials that the upper tail is."""


@dataclass(frozen=True)
class Situation:
    """A task with its optimizer, horizon, precision and seed, and what a tuned cosine does there.

    Attributes:
        trial: under the cosine, at its best rate.
        tuned: the loss above the optimum, if that is known, or the loss, with which it ends.
        initial: the same before training.
        known: whether the optimum is.
        name: of the workload.
    """

    trial: Trial
    tuned: float
    initial: float
    known: bool
    name: str

    def penalty(self, losses: Array) -> Array:
        """What is lost against the tuned cosine, in tolerances, at most `WORST`; in the shape of ``losses``, of which NaN is the worst.

        A tolerance is ln 1.2 of ln(excess / tuned excess) where the optimum is known, and 0.05 of (loss - tuned) / (initial - tuned) elsewhere.
        """
        excess = np.asarray(losses, dtype=np.float64) - (self.trial.task.optimum or 0.0)
        excess = np.where(np.isfinite(excess), np.minimum(excess, self.initial), self.initial)
        if self.known:
            tolerances = np.log(np.maximum(excess, 1e-300) / max(self.tuned, 1e-300)) / np.log(CLOSE)
        else:
            tolerances = (excess - self.tuned) / max(self.initial - self.tuned, 1e-300) / LOST
        result: Array = np.minimum(tolerances, WORST)
        return result


@dataclass(frozen=True)
class Lane:
    """A situation with a base rate that is ``wrong`` by a factor."""

    situation: Situation
    wrong: float


@dataclass(frozen=True)
class Objective:
    """J = 1/2 mean + 1/2 mean of the worst fifth, of what is lost over situations and wrong rates, in tolerances.

    That is robustness across grid resolutions in one number: whoever stands somewhere within two decades of the best rate pays it. The second term
    is the conditional value at risk, CVaR (Rockafellar & Uryasev 2000, Journal of Risk 2), at `TAIL`.

    Attributes:
        situations: what is learned from.
        at_once: of them, so many at a time, drawn anew for each step of learning; all if 0.
        rates: wrong rates for each situation at a time, half of them the inverse of the other half.
    """

    situations: Sequence[Situation]
    at_once: int = 0
    rates: int = 4

    def __post_init__(self) -> None:
        """Something to learn from.

        Raises:
            InputError: there are no situations, or an odd number of rates.
        """
        if not self.situations:
            raise InputError("an objective needs at least one situation")
        if self.rates < 2 or self.rates % 2:
            raise InputError(f"an objective needs an even number of rates, at least 2, got {self.rates}")

    def lanes(self, seed: int, step: int) -> list[Lane]:
        """Those of one step of learning: a function of its arguments alone."""
        source = np.random.default_rng([seed, step])
        count = min(self.at_once or len(self.situations), len(self.situations))
        places = np.sort(source.choice(len(self.situations), count, replace=False))
        lanes = []
        for place in places:
            for log_wrong in source.random(self.rates // 2) * np.log(WRONG):
                lanes += [Lane(self.situations[place], float(np.exp(sign * log_wrong))) for sign in (1.0, -1.0)]
        return lanes

    @staticmethod
    def value(penalties: Array) -> Array:
        """J of each candidate from what it loses on each lane, ``[C, N] -> [C]``.

        >>> Objective.value(np.array([[0.0, 0.0, 0.0, 0.0, 10.0]]))
        array([6.])
        """
        count = max(1, round(TAIL * penalties.shape[1]))
        worst = np.sort(penalties, axis=1)[:, -count:]
        result: Array = 0.5 * penalties.mean(1) + 0.5 * worst.mean(1)
        return result


def tuning_trials(trial: Trial) -> list[Trial]:
    """The trial under a cosine at all rates at which it is tuned."""
    powers = np.arange(-PER_DECADE * DECADES // 2, PER_DECADE * DECADES // 2 + 1) / PER_DECADE
    return [
        replace(trial, schedule=DampedCosine(), base_lr=float(f"{trial.base_lr * 10.0**power:.6g}")) for power in powers
    ]


def situation(trial: Trial, name: str, store: Store) -> Situation | None:
    """The situation of a trial whose `tuning_trials` are in the store; None where no rate trains, or the best is at an end."""
    trials = tuning_trials(trial)
    records = store.read(one.digest() for one in trials)
    metric, optimum = trial.task.report_metric, trial.task.optimum
    losses = np.array([records[one.digest()].metrics[metric] for one in trials])
    initial = float(np.mean([record.initial[metric] for record in records.values()]))
    losses = np.where(np.isfinite(losses), np.minimum(losses, initial), initial) - (optimum or 0.0)
    best = int(np.argmin(losses))
    if best in (0, len(trials) - 1) or losses[best] >= 0.95 * (initial - (optimum or 0.0)):
        return None
    return Situation(trials[best], float(losses[best]), initial - (optimum or 0.0), optimum is not None, name)


LEAST_STEPS, MOST_STEPS, MOST_WORK = 40, 1500, 4e7
"""Of a trial that is learned from: shorter ones say little; the others cost too much, by steps or by steps x examples x parameters."""


def random_trials(
    kind: str, indices: Sequence[int], factors: Sequence[float], seeds: Sequence[int]
) -> Iterator[tuple[str, Trial]]:
    """Trials of the random family by name, at multiples of their horizons, as far as they are neither too short nor too dear.

    Yields:
        Names and trials; each task with one of the seeds at each horizon, in turn.
    """
    for index in indices:
        trial = random_workload(index, kind).trial()
        parameters = sum(value.numel() for value in trial.task.initial(0).values())
        batch: int = getattr(trial.task, "batch", 1)
        for place, factor in enumerate(factors):
            steps = round(trial.steps * factor)
            if LEAST_STEPS <= steps <= MOST_STEPS and steps * batch * parameters <= MOST_WORK:
                dtype = "float64" if kind == "convex" else "float32"
                seed = seeds[(index + place) % len(seeds)]
                yield f"{kind}-{index} T={steps}", replace(trial, steps=steps, seed=seed, dtype=dtype)
