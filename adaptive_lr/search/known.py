"""A search by an Optuna study whose values are known beforehand: it costs nothing but its proposals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from adaptive_lr.search.samplers import STARTUP, quiet
from adaptive_lr.spec import lookup

SAMPLERS = ("tpe", "random", "qmc", "gp", "cmaes")
"""Samplers of Optuna by name."""


def sampler(name: str, seed: int) -> BaseSampler:
    """Optuna's sampler of that name.

    Args:
        name: one of ``SAMPLERS``.
        seed: of its proposals.
    """
    lookup(name, SAMPLERS, "sampler")
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "qmc":
        return optuna.samplers.QMCSampler(
            seed=seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False
        )
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def visited(sizes: Sequence[int], values: Sequence[float], *, name: str, seed: int, trials: int) -> tuple[int, ...]:
    """The numbers of the points that a study tries, in order, one after the other; a point that is proposed again counts again.

    Args:
        sizes: of the lattice, how many levels each axis has; the sampler chooses an integer on each.
        values: what each point is worth, in row-major order; less is better.
        name: one of ``SAMPLERS``.
        seed: of the sampler.
        trials: how many points are tried.

    >>> visited((3,), [3.0, 1.0, 2.0], name="random", seed=0, trials=5)
    (1, 2, 1, 1, 1)
    """
    return _visited(tuple(sizes), tuple(values), name, seed, trials)


@lru_cache(maxsize=4096)
def _visited(sizes: tuple[int, ...], values: tuple[float, ...], name: str, seed: int, trials: int) -> tuple[int, ...]:
    points: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        position = [trial.suggest_int(f"axis {axis}", 0, size - 1) for axis, size in enumerate(sizes)]
        points.append(int(np.ravel_multi_index(position, sizes)))
        return values[points[-1]]

    with quiet():
        study = optuna.create_study(sampler=sampler(name, seed))
        study.optimize(objective, n_trials=trials)
    return tuple(points)
