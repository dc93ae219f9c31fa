"""The procedure on simulated sweeps, in a short form; `make calibrate` is the long one. Tolerances are those of the binomial."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.calibration import FAMILY, KINDS, Tally, applies, cases, covered, differ, tallies
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.simulated import INITIAL, NOISES, WORLDS, Basin, World
from tests.analysis.old_procedure import bca, chosen_once

LEVEL, ALPHA = 0.95, 0.05


def margin(rate: float, repeats: int) -> float:
    """3.7 standard errors: one in ten thousand estimates is farther from the truth by chance."""
    return float(3.7 * np.sqrt(rate * (1.0 - rate) / repeats))


def rates(kind: str, world: str, repeats: tuple[int, int], counts: tuple[int, ...]) -> tuple[Any, Any]:
    tallied = {count: tallies(kind, WORLDS[world], count, repeats, seed=7) for count in counts}
    return covered(tallied), differ(tallied)


@pytest.mark.parametrize(
    ("kind", "world"),
    [
        ("grids of rates", "ratios, normal"),
        ("horizons", "differences, heavy-tailed"),
        ("starting rates", "ratios, heavy-tailed"),
        ("starting rates", "differences, normal"),
        ("searches", "differences, normal"),
        ("ends of schedules", "ratios, normal"),
    ],
)
def test_intervals_cover_and_identical_schedules_are_not_told_apart(kind: str, world: str) -> None:
    repeats = (150, 180)
    covers, different = rates(kind, world, repeats, (3, 6))
    assert covers
    for name, by_count in covers.items():
        for count, share in by_count.items():
            assert share >= LEVEL - margin(LEVEL, repeats[0]), (name, count)
    assert different
    for name, by_count in different.items():
        experiments = repeats[1] // 9 if name == FAMILY else repeats[1]
        for count, share in by_count.items():
            assert share <= ALPHA + margin(ALPHA, experiments), (name, count)


def measured(monkeypatch: pytest.MonkeyPatch, *, intervals: Callable[..., Any] | None, choices: Any) -> Tally:
    """Horizons at n = 5 under another procedure."""
    if intervals is not None:
        monkeypatch.setattr(paired, "t_intervals", intervals)
    if choices is not None:
        monkeypatch.setattr(Sweep, "choices", choices)
    return tallies("horizons", WORLDS["differences, normal"], 5, (250, 252), seed=3)


def test_the_bootstrap_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = measured(monkeypatch, intervals=bca, choices=None)
    cover, different = covered({5: tally}), differ({5: tally})
    assert cover["difference, tuned"][5] < LEVEL - margin(LEVEL, 250)
    assert different["tuned"][5] > ALPHA + margin(ALPHA, 252)


def test_a_rate_that_is_chosen_once_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def regrets(count: int) -> float:
        world, source, clear = WORLDS["differences, normal"], np.random.default_rng(count), []
        for _ in range(250):
            mine, theirs = world.sweeps({"a": Basin(), "b": Basin()}, count, source).values()
            test = paired.gap(theirs.coarse(10.0) - theirs.fine(), mine.coarse(10.0) - mine.fine(), ratio=False)
            clear.append(test["p"] <= ALPHA)
        return float(np.mean(clear))

    assert regrets(8) <= ALPHA + margin(ALPHA, 250)
    monkeypatch.setattr(Sweep, "choices", chosen_once)
    assert regrets(8) > ALPHA + margin(ALPHA, 250)


def test_without_a_correction_a_family_would_fail() -> None:
    tally = tallies("horizons", WORLDS["differences, normal"], 4, (0, 900), seed=5)
    assert np.mean(tally.family) <= ALPHA + margin(ALPHA, 100)
    alone = np.array(list(tally.clear.values())).T  # four tests a study
    assert alone.reshape(100, -1).any(1).mean() > ALPHA + margin(ALPHA, 100)


def test_truth_is_known_in_the_simulation() -> None:
    world = World(shared=0.0, smooth=0.0, own=0.0)
    losses = world.losses([Basin()], 2, np.random.default_rng(0))
    assert losses.shape == (1, 2, 25)
    assert losses.max() <= INITIAL
    best = int(np.argmin(losses[0, 0]))
    assert best == 14  # 10^(-4 + 14/6), the rate of the grid that is nearest to 10^-1.7
    flat = World(shared=0.0, smooth=0.0, own=0.0, optimum_known=False).losses(
        [Basin(centre=-2.0)], 1, np.random.default_rng(0)
    )
    # the rate 1e-2 is the thirteenth: 1; ten times as high: 1 + 4 x 0.7; a tenth of it: 1 + 4 x 0.4
    np.testing.assert_allclose(flat[0, 0, [12, 18, 6]], [1.0, 3.8, 2.6])


@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_the_spread_it_says_and_schedules_share_what_a_seed_has(noise: str) -> None:
    world = World(noise=noise, shared=0.2, smooth=0.0, own=0.0, optimum_known=False)
    source = np.random.default_rng(1)
    first, second = world.losses([Basin(), Basin()], 4000, source)[:, :, 14]
    np.testing.assert_array_equal(first, second)
    spread = 0.1 * (np.sqrt(5.0 / 3.0) if noise == "heavy" else 1.0)
    assert first.std() == pytest.approx(spread, rel=0.1)
    assert first.mean() == pytest.approx(1.0 + 4.0 * float(Basin().at(world.rates)[14]), abs=0.01)


def test_the_same_seed_gives_the_same_tally() -> None:
    one, two = (tallies("searches", WORLDS["ratios, normal"], 3, (5, 9), seed=1) for _ in range(2))
    assert one == two
    assert {kind for kind, _ in cases()} == set(KINDS)
    assert not applies("ends of schedules", WORLDS["differences, normal"])
