"""Does damping that is learned on random tasks beat a controller that was written by hand, on families that it never saw?

Laid down before it was run:

- Learned from: random convex tasks and networks with indices 0 to 59, at a quarter, one and four times their horizons, seeds 100 to 102; a base rate that is wrong by up to
  two decades. Judged on: the tasks of `e02_any_learning_rate`, families that are in none of these, seeds 0 to 19 and 0 to 4.
- Main comparison: what a trial loses against the oracle, in tolerances, the mean over five starts, seeds and horizons, family by family (the policy that is
  shipped at three horizons, what is learned here at the tasks' own); Student's t over the 16 families, Holm over all
  comparisons. Learned minus `ProgressAnchor`, `DistanceAnchor`, and the cosine from the same starts.
- Expected: policy and constants below the cosine; the policy below `ProgressAnchor` on convex tasks, and not on networks that overfit; the static shape no better than the cosine
  by much, since no shape knows that its rate is wrong.
"""

from adaptive_lr import DampedCosine, DistanceAnchor, LearnedDamping, ProgressAnchor
from adaptive_lr.experiment import Contestant, LearningPlan, MetaLearned, RateStudy
from adaptive_lr.experiment.protocol import HORIZONS, REPORT, ProtocolTask


def seeds(task: ProtocolTask) -> range:
    """Those of `e02_any_learning_rate`, whose trials are taken over."""
    return range(20) if task.area in ("convex", "inference") else range(5)


EXPERIMENT = MetaLearned(
    name="e18_meta_learned_longer",
    title="Does learned damping transfer?",
    question=(
        "Damping that was learned on random tasks by evolution and by Optuna, at equal cost: from any learning rate within four decades, how much does it lose on families "
        "that it never saw, against controllers that were written by hand and against the cosine?"
    ),
    contestants={
        "schedules": {"cosine": Contestant(schedule=DampedCosine(), per_decade=3)},
        "by hand": {
            "ProgressAnchor": Contestant(controller=ProgressAnchor()),
            "DistanceAnchor": Contestant(controller=DistanceAnchor()),
        },
        "learned before": {"LearnedDamping": Contestant(controller=LearnedDamping())},
    },
    reference="cosine",
    judged="LearnedDamping",
    studies=[RateStudy.of(task, factor, seeds(task)) for task in REPORT.values() for factor in HORIZONS],
    notes={
        "LearnedDamping": "The policy that comes with the package: learned by evolution for longer than those of this experiment.",
        "shape": "k, exponent, floor and warm-up of a damped cosine.",
        "constants": "Four constants of ProgressAnchor.",
        "policy": "Twenty weights of LearnedDamping.",
    },
    plan=LearningPlan(
        pairs=(
            ("policy", "evolution"),
            ("policy", "cmaes"),
            ("policy", "tpe"),
            ("constants", "evolution"),
            ("constants", "tpe"),
            ("shape", "evolution"),
            ("shape", "tpe"),
        ),
        indices=tuple(range(60)),
        steps=6e6,
    ),
    rivals=("ProgressAnchor", "DistanceAnchor", "cosine"),
    shipped="LearnedDamping",
)
