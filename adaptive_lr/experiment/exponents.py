"""Does a schedule that ends more gently forgive a higher rate, as theory says?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adaptive_lr.analysis.exponents import FROM, TO, judge, summarise
from adaptive_lr.experiment.base import smoke_seeds
from adaptive_lr.experiment.grid_resolution import Experiment, sweep_of
from adaptive_lr.trials.store import Store


@dataclass(frozen=True, kw_only=True)
class TailExponents(Experiment):
    """The growth of the loss above the best rate, for schedules with different ends.

    Attributes:
        tails: p of each label: the schedule ends like (1 - u)^p.
        conditions: for each study, which of the theory's conditions it meets, in a few words.
    """

    kind = "tail_exponents"

    tails: Mapping[str, float]
    conditions: Mapping[str, str]

    def smoke(self) -> TailExponents:
        """See the base class; all of the window, since slopes are fitted to most of it."""
        studies = [study.small(seeds) for study, seeds in zip(self.studies, smoke_seeds(), strict=False)]
        return replace(self, studies=studies, title=f"{self.title} (smoke size)")

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        studies = {}
        for study in self.studies:
            sweeps = {label: sweep_of(study, schedule, store) for label, schedule in self.by_label.items()}
            studies[study.name] = {
                **study.facts(),
                "conditions": self.conditions[study.name],
                "initial": next(iter(sweeps.values())).initial,
                **summarise(sweeps, self.tails),
            }
        family = judge(studies)
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "schedules": {label: repr(schedule) for label, schedule in self.by_label.items()},
            "trials": len(self.trials()),
            "family": family,
            "fitted": [FROM, TO],
            "studies": studies,
        }
