"""Does it pay to search the exponents of a damped cosine, and does what is found help elsewhere?"""

from adaptive_lr import Constant, DampedCosine, Linear
from adaptive_lr.experiment import ExponentSearch, Study
from adaptive_lr.experiment.exponent_search import scattered
from adaptive_lr.tasks import (
    AbstractTask,
    CharacterModel,
    Perceptron,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
)
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW

PLAIN, MOMENTUM = SGD(), SGD(momentum=0.9)
DIGITS = Perceptron(dataset="digits", hidden=(48, 48), activation="tanh")


def study(
    name: str, task: AbstractTask, optimizer: AbstractOptimizer, steps: int, low: float, seeds: tuple[int, int]
) -> Study:
    """Two decades around the best rate of the cosine; the shapes of a task differ little in theirs."""
    return Study(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=steps,
        low=low,
        high=low * 100,
        per_decade=4,
        dtype="float64" if optimizer == PLAIN else "float32",
        selection_seeds=range(100, 100 + seeds[0]),
        report_seeds=range(seeds[1]),
    )


EXPERIMENT = ExponentSearch(
    name="e04_exponent_search",
    title="Does it pay to search the exponents?",
    question=(
        "Are exponents of a damped cosine that a search found on a task better than the plain cosine on seeds that the search did not see, "
        "and do they help on other tasks?"
    ),
    shapes={"cosine": DampedCosine()} | scattered(16),
    others={"linear": Linear(), "constant": Constant()},
    reference="cosine",
    studies=[
        study("squares", StreamingLeastSquares(), PLAIN, 2000, 3e-2, (5, 10)),
        study("logistic", StreamingLogistic(), PLAIN, 2000, 1e-1, (5, 10)),
        study("absolute", StreamingLeastAbsolute(), PLAIN, 2000, 3e-2, (5, 10)),
        study("digits-sgd", DIGITS, MOMENTUM, 600, 5e-3, (5, 10)),
        study("digits-adamw", DIGITS, AdamW(), 600, 5e-4, (5, 10)),
        study("characters", CharacterModel(), MOMENTUM, 1000, 3e-2, (2, 4)),
    ],
)
