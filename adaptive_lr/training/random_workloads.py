"""Random workloads: a random task with the optimizer, the horizon and a rate that belong to its trial."""

from __future__ import annotations

from adaptive_lr.schedules import DampedCosine
from adaptive_lr.spec import lookup
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.tasks.power_law import AbstractPowerLaw, PowerLawLeastAbsolute, PowerLawLogistic
from adaptive_lr.tasks.random_family import DEVELOPMENT, FAMILIES, REPORT, Draw
from adaptive_lr.training.optimizers import SGD, AbstractOptimizer, AdamW
from adaptive_lr.training.trial import Trial
from adaptive_lr.training.workloads import Workload

__all__ = ["DEVELOPMENT", "REPORT", "random_workload"]

_SMOKE_STEPS = 50

_OPTIMIZERS: tuple[AbstractOptimizer, ...] = (SGD(), SGD(momentum=0.9), AdamW(weight_decay=0.0))

_STEPS = {"convex": (100, 5000), "network": (100, 2000)}


def random_workload(index: int, kind: str) -> Workload:
    """The workload of an index: `random_convex` or `random_network`, trained for a horizon with an optimizer that are drawn, too.

    The optimizer is SGD, SGD with momentum .9 or Adam, evenly; the standard horizon 100 to 5000 steps for a convex task, 100 to 2000
    for a network, log-uniform. The rate is a rule of thumb and not tuned: whoever compares schedules searches it, or factors it out.

    Args:
        index: in ``DEVELOPMENT``, if something is trained or tuned on it, or in ``REPORT``, if it is judged there.
        kind: ``convex`` or ``network``.

    A `SpecError` where there is no such kind, or the index is in neither range.
    """
    task, draw = FAMILIES[lookup(kind, FAMILIES, "kind of random workload")](index), Draw(kind, index)
    optimizer = draw.of("optimizer", _OPTIMIZERS)
    sizes = {"smoke": _SMOKE_STEPS, "standard": draw.count("steps", *_STEPS[kind])}
    trials = {
        size: Trial(
            task=task,
            schedule=DampedCosine(),
            optimizer=optimizer,
            base_lr=_rate(task, optimizer),
            steps=steps,
            seed=0,
        )
        for size, steps in sizes.items()
    }
    return Workload(name=f"random-{kind}-{index}", area="random", sizes=trials)


def _rate(task: AbstractTask, optimizer: AbstractOptimizer) -> float:
    """A rate that such a task can be trained with, to two digits."""
    if isinstance(optimizer, AdamW):
        return 0.03 if isinstance(task, AbstractPowerLaw) else 0.003
    assert isinstance(optimizer, SGD)
    rate = _stable(task) if isinstance(task, AbstractPowerLaw) else 0.5
    rate *= 1.0 - optimizer.momentum
    return float(f"{rate:.2g}")


def _stable(task: AbstractPowerLaw) -> float:
    """1/(1 + tr/batch) over the curvature of the loss: with squared loss the largest rate at which SGD contracts is twice that or less.

    The greatest eigenvalue of the inputs' covariance is 1, and tr its trace.
    """
    curvature = 1.0
    if isinstance(task, PowerLawLogistic):
        curvature = 0.25
    elif isinstance(task, PowerLawLeastAbsolute):
        curvature = 1.0 / task.noise
    trace = sum(float(order) ** -task.exponent for order in range(1, task.dimension + 1))
    rate: float = 1.0 / (curvature * (1.0 + trace / task.batch))
    return rate
