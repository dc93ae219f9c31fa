import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis.any_rate import Starts, headline, judge, summarise
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment import AnyRate, geometric_grid, load_experiment, run_experiment
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
    keys = ("best", "mean", "worst", "spread")
    assert [rows["a"][key]["value"] for key in keys] == pytest.approx([1.0, 16 / 6, 5.0, 5.0])
    assert [rows["b"][key]["value"] for key in keys] == pytest.approx([1.0, 1.5, 2.0, 2.0])
    assert rows["a"]["diverged"] == [0.0, 0.0, 1.0]  # NaN, and a finite 50 where it was 10 before training
    assert rows["b"]["time"] == 2.0
    assert rows["b"]["near"]["worst"]["value"] == pytest.approx(2.0)
    assert rows["b"]["too_high"]["mean"]["value"] == pytest.approx(2.0)
    assert rows["b"]["too_low"]["mean"]["value"] == pytest.approx(1.5)


def test_every_seed_has_its_own_oracle_and_its_own_worst_start() -> None:
    reference = starts([[1.0, 8.0], [4.0, 2.0]], [0.1, 1.0])  # oracle 1 on the first seed, 2 on the second
    other = starts([[2.0, 2.0], [1.0, 8.0]], [0.1, 1.0])  # worst 2 and 8, best 1 and 2, mean 1.5 and 5
    rows = summarise({"a": reference, "b": other}, {"a": "g", "b": "h"}, "a", {"a": False, "b": False})["contestants"]
    assert rows["b"]["worst"]["value"] == pytest.approx((2.0 * 4.0) ** 0.5)
    assert rows["b"]["best"]["value"] == pytest.approx(1.0)
    assert rows["b"]["mean"]["value"] == pytest.approx((1.5 * 2.5) ** 0.5)
    assert rows["b"]["spread"]["value"] == pytest.approx((2.0 * 4.0) ** 0.5)
    # log 2 and log 4: the standard error is log(2)/2, t_1 is 12.7062
    assert rows["b"]["worst"]["high"] == pytest.approx(8.0**0.5 * np.exp(12.7062 * np.log(2.0) / 2.0), rel=1e-4)
    assert rows["b"]["lost"] is None


def test_without_an_optimum_losses_are_shares_of_what_training_gains() -> None:
    reference = starts([[2.0, 4.0], [9.0, 9.0]], [0.1, 1.0], optimum=None)
    other = starts([[2.4, 4.3], [3.2, 4.6]], [0.1, 1.0], optimum=None)
    row = summarise({"a": reference, "b": other}, {"a": "g", "b": "h"}, "a", {"a": False, "b": False})["contestants"][
        "b"
    ]
    assert row["lost"]["worst"]["value"] == pytest.approx((1.2 / 8.0 + 0.6 / 6.0) / 2.0)
    assert row["lost"]["best"]["value"] == pytest.approx(0.05)
    assert row["lost"]["mean"]["value"] == pytest.approx((0.8 / 8.0 + 0.45 / 6.0) / 2.0)
    assert row["lost"]["spread"]["value"] == pytest.approx((0.8 / 8.0 + 0.3 / 6.0) / 2.0)
    assert row["difference"]["worst"]["value"] == pytest.approx(0.9)
    assert not row["tests"]["close"]
    assert not row["tests"]["forgotten"]


def test_close_and_forgotten_needs_both_beyond_doubt() -> None:
    def verdict(worst: list[float], best: list[float], optimum: float | None) -> str:
        reference = starts([[1.0] * 6, [3.0] * 6], [0.1, 1.0], optimum=optimum)
        other = starts([best, worst], [0.1, 1.0], optimum=optimum)
        study = summarise({"a": reference, "b": other}, {"a": "g", "b": "h"}, "a", {"a": False, "b": False})
        judge({"one": study})
        return str(study["contestants"]["b"]["tests"]["verdict"])

    noise = np.array([-0.01, 0.01, 0.02, -0.02, 0.0, 0.005])
    near, exact = (1.03 + noise).tolist(), [1.0] * 6
    assert verdict(near, exact, 0.0) == "close and forgotten"  # 3 % above, the limits are 20 and 10 %
    assert verdict((1.15 + noise).tolist(), exact, 0.0) != "close and forgotten"  # close, but 15 % from the best start
    assert verdict((1.25 + noise).tolist(), (1.24 + noise).tolist(), 0.0) != "close and forgotten"
    assert verdict(near, exact, None) == "close and forgotten"  # .03 of 9 gained, the limits are .05 and .025
    assert (
        verdict((1.3 + noise).tolist(), exact, None) != "close and forgotten"
    )  # a share of .033 between best and worst
    assert (
        verdict((1.18 + noise).tolist(), [0.98] * 6, None) == "close and forgotten"
    )  # close and forgotten, at 1.2 times
    assert verdict((1.0 + 20.0 * noise).tolist(), exact, 0.0) != "close and forgotten"


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

    studies = {"one": study(1.0), "two": study(1.15), "three": study(4.0)}
    assert judge(studies) == {"verdicts": 6, "repetitions": [1, 1]}
    total = headline(studies)["b"]
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


def test_studies_of_one_area_are_counted_together(finished: Path, tmp_path: Path) -> None:
    studies = [
        replace(study, area="streams", factor=factor)
        for study, factor in zip(EXPERIMENT.studies, (1.0, 4.0), strict=True)
    ]
    with Store(finished) as store:
        numbers = replace(EXPERIMENT, studies=studies).analyse(store)
        text = write_report([numbers], store.provenance(), tmp_path).read_text(encoding="utf-8")
    assert [(area["area"], area["factor"], area["cells"]) for area in numbers["areas"]] == [
        ("streams", 1.0, 1),
        ("streams", 4.0, 1),
        ("streams", None, 2),
    ]
    rows = [study["contestants"]["anchor"] for study in numbers["studies"].values()]
    together = numbers["areas"][-1]["contestants"]["anchor"]
    assert together["ratio_mean"] == pytest.approx((rows[0]["mean"]["value"] * rows[1]["mean"]["value"]) ** 0.5)
    for title in ("streams, T", "streams, 4 T", "streams, all"):
        assert f'<th class="wrap">{title}</th>' in text
    assert f"Streams: anchor is close to the oracle in {together['close']} of 2 cells" in text
    assert re.search(r"ends lower under anchor in \d of \d against «schedules»", text)
    assert list(numbers["traces"]["anchor"]) == ["squares"]  # of an area, the study at its task's own horizon


def test_events_show_the_rate_that_was_used(finished: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    with Store(finished) as store:
        runs = EXPERIMENT.runs_to_show(numbers, everything=False)
        assert write_events(runs, store, tmp_path) == len(runs)
    assert any("anchor" in run.folder for run in runs)


def test_smoke_size_is_small() -> None:
    small = EXPERIMENT.smoke()
    assert sum(trial.steps for trial in small.trials()) < 0.1 * sum(trial.steps for trial in EXPERIMENT.trials())


@pytest.mark.parametrize("name", ["e02_any_learning_rate", "e03_controller_ablation"])
def test_smoke_size_has_every_area_and_in_the_first_all_that_controllers_do(name: str) -> None:
    experiment = load_experiment(name)
    assert isinstance(experiment, AnyRate)
    small = experiment.smoke()
    assert {study.area for study in small.studies} == {study.area for study in experiment.studies}
    assert len(small.studies) <= len({study.area for study in experiment.studies}) + 1
    assert small.by_label.keys() == experiment.by_label.keys()
    first, *others = small.studies
    assert len(first.seeds) == 2
    for study in (first, *others):
        for contestant in small.cells(study).values():
            assert len(contestant.grid(study)) == (
                1 if contestant.tuning.searches else min(3, len(contestant.rates) or 3)
            )
    for label in (experiment.reference, experiment.judged):
        assert all(label in small.cells(study) for study in small.studies)
    for label in small.by_label:
        assert any(label in small.cells(study) for study in small.studies) or "SASA" in label  # at four horizons alone
    for contestant in experiment.by_label.values():
        asked = {contestant.controller.signals(step, first.steps) for step in range(first.steps)}
        assert asked == {contestant.controller.signals(step, 2000) for step in range(2000)}, contestant.controller


def test_smoke_size_takes_the_middle_of_windows_that_are_wide_enough() -> None:
    def window(low: float, high: float) -> list[float]:
        small = replace(STUDY, low=low, high=high).small()
        return [float(f"{rate:.6g}") for rate in geometric_grid(small.low, small.high, 1)]

    assert window(1e-3, 1e2) == [0.1, 1.0, 10.0]
    assert window(1e-3, 1.0) == [1e-3, 1e-2, 1e-1]
    assert window(0.3, 30.0) == [0.3, 3.0, 30.0]
    assert window(0.3, 3.0) == [0.3, 3.0]


def test_others_than_the_reference_are_compared_at_the_rates_of_the_grid_alone() -> None:
    reference = starts([[4.0], [1.0], [9.0]], [0.1, 0.3, 1.0])  # the best rate lies between those of the grid
    groups, relative = {"a": "g", "b": "h"}, {"a": False, "b": False}
    rows = summarise({"a": reference, "b": reference}, groups, "a", relative, np.array([0.1, 1.0]))["contestants"]
    for row in rows.values():
        assert [row[key]["value"] for key in ("best", "mean", "worst")] == pytest.approx([4.0, 6.5, 9.0])
        assert row["curve"]["rates"] == [0.1, 0.3, 1.0]
