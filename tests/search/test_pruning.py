import numpy as np
import pytest
from scipy.stats import wilcoxon

from adaptive_lr.search.pruning import ALPHA, LEAST_SEEDS, hopeless, levels


def given_up(values: np.ndarray, reference: np.ndarray) -> bool:
    """Whether any look before the last seed ends the point."""
    return any(
        hopeless(values[:look].tolist(), reference.tolist(), maximise=False) for look in range(1, len(reference))
    )


@pytest.mark.parametrize("seeds", [4, 5, 6, 7, 8, 10, 20])
def test_no_more_than_alpha_is_spent_by_any_look(seeds: int) -> None:
    spent = np.cumsum(levels(seeds))
    assert len(spent) == seeds - 1
    assert np.all(spent <= ALPHA * np.arange(1, seeds) / seeds + 1e-12)
    assert (spent[-1] > 0.0) == (seeds >= LEAST_SEEDS)


def test_levels_are_p_that_the_test_can_have() -> None:
    # five of five differences above zero: 1/32; then nothing is left for the sixth, and 1/128 is for the seventh
    assert levels(8) == (0.0, 0.0, 0.0, 0.0, 1 / 32, 0.0, 1 / 128)
    ranks = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert wilcoxon(ranks, alternative="greater").pvalue == 1 / 128


def test_a_point_that_is_worse_on_every_seed_is_given_up_at_the_first_look_that_can() -> None:
    reference, worse = [1.0] * 8, [2.0, 2.5, 2.2, 2.1, 2.4, 2.3, 2.6, 2.7]
    assert [hopeless(worse[:look], reference, maximise=False) for look in range(1, 9)] == [
        False, False, False, False, True, False, True, False,
    ]  # fmt: skip
    assert not hopeless(worse[:5], reference, maximise=True)
    assert hopeless([-value for value in worse[:5]], [-1.0] * 8, maximise=True)


@pytest.mark.parametrize("seeds", [6, 8, 10])
def test_a_point_as_good_as_another_is_seldom_given_up(seeds: int) -> None:
    source, repeats = np.random.default_rng(seeds), 600
    wrong = sum(given_up(*source.standard_normal((2, seeds))) for _ in range(repeats))
    assert wrong / repeats <= ALPHA + 3.0 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)


def test_a_point_as_good_as_the_best_of_twenty_is_given_up_in_less_than_one_in_five() -> None:
    source, repeats, wrong, before = np.random.default_rng(0), 400, 0, 0
    for _ in range(repeats):
        known, point = source.standard_normal((20, 8)), source.standard_normal(8)
        best = known[known.mean(1).argmin()]
        wrong += given_up(point, best)
        # what was done before: a p of 0.1 at every look
        before += any(
            wilcoxon(point[:look] - best[:look], alternative="greater").pvalue < 0.1
            and (point[:look] - best[:look]).mean() > 0
            for look in range(2, 8)
        )
    assert wrong / repeats <= 0.2
    assert before / repeats >= 0.35
