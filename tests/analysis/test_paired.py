import numpy as np
import pytest
from scipy import stats

from adaptive_lr.analysis.paired import holm, t_interval


def test_interval_is_that_of_the_textbook() -> None:
    samples = np.array([0.3, -0.1, 0.4, 0.2, 0.6])
    half = stats.t.ppf(0.975, 4) * samples.std(ddof=1) / np.sqrt(5)
    interval = t_interval(samples)
    assert interval["value"] == pytest.approx(0.28)
    assert interval["low"] == pytest.approx(0.28 - half)
    assert interval["high"] == pytest.approx(0.28 + half)
    t = 0.28 / (samples.std(ddof=1) / np.sqrt(5))
    assert interval["p"] == pytest.approx(2.0 * stats.t.sf(t, 4))


@pytest.mark.parametrize("seeds", [3, 4, 6, 10])
def test_interval_covers_the_mean_at_few_seeds(seeds: int) -> None:
    samples = np.random.default_rng(seeds).normal(0.7, 1.3, (2000, seeds))
    covered = [interval["low"] <= 0.7 <= interval["high"] for interval in map(t_interval, samples)]
    assert 0.935 <= np.mean(covered) <= 0.965


def test_without_spread_a_difference_is_certain_or_none() -> None:
    assert t_interval(np.zeros(4)) == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert t_interval(np.full(4, 0.5)) == {"value": 0.5, "low": 0.5, "high": 0.5, "p": 0.0}


def test_one_seed_says_nothing_of_the_spread() -> None:
    assert t_interval(np.array([0.5])) == {"value": 0.5, "low": 0.5, "high": 0.5, "p": 1.0}


def stepwise(values: list[float], level: float) -> list[bool]:
    """Holm's procedure as he states it: from the least p on, until one is above level / (tests that are left)."""
    rejected = [False] * len(values)
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[index] > level / (len(values) - rank):
            break
        rejected[index] = True
    return rejected


def test_correction_rejects_what_the_stepwise_procedure_does() -> None:
    source = np.random.default_rng(0)
    for count in (1, 2, 5, 20):
        for _ in range(50):
            values = list(source.uniform(size=count) ** 4)
            for level in (0.01, 0.05, 0.2):
                assert [p <= level for p in holm(values)] == stepwise(values, level)


def test_correction_keeps_the_order_and_never_lowers_a_p() -> None:
    values = [0.04, 0.001, 0.9, 0.04, 0.3]
    adjusted = holm(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    assert list(np.argsort(adjusted, kind="stable")) == list(np.argsort(values, kind="stable"))
    assert max(adjusted) <= 1.0
    assert holm([]) == []
