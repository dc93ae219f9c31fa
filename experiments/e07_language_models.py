"""Which damping helps small language models, at which horizon, and how much depends on the rate that somebody happened to pick?"""

from adaptive_lr import WSD, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.tasks import ByteTransformer, CharacterModel
from adaptive_lr.training import AdamW
from adaptive_lr.training.workloads import WORKLOADS

EXPERIMENT = Horizons(
    name="e07_language_models",
    title="Small language models: which damping helps, and at which horizon?",
    question=(
        "Which damping helps language models that are trained briefly, at a quarter of a horizon, at the horizon and at four times of it, with "
        "and without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),  # a constant rate until the end, which tells whether the end alone is what helps
    },
    reference="cosine",
    studies=[
        HorizonStudy(
            name="characters",
            task=CharacterModel(),
            optimizer=AdamW(weight_decay=0.0),
            steps=128,
            low=10**-2.5,
            high=10**-0.5,  # two decades around the best of a pilot run, 0.01 to 0.1
            per_decade=2,
            selection_seeds=range(100, 106),
            report_seeds=range(6),
        ),
        # One layer and short windows: all that the time allows; e11 has the usual size, and no warm-up too. Trials are trained one by one.
        HorizonStudy(
            name="transformer",
            task=ByteTransformer(layers=1, width=32, heads=2, context=16, batch=8),
            optimizer=WORKLOADS["byte-transformer-python_help"].trial().optimizer,
            steps=64,
            low=1e-3,
            high=0.1,  # from a third of the recipe's 0.003 upwards: short runs of narrow models want more
            per_decade=2,
            selection_seeds=range(100, 104),
            report_seeds=range(4),
            schedules=("constant", "cosine", "WSD 20 %"),
            warmups=(0.05,),
        ),
    ],
)
