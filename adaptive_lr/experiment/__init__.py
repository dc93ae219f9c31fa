"""Experiments: questions, the trials that answer them, and the numbers that they give."""

from adaptive_lr.experiment.any_rate import AnyRate
from adaptive_lr.experiment.base import (
    FOLDER,
    AbstractExperiment,
    experiment_names,
    experiment_path,
    geometric_grid,
    load_experiment,
    run_experiment,
    stated_question,
)
from adaptive_lr.experiment.contestants import Contestant, RateStudy
from adaptive_lr.experiment.exponent_search import ExponentSearch
from adaptive_lr.experiment.exponents import TailExponents
from adaptive_lr.experiment.grid_resolution import Experiment, Study
from adaptive_lr.experiment.horizons import Horizons, HorizonStudy
from adaptive_lr.experiment.meta_learned import LearningPlan, MetaLearned
from adaptive_lr.experiment.recorded import Names, RecordedRuns, RecordedStudy
from adaptive_lr.experiment.searching import SearchStudy

__all__ = [
    "FOLDER",
    "AbstractExperiment",
    "AnyRate",
    "Contestant",
    "Experiment",
    "ExponentSearch",
    "HorizonStudy",
    "Horizons",
    "LearningPlan",
    "MetaLearned",
    "Names",
    "RateStudy",
    "RecordedRuns",
    "RecordedStudy",
    "SearchStudy",
    "Study",
    "TailExponents",
    "experiment_names",
    "experiment_path",
    "geometric_grid",
    "load_experiment",
    "run_experiment",
    "stated_question",
]
