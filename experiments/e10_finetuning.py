"""Which damping helps fine-tuning, at which horizon, and how much depends on the rate that somebody happened to pick?"""

from adaptive_lr import WSD, Constant, DampedCosine
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.training.workloads import WORKLOADS

RECIPE = WORKLOADS["mnist1d-conv-fine-tuned"].trial()

EXPERIMENT = Horizons(
    name="e10_finetuning",
    title="Fine-tuning: which damping helps, and at which horizon?",
    question=(
        "Which damping helps a network that was trained on five classes and is to tell five others apart from 200 signals, at a quarter of a horizon, "
        "at the horizon and at four times of it, with and without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "WSD 20 %": WSD(cooldown=0.2),
    },
    reference="cosine",
    studies=[
        HorizonStudy(
            name="mnist1d-classes",
            task=RECIPE.task,
            optimizer=RECIPE.optimizer,
            steps=80,
            low=0.003,
            high=0.3,  # two decades around the recipe's 0.03
            per_decade=2,
            selection_seeds=range(100, 105),
            report_seeds=range(5),
        ),
    ],
)
