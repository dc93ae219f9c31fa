"""Can a controller make the learning rate that somebody happened to start with irrelevant?"""

from adaptive_lr import (
    Anchor,
    AnchorLift,
    Constant,
    CurvatureCap,
    DampedCosine,
    DampingWarp,
    DistanceAnchor,
    EvaluatedGreedy,
    GeneralizedNewton,
    Hypergradient,
    LearnedDamping,
    Linear,
    LossPlateau,
    MomoCap,
    NanRescue,
    NoiseScaleDamping,
    PolyakReanchor,
    ProgressAnchor,
    ShrinkageDamping,
    StationarityDrop,
    StochasticPolyak,
)
from adaptive_lr.experiment import AnyRate, Contestant, RateStudy
from adaptive_lr.experiment.protocol import HORIZONS, REPORT, ProtocolTask
from adaptive_lr.training import SGD, AdamW, Peer, RateHalving
from adaptive_lr.training.calibrated import calibrated_default
from adaptive_lr.training.peer_packages import DOCUMENTED


def seeds(task: ProtocolTask) -> range:
    """Twenty where a trial takes milliseconds, five elsewhere."""
    return range(20) if task.area in ("convex", "inference") else range(5)


STUDIES = [RateStudy.of(task, factor, seeds(task)) for task in REPORT.values() for factor in HORIZONS]


def some(*, adam: bool | None = None, convex: bool = True, factor: float = 1.0) -> tuple[str, ...]:
    """The studies at a horizon: with an optimizer of Adam's kind or without, with the convex ones or without."""
    return tuple(
        study.name
        for study in STUDIES
        if study.factor == factor
        and adam in (None, isinstance(study.optimizer, AdamW))
        and (convex or study.area != "convex")
    )


OWN = some()
"""At the tasks' own horizons."""

EVEN = tuple(study.name for study in STUDIES if study.name in OWN and getattr(study.task, "batch", 2) % 2 == 0)
"""Those whose minibatches can be halved, as the gradient's noise asks for."""

ANCHORS: dict[str, Contestant] = {
    "ProgressAnchor": Contestant(controller=ProgressAnchor()),
    "Anchor": Contestant(controller=Anchor()),
    "DistanceAnchor": Contestant(controller=DistanceAnchor()),
}
LEARNED: dict[str, Contestant] = {"LearnedDamping": Contestant(controller=LearnedDamping())}
CONTROLLERS: dict[str, Contestant] = {
    "AnchorLift": Contestant(controller=AnchorLift(), studies=OWN),
    "Hypergradient": Contestant(controller=Hypergradient(), studies=OWN),
    "PolyakReanchor": Contestant(controller=PolyakReanchor(), studies=OWN),
    "MomoCap": Contestant(controller=MomoCap(), studies=OWN),
    "CurvatureCap": Contestant(controller=CurvatureCap(), studies=OWN),
    "NoiseScaleDamping": Contestant(controller=NoiseScaleDamping(), studies=EVEN),
    "ShrinkageDamping": Contestant(controller=ShrinkageDamping(), studies=OWN),
    "DampingWarp": Contestant(controller=DampingWarp(), studies=OWN),
    "LossPlateau": Contestant(schedule=Constant(), controller=LossPlateau(), studies=OWN),
    "NanRescue": Contestant(controller=NanRescue(), studies=OWN),
}
PUBLISHED: dict[str, Contestant] = {
    "GeN": Contestant(schedule=Constant(), controller=GeneralizedNewton(), studies=OWN),
    "GeN, linear": Contestant(schedule=Linear(), controller=GeneralizedNewton(), studies=OWN),
    "SPS_max": Contestant(schedule=Constant(), controller=StochasticPolyak(), studies=some(adam=False)),
    "GreedyLR": Contestant(schedule=Constant(), controller=EvaluatedGreedy(), studies=some(convex=False)),
    "SASA+": Contestant(
        schedule=Constant(),
        controller=StationarityDrop(),
        optimizer=SGD(momentum=0.9, weight_decay=5e-4),
        studies=some(adam=False, convex=False, factor=4.0),
    ),
}
ADAM_TYPE = ("schedulefree_adamw", "prodigy", "dadapt_adam", "momo_adam", "prodigy_plus")
PEERS: dict[str, Contestant] = {
    name: Contestant(
        schedule=documented.schedule,
        optimizer=Peer.documented(name),
        rates=tuple(documented.start_at * 10.0**power for power in range(-2, 3)),
        studies=some(adam=name in ADAM_TYPE, convex=False),
    )
    for name, documented in DOCUMENTED.items()
}
BUDGET: dict[str, Contestant] = {
    "successive halving": Contestant(tuning=RateHalving(decades=4.0), studies=some(convex=False)),
    **{
        f"calibrated default, {kind}": Contestant(
            schedule=calibrated_default(kind).schedule,
            optimizer=calibrated_default(kind).optimizer,
            rates=(calibrated_default(kind).rate,),
            studies=some(adam=kind == "adamw", convex=False),
        )
        for kind in ("sgd", "adamw")
    },
}

EXPERIMENT = AnyRate(
    name="e02_any_learning_rate",
    title="Does the starting rate still matter?",
    question=(
        "From any learning rate within four decades, on tasks that nothing was tuned on, at a quarter of a horizon, at the horizon and at four times "
        "of it: how close does training under a controller end to a cosine whose rate an oracle chose, and at what cost?"
    ),
    contestants={
        "schedules": {
            "cosine": Contestant(schedule=DampedCosine(), per_decade=3),
            "constant": Contestant(schedule=Constant(), studies=OWN),
            "linear": Contestant(schedule=Linear(), studies=OWN),
            "cosine^2": Contestant(schedule=DampedCosine(exponent=2), studies=OWN),
        },
        "anchors": ANCHORS,
        "learned": LEARNED,
        "other controllers": CONTROLLERS,
        "controllers of others, as published": PUBLISHED,
        "other packages": PEERS,
        "at the same number of steps": BUDGET,
    },
    reference="cosine",
    judged="ProgressAnchor",
    studies=STUDIES,
    notes={
        "other packages": (
            "Each as its documentation says, from its documented start and from one and two decades to either side; optimizers of Adam's kind on the tasks "
            "with Adam, the others on those with SGD, at the tasks' own horizons."
        ),
        "LossPlateau, GeN, SPS_max, GreedyLR, SASA+": "On a constant schedule, which is what they replace; all others modulate the cosine.",
        "SASA+": "With weight decay and at four times the horizon, as its authors have it.",
        "successive halving": "All of its steps, on all of its rates together, are as many as those of one run.",
        "calibrated default": "One rate, chosen on development tasks, and no start to forget.",
    },
)
