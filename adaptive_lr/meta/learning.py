"""Learn a vector by one of several ways, at a budget of training steps; stopped at any time, it goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.documents import parse_json
from adaptive_lr.errors import InputError, in_a_line
from adaptive_lr.files import replace_file
from adaptive_lr.meta.evaluation import Losses, Work, cost, penalties
from adaptive_lr.meta.evolution import Evolution
from adaptive_lr.meta.learners import AbstractLearner
from adaptive_lr.meta.objective import Lane, Objective
from adaptive_lr.search.samplers import Result, proposer
from adaptive_lr.search.space import Axis, Space
from adaptive_lr.spec import lookup
from adaptive_lr.trials.processes import Processes

Array = NDArray[np.float64]

WAYS = ("evolution", "tpe", "cmaes")
"""Antithetic evolution strategies, and Optuna's samplers of these names."""

REACH = 2.0
"""Samplers look so far to either side of where learning begins, in each number."""

SAMPLED_AT_ONCE = 8
"""Points that a sampler proposes before it hears what they are worth."""


@dataclass
class Learning:
    """How far it has come.

    Attributes:
        learner: what is learned.
        way: one of ``WAYS``.
        objective: what is minimised.
        seed: of everything that is drawn.
        budget: training steps, evaluations of controllers included.
        path: of the file that is written after each generation and read at the start, if it is there.
        steps: spent so far.
        history: of each generation the steps spent by then, the mean of J over its candidates and the least.
    """

    learner: AbstractLearner
    way: str
    objective: Objective
    seed: int
    budget: float
    path: Path
    steps: float = 0.0

    def __post_init__(self) -> None:
        """Take up what is in the file.

        Raises:
            InputError: the file is of another learning, or damaged.
        """
        lookup(self.way, WAYS, "way to learn")
        self.history: list[tuple[float, float, float]] = []
        self.evolution = Evolution(self.learner.start(), seed=self.seed)
        self.points: list[list[float]] = []
        self.values: list[float] = []
        if not self.path.exists():
            return
        try:
            data = parse_json(self.path.read_text(encoding="utf-8"))
            if data["key"] != self._key():
                raise InputError(f"{self.path} is of another learning: name another file, or move it away")
            self.steps, self.history = float(data["steps"]), [tuple(row) for row in data["history"]]
            self.evolution = Evolution.decoded(data["evolution"])
            self.points, self.values = list(data["points"]), list(data["values"])
        except InputError:
            raise
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{self.path} cannot be read as the state of a learning ({in_a_line(error)}): name another file, or move it away"
            ) from None

    def _key(self) -> dict[str, Any]:
        """What tells one learning from another."""
        names = sorted(f"{one.name} seed {one.trial.seed}" for one in self.objective.situations)
        settings = [self.objective.at_once, self.objective.rates]
        numbers = list(self.learner.numbers)
        return {"learner": self.learner.name, "numbers": numbers, "way": self.way, "seed": self.seed} | {
            "situations": names,
            "settings": settings,
        }

    def _keep(self) -> None:
        data = {
            "key": self._key(),
            "steps": self.steps,
            "history": self.history,
            "evolution": self.evolution.encoded(),
            "points": self.points,
            "values": self.values,
        }
        replace_file(self.path, (json.dumps(data) + "\n").encode())

    @property
    def vector(self) -> Array:
        """What has been learned by now: where evolution stands, or a sampler's best point; the start if nothing is known."""
        if self.way == "evolution":
            return self.evolution.centre
        return np.asarray(self.points[int(np.argmin(self.values))]) if self.values else self.learner.start()

    def run(
        self,
        processes: Processes[Work, Losses] | None = None,
        advance: Callable[[float], None] = lambda steps: None,
    ) -> Array:
        """Learn until the budget is spent; what has been learned.

        Args:
            processes: see `penalties`; this process alone if there are none.
            advance: called with the steps spent after each generation.
        """
        for candidates, lanes, tell in self._generations():
            recipes = [self.learner.recipe(candidate) for candidate in candidates]
            values = Objective.value(penalties(recipes, lanes, processes))
            tell(values)
            self.steps += cost(recipes, lanes)
            self.history.append((self.steps, float(values.mean()), float(values.min())))
            self._keep()
            advance(self.steps)
        return self.vector

    def _generations(self) -> Iterator[tuple[Array, list[Lane], Callable[[Array], None]]]:
        """Give out work for as long as there is budget.

        Yields:
            Candidates, the lanes on which they are tried, and whom to tell what they are worth.
        """
        if self.way == "evolution":
            while self.steps < self.budget:
                yield self.evolution.ask(), self.objective.lanes(self.seed, self.evolution.generation), self._evolve
            return
        begin = self.learner.start()
        names = [str(place) for place in range(len(begin))]
        space = Space(
            {name: Axis(low=float(x - REACH), high=float(x + REACH)) for name, x in zip(names, begin, strict=True)}
        )
        proposals = proposer(self.way, space, self.seed, ["minimize"])
        # As they were asked for, several before any is known: what a sampler remembers depends on that order.
        for first in range(0, len(self.points), SAMPLED_AT_ONCE):
            for point in self.points[first : first + SAMPLED_AT_ONCE]:
                proposals.restore(dict(zip(names, point, strict=True)))
            for number, value in enumerate(self.values[first : first + SAMPLED_AT_ONCE], first):
                proposals.learn(number, Result((value,)))
        lanes = self.objective.lanes(self.seed, 0)
        while self.steps < self.budget:
            asked = [proposals.propose() for _ in range(SAMPLED_AT_ONCE)]
            candidates = np.array([[float(point[name]) for name in names] for point in asked])  # type: ignore[arg-type]

            def tell(values: Array, candidates: Array = candidates) -> None:
                for candidate, value in zip(candidates.tolist(), values.tolist(), strict=True):
                    proposals.learn(len(self.values), Result((value,)))
                    self.points.append(candidate)
                    self.values.append(value)

            yield candidates, lanes, tell

    def _evolve(self, values: Array) -> None:
        self.evolution.tell(values)
