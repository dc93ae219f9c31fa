"""Which part of each controller matters?"""

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
from adaptive_lr.experiment.protocol import REPORT

TASKS = ("convex-4000", "convex-4004", "convex-4009", "network-4003", "network-4007", "network-4009", "digits-conv")
"""Of the tasks that are judged: three losses, three optimizers, and a convolution."""

STUDIES = [
    RateStudy.of(REPORT[name], 1.0, range(20, 30) if REPORT[name].area == "convex" else range(20, 25)) for name in TASKS
]
"""Other seeds than those of the other experiments."""

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
FEW = tuple(study.name for study in STUDIES if study.area != "images")
"""Where the parts of the other controllers are looked at."""
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
    title="Which part of a controller matters?",
    question=(
        "What happens if one part of a controller is taken out or changed, on tasks that none of its constants come from?"
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
    notes={},
)
