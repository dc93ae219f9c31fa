"""Situations for tests of learning, that are trained in milliseconds."""

from adaptive_lr import DampedCosine
from adaptive_lr.meta.objective import Situation
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares
from adaptive_lr.tasks.base import AbstractTask
from adaptive_lr.training import SGD, Trial


def situation(task: AbstractTask, steps: int, name: str, seed: int = 100, *, known: bool = True) -> Situation:
    trial = Trial(
        task=task,
        optimizer=SGD(),
        schedule=DampedCosine(),
        base_lr=0.1,
        steps=steps,
        seed=seed,
        dtype="float64",
    )
    return Situation(trial, tuned=0.05, initial=3.0, known=known, name=name)


SITUATIONS = [
    situation(StreamingLeastSquares(dimension=5), 40, "squares T=40"),
    situation(StreamingLeastSquares(dimension=5), 60, "squares T=60", 101),
    situation(StreamingLeastAbsolute(dimension=5), 40, "absolute T=40", 102),
]
