"""Which damping helps classifiers of Fashion-MNIST, and a convolutional network on signals, at which horizon?"""

from adaptive_lr import WSD, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.training.workloads import WORKLOADS


def study(
    name: str, workload: str, steps: int, *, schedules: tuple[str, ...] = (), data: tuple[str, ...] = ()
) -> HorizonStudy:
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
        selection_seeds=range(100, 104),
        report_seeds=range(4),
        schedules=schedules,
        data=data,
    )


EXPERIMENT = Horizons(
    name="e13_images_longer",
    title="Images, longer: which damping helps, and at which horizon?",
    question=(
        "Which damping helps classifiers of clothes and of signals, perceptrons and convolutional networks with batch normalisation, with and "
        "without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "cosine k=2": DampedCosine(k=2),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),
    },
    reference="cosine",
    studies=[
        study("fashion-perceptron", "fashion-mnist-mlp", 600, data=("fashion-mnist",)),
        study(
            "fashion-conv",
            "fashion-mnist-conv",
            40,
            schedules=("constant", "cosine", "WSD 20 %"),
            data=("fashion-mnist",),
        ),
        study("mnist1d-conv", "mnist1d-conv", 160),
    ],
)
