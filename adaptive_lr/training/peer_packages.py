"""What the packages that `Peer` uses say of themselves: arguments, the rate to start at, the schedule that belongs to it.

| peer | start parameter, default | momentum, beta2 | schedule | what else stands there |
|---|---|---|---|---|
| ``schedulefree_sgd`` | ``lr`` 1.0 | 0.9 | warm-up, then constant | "lr 10x to 50x larger than classical rates" |
| ``schedulefree_adamw`` | ``lr`` 0.0025 | 0.9, 0.999 | warm-up, then constant | "1x to 10x" those of a schedule; warm-up of 2 % at AlgoPerf |
| ``prodigy`` | ``d0`` 1e-6, ``lr`` 1 | 0.9, 0.999 | cosine, or none | ``safeguard_warmup`` with a warm-up or restarts; growth unlimited |
| ``dadapt_sgd`` | ``d0`` 1e-6, ``lr`` 1 | 0 | the task's usual one | growth unlimited; momentum 0.9 is not the default |
| ``dadapt_adam`` | ``d0`` 1e-6, ``lr`` 1 | 0.9, 0.999 | the task's usual one | as ``dadapt_sgd`` |
| ``momo`` | ``lr`` 1.0 | 0.9 | constant | lower bound 0 of the loss |
| ``momo_adam`` | ``lr`` 0.01 | 0.9, 0.999 | constant | lower bound 0 of the loss |
| ``dog`` | ``reps_rel`` 1e-6, ``lr`` 1 | none | constant | evaluated at the average of its iterates (gamma 8) |
| ``prodigy_plus`` | ``d0`` 1e-6, ``lr`` 1 | 0.9, 0.99 | constant | schedule-free; no clipping |
| ``relative_polling`` | ``lr`` 0.001 | 0 | none at all | candidates a factor 10 apart, no bounds |

All have a weight decay of 0. Sources: the docstrings and the read-me of schedulefree 1.4.1, prodigyopt 1.1.2, dadaptation 3.2,
momo-opt 0.1.0, dog-optimizer 1.0.3, prodigy-plus-schedule-free 2.0.1 and efficient-polling-lr-scheduler 2.1.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from adaptive_lr.schedules import AbstractSchedule, Constant, DampedCosine, Warmup


@dataclass(frozen=True, kw_only=True)
class Documented:
    """An optimizer of another package as its authors describe it.

    Attributes:
        package: what is installed.
        module: what is imported.
        name: of its class.
        lr: the documented rate, which is also the default of the argument.
        momentum: momentum or beta1; 0 for none.
        takes: the argument that holds it; nothing where there is none.
        beta2: of the mean of squares, where ``takes`` is ``betas``.
        start: the argument that says where the step size begins: ``lr``, or ``d0`` or ``reps_rel`` where ``lr`` is meant to stay 1.
        start_at: its default.
        schedule: the schedule of ``lr`` that is meant.
        source: the paper.
    """

    package: str
    module: str
    name: str
    lr: float
    momentum: float
    takes: str = "betas"
    beta2: float = 0.999
    start: str = "lr"
    start_at: float
    schedule: AbstractSchedule
    source: str


_WARM = Warmup(fraction=0.02, then=Constant())
_FREE, _DADAPT, _MOMO = "arXiv:2405.15682", "arXiv:2301.07733", "arXiv:2305.07583"

DOCUMENTED: dict[str, Documented] = {
    "schedulefree_sgd": Documented(
        package="schedulefree",
        module="schedulefree",
        name="SGDScheduleFree",
        lr=1.0,
        momentum=0.9,
        takes="momentum",
        start_at=1.0,
        schedule=_WARM,
        source=_FREE,
    ),
    "schedulefree_adamw": Documented(
        package="schedulefree",
        module="schedulefree",
        name="AdamWScheduleFree",
        lr=0.0025,
        momentum=0.9,
        start_at=0.0025,
        schedule=_WARM,
        source=_FREE,
    ),
    "prodigy": Documented(
        package="prodigyopt",
        module="prodigyopt",
        name="Prodigy",
        lr=1.0,
        momentum=0.9,
        start="d0",
        start_at=1e-6,
        schedule=DampedCosine(),
        source="arXiv:2306.06101",
    ),
    "dadapt_sgd": Documented(
        package="dadaptation",
        module="dadaptation",
        name="DAdaptSGD",
        lr=1.0,
        momentum=0.0,
        takes="momentum",
        start="d0",
        start_at=1e-6,
        schedule=DampedCosine(),
        source=_DADAPT,
    ),
    "dadapt_adam": Documented(
        package="dadaptation",
        module="dadaptation",
        name="DAdaptAdam",
        lr=1.0,
        momentum=0.9,
        start="d0",
        start_at=1e-6,
        schedule=DampedCosine(),
        source=_DADAPT,
    ),
    "momo": Documented(
        package="momo-opt",
        module="momo",
        name="Momo",
        lr=1.0,
        momentum=0.9,
        takes="beta",
        start_at=1.0,
        schedule=Constant(),
        source=_MOMO,
    ),
    "momo_adam": Documented(
        package="momo-opt",
        module="momo",
        name="MomoAdam",
        lr=0.01,
        momentum=0.9,
        start_at=0.01,
        schedule=Constant(),
        source=_MOMO,
    ),
    "dog": Documented(
        package="dog-optimizer",
        module="dog",
        name="DoG",
        lr=1.0,
        momentum=0.0,
        takes="",
        start="reps_rel",
        start_at=1e-6,
        schedule=Constant(),
        source="arXiv:2302.12022",
    ),
    "prodigy_plus": Documented(
        package="prodigy-plus-schedule-free",
        module="prodigyplus",
        name="ProdigyPlusScheduleFree",
        lr=1.0,
        momentum=0.9,
        beta2=0.99,
        start="d0",
        start_at=1e-6,
        schedule=Constant(),
        source="arXiv:2306.06101, arXiv:2405.15682",
    ),
    "relative_polling": Documented(
        package="efficient-polling-lr-scheduler",
        module="efficient_polling_lr_scheduler",
        name="EfficientRelativePollingOptimizer",
        lr=1e-3,
        momentum=0.0,
        takes="momentum",
        start_at=1e-3,
        schedule=Constant(),
        source="doi:10.3390/jeta4010001 for the polls; none for their rhythm",
    ),
}
"""By the name of the peer."""
