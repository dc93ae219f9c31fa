"""What derivatives through a run cost, against training it once in the sequential loop."""

from __future__ import annotations

from functools import partial

import torch
from pairs import one_core, ratios, seconds, without_evaluation
from rows import Aim, Case, IncomparableError, Measured

from adaptive_lr import DampedCosine
from adaptive_lr.meta import FinalGradients, Way, finite_differences, hypergradients
from adaptive_lr.tasks import AbstractTask, Perceptron, StreamingLogistic
from adaptive_lr.training import SGD, Trial, train

TITLE = "Derivatives through training"
ABOUT = """Processor time of `hypergradients` by the base rate and the exponent of a cosine, with compiled loops, over that of training the same trial
once with `train`: a module, an optimizer of torch and a scheduler, step by step. The first call, in which loops are compiled or loaded,
is not in the ratio; its seconds are said beside it. Before they are timed, forward and reverse mode must agree to 1e-3 in float32. Wide
differences train five lanes in one batch."""

NUMBERS = ("log_base_lr", "exponent")
PERCEPTRON = "tanh perceptron, MNIST-1D, batch 100, 800 steps"
LOGISTIC = "streaming logistic regression, d = 100, batch 4, 2000 steps"
AGREEMENT = 1e-3


def trial(task: AbstractTask, momentum: float, base_lr: float, steps: int) -> Trial:
    """What is trained: seed 0, a cosine."""
    return Trial(
        task=task,
        schedule=DampedCosine(),
        optimizer=SGD(momentum=momentum),
        base_lr=base_lr,
        steps=steps,
        seed=0,
    )


def perceptron(steps: int) -> Trial:
    """40-100-100-10, 15 110 parameters; smooth, so that its derivatives mean something."""
    task = Perceptron(dataset="mnist1d", hidden=(100, 100), batch=100, activation="tanh")
    return trial(task, 0.9, 0.02, steps)


def logistic(steps: int) -> Trial:
    """100 parameters."""
    return trial(StreamingLogistic(), 0.0, 0.1, steps)


def computed(way: Way, chosen: Trial) -> FinalGradients:
    """The derivatives, with compiled loops."""
    if way is Way.DIFFERENCES:
        return finite_differences([chosen], NUMBERS, compiled=True)
    return hypergradients([chosen], NUMBERS, way=way, compiled=True)


def cost(way: Way, chosen: Trial, count: int) -> Measured:
    """Runs of the sequential loop that derivatives cost.

    Raises:
        IncomparableError: forward and reverse mode do not agree.
    """
    with one_core(), without_evaluation(chosen.task):
        first = seconds(lambda: computed(way, chosen))
        if way is not Way.DIFFERENCES:
            other = Way.REVERSE if way is Way.FORWARD else Way.FORWARD
            here, there = (computed(each, chosen).gradient for each in (way, other))
            if not torch.allclose(here, there, rtol=AGREEMENT, atol=0.0):
                raise IncomparableError(f"{way} mode gives {here.tolist()}, {other} mode {there.tolist()}")
        values = ratios(lambda: computed(way, chosen), lambda: train(chosen), count)
    return Measured(values, f"first call {first:.1f} s")


def cases(*, quick: bool) -> list[Case]:
    """A row for each way and workload."""
    share = 20 if quick else 1
    deep, flat = perceptron(800 // share), logistic(2000 // share)
    rows = (
        (f"{PERCEPTRON}: forward mode", Way.FORWARD, deep, 1.1),
        (f"{PERCEPTRON}: reverse mode", Way.REVERSE, deep, 3.0),
        (f"{PERCEPTRON}: wide differences", Way.DIFFERENCES, deep, 1.5),
        (f"{LOGISTIC}: forward mode", Way.FORWARD, flat, 0.2),
        (f"{LOGISTIC}: reverse mode", Way.REVERSE, flat, 0.5),
    )
    return [
        Case(what=what, aim=Aim(aim, at_most=True), measure=partial(cost, way, chosen))
        for what, way, chosen, aim in rows
    ]
