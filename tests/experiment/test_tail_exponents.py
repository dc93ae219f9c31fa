from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import AbstractSchedule, Constant, DampedCosine, Linear, Polynomial
from adaptive_lr.analysis.exponents import fitted_places, judge, predicted, summarise
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.experiment import TailExponents, load_experiment, run_experiment
from adaptive_lr.reporting.report import write_report
from adaptive_lr.reporting.tail_prose import headline
from adaptive_lr.tasks import StreamingLeastAbsolute
from adaptive_lr.training import ProjectedSGD
from adaptive_lr.trials.store import Store
from tests.tiny import STUDY

RATES = 10.0 ** np.arange(-2, 5.01, 0.25)


def power_law(slope: float, *, initial: float = 1e6, wobble: float = 0.02) -> Sweep:
    """Losses that fall like 1/rate below 1 and grow like rate^slope above, with a little noise over seeds."""
    noise = np.random.default_rng(round(100 * slope)).normal(size=(6, 1))
    excess = np.where(RATES < 1.0, 1.0 / RATES, RATES**slope) * np.exp(wobble * noise)
    return Sweep.clipped(
        rates=RATES, selection=excess, report=excess, initial=(initial, initial), optimum=0.0, per_decade=4
    )


def test_prediction_for_a_cosine_power_is_one_over_four_times_the_exponent_and_one() -> None:
    for exponent in (0.5, 1.0, 3.0):
        assert predicted(2.0 * exponent) == pytest.approx(1.0 / (4.0 * exponent + 1.0))


def test_slopes_of_power_laws_are_found() -> None:
    tails = {"a": 0.5, "b": 1.0, "c": 2.0, "d": 8.0}
    found = summarise({label: power_law(2.0 * predicted(p)) for label, p in tails.items()}, tails)
    for label, p in tails.items():
        row = found["schedules"][label]
        assert row["slope"]["value"] == pytest.approx(2.0 * predicted(p), abs=1e-9)
        assert row["slope"]["low"] - 1e-9 <= row["slope"]["value"] <= row["slope"]["high"] + 1e-9
        assert row["best_rate"] == pytest.approx(1.0)
    assert found["agreement"]["ratio"]["value"] == pytest.approx(2.0)
    assert found["agreement"]["correlation"]["value"] == pytest.approx(1.0)
    assert judge({"one": found, "none": {"agreement": None}}) == {"verdicts": 1, "repetitions": [6, 6]}
    assert found["agreement"]["order"]["verdict"] == "ordered"


def test_an_order_that_half_of_the_repetitions_do_not_show_is_loose() -> None:
    tails = {"a": 0.5, "b": 1.0, "c": 2.0, "d": 8.0}
    reversed_once = {label: power_law(2.0 * predicted(p)) for label, p in tails.items()}
    steep = reversed_once["d"]
    report = steep.report.copy()
    report[:3] = np.where(RATES < 1.0, 1.0 / RATES, RATES**1.5)  # in half of the repetitions
    found = summarise({**reversed_once, "d": replace(steep, report=report)}, tails)
    judge({"one": found})
    theory = [predicted(p) for p in tails.values()]
    steepest_last = np.corrcoef(theory, [*(2.0 * slope for slope in theory[:3]), 1.5])[0, 1]
    transformed = (np.arctanh(1.0 - 1e-9) + np.arctanh(steepest_last)) / 2.0
    assert found["agreement"]["correlation"]["value"] == pytest.approx(np.tanh(transformed))
    assert found["agreement"]["order"]["verdict"] == "loose"


def test_an_order_that_one_repetition_of_six_does_not_show_is_loose() -> None:
    """With slopes that scatter as measured ones do, at a correlation of some 0.97 in the other five."""
    source, tails = np.random.default_rng(0), {"a": 0.5, "b": 1.0, "c": 2.0, "d": 8.0}
    sweeps = {}
    for label, p in tails.items():
        slopes = 2.0 * predicted(p) + 0.08 * source.normal(size=(6, 1))
        if label == "d":
            slopes[0] = 1.5
        report = np.where(RATES < 1.0, 1.0 / RATES, RATES**slopes)
        sweeps[label] = Sweep.clipped(
            rates=RATES, selection=report, report=report, initial=(1e9, 1e9), optimum=0.0, per_decade=4
        )
    found = summarise(sweeps, tails)
    judge({"one": found})
    assert found["agreement"]["order"]["verdict"] == "loose"


def test_repetitions_that_all_say_the_same_are_not_a_certain_verdict_on_their_ranks() -> None:
    """Three repetitions in one order of four slopes: the ranks have no spread, the slopes have."""
    source, tails = np.random.default_rng(0), {"a": 0.5, "b": 1.0, "c": 2.0, "d": 8.0}
    verdicts = []
    for _ in range(40):
        slopes = [0.5 * predicted(p) + 0.25 + 0.02 * source.normal(size=(3, 1)) for p in tails.values()]
        reports = [np.where(RATES < 1.0, 1.0 / RATES, RATES**slope) for slope in slopes]
        sweeps = {
            label: Sweep.clipped(
                rates=RATES, selection=report, report=report, initial=(1e9, 1e9), optimum=0.0, per_decade=4
            )
            for label, report in zip(tails, reports, strict=True)
        }
        found = summarise(sweeps, tails)
        judge({"one": found})
        verdicts.append(found["agreement"]["order"]["p"])
    assert min(verdicts) > 1e-6


def test_rates_at_which_nothing_was_learnt_are_not_fitted() -> None:
    places = fitted_places(power_law(1.0, initial=500.0), 0)
    assert places is not None
    assert RATES[places[-1]] < 250.0
    assert fitted_places(power_law(1.0, initial=50.0), 0) is None
    few = {label: 1.0 for label in "abc"}
    assert summarise({label: power_law(0.5) for label in few}, few)["agreement"] is None


@pytest.fixture(scope="module")
def tiny() -> TailExponents:
    task = StreamingLeastAbsolute(dimension=10)
    study = replace(
        STUDY,
        name="ball",
        task=task,
        optimizer=ProjectedSGD(radius=2.0 * task.target_norm),
        low=1e-3,
        high=1e4,
        per_decade=4,
    )
    schedules: dict[str, dict[str, AbstractSchedule]] = {
        "fixed": {"constant": Constant()},
        "other": {"cosine": DampedCosine(), "linear": Linear(), "polynomial 4": Polynomial(power=4)},
        "damped cosine": {"cosine^2": DampedCosine(exponent=2), "cosine^4": DampedCosine(exponent=4)},
    }
    return TailExponents(
        name="e97_tiny_tails",
        title="Tiny",
        question="Does it run?",
        schedules=schedules,
        reference="cosine",
        tails={"constant": 0, "cosine": 2, "linear": 1, "polynomial 4": 4, "cosine^2": 4, "cosine^4": 8},
        conditions={"ball": "all"},
        studies=[study],
    )


def test_gentler_ends_forgive_more_in_a_ball_and_the_report_says_so(tiny: TailExponents, tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite", write=True) as store:
        run_experiment(tiny, store, workers=1)
        numbers: dict[str, Any] = tiny.analyse(store)
        page = write_report([numbers], store.provenance(), tmp_path / "report")
    rows = numbers["studies"]["ball"]["schedules"]
    high = {label: row["curve"]["mean"][-5] for label, row in rows.items()}
    assert high["cosine^4"] < high["cosine"] < high["constant"]
    assert "forgives a higher rate" in headline(numbers)[0]
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "least absolute deviation, streaming, in a ball" in text.lower()


def test_declared_experiment_says_an_end_and_a_condition_for_everything() -> None:
    found = load_experiment("e05_exponent_robustness")
    assert isinstance(found, TailExponents)
    assert set(found.tails) == set(found.by_label)
    assert set(found.conditions) == {one.name for one in found.studies}
    assert sum(trial.steps for trial in found.smoke().trials()) < 0.1 * sum(trial.steps for trial in found.trials())
