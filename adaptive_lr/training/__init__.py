"""Training: many trials at once, and the literal loop that it is held to."""

from adaptive_lr.training.batch_run import BatchRun
from adaptive_lr.training.batched import Backend, backends, batches, train_batch
from adaptive_lr.training.optimizers import OPTIMIZERS, SGD, AbstractOptimizer, AdamW, Clipped, Muon
from adaptive_lr.training.paused import Paused
from adaptive_lr.training.peers import Peer
from adaptive_lr.training.projected import ProjectedSGD
from adaptive_lr.training.sequential import LiteralRun, train
from adaptive_lr.training.trial import KINDS, NUMERICS, RunResult, Status, Trial
from adaptive_lr.training.tuning import AsGiven, RateHalving

__all__ = [
    "KINDS",
    "NUMERICS",
    "OPTIMIZERS",
    "SGD",
    "AbstractOptimizer",
    "AdamW",
    "AsGiven",
    "Backend",
    "BatchRun",
    "Clipped",
    "LiteralRun",
    "Muon",
    "Paused",
    "Peer",
    "ProjectedSGD",
    "RateHalving",
    "RunResult",
    "Status",
    "Trial",
    "backends",
    "batches",
    "train",
    "train_batch",
]
