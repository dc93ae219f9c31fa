"""Which damping helps language models of the usual small size, a transformer from 75 to 1200 updates, a GRU up to 320?"""

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
            300,
            low=1e-3,
            decades=1.0,
            seeds=3,
            schedules=("constant", "cosine", "WSD 20 %"),
            warmups=(0.05,),  # as its recipe has it
            data=("shakespeare",),
        ),
        HorizonStudy.of_workload(
            "gru-python_help",
            "byte-gru-python_help",
            80,
            low=3e-3,
            decades=1.5,
            seeds=3,
            schedules=("constant", "cosine", "linear"),
            warmups=(0.0,),
        ),
    ],
)
