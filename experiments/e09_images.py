"""Which damping helps classifiers of images, at which horizon, and how much depends on the rate that somebody happened to pick?"""

from adaptive_lr import WSD, Constant, DampedCosine
from adaptive_lr.experiment import Horizons, HorizonStudy
from adaptive_lr.tasks import ConvolutionalNetwork, Perceptron
from adaptive_lr.training import SGD

MOMENTUM = SGD(momentum=0.9)

EXPERIMENT = Horizons(
    name="e09_images",
    title="Images: which damping helps, and at which horizon?",
    question=(
        "Which damping helps classifiers of images, at a quarter of a horizon, at the horizon and at four times of it, with and without warm-up, "
        "and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "cosine k=2": DampedCosine(k=2),  # k-decay: high for longer, between the cosine and WSD
        "WSD 20 %": WSD(cooldown=0.2),
    },
    reference="cosine",
    studies=[
        HorizonStudy(
            name="digits-conv",
            task=ConvolutionalNetwork(dataset="digits", channels=(8, 16), batch=32),
            optimizer=MOMENTUM,
            steps=40,
            low=0.01,
            high=1.0,  # two decades around the recipe's 0.05
            per_decade=2,
            selection_seeds=range(100, 106),
            report_seeds=range(6),
            schedules=("constant", "cosine", "WSD 20 %"),
        ),
        HorizonStudy(
            name="mnist1d",
            task=Perceptron(dataset="mnist1d", hidden=(100, 100), metric="error"),  # its loss only tells over-fitting
            optimizer=MOMENTUM,
            steps=200,
            low=0.01,
            high=1.0,
            per_decade=2,
            selection_seeds=range(100, 108),
            report_seeds=range(8),
        ),
    ],
)
