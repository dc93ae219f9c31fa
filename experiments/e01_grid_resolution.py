"""Does annealing with a damped cosine make a result depend less on the learning rate that somebody happened to pick?"""

from adaptive_lr import (
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Polynomial,
    Step,
)
from adaptive_lr.experiment import Experiment, Study
from adaptive_lr.tasks import (
    AbstractTask,
    Perceptron,
    SoftmaxRegression,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
)
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW

PLAIN, MOMENTUM, ADAMW = SGD(), SGD(momentum=0.9), AdamW()
DIGITS = Perceptron(dataset="digits", hidden=(48, 48), activation="tanh")
TUMOURS = Perceptron(dataset="breast_cancer", hidden=(32, 32))
MNIST1D = Perceptron(dataset="mnist1d", hidden=(100, 100), metric="error")  # its loss only tells over-fitting


def convex(name: str, task: AbstractTask, low: float) -> Study:
    """Five decades, plain SGD, double precision; the optimum is known. A trial takes milliseconds: 18 repetitions."""
    return Study(
        name=name,
        task=task,
        optimizer=PLAIN,
        steps=2000,
        low=low,
        high=low * 1e5,
        dtype="float64",
        selection_seeds=range(100, 112),
        report_seeds=range(24),
    )


def network(name: str, task: AbstractTask, optimizer: AbstractOptimizer, low: float, steps: int) -> Study:
    """Four decades around what is usual for the optimizer; 6 repetitions."""
    return Study(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=steps,
        low=low,
        high=low * 1e4,
        selection_seeds=range(100, 105),
        report_seeds=range(7),
    )


SCHEDULES: dict[str, dict[str, AbstractSchedule]] = {
    "fixed": {"constant": Constant()},
    "stepwise": {
        "step x0.1 at 50, 75 %": Step(milestones=(0.5, 0.75), factor=0.1),
        "step x0.1 at 30, 60, 90 %": Step(milestones=(0.3, 0.6, 0.9), factor=0.1),
        "step x0.2 at 30, 60, 80 %": Step(milestones=(0.3, 0.6, 0.8), factor=0.2),
    },
    "damped cosine": {
        "cosine": DampedCosine(),
        "cosine^0.5": DampedCosine(exponent=0.5),
        "cosine^2": DampedCosine(exponent=2),
        "cosine^4": DampedCosine(exponent=4),
        "cosine k=0.5": DampedCosine(k=0.5),
        "cosine k=2": DampedCosine(k=2),
    },
    "other": {
        "linear": Linear(),
        "polynomial 2": Polynomial(power=2),
        "exponential 5": Exponential(rate=5),
        "inverse sqrt": InverseSqrt(fraction=0.01),
        "WSD 20 %": WSD(cooldown=0.2),
    },
}

EXPERIMENT = Experiment(
    name="e01_grid_resolution",
    title="How coarse a learning-rate grid can each schedule afford?",
    question=(
        "Does annealing with a damped cosine make a training result depend less on the learning rate that somebody "
        "happened to pick, compared with fixed and stepwise schedules?"
    ),
    schedules=SCHEDULES,
    reference="cosine",
    judged="damped cosine",
    against=("fixed", "stepwise"),
    studies=[
        convex("squares", StreamingLeastSquares(), 1e-4),
        convex("logistic", StreamingLogistic(), 1e-3),
        convex("absolute", StreamingLeastAbsolute(), 1e-3),
        convex("softmax-tumours", SoftmaxRegression(dataset="breast_cancer"), 1e-3),
        convex("softmax-digits", SoftmaxRegression(dataset="digits"), 1e-3),
        network("tumours", TUMOURS, MOMENTUM, 1e-4, 400),
        network("digits", DIGITS, MOMENTUM, 1e-3, 400),
        network("digits-adamw", DIGITS, ADAMW, 1e-4, 400),
        network("mnist1d", MNIST1D, MOMENTUM, 1e-3, 400),
    ],
)
