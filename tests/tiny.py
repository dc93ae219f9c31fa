"""An experiment that runs in a second: two streaming tasks, four schedules."""

from adaptive_lr import Constant, DampedCosine, Linear, Step
from adaptive_lr.experiment import Experiment, Study
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares
from adaptive_lr.training import SGD

STUDY = Study(
    name="squares",
    task=StreamingLeastSquares(dimension=10),
    optimizer=SGD(),
    steps=400,
    low=1e-3,
    high=10.0,
    selection_seeds=range(100, 102),
    report_seeds=range(3),
    dtype="float64",
)

EXPERIMENT = Experiment(
    name="e99_tiny",
    title="A tiny experiment",
    question="Does it run?",
    schedules={
        "fixed": {"constant": Constant()},
        "stepwise": {"step": Step()},
        "damped cosine": {"cosine": DampedCosine(), "cosine^2": DampedCosine(exponent=2)},
        "other": {"linear": Linear()},
    },
    reference="cosine",
    judged="damped cosine",
    against=("fixed", "stepwise"),
    studies=[
        STUDY,
        Study(**{**vars(STUDY), "name": "absolute", "task": StreamingLeastAbsolute(dimension=10)}),
    ],
)
