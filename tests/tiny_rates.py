"""An experiment on starting rates that runs in a second."""

from adaptive_lr import Anchor, Constant, DampedCosine
from adaptive_lr.experiment import AnyRate, Contestant, RateStudy
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares
from adaptive_lr.training import SGD, Peer

STUDY = RateStudy(
    name="squares",
    task=StreamingLeastSquares(dimension=10),
    optimizer=SGD(),
    steps=400,
    low=1e-4,
    high=10.0,
    seeds=range(3),
    dtype="float64",
)

EXPERIMENT = AnyRate(
    name="e98_tiny_rates",
    title="A tiny experiment on starting rates",
    question="Does the start matter?",
    contestants={
        "schedules": {
            "cosine": Contestant(schedule=DampedCosine(), per_decade=4),
            "constant": Contestant(schedule=Constant(), per_decade=2),
        },
        "controllers": {"anchor": Contestant(controller=Anchor())},
        "peers": {
            "schedule-free": Contestant(
                schedule=Constant(),
                optimizer=Peer(name="schedulefree_sgd"),
                rates=(0.1, 1.0),
                studies=("squares",),
            )
        },
    },
    reference="cosine",
    judged="anchor",
    studies=[
        STUDY,
        RateStudy(**{**vars(STUDY), "name": "absolute", "task": StreamingLeastAbsolute(dimension=10)}),
    ],
    notes={"anchor": "Finds the scale by itself."},
)
