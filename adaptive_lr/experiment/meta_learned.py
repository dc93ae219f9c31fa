"""Damping that is learned on random tasks, by several ways at equal cost, and judged on families that it never saw."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from adaptive_lr.analysis import held_out, paired
from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.controllers.learned_damping import LARGEST_CHANGE
from adaptive_lr.errors import AdaptiveLRError, StoreError
from adaptive_lr.experiment.any_rate import AnyRate, read_starts
from adaptive_lr.experiment.contestants import Contestant, RateStudy
from adaptive_lr.experiment.protocol import judged
from adaptive_lr.meta.learners import learner
from adaptive_lr.meta.learning import Learning
from adaptive_lr.meta.objective import WRONG, Objective, Situation, random_trials, situation, tuning_trials
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.schedules import SCHEDULES
from adaptive_lr.spec import decode, encode
from adaptive_lr.training import Trial
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.store import Store

GROUP = "learned here, at equal cost"
"""Of the contestants that the experiment learns."""


@dataclass(frozen=True, kw_only=True)
class LearningPlan:
    """What is learned, on what, how, and for how much.

    Attributes:
        pairs: learners and ways.
        indices: of random tasks, convex and networks.
        factors: multiples of their horizons.
        seeds: of training.
        steps: training steps that each learning may spend.
        at_once: situations in a step of evolution.
        seed: of everything that learning draws.
    """

    pairs: Sequence[tuple[str, str]]
    indices: Sequence[int]
    factors: Sequence[float] = (0.25, 1.0, 4.0)
    seeds: Sequence[int] = (100, 101, 102)
    steps: float = 1e7
    at_once: int = 12
    seed: int = 1

    def trials(self) -> list[tuple[str, Trial]]:
        """What is learned from, by name: random tasks at each horizon."""
        return [
            named
            for kind in ("convex", "network")
            for named in random_trials(kind, self.indices, self.factors, self.seeds)
        ]

    def situations(self, store: Store) -> list[Situation]:
        """The same with what a tuned cosine does there."""
        every = (situation(trial, name, store) for name, trial in self.trials())
        return [known for known in every if known is not None]


@dataclass(frozen=True)
class _Job:
    """A learning, for a worker process."""

    learner: str
    way: str
    objective: Objective
    seed: int
    steps: float
    path: Path


def _learn(job: _Job) -> Any:
    """What a worker process does: the name of what has been learned, or what is wrong, which is raised where it is read."""
    try:
        Learning(learner(job.learner), job.way, job.objective, job.seed, job.steps, job.path).run()
    except AdaptiveLRError as error:
        return error
    return f"{job.learner} by {job.way}"


@dataclass(frozen=True, kw_only=True)
class MetaLearned(AnyRate):
    """Learned damping among the contestants of an experiment on starting rates.

    Attributes:
        plan: what is learned.
        rivals: labels of contestants that what is learned is compared with, family by family.
        shipped: the label of the policy that comes with the package, which is compared, too.
    """

    plan: LearningPlan
    rivals: Sequence[str]
    shipped: str

    def trials(self) -> list[Trial]:
        """Those by which a cosine is tuned on what is learned from, and those of all contestants that need no learning."""
        tuning = [other for _, trial in self.plan.trials() for other in tuning_trials(trial)]
        return tuning + super().trials()

    def stages(self, store: Store) -> Iterator[list[Trial]]:
        """Give out trials, and learn in between.

        Yields:
            Those of `trials`, and then those of what has been learned.
        """
        yield self.trials()
        self._learn(store)
        yield AnyRate.trials(self._with_learned(store))

    def _jobs(self, store: Store) -> list[_Job]:
        situations, plan = self.plan.situations(store), self.plan
        few = Objective(situations, at_once=plan.at_once, rates=4)
        more = Objective(situations, at_once=2 * plan.at_once, rates=2)
        folder = Path(store.path).parent / "learned"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self.name} {len(plan.indices)} {plan.steps:g} {plan.seed}"
        return [
            _Job(
                name,
                way,
                few if way == "evolution" else more,
                plan.seed,
                plan.steps,
                folder / f"{stem} {name} {way}.json",
            )
            for name, way in plan.pairs
        ]

    def _learn(self, store: Store) -> None:
        jobs = self._jobs(store)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, transient=True) as progress, Processes(os.cpu_count() or 1, _learn) as processes:
            bar = progress.add_task("learning", total=len(jobs))
            for name in processes.results(jobs):
                progress.update(bar, advance=1, description=f"learned: {name}")

    def _learnings(self, store: Store) -> dict[str, Learning]:
        """What has been learned, by label.

        Raises:
            StoreError: something has not been learned yet.
        """
        learnings = {}
        for job in self._jobs(store):
            learning = Learning(learner(job.learner), job.way, job.objective, job.seed, job.steps, job.path)
            if learning.steps < job.steps:
                raise StoreError(f"{job.learner} has not been learned by {job.way} yet: run {self.name} first")
            learnings[f"{job.learner} by {job.way}"] = learning
        return learnings

    def _with_learned(self, store: Store) -> AnyRate:
        learned = {}
        for label, learning in self._learnings(store).items():
            schedule, controller = learning.learner.recipe(learning.vector)
            learned[label] = Contestant(schedule=schedule, controller=controller, studies=self._own)
        return self._among(learned)

    @property
    def _own(self) -> tuple[str, ...]:
        """The studies in which what is learned here takes part: at the tasks' own horizons."""
        return tuple(study.name for study in self.studies if study.factor == 1.0)

    def _among(self, learned: Mapping[str, Contestant]) -> AnyRate:
        arguments = {item.name: getattr(self, item.name) for item in fields(AnyRate)}
        return AnyRate(**(arguments | {"contestants": {**self.contestants, GROUP: learned}}))

    def smoke(self) -> MetaLearned:
        """See the base class; a policy is learned from end to end, by little."""
        pairs = list({name: (name, way) for name, way in reversed(self.plan.pairs)}.values())
        plan = replace(
            self.plan, pairs=pairs, indices=tuple(self.plan.indices)[:2], factors=(0.25,), steps=2e4, at_once=2
        )
        small = AnyRate.smoke(self)
        assert isinstance(small, MetaLearned)
        return replace(small, plan=plan)

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        experiment = self._with_learned(store)
        numbers = experiment.analyse(store)
        cells = [self._cell(experiment, study, store) for study in experiment.studies]
        labels = [*self._learnings(store), self.shipped]
        family = [held_out.compare(cells, label, rival) for label in labels for rival in self.rivals if rival != label]
        verdicts = paired.judge(family)
        return numbers | {
            "learned": {
                "comparisons": family,
                "verdicts": verdicts,
                "losses": {label: held_out.losses(cells, label) for label in (*labels, *self.rivals)},
                "runs": {label: self._run(learning) for label, learning in self._learnings(store).items()},
                "policy": {"weights": self._weights(), "largest": list(LARGEST_CHANGE)},
                "situations": len(self.plan.situations(store)),
                "wrong": WRONG,
                "saved": self._saved(experiment),
            }
        }

    def _cell(self, experiment: AnyRate, study: RateStudy, store: Store) -> held_out.Cell:
        starts = read_starts(experiment, study, store)
        oracle = starts[experiment.reference].excess.min(0)
        grid = Contestant().grid(study)
        task = next(one for name, one in judged().items() if study.name.startswith(f"{name} T="))
        on_grid = {label: one.among(grid) for label, one in starts.items()}
        lost = {label: held_out.tolerances(one, oracle) for label, one in on_grid.items() if len(one.rates)}
        return held_out.Cell(task.family, study.area, lost)

    @staticmethod
    def _run(learning: Learning) -> dict[str, Any]:
        schedule, controller = learning.learner.recipe(learning.vector)
        return {
            "learner": learning.learner.name,
            "way": learning.way,
            "numbers": dict(zip(learning.learner.numbers, learning.vector.tolist(), strict=True)),
            "history": [list(row) for row in learning.history],
            "steps": learning.steps,
            "schedule": encode(schedule),
            "controller": encode(controller),
        }

    def _weights(self) -> dict[str, float]:
        """Of the policy that is shipped."""
        weights = self.by_label[self.shipped].controller.leaves()
        names = learner("policy").numbers
        return {name: float(weights[f"weights.{place}"]) for place, name in enumerate(names)}

    def _saved(self, experiment: AnyRate) -> float:
        """Training steps that a controller saves on a task against a grid of one rate a decade, the mean over studies."""
        grids = [(len(Contestant().grid(study)) - 1) * study.steps for study in experiment.studies]
        return float(sum(grids) / len(grids))

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """See the base class."""
        learned = {
            label: Contestant(
                schedule=decode(json.loads(json.dumps(run["schedule"])), SCHEDULES),  # type: ignore[arg-type]
                controller=decode(json.loads(json.dumps(run["controller"])), (*CONTROLLERS, *SCHEDULES)),  # type: ignore[arg-type]
                studies=self._own,
            )
            for label, run in numbers["learned"]["runs"].items()
        }
        return self._among(learned).runs_to_show(numbers, everything=everything)
