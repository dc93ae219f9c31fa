"""Does the schedule that theory makes for the ratio of a grid cost less on that grid than cosines and their powers?"""

from adaptive_lr import AbstractSchedule, DampedCosine, GridAware, Linear
from adaptive_lr.experiment import Experiment, Study
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.tasks.streaming import AbstractStreaming
from adaptive_lr.training import SGD, AbstractOptimizer, ProjectedSGD


def study(name: str, task: AbstractStreaming, *, bounded: bool, low: float) -> Study:
    """The tasks of e05, on grids of six rates a decade; bounded: projected on a ball of twice the optimum's norm. 12 repetitions."""
    optimizer: AbstractOptimizer = ProjectedSGD(radius=float(f"{2 * task.target_norm:.6g}")) if bounded else SGD()
    return Study(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=2000,
        low=low,
        high=low * 1e6,
        dtype="float64",
        selection_seeds=range(100, 112),
        report_seeds=range(12),
    )


COSINES = (0.5, 1.0, 2.0, 3.0, 4.0)
SCHEDULES: dict[str, dict[str, AbstractSchedule]] = {
    "damped cosine": {
        f"cosine^{exponent:g}" if exponent != 1 else "cosine": DampedCosine(exponent=exponent) for exponent in COSINES
    },
    "other": {"linear": Linear()},
    "grid aware": {f"grid aware {ratio:g}": GridAware(ratio=ratio) for ratio in (3.0, 10.0, 100.0)},
}

EXPERIMENT = Experiment(
    name="e17_grid_aware",
    title="Does a schedule made for the ratio of a grid cost less on it?",
    question=(
        "The bound of convex optimisation has a schedule of its own for every ratio between neighbouring learning rates. On grids of these "
        "ratios, does it cost less than cosines, their powers and a linear decay?"
    ),
    schedules=SCHEDULES,
    reference="cosine",
    judged="grid aware",
    against=("damped cosine", "other"),
    studies=[
        study("absolute-ball", StreamingLeastAbsolute(), bounded=True, low=1e-3),
        study("absolute", StreamingLeastAbsolute(), bounded=False, low=1e-3),
        study("logistic-ball", StreamingLogistic(), bounded=True, low=1e-2),
        study("squares-ball", StreamingLeastSquares(), bounded=True, low=1e-3),
    ],
)
