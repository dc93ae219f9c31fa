import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis.any_rate import Starts, headline, summarise
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment import run_experiment
from adaptive_lr.experiment.any_rate import traced
from adaptive_lr.reporting.report import page_of, write_report
from adaptive_lr.reporting.tensorboard import write_events
from adaptive_lr.training import Peer
from adaptive_lr.trials.store import Store
from tests.tiny_rates import EXPERIMENT, STUDY


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "store.sqlite"
    with Store(path, write=True) as store:
        assert run_experiment(EXPERIMENT, store, workers=1) == len(EXPERIMENT.trials())
    return path


@pytest.fixture(scope="module")
def numbers(finished: Path) -> dict[str, Any]:
    with Store(finished) as store:
        return EXPERIMENT.analyse(store)


def starts(losses: list[list[float]], rates: list[float], **changes: Any) -> Starts:
    settings: dict[str, Any] = {"initial": 10.0, "optimum": 0.0, "seconds": 1.0, "extra_steps": 0.0} | changes
    return Starts.clipped(rates=np.array(rates), losses=np.array(losses), **settings)


def test_ratios_are_to_the_oracle_and_divergence_counts_as_untrained() -> None:
    reference = starts([[4.0, 4.0], [2.0, 2.0], [np.nan, 50.0]], [0.1, 1.0, 10.0])
    other = starts([[3.0, 3.0], [2.0, 2.0], [4.0, 4.0]], [0.1, 1.0, 10.0], extra_steps=0.1, seconds=2.0)
    found = summarise({"a": reference, "b": other}, {"a": "g", "b": "h"}, "a", {"a": False, "b": False})
    assert found["oracle"] == {"loss": 2.0, "rate": 1.0, "at_boundary": False}
    rows = found["contestants"]
    assert [rows["a"][key]["value"] for key in ("best", "mean", "worst", "spread")] == [1.0, 16 / 6, 5.0, 5.0]
    assert [rows["b"][key]["value"] for key in ("best", "mean", "worst", "spread")] == [1.0, 1.5, 2.0, 2.0]
    assert rows["a"]["diverged"] == [0.0, 0.0, 0.5]
    assert rows["b"]["time"] == 2.0
    assert rows["b"]["near"]["worst"]["value"] == 2.0
    assert rows["b"]["too_high"]["mean"]["value"] == 2.0
    assert rows["b"]["too_low"]["mean"]["value"] == 1.5


def test_excess_is_above_the_optimum() -> None:
    assert starts([[3.0]], [1.0], optimum=2.5).excess.tolist() == [[0.5]]


def test_rates_that_mean_something_else_have_no_window() -> None:
    one = starts([[1.0]], [1.0])
    found = summarise({"a": one, "b": one}, {"a": "g", "b": "g"}, "a", {"a": False, "b": True})
    assert found["contestants"]["b"]["near"] is None


def test_headline_counts_tasks_and_takes_geometric_means() -> None:
    def study(worst: float) -> dict[str, Any]:
        reference = starts([[1.0]], [1.0])
        other = starts([[1.0], [worst]], [0.1, 1.0])
        groups = {"a": "g", "b": "h"}
        return summarise({"a": reference, "b": other}, groups, "a", {"a": False, "b": False})

    total = headline({"one": study(1.0), "two": study(1.15), "three": study(4.0)})["b"]
    assert (total["close"], total["forgotten"], total["both"], total["studies"]) == (2, 1, 1, 3)
    assert total["hardest"] == "three"
    assert total["too_high"] is None
    assert total["too_low"] == pytest.approx(1.0)
    assert total["geometric_worst"] == pytest.approx((1.0 * 1.15 * 4.0) ** (1 / 3))


def test_anchor_forgets_the_start_and_the_cosine_does_not(numbers: dict[str, Any]) -> None:
    for study in numbers["studies"].values():
        rows = study["contestants"]
        assert rows["anchor"]["spread"]["value"] < 1.5
        assert rows["cosine"]["spread"]["value"] > 5.0
    assert numbers["overall"]["anchor"]["extra_steps"] == pytest.approx(40 / 3 / 400)


def test_numbers_are_the_same_every_time_and_fit_json(finished: Path, numbers: dict[str, Any]) -> None:
    with Store(finished) as store:
        assert EXPERIMENT.analyse(store) == numbers
    assert json.loads(json.dumps(numbers, allow_nan=False)) == json.loads(json.dumps(numbers))


def test_traces_show_the_course_of_three_starts(numbers: dict[str, Any]) -> None:
    found = numbers["traces"]["anchor"]["squares"]
    assert list(found) == ["0.0001", "0.1", "10"]
    for course in found.values():
        assert course["step"][0] == 0
        assert course["step"][-1] == STUDY.steps - 1
        assert {"rate", "edge"} <= set(course)
    assert traced(1) == [0]


def test_missing_trials_are_said(finished: Path) -> None:
    longer = replace(EXPERIMENT, studies=[replace(STUDY, steps=41)])
    with Store(finished) as store, pytest.raises(StoreError, match="run the experiment first"):
        longer.analyse(store)


def test_studies_need_seeds() -> None:
    with pytest.raises(ExperimentError, match="study squares: seeds must not be empty"):
        replace(STUDY, seeds=range(0))


def test_packages_that_are_not_installed_are_skipped_with_a_reason(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "Peer 'schedulefree_sgd' needs the package schedulefree: pip install 'adaptive-lr[peers]'"
    monkeypatch.setattr(Peer, "unavailable", lambda self: reason)
    peers = {trial.digest() for row in EXPERIMENT.by_label["schedule-free"].trials(STUDY) for trial in row}
    assert not peers & {trial.digest() for trial in EXPERIMENT.trials()}
    other = replace(EXPERIMENT, studies=[replace(STUDY, seeds=range(2))])
    fresh = EXPERIMENT.by_label["schedule-free"]
    changed = replace(fresh, rates=(0.3,))
    contestants = {**other.contestants, "peers": {"schedule-free": changed}}
    with Store(finished) as store:
        found = replace(other, contestants=contestants).analyse(store)
    assert found["skipped"] == {"schedule-free": reason}
    assert "schedule-free" not in found["studies"]["squares"]["contestants"]


def test_report_has_the_answer_the_tables_and_a_page_for_each_controller(
    finished: Path, numbers: dict[str, Any], tmp_path: Path
) -> None:
    with Store(finished) as store:
        page = write_report([numbers], store.provenance(), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert EXPERIMENT.question in text
    assert re.search(r"anchor ends with at most 1.2 times the loss .* in \d of 2 tasks", text)
    link = page_of(numbers, "anchor")
    assert f'href="{link}"' in text
    about = (tmp_path / link).read_text(encoding="utf-8")
    assert about.count("<svg") == 2
    assert "<p>eta_t = fraction * edge * m(u)" in about
    assert "<code>decrease</code>" in about
    for one in (text, about):
        assert "url(http" not in one
        assert not re.search(r"""(?:src|href)=["'](?!#|controllers/|\.\./index\.html)""", one)


def test_events_show_the_rate_that_was_used(finished: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    with Store(finished) as store:
        runs = EXPERIMENT.runs_to_show(numbers, everything=False)
        assert write_events(runs, store, tmp_path) == len(runs)
    assert any("anchor" in run.folder for run in runs)


def test_smoke_size_is_small() -> None:
    small = EXPERIMENT.smoke()
    assert sum(trial.steps for trial in small.trials()) < 0.3 * sum(trial.steps for trial in EXPERIMENT.trials())
