import numpy as np
import pytest

from adaptive_lr import Polynomial
from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.meta.functional_law import LossCurve, fit_functional_law

T = 2000
U = np.arange(T) / T
CONSTANT, COSINE = 0.3 * np.ones(T), 0.15 * (1.0 + np.cos(np.pi * U))


def least_squares(beta: float, source: float, rates: Array, noise: float = 0.5) -> LossCurve:
    """Exact expected losses of SGD with additive noise on a spectrum j^-beta, step by step."""
    order = np.arange(1.0, 2001.0)
    spectrum = order**-beta
    squares = order ** -(source * beta + 1.0) / spectrum
    steps = np.unique(np.round(np.geomspace(20, len(rates), 70)).astype(int))
    losses = []
    for eta in rates:
        squares = (1.0 - eta * spectrum) ** 2 * squares + eta**2 * spectrum * noise**2
        losses.append(0.5 * float(spectrum @ squares) + 0.5 * noise**2)
    return LossCurve(steps, np.array(losses)[steps - 1], rates)


def noisy(curve: LossCurve, seed: int, size: float) -> LossCurve:
    wobble = np.random.default_rng(seed).normal(size=len(curve.losses))
    return LossCurve(curve.steps, curve.losses * (1.0 + size * wobble), curve.rates)


@pytest.mark.parametrize(("beta", "source"), [(1.3, 1.0), (1.7, 0.9)])
def test_beta_of_simulated_runs_is_found_and_gives_the_power(beta: float, source: float) -> None:
    law = fit_functional_law([least_squares(beta, source, rates) for rates in (CONSTANT, COSINE)])
    assert law.beta == pytest.approx(beta, abs=0.16)
    assert law.source == pytest.approx(source, rel=0.15)
    assert law.low <= law.beta <= law.high
    assert law.schedule() == Polynomial(power=law.power)
    assert law.power == pytest.approx(2 * law.beta - 1)
    assert law.easy


def test_interval_widens_with_noise_of_the_losses_until_it_is_refused() -> None:
    curves = [least_squares(1.5, 1.0, rates) for rates in (CONSTANT, COSINE)]
    widths = []
    for size in (0.0, 0.002):
        law = fit_functional_law([noisy(curve, index, size) for index, curve in enumerate(curves)])
        widths.append(law.high - law.low)
    assert widths[0] < widths[1]
    with pytest.raises(InputError, match="not identifiable"):
        fit_functional_law([noisy(curve, index, 0.1) for index, curve in enumerate(curves)])


def test_runs_without_noise_in_the_gradients_say_nothing_of_beta() -> None:
    with pytest.raises(InputError, match="not identifiable"):
        fit_functional_law([least_squares(1.5, 1.0, rates, noise=0.0) for rates in (CONSTANT, COSINE)])


def test_one_schedule_is_not_enough() -> None:
    curve = least_squares(1.5, 1.0, COSINE)
    with pytest.raises(InputError, match="got 1 curve"):
        fit_functional_law([curve])
    with pytest.raises(InputError, match="the same schedule"):
        fit_functional_law([curve, LossCurve(curve.steps, curve.losses, 0.5 * COSINE)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": np.full(20, np.nan)}, "must be finite"),
        ({"steps": np.ones(20)}, "steps must rise"),
        ({"rates": np.ones(10)}, "at most the 10 steps"),
        ({"rates": np.zeros(30)}, "not all of them 0"),
        ({"losses": np.ones(19)}, "as many losses as steps"),
        ({"losses": np.ones(5), "steps": np.arange(1.0, 6.0)}, "at least 12 losses"),
    ],
)
def test_broken_curves_are_refused(changes: dict[str, Array], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LossCurve(**({"steps": np.arange(1.0, 21.0), "losses": np.ones(20), "rates": np.ones(30)} | changes))
