from dataclasses import astuple, replace

import numpy as np
import pytest

from adaptive_lr.errors import FitError, InputError
from adaptive_lr.meta import law_problem
from adaptive_lr.meta.law_curves import Columns, Curve, read_curves
from adaptive_lr.meta.law_fit import LawFit, fit_law, scores
from adaptive_lr.meta.law_problem import Problem
from adaptive_lr.meta.laws import LAWS, AbstractLaw, AnnealingLaw, MultiPowerLaw
from tests.loss_curves import ANNEALING, MULTI_POWER, RECORDED, curve, curves, path

EVERY = pytest.mark.parametrize("law", [MULTI_POWER, ANNEALING], ids=lambda law: law.kind)


@EVERY
def test_parameters_come_back_from_curves_with_noise(law: AbstractLaw) -> None:
    fit = fit_law(curves(law, noise=2e-4), type(law), starts=4, replicates=40)
    for name, value in law.parameters().items():
        low, high = fit.interval(name)
        assert low / 1.3 < value < high * 1.3, name
        assert low <= getattr(fit.law, name) * 1.05
    assert pytest.approx(law.L0, rel=0.01) == fit.law.L0
    assert fit.law.alpha == pytest.approx(law.alpha, rel=0.05)
    assert fit.in_sample.worst < 2e-3


@EVERY
def test_a_schedule_that_was_not_seen_is_predicted(law: AbstractLaw) -> None:
    fit = fit_law(curves(law, noise=2e-4), type(law), starts=4, replicates=40)
    rates = path("0.2")
    steps = np.arange(200, 3001, 50)
    predicted = fit.predict(rates, steps)
    truth = law.losses(rates, steps)
    assert np.abs(predicted.losses / truth - 1.0).max() < 1e-3
    assert ((truth >= predicted.low) & (truth <= predicted.high)).mean() > 0.95
    assert (predicted.high / predicted.low - 1.0).max() < 5e-3


def test_a_seed_fixes_the_result_and_another_one_changes_the_intervals() -> None:
    recorded_curves = curves(ANNEALING, noise=3e-4)
    first, again, other = (
        fit_law(recorded_curves, AnnealingLaw, starts=3, replicates=20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.interval("L0") != other.interval("L0")
    assert pytest.approx(other.law.L0, rel=1e-4) == first.law.L0


@pytest.mark.slow
def test_intervals_cover() -> None:
    names = ("L0", "alpha", "C", "forgetting")
    covered = dict.fromkeys(names, 0)
    repeats = 40
    for seed in range(repeats):
        fit = fit_law(curves(ANNEALING, noise=5e-4, seed=seed), AnnealingLaw, starts=2, replicates=60, seed=seed)
        for name in names:
            low, high = fit.interval(name)
            covered[name] += low <= getattr(ANNEALING, name) <= high
    # 95 % with 60 resampled fits, shared draws of four curves: at least 80 % within the error of 40 repeats
    assert min(covered.values()) >= 0.8 * repeats, covered


def test_intervals_cover_in_a_few_simulations() -> None:
    inside = 0
    for seed in range(8):
        fit = fit_law(curves(ANNEALING, noise=5e-4, seed=seed), AnnealingLaw, starts=2, replicates=40, seed=seed)
        for name in ("L0", "alpha", "C"):
            low, high = fit.interval(name)
            inside += low <= getattr(ANNEALING, name) <= high
    assert 17 <= inside <= 24  # of 24; binomial at 95 %: 19 or more in 99.9 %


def test_noise_widens_the_intervals() -> None:
    widths = []
    for noise in (2e-4, 2e-3):
        low, high = fit_law(curves(ANNEALING, noise=noise), AnnealingLaw, starts=2, replicates=30).interval("L0")
        widths.append(high - low)
    assert widths[1] > 4.0 * widths[0]


def test_an_outlier_changes_little() -> None:
    recorded_curves = curves(ANNEALING, noise=2e-4)
    losses = recorded_curves[0].losses.copy()
    losses[[20, 60]] *= 1.2
    clean = fit_law(recorded_curves, AnnealingLaw, starts=3, replicates=20)
    spoilt = fit_law(
        [replace(recorded_curves[0], losses=losses), *recorded_curves[1:]], AnnealingLaw, starts=3, replicates=20
    )
    assert pytest.approx(clean.law.L0, rel=2e-3) == spoilt.law.L0


def test_rows_that_curves_share_count_once() -> None:
    shared = [curve("constant"), curve("0.3")]  # one run until step 1500, without noise the same to the last digit
    problem = Problem.of(AnnealingLaw, shared)
    common = int((shared[0].steps < 1500).sum())
    count = len(shared[0].steps)
    np.testing.assert_array_equal(problem.owner[count : count + common], np.arange(common))
    np.testing.assert_array_equal(problem.weights[:common], 0.5)
    np.testing.assert_array_equal(problem.weights[common:count], 1.0)
    assert problem.owner[count + common] == count + common


def test_constant_curves_identify_nothing_of_the_drop() -> None:
    with pytest.raises(InputError, match="the rate is constant after its warm-up, so that what a falling rate brings"):
        fit_law([curve("constant")])
    with pytest.raises(InputError, match="the rate of every curve is constant"):
        fit_law([curve("constant"), replace(curve("constant"), name="again")])


def test_too_few_rows_are_refused() -> None:
    short = curve("cosine")
    with pytest.raises(
        InputError, match="the curves have 15 rows after their warm-ups: too few, a fit needs at least 30"
    ):
        fit_law([replace(short, steps=short.steps[::8][:20], losses=short.losses[::8][:20])])
    with pytest.raises(InputError, match="at least one curve"):
        fit_law([])


def test_what_is_not_identifiable_is_refused_with_intervals() -> None:
    with pytest.raises(FitError, match=r"not identifiable from these curves; 95 % intervals: L0 .* to .*Add curves"):
        fit_law([curve("0.97", noise=1e-2)], MultiPowerLaw, starts=3, replicates=20)


def test_a_search_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law_problem, "MOST_EVALUATIONS", 2)
    with pytest.raises(FitError, match="the fit of the multi-power law does not converge from 2 starts"):
        fit_law(curves(noise=1e-3), starts=2, replicates=20)


def test_what_exponents_are_as_assumed_is_said() -> None:
    fit = fit_law([curve("constant", noise=5e-4), curve("cosine", noise=5e-4)], starts=4, replicates=40)
    assert any("The curves say little of beta" in note for note in fit.notes)


def test_progress_is_reported() -> None:
    calls: list[tuple[int, int]] = []
    fit_law(
        curves(ANNEALING), AnnealingLaw, starts=2, replicates=20, report=lambda done, total: calls.append((done, total))
    )
    assert calls == [(index, 22) for index in range(1, 23)]


def test_cautions_name_what_no_curve_showed() -> None:
    fit = fit_law(curves(ANNEALING, noise=1e-4), AnnealingLaw, starts=2, replicates=20)
    assert fit.cautions(path("cosine"), 150) == []
    longer = fit.cautions(2.0 * path("0.01", 6000), 150)
    assert [note.split()[0] for note in longer] == ["6000", "The", "The"]


def test_many_rows_become_means() -> None:
    rates = path("constant")
    steps = np.arange(200, 3001)
    thin = Curve("long", rates, 150, steps, MULTI_POWER.losses(rates, steps)).thinned(400)
    assert len(thin.steps) == 400
    assert (np.diff(thin.steps) > 0).all()
    assert "2801 rows are read as 400 means" in thin.notes[0]
    np.testing.assert_allclose(thin.losses, MULTI_POWER.losses(rates, thin.steps), rtol=1e-4)


def test_scores_are_what_they_are_called() -> None:
    result = scores(np.array([1.0, 2.0, 4.0]), np.array([1.1, 2.0, 3.6]))
    expected = (1.0 - 0.17 / (14.0 / 3.0), 0.5 / 3.0, (0.17 / 3.0) ** 0.5, 0.2 / 3.0, 0.1)
    np.testing.assert_allclose(astuple(result), expected)


FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
HELD_OUT = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")


def recorded(size: str, name: str) -> Curve:
    (result,), _ = read_curves([RECORDED / size / f"{name}.csv"], Columns(), 2160)
    within = result.steps < (100_000 if name.endswith("72000") else 24_000)
    return replace(result, steps=result.steps[within], losses=result.losses[within])


def fitted(size: str, kind: type[AbstractLaw] = MultiPowerLaw) -> LawFit:
    if not (RECORDED / size).is_dir():
        pytest.skip(f"the recorded curves are not part of the repository, and {RECORDED / size} is absent")
    return fit_law([recorded(size, name) for name in FITTED], kind, replicates=40)


@pytest.mark.parametrize(("size", "most"), [("25M", 0.0041), ("100M", 0.0044)])
def test_recorded_curves_of_six_other_schedules_are_predicted(size: str, most: float) -> None:
    fit = fitted(size)
    errors = []
    for name in HELD_OUT:
        other = recorded(size, name)
        errors.append(astuple(scores(other.losses, fit.predict(other.rates, other.steps).losses)))
    r2, mae, *_ = np.mean(errors, axis=0)
    assert mae <= most
    assert r2 > 0.998


@pytest.mark.parametrize(
    ("size", "parameters", "mae"),
    [
        ("25M", (3.0405, 0.5247, 0.5079, 363.79, 2.0656, 0.5828, 0.6414), 0.00376),
        ("100M", (2.6514, 0.6012, 0.4530, 437.95, 2.1325, 0.5979, 0.6552), 0.00435),
    ],
)
def test_published_parameters_give_the_published_error(size: str, parameters: tuple[float, ...], mae: float) -> None:
    if not (RECORDED / size).is_dir():
        pytest.skip(f"the recorded curves are not part of the repository, and {RECORDED / size} is absent")
    law = MultiPowerLaw(*parameters)
    others = [recorded(size, name) for name in HELD_OUT]
    errors = [scores(other.losses, law.losses(other.rates, other.steps)).mae for other in others]
    assert np.mean(errors) == pytest.approx(mae, abs=8e-5)


def test_both_laws_are_tested() -> None:
    assert set(LAWS) == {type(MULTI_POWER), type(ANNEALING)}
