"""An experiment on horizons that runs in a second."""

from adaptive_lr import WSD, Constant, DampedCosine
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares
from adaptive_lr.training import SGD

STUDY = HorizonStudy(
    name="squares",
    task=StreamingLeastSquares(dimension=10),
    optimizer=SGD(),
    steps=100,
    low=1e-2,
    high=1.0,
    per_decade=2,
    selection_seeds=range(100, 110),
    report_seeds=range(10),
    dtype="float64",
)

EXPERIMENT = Horizons(
    name="e96_tiny_horizons",
    title="A tiny experiment on horizons",
    question="Does the horizon matter?",
    schedules={"constant": Constant(), "cosine": DampedCosine(), "WSD": WSD(cooldown=0.2)},
    reference="cosine",
    studies=[
        STUDY,
        HorizonStudy(
            **{
                **vars(STUDY),
                "name": "absolute",
                "task": StreamingLeastAbsolute(dimension=10),
                "schedules": ("constant", "cosine"),
                "warmups": (0.05,),
            }
        ),
    ],
)
