"""Which damping helps variational inference over longer runs: autoencoders, and posteriors on fetched tables?"""

from adaptive_lr import WSD, Constant, DampedCosine, InverseSqrt, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.training.workloads import WORKLOADS


def study(name: str, workload: str, steps: int, seeds: int, data: tuple[str, ...] = ()) -> HorizonStudy:
    """A workload with its recipe, two decades and a half around its rate."""
    trial = WORKLOADS[workload].trial()
    return HorizonStudy(
        name=name,
        task=trial.task,
        optimizer=trial.optimizer,
        steps=steps,
        low=trial.base_lr / 10.0,
        high=trial.base_lr * 10**1.5,
        per_decade=2,
        selection_seeds=range(100, 100 + seeds),
        report_seeds=range(seeds),
        data=data,
    )


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
        study("logistic-spam", "bayesian-logistic-spam", 750, 10, data=("spam",)),
        study("network-concrete", "bayesian-network-concrete", 1000, 8, data=("concrete",)),
        study("autoencoder-digits", "autoencoder-digits", 500, 5),
        study("autoencoder-fashion", "autoencoder-fashion_mnist", 250, 5, data=("fashion-mnist",)),
    ],
)
