"""Which damping helps language models of the usual small size, a transformer from 150 to 2400 updates, a GRU up to 600?"""

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy

SCHEDULES: dict[str, AbstractSchedule] = {
    "constant": Constant(),
    "cosine": DampedCosine(),
    "linear": Linear(),
    "WSD 20 %": WSD(cooldown=0.2),
}


EXPERIMENT = Horizons(
    name="e11_language_models_longer",
    title="Language models, longer: which damping helps, and at which horizon?",
    question=(
        "Which damping helps a transformer of two layers and a GRU on bytes, at a quarter of a horizon, at the horizon and at four times of it, "
        "with and without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules=SCHEDULES,
    reference="cosine",
    studies=[
        HorizonStudy.of_workload(
            "transformer-shakespeare",
            "byte-transformer-shakespeare",
            600,
            low=1e-3,
            decades=1.5,
            seeds=4,
            data=("shakespeare",),
        ),
        HorizonStudy.of_workload(
            "gru-python_help",
            "byte-gru-python_help",
            150,
            low=3e-3,
            decades=1.5,
            seeds=4,
            schedules=("constant", "cosine", "WSD 20 %"),
        ),
    ],
)
