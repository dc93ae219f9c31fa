"""Learned damping in an experiment: from nothing to its page, stopped and started again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptive_lr import DampedCosine, LearnedDamping, ProgressAnchor
from adaptive_lr.analysis import held_out
from adaptive_lr.analysis.any_rate import Starts
from adaptive_lr.errors import InputError, StoreError
from adaptive_lr.experiment import Contestant, LearningPlan, MetaLearned, RateStudy, run_experiment
from adaptive_lr.experiment.protocol import REPORT
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store

STUDIES = [
    RateStudy.of(REPORT[name], factor, range(2)) for name, factor in (("convex-4000", 0.05), ("convex-4002", 0.05))
]


def experiment() -> MetaLearned:
    studies = [replace(study, steps=30, factor=1.0) for study in STUDIES]
    return MetaLearned(
        name="learned",
        title="Learned",
        question="Does it transfer?",
        contestants={
            "schedules": {"cosine": Contestant(schedule=DampedCosine(), per_decade=3)},
            "by hand": {"ProgressAnchor": Contestant(controller=ProgressAnchor())},
            "before": {"LearnedDamping": Contestant(controller=LearnedDamping())},
        },
        reference="cosine",
        judged="LearnedDamping",
        studies=studies,
        notes={},
        plan=LearningPlan(
            pairs=(("policy", "evolution"), ("shape", "tpe")), indices=(0, 1), factors=(0.25,), steps=1e4, at_once=1
        ),
        rivals=("ProgressAnchor", "cosine"),
        shipped="LearnedDamping",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    with Store(folder / "store.sqlite", write=True) as store:
        run_experiment(experiment(), store, workers=1)
    return folder


def test_what_is_learned_is_judged_beside_its_rivals_and_shown(folder: Path) -> None:
    with Store(folder / "store.sqlite") as store:
        numbers = experiment().analyse(store)
        runs = experiment().runs_to_show(numbers, everything=False)
    learned = numbers["learned"]
    assert set(learned["runs"]) == {"policy by evolution", "shape by tpe"}
    pairs = [(test["mine"], test["theirs"]) for test in learned["comparisons"]]
    assert len(pairs) == 3 * 2
    assert ("LearnedDamping", "ProgressAnchor") in pairs
    assert all(test["n"] == len(STUDIES) for test in learned["comparisons"])  # each study is of a family of its own
    assert any("policy_by_evolution" in run.folder for run in runs)
    page = write_report([numbers], [], folder / "report", workers=1)
    text = page.read_text(encoding="utf-8")
    assert "Learned against rivals" in text
    assert "policy by evolution" in text


def test_nothing_is_learned_twice(folder: Path) -> None:
    files = sorted((folder / "learned").iterdir())
    before = [file.read_bytes() for file in files]
    with Store(folder / "store.sqlite", write=True) as store:
        assert run_experiment(experiment(), store, workers=1) == 0
    assert [file.read_bytes() for file in files] == before


def test_what_is_not_learned_yet_is_said(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite", write=True) as store:
        from adaptive_lr.trials.runner import run_trials

        run_trials(experiment().trials(), store, workers=1)
        with pytest.raises(StoreError, match="policy has not been learned by evolution yet: run learned first"):
            experiment().analyse(store)


def test_a_file_of_another_learning_is_refused_by_name(folder: Path) -> None:
    file = next(file for file in (folder / "learned").iterdir() if "shape" in file.name)
    kept = file.read_bytes()
    file.write_bytes(next(other for other in (folder / "learned").iterdir() if "policy" in other.name).read_bytes())
    try:
        with Store(folder / "store.sqlite", write=True) as store, pytest.raises(InputError, match="another learning"):
            run_experiment(experiment(), store, workers=1)
    finally:
        file.write_bytes(kept)


def starts(excess: list[list[float]], *, known: bool) -> Starts:
    return Starts(
        rates=np.array([0.1, 1.0]),
        excess=np.array(excess),
        diverged=np.zeros(2),
        seconds=0.0,
        extra_steps=0.0,
        initial=3.0,
        optimum_known=known,
    )


def test_tolerances_by_hand() -> None:
    ratio = held_out.tolerances(starts([[1.2, 1.44], [1e9, 1.0]], known=True), np.array([1.0, 1.0]))
    np.testing.assert_allclose(ratio, [[1.0, 2.0], [20.0, 0.0]], atol=1e-12)
    share = held_out.tolerances(starts([[1.1, 1.0], [3.0, 1.2]], known=False), np.array([1.0, 1.0]))
    np.testing.assert_allclose(share, [[1.0, 0.0], [20.0, 2.0]], atol=1e-9)


def test_families_count_once_however_many_horizons_they_have() -> None:
    def cell(family: str, mine: float, theirs: float) -> held_out.Cell:
        return held_out.Cell(family, "convex", {"a": np.full((2, 3), mine), "b": np.full((2, 3), theirs)})

    cells = [cell("x", 1.0, 2.0), cell("x", 3.0, 2.0), cell("y", 0.0, 2.0), cell("z", 1.0, 2.0)]
    test = held_out.compare(cells, "a", "b")
    assert test["n"] == 3
    assert test["value"] == pytest.approx((0.0 - 2.0 - 1.0) / 3.0)
    assert test["areas"] == {"convex": pytest.approx(-1.0)}
    assert held_out.losses(cells, "a") == {"mean": pytest.approx(1.0), "worst": pytest.approx(1.0)}
