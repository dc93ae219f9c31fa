"""Which damping helps variational inference, at which horizon, and how much depends on the rate that somebody happened to pick?"""

from adaptive_lr import WSD, Constant, DampedCosine, InverseSqrt, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.tasks import BayesianLogistic, BayesianNetwork
from adaptive_lr.training import AdamW

ADAM = AdamW(weight_decay=0.0)

EXPERIMENT = Horizons(
    name="e08_variational_inference",
    title="Variational inference: which damping helps, and at which horizon?",
    question=(
        "Which damping helps variational inference, at a quarter of a horizon, at the horizon and at four times of it, with and without "
        "warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),  # what most papers on inference use
        "cosine": DampedCosine(),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),
        "inverse sqrt": InverseSqrt(fraction=0.05),  # the Robbins-Monro decay that theory asks for
    },
    reference="cosine",
    studies=[
        HorizonStudy(
            name="logistic",
            task=BayesianLogistic(),
            optimizer=ADAM,
            steps=250,
            low=0.01,
            high=0.01 * 10**2.5,  # around the recipe's 0.05
            per_decade=2,
            selection_seeds=range(100, 120),
            report_seeds=range(20),
        ),
        HorizonStudy(
            name="network",
            task=BayesianNetwork(hidden=16),
            optimizer=ADAM,
            steps=250,
            low=10**-2.5,
            high=1.0,  # around the recipe's 0.01, and higher: the runs are shorter than its 2000 steps
            per_decade=2,
            selection_seeds=range(100, 110),
            report_seeds=range(10),
        ),
    ],
)
