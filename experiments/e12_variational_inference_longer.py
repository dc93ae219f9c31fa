"""Which damping helps variational inference over longer runs: autoencoders, and posteriors on fetched tables?"""

from adaptive_lr import WSD, Constant, DampedCosine, InverseSqrt, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy

EXPERIMENT = Horizons(
    name="e12_variational_inference_longer",
    title="Variational inference, longer: which damping helps, and at which horizon?",
    question=(
        "Which damping helps posteriors on tables and autoencoders of images, around the horizons of their recipes, with and without warm-up, "
        "and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),
        "inverse sqrt": InverseSqrt(fraction=0.05),
    },
    reference="cosine",
    studies=[
        HorizonStudy.of_workload("logistic-spam", "bayesian-logistic-spam", 500, seeds=8, decades=2.5, data=("spam",)),
        HorizonStudy.of_workload(
            "network-concrete", "bayesian-network-concrete", 500, seeds=6, decades=2.5, data=("concrete",)
        ),
        HorizonStudy.of_workload(
            "autoencoder-digits",
            "autoencoder-digits",
            250,
            seeds=4,
            schedules=("constant", "cosine", "linear"),
        ),
    ],
)
