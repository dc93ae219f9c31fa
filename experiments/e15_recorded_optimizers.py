"""How much does the result of an optimizer depend on its learning rate over up to ten decades, in runs that others recorded?"""

import math
import os
from pathlib import Path

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.run_steps import Steps
from adaptive_lr.experiment.recorded import Names, RecordedRuns, RecordedStudy

BESIDE = Path(__file__).parents[2] / "shared/data/step-back"
"""A folder beside the repository; the environment variable ADAPTIVE_LR_STEP_BACK points to another one."""

EPOCHS = Steps(run="id", step="epoch")

BLANK = (("val_loss", ""),)
"""These files leave the loss blank where it was not finite in every epoch: the accuracy there is that of guessing."""

MOMO: dict[tuple[str, ...], str] = {
    ("momo", "0.0"): "MoMo bound 0",
    ("momo", "0.9"): "MoMo bound 0.9",
    ("momo-star", "none"): "MoMo*",
    ("momo-adam", "0.0"): "MoMo-Adam bound 0",
    ("momo-adam", "0.9"): "MoMo-Adam bound 0.9",
    ("momo-adam-star", "none"): "MoMo-Adam*",
    ("sgd-m", "none"): "SGD-M",
    ("adamw", "none"): "AdamW",
}
"""By name and lower bound of the loss; * adapts the bound."""

PLAIN: dict[tuple[str, ...], str] = {
    ("adabelief",): "AdaBelief",
    ("adabound",): "AdaBound",
    ("adam",): "Adam",
    ("lion",): "Lion",
    ("momo",): "MoMo",
    ("momo-adam",): "MoMo-Adam",
    ("sgd-m",): "SGD-M",
}


def imagenet(decay: str, title: str) -> RecordedStudy:
    """Eight settings of six optimizers at ten rates from 1e-6 to 1e3, one run each."""
    return RecordedStudy(
        name=f"imagenet32-decay-{decay}",
        title=title,
        file="imagenet32_resnet18.csv.gz",
        steps=EPOCHS,
        names=Names(column="optimizer", of=("name", "lb"), words=MOMO),
        request=Request(
            rate="lr",
            loss="val_loss",
            by=("optimizer",),
            where=(("weight_decay", decay),),
            diverged=BLANK,
            initial=math.log(1000.0),
        ),
    )


def means(name: str, title: str, file: str, request: Request) -> RecordedStudy:
    """Rows that are means over three seeds."""
    names = Names(column="optimizer", of=("name",), words=PLAIN)
    return RecordedStudy(name=name, title=title, file=file, steps=EPOCHS, names=names, request=request)


EXPERIMENT = RecordedRuns(
    name="e15_recorded_optimizers",
    title="Optimizers: how much depends on the rate, over ten decades?",
    question=(
        "In recorded training runs at a constant rate, how far from its best rate may each optimizer be, and what does a coarse grid cost?"
    ),
    folder=Path(os.environ.get("ADAPTIVE_LR_STEP_BACK", BESIDE)),
    absent=(
        "The recorded runs are not part of this repository; point ADAPTIVE_LR_STEP_BACK to a folder that holds imagenet32_resnet18.csv.gz, "
        "cifar10_vit.csv.gz and mnist_mlp.csv.gz, the files of stepback/records of the public repository fabian-sp/step-back, gzipped."
    ),
    about=(
        "Runs that others recorded: the public repository fabian-sp/step-back (BSD 3-Clause) of Schaipp, Ohana, Eickenberg, Defazio and "
        "Gower 2024, arXiv:2305.07583. Nothing was trained here. All schedules are constant, so this says nothing of schedules.",
        "The loss before training is taken as that of guessing, ln 1000 on ImageNet32 and ln 10 on MNIST, and the accuracy as 0.1 on CIFAR-10. "
        "MoMo takes a lower bound of the loss (bound 0 or 0.9); MoMo* and MoMo-Adam* adapt it.",
        "ImageNet32 has one run at each rate. The rows of CIFAR-10 and MNIST are means with standard deviations over three seeds: the number "
        "is not in the files, but every accuracy is a third of a whole number of images. What each seed gave is not there, so that nothing is paired.",
        "On CIFAR-10 the accuracy is judged: the loss of three of the seven optimizers is lowest at their lowest rate. Each has four to six rates "
        "of its own, which they do not share.",
    ),
    studies=[
        imagenet("0.0001", "ResNet-18, ImageNet32, 45 epochs, weight decay 1e-4"),
        imagenet("0.0", "ResNet-18, ImageNet32, 45 epochs, no weight decay"),
        means(
            "cifar10",
            "Vision transformer, CIFAR-10, 200 epochs",
            "cifar10_vit.csv.gz",
            Request(
                rate="lr",
                loss="val_score",
                by=("optimizer",),
                direction="maximize",
                deviation="val_score_std",
                repeats=3,
                initial=0.1,
            ),
        ),
        means(
            "mnist",
            "Perceptron, MNIST, 10 epochs",
            "mnist_mlp.csv.gz",
            Request(
                rate="lr",
                loss="val_loss",
                by=("optimizer",),
                deviation="val_loss_std",
                repeats=3,
                diverged=BLANK,
                initial=math.log(10.0),
            ),
        ),
    ],
)
