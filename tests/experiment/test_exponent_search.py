from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import Constant, DampedCosine
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.transfer import chosen, summarise
from adaptive_lr.experiment import ExponentSearch, load_experiment, run_experiment
from adaptive_lr.experiment.exponent_search import scattered
from adaptive_lr.reporting.report import write_report
from adaptive_lr.reporting.search_prose import headline
from adaptive_lr.tasks import StreamingLeastAbsolute
from adaptive_lr.trials.store import Store
from tests.tiny import STUDY

RATES = np.array([0.1, 1.0, 10.0])


def sweep(selection: list[float], report: list[float], *, best: int = 1, optimum: float | None = None) -> Sweep:
    """The given losses at the best rate, twice as much elsewhere; one of each a repetition."""
    shape = np.where(np.arange(3) == best, 1.0, 2.0)
    return Sweep.clipped(
        rates=RATES,
        selection=np.array(selection)[:, None] * shape,
        report=np.array(report)[:, None] * shape,
        initial=(100.0, 100.0),
        optimum=optimum,
        per_decade=1,
    )


ONES = [1.0, 1.0, 1.0, 1.0]


def test_the_winner_is_chosen_by_the_selection_seeds_and_judged_on_the_others() -> None:
    plain = sweep(ONES, [1.0, 1.1, 0.9, 1.0])
    lucky = {"plain": plain, "other": sweep([0.5] * 4, [1.2, 1.3, 1.1, 1.25])}
    assert chosen(lucky, ("plain", "other")) == "other"
    assert chosen(lucky, ("plain",)) == "plain"
    good = {"plain": plain, "other": sweep([1.5] * 4, [0.5, 0.55, 0.45, 0.5])}
    found = summarise({"lucky": lucky, "good": good}, ("plain", "other"), "plain")
    assert found["winners"] == {"lucky": "other", "good": "plain"}
    assert found["family"] == {"verdicts": 4, "repetitions": [4, 4]}
    row = found["rows"]["lucky"]
    assert row["selection_ratio"] == pytest.approx(0.5)
    assert row["searched"]["value"] == pytest.approx(0.85 / 4.0)
    assert row["searched"]["ratio"]["value"] == pytest.approx(4.85 / 4.0)
    assert row["searched"]["lost"]["value"] == pytest.approx(np.mean([0.2 / 99, 0.2 / 98.9, 0.2 / 99.1, 0.25 / 99]))
    assert row["verdict"] == "worse"
    assert found["rows"]["good"]["verdict"] == "not better"
    assert found["matrix"]["good"]["lucky"]["verdict"] == "better"
    assert found["matrix"]["lucky"]["good"]["value"] == 0.0


def test_each_repetition_searches_anew() -> None:
    sweeps = {
        "plain": sweep([2.0, 2.0], [5.0, 5.0], optimum=0.0),
        "a": sweep([1.0, 3.0], [2.5, 50.0], optimum=0.0),
        "b": sweep([3.0, 1.0], [50.0, 10.0], optimum=0.0),
    }
    test = summarise({"one": sweeps}, ("plain", "a", "b"), "plain")["rows"]["one"]["searched"]
    # the first repetition takes a, which ends at half of the plain loss, the second b, at twice of it
    assert test["value"] == pytest.approx(0.0)
    assert test["ratio"]["value"] == pytest.approx(1.0)
    assert (test["procedure"], test["n"]) == ("t on log ratios, Holm", 2)


def test_a_best_rate_at_the_edge_is_not_judged() -> None:
    edge = {"plain": sweep([1.0, 1.0], [1.0, 1.1]), "other": sweep([0.5, 0.5], [0.5, 0.6], best=2)}
    assert summarise({"edge": edge}, ("plain", "other"), "plain")["rows"]["edge"]["verdict"] == "cannot be judged"


def test_scattered_shapes_fill_the_search_space_the_same_way_every_time() -> None:
    found = scattered(16)
    assert found == scattered(16)
    assert len(found) == 16
    space = DampedCosine().search_space()
    for name in ("k", "exponent"):
        values = np.log([float(one.leaves()[name]) for one in found.values()])
        middle = np.log(space[name].low * space[name].high) / 2
        assert np.log(space[name].low) <= values.min() < middle < values.max() <= np.log(space[name].high)
        assert sum(values < middle) == 8


def test_report_answers_whether_searching_paid(tmp_path: Path) -> None:
    experiment = ExponentSearch(
        name="e96_tiny_search",
        title="Tiny",
        question="Does it run?",
        shapes={"cosine": DampedCosine()} | scattered(4),
        others={"constant": Constant()},
        reference="cosine",
        studies=[STUDY, replace(STUDY, name="absolute", task=StreamingLeastAbsolute(dimension=10))],
    )
    with Store(tmp_path / "store.sqlite", write=True) as store:
        run_experiment(experiment, store, workers=1)
        numbers: dict[str, Any] = experiment.analyse(store)
        page = write_report([numbers], store.provenance(), tmp_path / "report")
        runs = experiment.runs_to_show(numbers, everything=False)
    sentences = headline(numbers)
    assert "on seeds that the search did not see" in sentences[0]
    text = page.read_text(encoding="utf-8")
    assert "Taken elsewhere" in text
    assert text.count("<svg") == 1
    assert 2 <= len(runs) <= 4


def test_declared_experiment_chooses_and_reports_on_other_seeds() -> None:
    found = load_experiment("e04_exponent_search")
    assert isinstance(found, ExponentSearch)
    assert sum(trial.steps for trial in found.smoke().trials()) < 0.1 * sum(trial.steps for trial in found.trials())
