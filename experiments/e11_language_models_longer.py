"""Which damping helps language models of the usual small size, a transformer from 150 to 2400 updates, a GRU up to 600?"""

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.training.workloads import WORKLOADS

SCHEDULES: dict[str, AbstractSchedule] = {
    "constant": Constant(),
    "cosine": DampedCosine(),
    "linear": Linear(),
    "WSD 20 %": WSD(cooldown=0.2),
}


def study(
    name: str, workload: str, steps: int, low: float, *, schedules: tuple[str, ...] = (), data: tuple[str, ...] = ()
) -> HorizonStudy:
    """A workload with its recipe, on a decade and a half of rates: a trial takes a minute."""
    trial = WORKLOADS[workload].trial()
    return HorizonStudy(
        name=name,
        task=trial.task,
        optimizer=trial.optimizer,
        steps=steps,
        low=low,
        high=low * 10**1.5,
        per_decade=2,
        selection_seeds=range(100, 104),
        report_seeds=range(4),
        schedules=schedules,
        data=data,
    )


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
        study("transformer-shakespeare", "byte-transformer-shakespeare", 600, 1e-3, data=("shakespeare",)),
        study("gru-python_help", "byte-gru-python_help", 150, 3e-3, schedules=("constant", "cosine", "WSD 20 %")),
    ],
)
