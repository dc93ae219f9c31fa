"""Controllers: one class a rule, all of them in ``CONTROLLERS``."""

from adaptive_lr.controllers.anchor import Anchor
from adaptive_lr.controllers.anchor_lift import AnchorLift
from adaptive_lr.controllers.base import AbstractController, Moment, Observation, Signal
from adaptive_lr.controllers.curvature_cap import CurvatureCap
from adaptive_lr.controllers.distance_anchor import DistanceAnchor
from adaptive_lr.controllers.evaluated_greedy import EvaluatedGreedy
from adaptive_lr.controllers.generalized_newton import GeneralizedNewton
from adaptive_lr.controllers.greedy import Greedy
from adaptive_lr.controllers.hypergradient import Hypergradient
from adaptive_lr.controllers.learned_damping import LearnedDamping
from adaptive_lr.controllers.loss_plateau import LossPlateau
from adaptive_lr.controllers.momo import MomoCap
from adaptive_lr.controllers.noise_scale import NoiseScaleDamping
from adaptive_lr.controllers.polyak import PolyakReanchor
from adaptive_lr.controllers.progress_anchor import ProgressAnchor
from adaptive_lr.controllers.rescue import NanRescue
from adaptive_lr.controllers.shrinkage import ShrinkageDamping
from adaptive_lr.controllers.static import Static
from adaptive_lr.controllers.stationarity import StationarityDrop
from adaptive_lr.controllers.stochastic_polyak import StochasticPolyak
from adaptive_lr.controllers.warp import DampingWarp

CONTROLLERS: tuple[type[AbstractController], ...] = (
    Static,
    Anchor,
    ProgressAnchor,
    DistanceAnchor,
    LearnedDamping,
    AnchorLift,
    Hypergradient,
    PolyakReanchor,
    MomoCap,
    CurvatureCap,
    GeneralizedNewton,
    StochasticPolyak,
    NoiseScaleDamping,
    StationarityDrop,
    ShrinkageDamping,
    DampingWarp,
    LossPlateau,
    Greedy,
    EvaluatedGreedy,
    NanRescue,
)
"""Every controller. A new one is added here, and with that gets its tests, JSON, a search space and documentation."""

__all__ = [
    "CONTROLLERS",
    "AbstractController",
    "Anchor",
    "AnchorLift",
    "CurvatureCap",
    "DampingWarp",
    "DistanceAnchor",
    "EvaluatedGreedy",
    "GeneralizedNewton",
    "Greedy",
    "Hypergradient",
    "LearnedDamping",
    "LossPlateau",
    "Moment",
    "MomoCap",
    "NanRescue",
    "NoiseScaleDamping",
    "Observation",
    "PolyakReanchor",
    "ProgressAnchor",
    "ShrinkageDamping",
    "Signal",
    "Static",
    "StationarityDrop",
    "StochasticPolyak",
]
