import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment import (
    AnyRate,
    Experiment,
    ExponentSearch,
    Horizons,
    RecordedRuns,
    experiment_names,
    load_experiment,
    run_experiment,
)
from adaptive_lr.reporting.report import write_report
from adaptive_lr.reporting.tensorboard import write_events
from adaptive_lr.trials.store import Store
from tests.tiny import EXPERIMENT, STUDY


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "store.sqlite"
    with Store(path, write=True) as store:
        assert run_experiment(EXPERIMENT, store, workers=1) == len(EXPERIMENT.trials())
    return path


@pytest.fixture(scope="module")
def numbers(finished: Path) -> dict[str, Any]:
    """What the experiment found."""
    with Store(finished) as store:
        return EXPERIMENT.analyse(store)


@pytest.fixture(scope="module")
def page(finished: Path, numbers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of its report."""
    with Store(finished) as store:
        return write_report([numbers], store.provenance(), tmp_path_factory.mktemp("report"))


def test_seeds_for_selection_and_report_must_be_disjoint() -> None:
    with pytest.raises(ExperimentError, match="study squares: selection_seeds and report_seeds must be disjoint"):
        replace(STUDY, report_seeds=range(101, 105))


def test_seeds_must_not_be_empty() -> None:
    with pytest.raises(ExperimentError, match="must not be empty"):
        replace(STUDY, report_seeds=range(0))


def test_every_cell_is_a_trial_of_its_own() -> None:
    trials = EXPERIMENT.trials()
    assert len(trials) == 2 * 5 * 25 * 5
    assert len({trial.digest() for trial in trials}) == len(trials)


def test_same_numbers_every_time(finished: Path, numbers: dict[str, Any]) -> None:
    with Store(finished) as store:
        assert EXPERIMENT.analyse(store) == numbers


def test_missing_trials_are_said(finished: Path) -> None:
    longer = replace(EXPERIMENT, studies=[replace(STUDY, steps=41)])
    with Store(finished) as store, pytest.raises(StoreError, match="125 trials of study squares are not in"):
        longer.analyse(store)


def test_finished_trials_are_not_run_again(finished: Path) -> None:
    with Store(finished, write=True) as store:
        assert run_experiment(EXPERIMENT, store, workers=1) == 0


def test_constant_costs_more_than_cosine_on_the_streaming_tasks(numbers: dict[str, Any]) -> None:
    for study in numbers["studies"].values():
        rows = study["schedules"]
        assert rows["constant"]["best"]["value"] > rows["cosine"]["best"]["value"]
        assert not rows["cosine"]["at_boundary"]


def test_report_is_one_page_that_needs_nothing_else(page: Path, numbers: dict[str, Any]) -> None:
    text = page.read_text(encoding="utf-8")
    assert EXPERIMENT.question in text
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)
    assert "url(http" not in text
    assert text.count("<svg") == 1 + len(EXPERIMENT.studies)
    written = json.loads(page.with_name("report.json").read_text())
    assert written["experiments"]["e99_tiny"] == json.loads(json.dumps(numbers))
    assert {path.suffix for path in page.with_name("figures").iterdir()} == {".png", ".svg"}


def test_every_study_gets_its_sentence_with_an_interval(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sentences = re.findall(
        r"With one learning rate a decade, the damped cosine \((?:cosine|cosine\^2)\) ends with excess loss [\d.e-]+ \[",
        text,
    )
    assert len(sentences) == len(EXPERIMENT.studies)


def test_report_is_the_same_to_the_byte(page: Path, finished: Path, tmp_path: Path) -> None:
    with Store(finished) as store:
        again = write_report([EXPERIMENT.analyse(store)], store.provenance(), tmp_path)
    assert again.read_bytes() == page.read_bytes()
    assert again.with_name("report.json").read_bytes() == page.with_name("report.json").read_bytes()


def test_tensorboard_shows_curves_and_hyperparameters(finished: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Store(finished) as store:
        runs = EXPERIMENT.runs_to_show(numbers, everything=False)
        assert write_events(runs, store, tmp_path) == len(runs)
    assert len({run.folder for run in runs}) == len(runs)
    assert {run.trial.seed for run in runs} == {0}
    chosen = next(run for run in runs if run.folder.startswith("squares/cosine/"))
    events = EventAccumulator(str(tmp_path / chosen.folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/learning_rate", "validation/excess", "final/excess"} <= set(tags)
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(chosen.trial.base_lr, rel=0.01)
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
    assert b"base_lr" in plugin.content
    assert b"cosine" in plugin.content


def test_all_trials_can_be_shown(numbers: dict[str, Any]) -> None:
    runs = EXPERIMENT.runs_to_show(numbers, everything=True)
    assert {run.trial.digest() for run in runs} == {trial.digest() for trial in EXPERIMENT.trials()}


def test_smoke_is_a_fraction_of_the_experiment() -> None:
    smoke = EXPERIMENT.smoke()
    assert sum(trial.steps for trial in smoke.trials()) < 0.1 * sum(trial.steps for trial in EXPERIMENT.trials())
    assert "smoke" in smoke.title
    assert smoke.by_label == EXPERIMENT.by_label
    assert [(study.name, len(study.report_seeds)) for study in smoke.studies] == [("squares", 2), ("absolute", 1)]
    for small, whole in zip(smoke.studies, EXPERIMENT.studies, strict=True):
        assert set(small.rates.round(9)) < set(whole.rates.round(9))
        assert small.rates[-1] / small.rates[0] == pytest.approx(100.0)
        assert small.rates[0] / whole.rates[0] == pytest.approx(whole.rates[-1] / small.rates[-1])


def test_declared_experiments_load_and_their_trials_are_distinct() -> None:
    assert "e01_grid_resolution" in experiment_names()
    for name in experiment_names():
        experiment = load_experiment(name)
        assert experiment.name == name
        trials = experiment.trials()
        assert len({trial.digest() for trial in trials}) == len(trials)
        if isinstance(experiment, RecordedRuns):
            continue
        assert isinstance(experiment, Experiment | AnyRate | ExponentSearch | Horizons)
        assert experiment.reference in experiment.by_label


def test_file_without_an_experiment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("X = 1\n")
    with pytest.raises(ExperimentError, match="declares no EXPERIMENT"):
        load_experiment(str(path))
