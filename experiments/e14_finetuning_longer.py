"""Which damping helps fine-tuning of language models, at which horizon?"""

from adaptive_lr import WSD, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.training.workloads import WORKLOADS


def study(name: str, workload: str, steps: int, seeds: int, data: tuple[str, ...]) -> HorizonStudy:
    """A workload with its recipe, two decades around its rate."""
    trial = WORKLOADS[workload].trial()
    return HorizonStudy(
        name=name,
        task=trial.task,
        optimizer=trial.optimizer,
        steps=steps,
        low=trial.base_lr / 10.0,
        high=trial.base_lr * 10.0,
        per_decade=2,
        selection_seeds=range(100, 100 + seeds),
        report_seeds=range(seeds),
        data=data,
    )


EXPERIMENT = Horizons(
    name="e14_finetuning_longer",
    title="Fine-tuning, longer: which damping helps, and at which horizon?",
    question=(
        "Which damping helps a recurrent network that goes from one text to another, and a transformer of 22 million parameters that learns to tell "
        "sections of the Bible apart, with and without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),
    },
    reference="cosine",
    studies=[
        study("byte-gru", "byte-gru-fine-tuned", 150, 3, ("shakespeare", "state-of-the-union")),
        study("minilm", "minilm-sections", 60, 2, ("minilm", "king-james-bible")),
    ],
)
