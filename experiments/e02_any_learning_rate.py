"""Can a controller make the learning rate that somebody happened to start with irrelevant?"""

from adaptive_lr import (
    Anchor,
    AnchorLift,
    Constant,
    CurvatureCap,
    DampedCosine,
    DampingWarp,
    Greedy,
    Hypergradient,
    Linear,
    LossPlateau,
    MomoCap,
    NanRescue,
    NoiseScaleDamping,
    PolyakReanchor,
    ProgressAnchor,
    ShrinkageDamping,
    StationarityDrop,
)
from adaptive_lr.experiment import AnyRate, Contestant, RateStudy
from adaptive_lr.tasks import (
    AbstractTask,
    CharacterModel,
    Perceptron,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
)
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Peer

PLAIN, MOMENTUM, ADAMW = SGD(), SGD(momentum=0.9), AdamW()
DIGITS = Perceptron(dataset="digits", hidden=(48, 48), activation="tanh")
MNIST1D = Perceptron(dataset="mnist1d", hidden=(100, 100), batch=100, metric="error")
CHARACTERS = CharacterModel()


def study(name: str, task: AbstractTask, optimizer: AbstractOptimizer, steps: int, low: float, seeds: int) -> RateStudy:
    """Five decades of starting rates."""
    dtype = "float64" if optimizer == PLAIN else "float32"
    return RateStudy(
        name=name, task=task, optimizer=optimizer, steps=steps, low=low, high=low * 1e5, seeds=range(seeds), dtype=dtype
    )


STUDIES = [
    study("squares", StreamingLeastSquares(), PLAIN, 2000, 1e-3, 8),
    study("logistic", StreamingLogistic(), PLAIN, 2000, 1e-2, 8),
    study("absolute", StreamingLeastAbsolute(), PLAIN, 2000, 1e-3, 8),
    study("digits-sgd", DIGITS, MOMENTUM, 600, 1e-4, 6),
    study("digits-adamw", DIGITS, ADAMW, 600, 1e-5, 6),
    study("characters-sgd", CHARACTERS, MOMENTUM, 1500, 1e-4, 3),
    study("characters-adamw", CHARACTERS, ADAMW, 1500, 1e-5, 3),
    study("mnist1d-sgd", MNIST1D, MOMENTUM, 2000, 1e-4, 4),
    study("mnist1d-adamw", MNIST1D, ADAMW, 2000, 1e-5, 4),
]

CONTROLLERS: dict[str, Contestant] = {
    "ProgressAnchor": Contestant(controller=ProgressAnchor()),
    "Anchor": Contestant(controller=Anchor()),
    "AnchorLift": Contestant(controller=AnchorLift()),
    "Hypergradient": Contestant(controller=Hypergradient()),
    "PolyakReanchor": Contestant(controller=PolyakReanchor()),
    "MomoCap": Contestant(controller=MomoCap()),
    "CurvatureCap": Contestant(controller=CurvatureCap()),
    "NoiseScaleDamping": Contestant(controller=NoiseScaleDamping()),
    "ShrinkageDamping": Contestant(controller=ShrinkageDamping()),
    "DampingWarp": Contestant(controller=DampingWarp()),
    "StationarityDrop": Contestant(schedule=Constant(), controller=StationarityDrop()),
    "LossPlateau": Contestant(schedule=Constant(), controller=LossPlateau()),
    "Greedy": Contestant(schedule=Constant(), controller=Greedy(window=50)),
    "NanRescue": Contestant(controller=NanRescue()),
}


def peer(name: str, default: float, *, annealed: bool, safeguard: str = "on") -> Contestant:
    """Another package's optimizer at its documented rate, and one and two decades to either side."""
    return Contestant(
        schedule=DampedCosine() if annealed else Constant(),
        optimizer=Peer(name=name, safeguard=safeguard),
        rates=tuple(default * 10.0**power for power in range(-2, 3)),
        studies=("digits-sgd", "characters-sgd", "mnist1d-sgd"),
    )


PEERS = {
    "schedule-free SGD": peer("schedulefree_sgd", 1.0, annealed=False),
    "schedule-free AdamW": peer("schedulefree_adamw", 0.0025, annealed=False),
    "Prodigy": peer("prodigy", 1.0, annealed=True, safeguard="off"),
    "D-Adapt SGD": peer("dadapt_sgd", 1.0, annealed=True),
    "D-Adapt Adam": peer("dadapt_adam", 1.0, annealed=True),
    "MoMo": peer("momo", 1.0, annealed=True),
    "MoMo-Adam": peer("momo_adam", 0.01, annealed=True),
}

EXPERIMENT = AnyRate(
    name="e02_any_learning_rate",
    title="Does the starting rate still matter?",
    question=(
        "From any learning rate within five decades, how close does training under a controller end to a cosine whose rate an oracle "
        "chose, and at what cost?"
    ),
    contestants={
        "schedules": {
            "cosine": Contestant(schedule=DampedCosine(), per_decade=3),
            "constant": Contestant(schedule=Constant(), per_decade=2),
            "linear": Contestant(schedule=Linear(), per_decade=2),
            "cosine^2": Contestant(schedule=DampedCosine(exponent=2), per_decade=2),
        },
        "controllers": CONTROLLERS,
        "other packages": PEERS,
    },
    reference="cosine",
    judged="ProgressAnchor",
    studies=STUDIES,
    notes={
        "other packages": (
            "Each starts at its documented rate and at one and two decades to either side, which is no window of five decades that a "
            "user might have picked; their tasks stand in the columns of SGD, whatever their own update is."
        ),
        "StationarityDrop, LossPlateau, Greedy": "On a constant schedule, which is what they replace; all others modulate the cosine.",
    },
)
