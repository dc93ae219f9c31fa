"""Which part of each controller matters, and where does it fail?"""

from adaptive_lr import (
    Anchor,
    AnchorLift,
    CurvatureCap,
    DampedCosine,
    Hypergradient,
    Linear,
    MomoCap,
    PolyakReanchor,
    ProgressAnchor,
)
from adaptive_lr.experiment import AnyRate, Contestant, RateStudy
from adaptive_lr.tasks import (
    AbstractTask,
    CharacterModel,
    Perceptron,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
)
from adaptive_lr.training import SGD, AbstractOptimizer

PLAIN, MOMENTUM = SGD(), SGD(momentum=0.9)


def study(name: str, task: AbstractTask, optimizer: AbstractOptimizer, steps: int, low: float, seeds: int) -> RateStudy:
    """Four decades of starting rates; other seeds than those of the other experiments."""
    dtype = "float64" if optimizer == PLAIN else "float32"
    return RateStudy(
        name=name,
        task=task,
        optimizer=optimizer,
        steps=steps,
        low=low,
        high=low * 1e4,
        seeds=range(20, 20 + seeds),
        dtype=dtype,
    )


STUDIES = [
    study("squares", StreamingLeastSquares(), PLAIN, 2000, 1e-3, 6),
    study("squares-noise-3-batch-1", StreamingLeastSquares(noise=3, batch=1), PLAIN, 2000, 1e-3, 6),
    study("squares-noise-3-batch-16", StreamingLeastSquares(noise=3, batch=16), PLAIN, 2000, 1e-3, 6),
    study("squares-noiseless", StreamingLeastSquares(noise=0), PLAIN, 2000, 1e-2, 6),
    study("absolute", StreamingLeastAbsolute(), PLAIN, 2000, 1e-3, 6),
    study("digits", Perceptron(dataset="digits", hidden=(48, 48), activation="tanh"), MOMENTUM, 600, 1e-3, 5),
    study("digits-batch-16", Perceptron(dataset="digits", hidden=(48, 48), batch=16), MOMENTUM, 600, 1e-3, 5),
    study("characters", CharacterModel(), MOMENTUM, 1500, 1e-3, 3),
    study(
        "mnist1d",
        Perceptron(dataset="mnist1d", hidden=(100, 100), batch=100, metric="error"),
        MOMENTUM,
        2000,
        1e-3,
        3,
    ),
]

PROGRESS: dict[str, Contestant] = {
    "ProgressAnchor": Contestant(controller=ProgressAnchor()),
    "ProgressAnchor, no lift": Contestant(controller=ProgressAnchor(limit=1.0)),
    "ProgressAnchor, lift without gate": Contestant(controller=ProgressAnchor(alignment=-1.0)),
    "ProgressAnchor, share 0.35": Contestant(controller=ProgressAnchor(least=0.35, most=0.35)),
    "ProgressAnchor, scale 11": Contestant(controller=ProgressAnchor(scale=11.0)),
    "ProgressAnchor, scale 44": Contestant(controller=ProgressAnchor(scale=44.0)),
    "ProgressAnchor, at most 0.25": Contestant(controller=ProgressAnchor(most=0.25)),
    "ProgressAnchor, window at 0.25": Contestant(controller=ProgressAnchor(probing=Anchor(fraction=0.25))),
}
ANCHORS: dict[str, Contestant] = {
    "Anchor": Contestant(controller=Anchor()),
    "Anchor, fraction 0.125": Contestant(controller=Anchor(fraction=0.125)),
    "Anchor, fraction 0.5": Contestant(controller=Anchor(fraction=0.5)),
    "Anchor, steps at the edge": Contestant(controller=Anchor(fraction=1.0)),
    "Anchor, decrease 0.1": Contestant(controller=Anchor(decrease=0.1)),
    "Anchor, window 2.5 %": Contestant(controller=Anchor(window=0.025)),
    "Anchor, linear decay": Contestant(schedule=Linear(), controller=Anchor()),
}
FEW = ("squares", "squares-noise-3-batch-1", "absolute", "digits")
"""Where the parts of the other controllers are looked at; the rest is what defeats the anchors."""
OTHERS: dict[str, Contestant] = {
    "AnchorLift": Contestant(controller=AnchorLift()),
    "AnchorLift, no gate": Contestant(controller=AnchorLift(alignment=-1.0)),
    "PolyakReanchor": Contestant(controller=PolyakReanchor(), studies=FEW),
    "PolyakReanchor, not sticky": Contestant(controller=PolyakReanchor(until=0.0), studies=FEW),
    "PolyakReanchor, k 0.3": Contestant(controller=PolyakReanchor(k=0.3), studies=FEW),
    "CurvatureCap": Contestant(controller=CurvatureCap(), studies=FEW),
    "CurvatureCap, not sticky": Contestant(controller=CurvatureCap(until=0.0), studies=FEW),
    "Hypergradient": Contestant(controller=Hypergradient(), studies=FEW),
    "Hypergradient, to the end": Contestant(controller=Hypergradient(until=1.0), studies=FEW),
    "Hypergradient, of gradients": Contestant(controller=Hypergradient(reference="gradient"), studies=FEW),
    "MomoCap": Contestant(controller=MomoCap(), studies=FEW),
    "MomoCap, target estimated": Contestant(controller=MomoCap(estimate_target="on"), studies=FEW),
}

EXPERIMENT = AnyRate(
    name="e03_controller_ablation",
    title="Which part of a controller matters, and where does it fail?",
    question=(
        "What happens if one part of a controller is taken out or changed, and which tasks defeat it: heavy gradient noise, no noise at "
        "all, a landscape that flattens itself?"
    ),
    contestants={
        "schedules": {"cosine": Contestant(schedule=DampedCosine(), per_decade=3)},
        "ProgressAnchor and what becomes of it": PROGRESS,
        "Anchor and what becomes of it": ANCHORS,
        "other controllers": OTHERS,
    },
    reference="cosine",
    judged="ProgressAnchor",
    studies=STUDIES,
    pages=False,
    notes={
        "noise 3": (
            "The probe looks at one minibatch and follows its own gradient, so the edge knows nothing of the noise between minibatches."
        ),
        "noiseless": "Every minibatch agrees, and the best rate is the edge itself: a fraction of it gives away orders of magnitude.",
        "MNIST-1D with SGD": "The curvature falls while training goes on; an edge found in the first steps is too low for the rest.",
    },
)
