"""How trials are trained: decided from a short measurement, and kept beside the store, so that a run that goes on decides alike."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from adaptive_lr.controllers import AbstractController, Signal, Static
from adaptive_lr.errors import CompileError
from adaptive_lr.files import replace_file
from adaptive_lr.spec import canonical_json
from adaptive_lr.training import Backend, BatchRun, LiteralRun, Paused, Trial, backends

WORTH_COMPILING = 20.0
"""Seconds of processor time that trials must take without, before a loop is compiled for them, which takes some 5 to 20."""

_FEW = 1_000
"""Steps of all trials together that are trained as always, unmeasured."""

_ENOUGH = 0.1
"""Seconds that are measured."""

_LONG = 4_000
"""Steps of the trials that are measured: so many that none of the steps is followed by a look at the metrics."""

_WARM, _MOST = 2, 90
_AT_ONCE = {False: 4, True: 40}
"""Steps that are measured first: more of a compiled loop, which is called for many."""

_QUIET_SHARE = 0.3
"""Of its steps in which a controller must not look, for a compiled loop to pay."""

_CLEARLY = 0.9
"""Of the time that is needed otherwise; a compiled loop that takes more is not used."""


@dataclass(frozen=True)
class Choice:
    """How trials of a structure are trained.

    Attributes:
        backend: as the measurement says.
        seconds: of processor time a step of a trial, by backend, as far as measured.
        reason: why no loop could be compiled, if that was tried and failed.
    """

    backend: Backend
    seconds: dict[str, float]
    reason: str = ""

    def of(self, trial: Trial) -> Backend:
        """The backend for a trial, which may have a controller that looks so often that a compiled loop does not pay."""
        if self.backend is Backend.COMPILED and quiet_share(trial) < _QUIET_SHARE:
            return backends(trial)[0]
        return self.backend


def quiet_share(trial: Trial) -> float:
    """Of the steps those in which the controller does not look."""
    return 1.0 if isinstance(trial.controller, Static) else _quiet_share(trial.controller, trial.steps)


@functools.cache
def _quiet_share(controller: AbstractController, steps: int) -> float:
    looks = sum(bool(controller.signals(step, steps) & ~Signal.START) for step in range(steps))
    return 1.0 - looks / steps


@dataclass(frozen=True)
class Measurement:
    """Trials of a structure, to be measured.

    Attributes:
        key: what the choice is kept under.
        trials: a batch of them.
        steps: of all trials that are to be trained, together.
    """

    key: str
    trials: list[Trial]
    steps: float

    def choice(self) -> Choice:
        """Measure, compiling a loop where that may pay; where little is to be trained, as always."""
        possible = backends(self.trials[0])
        usual = possible[0]
        if len(possible) == 1 or self.steps < _FEW:
            return Choice(usual, {})
        sample = [_long(trial) for trial in self.trials]
        seconds = {str(usual): _seconds(usual, sample)}
        if seconds[str(usual)] * self.steps < WORTH_COMPILING:
            return Choice(usual, seconds)
        if usual is not Backend.LITERAL:
            seconds[str(Backend.LITERAL)] = _seconds(Backend.LITERAL, sample)
        fastest = min(seconds, key=seconds.__getitem__)
        if Backend.COMPILED not in possible:
            return Choice(Backend(fastest), seconds)
        try:
            compiled = seconds[str(Backend.COMPILED)] = _seconds(Backend.COMPILED, sample)
        except CompileError as error:
            return Choice(Backend(fastest), seconds, str(error))
        return Choice(Backend.COMPILED if compiled < _CLEARLY * seconds[fastest] else Backend(fastest), seconds)


def _long(trial: Trial) -> Trial:
    return replace(trial, controller=Static(), steps=_LONG)


def _seconds(backend: Backend, trials: Sequence[Trial]) -> float:
    """Of processor time for a step of one of the trials."""
    if backend is Backend.LITERAL:
        middle = sorted(trials, key=lambda trial: trial.base_lr)[len(trials) // 2]
        return _timed(LiteralRun(middle).advance_to, _AT_ONCE[False])
    begun = Paused.begun(sorted(trials, key=lambda trial: trial.seed) if _even(trials) else trials[:1])
    run = BatchRun(begun, compiled=backend is Backend.COMPILED)
    return _timed(run.advance, _AT_ONCE[backend is Backend.COMPILED]) / len(run.trials)


def _even(trials: Sequence[Trial]) -> bool:
    counts = {trial.seed: sum(other.seed == trial.seed for other in trials) for trial in trials}
    return len(set(counts.values())) == 1


def _timed(advance: Callable[[int], bool | None], more: int) -> float:
    """Seconds a step, infinite if there is no telling.

    Args:
        advance: trains to a step, and gives False if the trial has diverged.
        more: steps at first, then twice as many.
    """
    advance(_WARM)
    step, taken = _WARM, 0.0
    while taken < _ENOUGH and step + more <= _MOST:
        started = time.process_time()
        if advance(step + more) is False:
            return math.inf
        taken += time.process_time() - started
        step, more = step + more, 2 * more
    return taken / (step - _WARM)


class Choices:
    """The choices for a plan, in a file beside the store with those for other plans.

    Args:
        planned: all batches, those that are stored included: what is chosen does not depend on what was interrupted when.
        store: the path of the store.
    """

    def __init__(self, planned: Iterable[list[Trial]], store: Path) -> None:
        self.path = store.with_name(store.name + ".backends.json")
        self._batches: dict[str, list[list[Trial]]] = {}
        for batch in planned:
            self._batches.setdefault(_structure(batch[0]), []).append(batch)
        self._keys = {name: _key(name, members) for name, members in self._batches.items()}
        self._known: dict[str, Choice] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):  # damaged: measured anew
            self._known = {key: _choice(stored) for key, stored in json.loads(self.path.read_text("utf-8")).items()}

    def backend(self, trial: Trial) -> Backend:
        """How a trial of the plan is trained."""
        return self._known[self._keys[_structure(trial)]].of(trial)

    def missing(self) -> list[Measurement]:
        """What must be measured before the plan can be carried out."""
        return [
            Measurement(key, members[0], sum(quiet_share(batch[0]) * batch[0].steps * len(batch) for batch in members))
            for name, members in self._batches.items()
            if (key := self._keys[name]) not in self._known
        ]

    def add(self, choices: Mapping[str, Choice]) -> None:
        """Keep choices, by the keys of their measurements, before anything is trained that depends on them."""
        self._known |= choices
        stored = {key: asdict(choice) for key, choice in self._known.items()}
        replace_file(self.path, json.dumps(stored, indent=1).encode())


def _structure(trial: Trial) -> str:
    """What trials have in common that are trained in the same way."""
    tuning = canonical_json(trial.tuning) if trial.tuning.searches else ""
    return f"{canonical_json(trial.task)}{canonical_json(trial.optimizer)}{trial.dtype}{tuning}"


def _key(structure: str, planned: Sequence[list[Trial]]) -> str:
    digests = sorted(trial.digest() for batch in planned for trial in batch)
    return hashlib.sha256("".join([structure, *digests]).encode()).hexdigest()[:32]


def _choice(stored: Mapping[str, object]) -> Choice:
    seconds = stored["seconds"]
    assert isinstance(seconds, dict)
    return Choice(
        Backend(str(stored["backend"])), {str(k): float(v) for k, v in seconds.items()}, str(stored["reason"])
    )
