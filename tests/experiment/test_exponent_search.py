"""Searches as an experiment: two stages, nothing trained twice, and a page that answers."""

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import Constant, DampedCosine, Linear
from adaptive_lr.analysis.baselines import ANY_GRID, MEASURES, TUNED
from adaptive_lr.analysis.searches import EXHAUSTIVE
from adaptive_lr.errors import ExperimentError, SpecError, StoreError
from adaptive_lr.experiment import ExponentSearch, SearchStudy, load_experiment, run_experiment
from adaptive_lr.reporting.report import write_report
from adaptive_lr.reporting.search_prose import headline
from adaptive_lr.shapes.lattice import Lattice
from adaptive_lr.tasks import StreamingLeastAbsolute
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store
from tests.tiny import STUDY

SQUARES = SearchStudy(**{**vars(STUDY), "steps": 60, "low": 1e-2, "report_seeds": range(6)}, repeats=3)
STUDIES = [SQUARES, replace(SQUARES, name="absolute", task=StreamingLeastAbsolute(dimension=10))]


def experiment(**changes: Any) -> ExponentSearch:
    options: dict[str, Any] = {
        "name": "e96_tiny_search",
        "title": "Tiny",
        "question": "Does it run?",
        "lattice": Lattice(schedule=DampedCosine(), levels={"k": (0.5, 1.0, 2.0), "exponent": (0.5, 1.5, 3.0)}),
        "baselines": {"cosine": DampedCosine(), "linear": Linear(), "constant": Constant()},
        "budget": 6,
        "studies": STUDIES,
    }
    return ExponentSearch(**options | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Store(tmp_path_factory.mktemp("searches") / "store.sqlite", write=True) as stored:
        run_experiment(experiment(), stored, workers=1)
        yield stored


def test_nothing_is_trained_twice(store: Store) -> None:
    everything = [*experiment().trials(), *experiment().following(store)]
    digests = [trial.digest() for trial in everything]
    assert len(set(digests)) == len(digests) == len(store)
    assert run_experiment(experiment(), store, workers=1) == 0
    assert experiment().analyse(store)["trials"] == len(digests)


def test_searches_see_the_selection_seeds_and_only_what_they_find_is_trained_on_the_others(store: Store) -> None:
    first, second = experiment().trials(), experiment().following(store)
    assert {trial.seed for trial in first} == {100, 101}
    assert {trial.seed for trial in second} == set(range(6))
    assert STUDIES[0].pairs == [(3, 0), (4, 1), (5, 2)]
    assert len(first) == 2 * 2 * 12 * 19
    assert len(second) % (19 * 6) == 0
    assert len(second) <= 2 * 6 * 12 * 19


def test_more_repeats_of_a_search_train_no_shape_anew(store: Store) -> None:
    more = experiment(studies=[replace(study, repeats=4) for study in STUDIES])
    assert {trial.digest() for trial in more.trials()} == {trial.digest() for trial in experiment().trials()}
    assert {trial.digest() for trial in experiment().following(store)} <= {
        trial.digest() for trial in more.following(store)
    }


def test_numbers_are_those_of_the_trials(store: Store) -> None:
    numbers = experiment().analyse(store)
    study, tiny = SQUARES, experiment()
    best = numbers["studies"]["squares"]["objectives"][TUNED][EXHAUSTIVE]
    losses = []
    for schedule in tiny.lattice:
        digests = [[study.trial(schedule, rate, seed).digest() for rate in study.rates] for seed in (100, 101)]
        records = store.read(digest for row in digests for digest in row)
        losses.append(
            np.array(
                [
                    [min(records[digest].metrics["excess"], records[digest].initial["excess"]) for digest in row]
                    for row in digests
                ]
            ).mean(0)
        )
    table = np.array(losses)
    assert best["shape"] == int(table.min(1).argmin())
    found, curves = tiny.lattice[best["shape"]], []
    for seed in range(6):
        names = [study.trial(found, rate, seed).digest() for rate in study.rates]
        stored = store.read(names)
        curves.append(np.array([min(stored[name].metrics["excess"], stored[name].initial["excess"]) for name in names]))
    assert best["rate"] == pytest.approx(study.rates[(curves[3] + curves[4] + curves[5]).argmin()])
    row = best["rows"][0]
    reported = [curves[reporting][curves[choosing].argmin()] for choosing, reporting in ((3, 0), (4, 1), (5, 2))]
    baseline = numbers["studies"]["squares"]["baselines"][row["baseline"]]["losses"][TUNED]["value"]
    assert row["ratio"]["value"] == pytest.approx(np.exp(np.log(reported).mean()) / baseline)
    assert (row["n"], row["procedure"]) == (3, "t on log ratios, Holm")
    assert numbers["family"]["verdicts"] == 2 * 2 * (4 * len(MEASURES) + 2) + 2


def test_without_its_trials_there_is_nothing_to_analyse(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite", write=True) as empty:
        with pytest.raises(StoreError, match="trials of study squares are not in"):
            experiment().analyse(empty)
        run_trials(experiment(studies=STUDIES[:1]).trials(), empty, workers=1)
        with pytest.raises(StoreError, match="run the experiment first"):
            experiment(studies=STUDIES[:1]).analyse(empty)


def test_the_page_answers(store: Store, tmp_path: Path) -> None:
    numbers = experiment().analyse(store)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    page = html.unescape(write_report([numbers], store.provenance(), tmp_path).read_text(encoding="utf-8"))
    sentences = headline(numbers)
    assert sentences[0].startswith(
        "Searched for the loss at the tuned rate, what 6 trials find against the best baseline of each task ("
    )
    assert "At equal trials TPE ends at" in " ".join(sentences)
    assert "Taken elsewhere" in page
    assert sentences[-1] in page
    assert "Holm, n = 3, p" in page
    assert page.count("<svg") == 1
    for label in (*MEASURES, "best baseline", "QMC (Sobol)", "best of all: k "):
        assert label in page
    runs = experiment().runs_to_show(numbers, everything=False)
    assert len(store.finished(run.trial.digest() for run in runs)) == len(runs) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"studies": []}, "has no studies"),
        ({"samplers": []}, "has no samplers"),
        ({"samplers": ["tpe", "tpe"]}, "two samplers are called 'tpe'"),
        ({"reference": "step"}, "the reference 'step' is none of the baselines"),
        ({"budget": 0}, "budget must be at least 1, got 0"),
        ({"studies": [SQUARES, SQUARES]}, "two studies are called 'squares'"),
    ],
)
def test_an_experiment_that_is_declared_wrongly_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        experiment(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_decade": 4}, "need per_decade=6, or a multiple of it, on at least two decades"),
        ({"high": 1e-1}, "on at least two decades"),
        ({"report_seeds": range(5)}, "two report seeds, one to choose a rate and one to report, got 5 in all"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
    ],
)
def test_a_study_that_is_declared_wrongly_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        replace(SQUARES, **changes)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown sampler 'best'"):
        experiment(samplers=["best"])


def test_declared_experiment_searches_at_equal_trials_and_judges_on_other_seeds() -> None:
    declared = load_experiment("e04_exponent_search")
    assert isinstance(declared, ExponentSearch)
    assert tuple(declared.samplers) == ("tpe", "random", "qmc")
    assert declared.budget == 64
    assert {"cosine", "linear", "constant", "WSD"} <= set(declared.baselines)
    for study in declared.studies:
        network = study.name.startswith("digits")
        assert study.repeats >= (10 if network else 20)
        assert len(study.selection_seeds) >= (5 if network else 10)
        assert len(study.pairs) >= (5 if network else 20)
        used = [*study.selection_seeds, *(seed for pair in study.pairs for seed in pair)]
        assert len(set(used)) == len(used)
    small = declared.smoke()
    assert sum(trial.steps for trial in small.trials()) < 0.01 * sum(trial.steps for trial in declared.trials())
    assert ANY_GRID in MEASURES
