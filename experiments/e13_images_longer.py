"""Which damping helps classifiers of Fashion-MNIST, and a convolutional network on signals, at which horizon?"""

from adaptive_lr import WSD, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy

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
        HorizonStudy.of_workload(
            "fashion-perceptron",
            "fashion-mnist-mlp",
            200,
            seeds=4,
            schedules=("constant", "cosine", "linear", "WSD 20 %"),
            data=("fashion-mnist",),
        ),
        HorizonStudy.of_workload(
            "fashion-conv",
            "fashion-mnist-conv",
            40,
            seeds=2,  # a trial takes half a minute, nearly all of it for the metrics on 70 000 images
            decades=1.0,
            schedules=("cosine", "WSD 20 %"),
            warmups=(0.0,),
            data=("fashion-mnist",),
        ),
        HorizonStudy.of_workload(
            "mnist1d-conv", "mnist1d-conv", 100, seeds=4, schedules=("constant", "cosine", "cosine k=2", "WSD 20 %")
        ),
    ],
)
