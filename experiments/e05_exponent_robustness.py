"""Does a schedule that ends more gently forgive a learning rate that is too high, as theory says?"""

from adaptive_lr import AbstractSchedule, Constant, DampedCosine, Linear, Polynomial
from adaptive_lr.experiment import Study, TailExponents
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.tasks.streaming import AbstractStreaming
from adaptive_lr.training import SGD, AbstractOptimizer, ProjectedSGD


def study(name: str, task: AbstractStreaming, *, bounded: bool, low: float, steps: int = 2000) -> Study:
    """Seven decades, most of them above the best rate, and 18 repetitions; bounded: projected on a ball of twice the optimum's norm."""
    optimizer: AbstractOptimizer = ProjectedSGD(radius=float(f"{2 * task.target_norm:.6g}")) if bounded else SGD()
    return Study(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=steps,
        low=low,
        high=low * 1e7,
        per_decade=4,
        dtype="float64",
        selection_seeds=range(100, 112),
        report_seeds=range(24),
    )


COSINES = (0.25, 0.5, 1.0, 2.0, 4.0)
POWERS = (0.5, 2.0, 4.0, 8.0)
SCHEDULES: dict[str, dict[str, AbstractSchedule]] = {
    "fixed": {"constant": Constant()},
    "damped cosine": {
        f"cosine^{exponent:g}" if exponent != 1 else "cosine": DampedCosine(exponent=exponent) for exponent in COSINES
    },
    "other": {"linear": Linear()} | {f"polynomial {power:g}": Polynomial(power=power) for power in POWERS},
}
TAILS = (
    {"constant": 0.0, "linear": 1.0}
    | {f"cosine^{exponent:g}" if exponent != 1 else "cosine": 2.0 * exponent for exponent in COSINES}
    | {f"polynomial {power:g}": power for power in POWERS}
)

EXPERIMENT = TailExponents(
    name="e05_exponent_robustness",
    title="Does a gentler end forgive a higher rate?",
    question=(
        "Theory says that on bounded convex problems the excess loss grows like the 1/(2p+1)-th power of the rate for a schedule that ends "
        "like (1 - u)^p, 1/(4 exponent + 1) for a cosine-power. Does it, and where?"
    ),
    schedules=SCHEDULES,
    reference="cosine",
    tails=TAILS,
    conditions={
        "absolute-ball": "bounded gradients, bounded domain: all conditions of the theorem",
        "absolute-ball-long": "all of them, and ten times the steps",
        "absolute": "bounded gradients, no bound on the domain",
        "logistic-ball": "bounded gradients, bounded domain, smooth",
        "logistic": "bounded gradients, no bound on the domain, smooth",
        "squares-ball": "gradients bounded only by the domain",
        "squares": "neither: above the edge of stability it diverges",
    },
    studies=[
        study("absolute-ball", StreamingLeastAbsolute(), bounded=True, low=1e-3),
        study("absolute-ball-long", StreamingLeastAbsolute(), bounded=True, low=3e-4, steps=20_000),
        study("absolute", StreamingLeastAbsolute(), bounded=False, low=1e-3),
        study("logistic-ball", StreamingLogistic(), bounded=True, low=1e-2),
        study("logistic", StreamingLogistic(), bounded=False, low=1e-2),
        study("squares-ball", StreamingLeastSquares(), bounded=True, low=1e-3),
        study("squares", StreamingLeastSquares(), bounded=False, low=1e-3),
    ],
)
