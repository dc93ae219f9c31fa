"""Does it pay to search the shape of a damped cosine, with which sampler, and does what is found help elsewhere?"""

from typing import Any

from adaptive_lr import DampedCosine, Warmup
from adaptive_lr.experiment import ExponentSearch, SearchStudy
from adaptive_lr.shapes.judge import BASELINES
from adaptive_lr.shapes.lattice import Lattice
from adaptive_lr.tasks import AbstractTask, Perceptron, StreamingLeastAbsolute, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW

DIGITS = Perceptron(dataset="digits", hidden=(16,), activation="tanh", batch=16)

STREAM = {"selection_seeds": range(100, 110), "report_seeds": range(40), "repeats": 20}
"""Where a run takes a fraction of a millisecond: ten seeds that searches see, twenty repetitions, twenty searches with each sampler."""

NETWORK = {"selection_seeds": range(100, 105), "report_seeds": range(20), "repeats": 10}
"""Where it takes milliseconds: half of each."""


def study(
    name: str, task: AbstractTask, optimizer: AbstractOptimizer, *, steps: int, low: float, size: dict[str, Any]
) -> SearchStudy:
    """Three decades of rates: half a step of the coarsest grid beyond the best rates of the usual schedules."""
    return SearchStudy(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=steps,
        low=low,
        high=low * 1000,
        **size,
    )


EXPERIMENT = ExponentSearch(
    name="e04_exponent_search",
    title="Does it pay to search the shape of a schedule?",
    question=(
        "Is a damped cosine that a search found on a task better than the best of the usual schedules, on seeds that the search did not "
        "see and on grids of rates of every resolution, which sampler finds it, and does it help on other tasks?"
    ),
    lattice=Lattice(
        schedule=Warmup(fraction=0.0, then=DampedCosine()),
        levels={
            "then.k": (0.25, 0.5, 1.0, 2.0, 4.0),
            "then.exponent": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
            "then.floor": (0.0, 0.1),
            "fraction": (0.0, 0.05, 0.2),
        },
    ),
    baselines=BASELINES,
    studies=[
        study("squares", StreamingLeastSquares(dimension=50), SGD(), steps=400, low=1e-2, size=STREAM),
        study("logistic", StreamingLogistic(dimension=50), SGD(), steps=400, low=3e-2, size=STREAM),
        study("absolute", StreamingLeastAbsolute(dimension=50), SGD(), steps=400, low=1e-2, size=STREAM),
        study("digits-sgd", DIGITS, SGD(momentum=0.9), steps=150, low=3e-3, size=NETWORK),
        study("digits-adamw", DIGITS, AdamW(), steps=150, low=1e-3, size=NETWORK),
    ],
)
