"""What was learned, as a document: the recipe, and from what, how and how well it was learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adaptive_lr.controllers import LearnedDamping
from adaptive_lr.controllers.learned_damping import FORMAT, PHASES, READINGS
from adaptive_lr.errors import InputError
from adaptive_lr.meta.evaluation import Losses, Work, penalties
from adaptive_lr.meta.learners import LEARNERS, Policy
from adaptive_lr.meta.learning import Learning
from adaptive_lr.meta.objective import Objective, Situation, random_trials, situation
from adaptive_lr.serialise import to_dict
from adaptive_lr.spec import encode
from adaptive_lr.training import Trial
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.store import Store

KINDS = ("convex", "network")
FACTORS = (0.25, 1.0, 4.0)
"""Of the horizons that the random tasks have."""

SEEDS = (100, 101, 102)

FRESH = 10**9
"""No step of learning comes so far: its lanes have rates that nothing was learned from."""

CHECKED = 64
"""So many situations, four rates each, are enough to say how well it does."""

WORDS = (
    "J = half of the mean and half of the mean of the worst fifth, over tasks, horizons, seeds and base rates up to a hundred times wrong, of what is lost "
    "against a cosine at its best rate, in tolerances: ln 1.2 of the excess loss where the optimum is known, 0.05 of what training gains elsewhere; at most 20 each"
)


@dataclass(frozen=True)
class Curriculum:
    """Random tasks of indices 0 to ``tasks - 1``, each at multiples of its horizon with one of the seeds."""

    tasks: int

    def trials(self) -> Iterator[tuple[str, Trial]]:
        """Trials by name, at rates of thumb; see `random_trials`.

        Yields:
            Names and trials.
        """
        for kind in KINDS:
            yield from random_trials(kind, range(self.tasks), FACTORS, SEEDS)

    def situations(self, trials: Sequence[tuple[str, Trial]], store: Store) -> list[Situation]:
        """Those of its trials, whose tuning the store has.

        Raises:
            InputError: none of them can be trained.
        """
        situations = [known for name, trial in trials if (known := situation(trial, name, store)) is not None]
        if not situations:
            raise InputError(
                f"none of the {len(trials)} trials on {self.tasks} tasks of each kind has a best rate within two decades of its rule of thumb: take more tasks"
            )
        return situations

    def document(self) -> dict[str, Any]:
        """For JSON."""
        names = [f"random-{kind} 0..{self.tasks - 1}" for kind in KINDS]
        return {"tasks": names, "factors": list(FACTORS), "seeds": list(SEEDS)}


def checked(learning: Learning, processes: Processes[Work, Losses] | None = None) -> dict[str, float]:
    """J of the plain cosine, of where learning began and of where it ended, on lanes that depend on situations and seed alone."""
    objective = replace(learning.objective, at_once=min(CHECKED, len(learning.objective.situations)), rates=4)
    cosine = LEARNERS["shape"]
    recipes = [
        cosine.recipe(cosine.start()),
        learning.learner.recipe(learning.learner.start()),
        learning.learner.recipe(learning.vector),
    ]
    values = Objective.value(penalties(recipes, objective.lanes(learning.seed, FRESH), processes))
    return dict(zip(("cosine", "start", "end"), values.tolist(), strict=True))


def document(learning: Learning, curriculum: Curriculum, values: dict[str, float], source: dict[str, Any]) -> Any:
    """What is written: for a policy what `LearnedDamping.load` reads, for others schedule and controller.

    Args:
        learning: at its end.
        curriculum: what it learned from.
        values: from `checked`.
        source: versions and commit.
    """
    schedule, controller = learning.learner.recipe(learning.vector)
    if isinstance(learning.learner, Policy):
        assert isinstance(controller, LearnedDamping)
        recipe: dict[str, Any] = {
            "format": FORMAT,
            "readings": list(READINGS),
            "phases": list(PHASES),
            "weights": list(controller.weights),
        }
    else:
        recipe = {"schedule": to_dict(schedule), "controller": encode(controller)}
    learned = curriculum.document() | {
        "situations": len(learning.objective.situations),
        "objective": WORDS,
        "at_once": learning.objective.at_once,
        "rates": learning.objective.rates,
        "way": learning.way,
        "seed": learning.seed,
        "steps": round(learning.steps),
        "generations": len(learning.history),
        "J": values,
        "provenance": source,
    }
    return recipe | {"learned": learned}
