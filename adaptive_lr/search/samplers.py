"""Which point comes next: a function of the seed, the number of the trial and the results that it may know, of nothing else.

Optuna's samplers keep random state that is stored nowhere: after a restart a seeded one proposes its first points again. So
each proposal is made by a new sampler, seeded from the seed of the search and the number of the trial, on a study in memory
that holds exactly the results that the trial may know.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from adaptive_lr.errors import SpecError
from adaptive_lr.search.plan import Direction
from adaptive_lr.search.space import Point, Space
from adaptive_lr.spec import lookup

SamplerName = Literal["tpe", "gp", "cmaes", "qmc", "grid", "random"]
SAMPLERS: tuple[SamplerName, ...] = ("tpe", "gp", "cmaes", "qmc", "grid", "random")

STARTUP = 10
"""So many results are waited for, at random points, before TPE and GP use them."""


@dataclass(frozen=True)
class Result:
    """What became of a trial: ``values`` if it was finished, with the ``step`` it was pruned at, or neither if it failed."""

    values: tuple[float, ...] | None
    step: int | None = None

    @property
    def state(self) -> TrialState:
        """The same for Optuna."""
        if self.values is None:
            return TrialState.FAIL
        return TrialState.COMPLETE if self.step is None else TrialState.PRUNED


class Proposer(Protocol):
    """Proposes points in the order of their numbers."""

    def propose(self) -> Point:
        """The next point."""

    def restore(self, point: Point) -> None:
        """Take the next point to have been this one, as it was before a restart."""

    def learn(self, number: int, result: Result) -> None:
        """Take in a result."""


def proposer(sampler: str, space: Space, seed: int, directions: Sequence[Direction]) -> Proposer:
    """The proposer of that name.

    Raises:
        SpecError: there is none, or it does not fit the space or the objectives.
    """
    lookup(sampler, SAMPLERS, "sampler")
    if sampler in ("qmc", "grid", "random"):
        return _Listed(sampler, space, seed)
    if sampler == "cmaes":
        if len(directions) > 1:
            raise SpecError("CMA-ES has one objective: use tpe or gp for several")
        if all(axis.choices for axis in space.axes.values()):
            raise SpecError("CMA-ES searches numbers, and the space has none: use tpe, grid or random")
    return _Model(sampler, space, seed, directions)


def grid_size(space: Space) -> int:
    """How many points the grid of a space has; a `SpecError` if an axis does not say."""
    return math.prod(len(axis.grid(name)) for name, axis in space.axes.items())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its notes on studies made and its warnings that something is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def derived(seed: int, number: int) -> int:
    """A seed for one trial, of 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")


class _Listed:
    """Points that depend on their number alone."""

    def __init__(self, sampler: str, space: Space, seed: int) -> None:
        self._kind, self._space, self._seed, self._next = sampler, space, seed, 0
        if sampler == "grid":
            axes = [axis.grid(name) for name, axis in space.axes.items()]
            self._grid = [dict(zip(space.axes, values, strict=True)) for values in itertools.product(*axes)]

    def propose(self) -> Point:
        number, self._next = self._next, self._next + 1
        if self._kind == "grid":
            return dict(self._grid[number % len(self._grid)])
        axes = self._space.axes
        if self._kind == "random":
            units = np.random.default_rng([self._seed, number]).random(len(axes))
        else:
            from scipy.stats import qmc

            engine = qmc.Sobol(len(axes), scramble=True, rng=np.random.default_rng(self._seed))
            if number:
                engine.fast_forward(number)
            units = engine.random(1)[0]
        return {name: axis.at(float(unit)) for (name, axis), unit in zip(axes.items(), units, strict=True)}

    def restore(self, point: Point) -> None:
        self._next += 1

    def learn(self, number: int, result: Result) -> None:
        pass


class _Model:
    """Points from what is known so far; those without a result yet count as running, and are kept away from."""

    def __init__(self, sampler: str, space: Space, seed: int, directions: Sequence[Direction]) -> None:
        self._kind, self._seed, self._many = sampler, seed, len(directions) > 1
        self._distributions = space.distributions()
        with quiet():
            self._study = optuna.create_study(directions=list(directions), sampler=self._sampler(0))
        self._storage = self._study._storage
        self._ids: list[int] = []

    def propose(self) -> Point:
        params = self._asked().params
        return {name: params[name] for name in self._distributions}

    def restore(self, point: Point) -> None:
        if self._kind == "cmaes":
            # Its state, into which earlier points and results have gone, is made again by asking for the same points. It is never
            # read from a study that others can write to, where Optuna would keep it as a pickle.
            self._study.enqueue_trial(point)
            self._asked()
            return
        trial = running(point, self._distributions)
        self._ids.append(self._storage.create_new_trial(self._study._study_id, template_trial=trial))

    def _asked(self) -> optuna.Trial:
        with quiet(), _one_thread(self._kind == "gp"):
            self._study.sampler = self._sampler(len(self._ids))
            trial = self._study.ask(self._distributions)
            _ = (
                trial.relative_params
            )  # where all values are given beforehand, the model is not looked at until one asks for it
        self._ids.append(trial._trial_id)
        return trial

    def learn(self, number: int, result: Result) -> None:
        identity = self._ids[number]
        if result.step is not None and result.values is not None:
            self._storage.set_trial_intermediate_value(identity, result.step, result.values[0])
        self._storage.set_trial_state_values(identity, result.state, result.values)

    def _sampler(self, number: int) -> BaseSampler:
        seed = derived(self._seed, number)
        if self._kind == "tpe":
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP, multivariate=not self._many, constant_liar=True
            )
        if self._kind == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, deterministic_objective=False)
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def running(point: Point, distributions: dict[str, Any]) -> optuna.trial.FrozenTrial:
    """A trial that was asked for and has no result, with all its values at once."""
    return create_trial(state=TrialState.RUNNING, params=dict(point), distributions=distributions)


@contextlib.contextmanager
def _one_thread(limited: bool) -> Iterator[None]:
    """The Gaussian process is small, and must give the same on any machine."""
    if not limited:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
