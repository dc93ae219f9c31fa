"""Does the starting rate still matter to networks of the usual kinds, language models among them, whose steps take milliseconds?"""

from adaptive_lr import Anchor, Constant, DampedCosine, DistanceAnchor, GeneralizedNewton, Linear, ProgressAnchor
from adaptive_lr.experiment import AnyRate, Contestant, RateStudy
from adaptive_lr.experiment.protocol import HORIZONS, REPORT_LONGER
from adaptive_lr.training.calibrated import calibrated_default

STUDIES = [RateStudy.of(task, factor, range(3)) for task in REPORT_LONGER.values() for factor in HORIZONS]
OWN = tuple(study.name for study in STUDIES if study.factor == 1.0)
ADAM = calibrated_default("adamw")

EXPERIMENT = AnyRate(
    name="e16_any_learning_rate_longer",
    title="Does the starting rate still matter, longer?",
    question=(
        "From any learning rate within four decades: how close does training of a convolution, of a transformer with AdamW and with Muon, of a GRU, of an LSTM "
        "with clipping, and fine-tuning end under a controller to a cosine whose rate an oracle chose, on tasks that nothing was tuned on?"
    ),
    contestants={
        "schedules": {
            "cosine": Contestant(schedule=DampedCosine(), per_decade=3),
            "linear": Contestant(schedule=Linear(), studies=OWN),
        },
        "anchors": {
            "ProgressAnchor": Contestant(controller=ProgressAnchor()),
            "Anchor": Contestant(controller=Anchor(), studies=OWN),
            "DistanceAnchor": Contestant(controller=DistanceAnchor(), studies=OWN),
        },
        "others": {
            "GeN": Contestant(schedule=Constant(), controller=GeneralizedNewton(), studies=OWN),
            "calibrated default, adamw": Contestant(
                schedule=ADAM.schedule,
                rates=(ADAM.rate,),
                studies=tuple(name for name in OWN if name.startswith(("transformer", "gru"))),
            ),
        },
    },
    reference="cosine",
    judged="ProgressAnchor",
    studies=STUDIES,
    notes={
        "calibrated default": "One rate, chosen on development tasks, with each recipe's own optimizer: no start to forget.",
        "seeds": "Three, since a trial takes seconds: verdicts are hard to reach with so few.",
    },
)
