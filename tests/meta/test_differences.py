"""Wide central differences: the lanes, common random numbers, and lanes that diverge."""

import math
from dataclasses import replace

import pytest
import torch

from adaptive_lr import DampedCosine, ElasticStep
from adaptive_lr.errors import InputError
from adaptive_lr.meta import finite_differences, hypergradients
from adaptive_lr.meta.differences import FACTOR, lanes
from adaptive_lr.tasks import RidgeRegression, StreamingLogistic
from adaptive_lr.training import SGD, Trial, train

pytestmark = pytest.mark.usefixtures("one_thread")

BASIC = Trial(
    task=StreamingLogistic(dimension=10),
    schedule=DampedCosine(exponent=2.0),
    optimizer=SGD(),
    base_lr=0.2,
    steps=100,
    seed=0,
    dtype="float64",
)


def final(trial: Trial) -> float:
    return train(trial).metrics["excess"]


def test_differences_are_those_of_runs_one_by_one() -> None:
    result = finite_differences([BASIC, replace(BASIC, seed=1)], ["log_base_lr", "exponent"], widths={"exponent": 0.5})
    for row, seed in enumerate((0, 1)):
        trial = replace(BASIC, seed=seed)
        rates = [final(replace(trial, base_lr=rate)) for rate in (0.2 / FACTOR, 0.2 * FACTOR)]
        shapes = [final(replace(trial, schedule=DampedCosine(exponent=exponent))) for exponent in (1.5, 2.5)]
        slopes = [(rates[1] - rates[0]) / (2.0 * math.log(FACTOR)), shapes[1] - shapes[0]]
        torch.testing.assert_close(result.gradient[row], torch.tensor(slopes, dtype=torch.float64), rtol=1e-6, atol=0.0)


def test_the_same_is_reached_by_its_way() -> None:
    ways = hypergradients([BASIC], ["exponent"], way="differences"), finite_differences([BASIC], ["exponent"])
    assert torch.equal(ways[0].gradient, ways[1].gradient)


def test_a_side_outside_the_legal_values_stays_where_the_number_is() -> None:
    schedule = DampedCosine(floor=0.005)
    below, above = lanes(schedule, 0.1, "floor", 0.01)
    assert (below.stands, above.stands) == (0.005, 0.015)
    assert below.schedule == schedule


def test_a_number_that_counts_is_moved_by_one() -> None:
    below, above = lanes(ElasticStep(drops=3), 0.1, "drops")
    assert (below.stands, above.stands) == (2, 4)


@pytest.mark.parametrize(
    ("name", "width", "match"),
    [
        ("floor", None, r"DampedCosine.floor is 0: say how far to move it, such as widths=\{'floor': 0.01\}"),
        ("exponent", -1.0, "say how far"),
        ("exponent", 100.0, "to neither side of 2: give a smaller width"),
        ("log_base_lr", 0.9, "must be a factor above 1, got 0.9"),
        ("exponnent", None, "did you mean 'exponent'"),
    ],
)
def test_widths_that_are_none_are_refused(name: str, width: float | None, match: str) -> None:
    with pytest.raises(InputError, match=match):
        lanes(DampedCosine(exponent=2.0), 0.1, name, width)


def test_a_lane_that_diverges_counts_as_not_trained() -> None:
    trial = replace(BASIC, task=RidgeRegression(), base_lr=0.1, schedule=DampedCosine())
    result = finite_differences([trial], ["log_base_lr"], widths={"log_base_lr": 1e6})
    low, start = train(replace(trial, base_lr=1e-7)).metrics["excess"], train(trial).initial["excess"]
    slope = (start - low) / (2.0 * math.log(1e6))
    assert result.gradient.item() == pytest.approx(slope, rel=1e-6)


def test_a_trial_that_diverges_itself_has_no_slope() -> None:
    trial = replace(BASIC, task=RidgeRegression(), base_lr=1e6)
    with pytest.raises(InputError, match="diverges at its own rate"):
        finite_differences([trial, trial], ["log_base_lr"])


def test_wide_differences_over_seeds_agree_with_exact_derivatives_where_training_is_calm() -> None:
    seeds = [replace(BASIC, seed=seed) for seed in range(16)]
    wide, exact = (hypergradients(seeds, ["log_base_lr"], way=way).mean() for way in ("differences", "forward"))
    assert wide["log_base_lr"] == pytest.approx(exact["log_base_lr"], rel=0.1)
