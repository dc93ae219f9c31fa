import numpy as np
import pytest

from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_design import KNOTS, described, design, rates_of
from adaptive_lr.meta.law_fit import LawFit, fit_law
from adaptive_lr.meta.laws import AbstractLaw
from adaptive_lr.schedules import WSD, Constant, Points, Warmup
from adaptive_lr.serialise import from_json, to_json
from tests.loss_curves import ANNEALING, MULTI_POWER, PEAK, curves

STEPS, WARMUP = 3000, 150


def fitted(law: AbstractLaw) -> LawFit:
    return fit_law(curves(law, noise=2e-4), type(law), starts=3, replicates=20)


@pytest.fixture(scope="module")
def fit() -> LawFit:
    return fitted(MULTI_POWER)


@pytest.mark.parametrize("law", [MULTI_POWER, ANNEALING], ids=lambda law: law.kind)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_no_usual_schedule_is_better_than_the_design(law: AbstractLaw, floor: float) -> None:
    fit = fitted(law)
    result = design(fit, steps=STEPS, warmup=WARMUP, floor=floor)
    assert [rival.loss for rival in result.rivals] == sorted(rival.loss for rival in result.rivals)
    assert {rival.name for rival in result.rivals} == {"constant", "cosine", "linear", "WSD, linear", "WSD, sqrt"}
    for rival in result.rivals:
        assert rival.excess[0] > 0.0
        assert rival.excess[1] <= rival.excess[2]
        exact = fit.law.losses(rates_of(rival.schedule, 3000, PEAK), np.array([3000]))[0]
        assert rival.loss == pytest.approx(exact, rel=1e-12)


def test_the_design_rises_once_and_serialises(fit: LawFit) -> None:
    result = design(fit, steps=STEPS, warmup=WARMUP)
    assert isinstance(result.schedule, Points)
    assert from_json(to_json(result.schedule)) == result.schedule
    rates = rates_of(result.schedule, 3000, PEAK)
    assert (np.diff(rates[:151]) > 0.0).all()
    assert (np.diff(rates[150:]) <= 1e-18).all()
    assert rates[150] == pytest.approx(PEAK)
    assert len(result.schedule.u) <= KNOTS + 1
    assert result.loss[0] == pytest.approx(
        fit.law.losses(rates)[-1] if rates[0] else fit.law.losses(rates, np.array([3000]))[0]
    )
    assert result.loss[1] <= result.loss[0] <= result.loss[2]


def test_no_small_monotone_change_makes_the_design_better(fit: LawFit) -> None:
    result = design(fit, steps=STEPS, warmup=WARMUP, floor=0.1)
    u, m = np.array(result.schedule.u), np.array(result.schedule.m)
    for seed in range(30):
        generator = np.random.default_rng(seed)
        moved = m.copy()
        moved[2:] = np.minimum.accumulate(np.clip(m[2:] + 0.02 * generator.standard_normal(len(m) - 2), 0.1, 1.0))
        other = Points(u=tuple(u.tolist()), m=tuple(moved.tolist()))
        loss = fit.law.losses(rates_of(other, 3000, PEAK), np.array([3000]))[0]
        assert loss > result.loss[0] - 1e-6


def test_a_floor_is_kept(fit: LawFit) -> None:
    multipliers = rates_of(design(fit, steps=STEPS, warmup=WARMUP, floor=0.2).schedule, 3000, 1.0)[150:]
    assert multipliers.min() == pytest.approx(0.2, abs=1e-6)


def test_a_design_that_asks_for_more_than_was_recorded_says_so(fit: LawFit) -> None:
    (caution,) = design(fit, steps=6000, warmup=150, floor=0.1).cautions
    assert caution == "6000 steps are more than the 3000 of the longest curve."


def test_a_run_without_a_warm_up_is_designed(fit: LawFit) -> None:
    result = design(fit, steps=2000, warmup=0)
    assert rates_of(result.schedule, 2000, 1.0)[0] == 1.0


def test_shapes_are_described() -> None:
    assert described(Constant(), 1000, 0) == "stays above 95 % of the peak throughout"
    warm = Warmup(steps=100, then=WSD(cooldown=0.5, shape="linear", floor=0.1))
    assert "for 53 % of the run after the warm-up, then falls like (1 - x)^1.0" in described(warm, 1100, 100)
    assert described(warm, 1100, 100).endswith("to 10 % of the peak")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup": 2995}, "the warm-up must leave at least 10 of the 3000 steps, got 2995"),
        ({"floor": 1.0}, r"the floor must lie in \[0, 1\), got 1.0"),
        ({"peak": -1.0}, "the peak rate must be a finite number above 0, got -1.0"),
        ({"steps": 10**7}, "a run may have 5000000 steps here, got 10000000"),
    ],
)
def test_what_cannot_be_designed_is_refused(fit: LawFit, change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        design(
            fit,
            steps=int(change.get("steps", STEPS)),
            warmup=int(change.get("warmup", WARMUP)),
            peak=change.get("peak"),
            floor=change.get("floor", 0.0),
        )
