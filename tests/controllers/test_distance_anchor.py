"""How straight a path is, and what `DistanceAnchor` makes of it."""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptive_lr import Anchor, Constant, ControlledLR, DampedCosine, DistanceAnchor, SpecError
from adaptive_lr.controllers import Moment, Observation, Signal
from adaptive_lr.controllers.distance_anchor import walk
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Trial, train_batch
from tests.reference.distance_anchor import walk_factor

STEPS = 600
FIXED = DistanceAnchor(probing=Anchor(least_steps=100, window=0.02, fraction=0.12), until=0.9, most=0.12, down=0.0)
"""Its rate stays what it is, so that R is that of a constant rate."""

Loss = Callable[[int], Tensor]


class Descent:
    """A loop of one's own on a loss by step of one parameter."""

    def __init__(self, controller: DistanceAnchor, size: int, rate: float = 0.1, momentum: float = 0.0) -> None:
        self.w = torch.nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.optimizer = torch.optim.SGD([self.w], lr=rate, momentum=momentum)
        self.scheduler = ControlledLR(self.optimizer, Constant(), controller, total_steps=STEPS)

    def train(self, loss: Loss, start: int = 0, stop: int = STEPS) -> list[dict[str, float]]:
        readings = []
        for step in range(start, stop):
            self.optimizer.zero_grad()
            value = loss(step)
            value.backward()
            self.optimizer.step()
            self.scheduler.step(value.detach(), closure=partial(loss, step))
            readings.append(self.scheduler.readings())
        return readings


def regression(w: Tensor, seed: int = 0) -> Loss:
    """Least squares with minibatches of 8 and noise in the targets."""
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(STEPS, 8, 10, generator=source, dtype=torch.float64)
    targets = inputs.sum(2) + torch.randn(STEPS, 8, generator=source, dtype=torch.float64)
    return lambda step: (inputs[step] @ w - targets[step]).square().mean() / 2


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 3000])
def test_the_walk_with_memory_is_the_sum(steps: int, beta: float) -> None:
    assert float(walk(steps, torch.tensor(beta, dtype=torch.float64))) == pytest.approx(
        walk_factor(steps, beta), rel=1e-9
    )


def test_a_memory_that_is_none_corrects_nothing() -> None:
    betas = torch.tensor([math.nan, -1.0, math.inf, 2.0, 0.0], dtype=torch.float64)
    factors = walk(50, betas)
    assert factors[[0, 1, 4]].tolist() == [1.0, 1.0, 1.0]
    assert 49.0 < float(factors[2]) == float(factors[3]) <= 50.0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_straight_path_is_as_straight_as_its_steps_are_many(momentum: float) -> None:
    descent = Descent(FIXED, 5, momentum=momentum)
    slope = torch.arange(1.0, 6.0, dtype=torch.float64)
    seen = [row for row in descent.train(lambda _: slope @ descent.w) if "distance_square" in row]
    for number, row in enumerate(seen):
        steps = 6 * (number + 1)
        # The velocity has not quite settled in the window: 0.9^100 = 3e-5.
        assert row["straightness"] == pytest.approx(steps / walk_factor(steps, momentum), rel=1e-3)
    assert len(seen) == 73


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_a_random_walk_has_straightness_one(momentum: float) -> None:
    descent = Descent(FIXED, 4000, momentum=momentum)
    source = torch.Generator().manual_seed(0)
    slopes = torch.randn(STEPS, 4000, generator=source, dtype=torch.float64)
    seen = [row for row in descent.train(lambda step: slopes[step] @ descent.w) if "distance_square" in row]
    # In 4000 dimensions one R has a standard deviation of sqrt(2/4000) = 2 %; the early ones share their steps with those after them.
    for row in seen[10:]:
        assert row["straightness"] == pytest.approx(1.0, abs=0.12)
    assert np.mean([row["straightness"] for row in seen[10:]]) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), AdamW()], ids=repr)
def test_starts_four_decades_apart_end_alike(optimizer: AbstractOptimizer) -> None:
    trials = [
        Trial(
            task=StreamingLeastSquares(dimension=20),
            optimizer=optimizer,
            schedule=DampedCosine(),
            controller=DistanceAnchor(),
            base_lr=rate,
            steps=1000,
            seed=100,
            dtype="float64",
        )
        for rate in (1e-3, 10.0)
    ]
    low, high = (result.metrics["excess"] for result in train_batch(trials))
    assert high == pytest.approx(low, rel=0.1)
    assert low < 0.01


def test_a_rate_that_is_too_low_is_raised_until_the_path_is_a_walk() -> None:
    low = DistanceAnchor(begin=1e-3)
    descent = Descent(low, 10)
    seen = descent.train(regression(descent.w))
    shares = [row["share"] for row in seen]
    assert shares[20] == pytest.approx(1e-3)
    assert max(shares) > 0.05
    straight = [row["straightness"] for row in seen if "distance_square" in row]
    assert straight[0] > 3.0
    assert straight[-1] < 2.0
    assert seen[-1]["held"] == pytest.approx(seen[-1]["edge"] * seen[-1]["share"])


def test_the_state_goes_round_in_the_middle_of_the_looks() -> None:
    controller = DistanceAnchor(until=0.9, begin=0.01)
    whole = Descent(controller, 10, momentum=0.5)
    loss = regression(whole.w)
    whole.train(loss, stop=151)
    resumed = Descent(controller, 10, momentum=0.5)
    with torch.no_grad():
        resumed.w.copy_(whole.w)
    resumed.optimizer.load_state_dict(copy.deepcopy(whole.optimizer.state_dict()))
    resumed.scheduler.load_state_dict(copy.deepcopy(whole.scheduler.state_dict()))
    expected = whole.train(loss, 151)
    assert sum("distance_square" in row for row in expected) > 50
    assert repr(resumed.train(regression(resumed.w), 151)) == repr(expected)
    assert torch.equal(resumed.w, whole.w)


@pytest.mark.parametrize("controller", [DistanceAnchor(), DistanceAnchor(begin=0.5, most=2.0)], ids=repr)
def test_where_nothing_is_heard_the_base_rate_stays(controller: DistanceAnchor) -> None:
    descent = Descent(controller, 3)
    with pytest.warns(UserWarning, match="no probe said anything") as caught:
        readings = descent.train(lambda _: 0.0 * descent.w.sum())
    assert len(caught) == 1
    assert descent.optimizer.param_groups[0]["lr"] == 0.1
    assert readings[-1]["straightness"] == 0.0
    assert readings[-1]["edge"] * readings[-1]["share"] == pytest.approx(1.0)


def test_a_window_whose_end_was_not_seen_begins_at_the_share_all_the_same() -> None:
    controller = DistanceAnchor()
    state, now = controller.init(1), moment(300)
    probing = state.probing._replace(passed=column(1.0), log_edge=column(2.0))
    assert float(controller.multiplier(state._replace(probing=probing), now)) == pytest.approx(0.12 * math.exp(2.0))


def column(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def moment(step: int) -> Moment:
    return Moment(step, STEPS, step / STEPS, column(1.0), torch.ones_like)


def looked(**changed: float) -> Observation:
    """A look 60 steps after the window, at which a step at the edge is twice too long or half of it passes, on a straight path."""
    values = {
        "trial": 0.5,
        "loss": 1.0,
        "descent": 1.0,
        "probe_loss": 0.6,
        "direction_square": 1.0,
        "distance_square": 900.0,
    }
    columns = {name: column(value) for name, value in (values | changed).items()}
    return Observation(now=moment(80), **columns)


def in_the_middle(controller: DistanceAnchor, asked: float = 0.5) -> Any:
    """After the window, at half of an edge of 1; ``asked`` is probed."""
    state = controller.init(1)
    probing = state.probing._replace(passed=column(1.0), failed=column(1.0), log_edge=column(0.0))
    shares = {"log_share": column(math.log(0.5)), "log_asked": column(math.log(asked))}
    return state._replace(probing=probing, path=column(13.5), farthest=column(1.0), **shares)


def shares(state: Any) -> tuple[float, float]:
    return float(state.log_share.exp()), float(state.log_asked.exp())


def test_a_raise_waits_for_its_probe() -> None:
    controller = DistanceAnchor(most=4.0)
    state, made = controller.update(in_the_middle(controller), looked())
    assert float(state.straightness) == pytest.approx(900.0 / 15.0)  # path 13.5, and 6 steps of length 1/2
    share, asked = shares(state)
    assert [share, float(made)] == pytest.approx([0.5, 0.5])
    assert asked == pytest.approx(min(0.5 * 2.0**3.0, 4.0))  # 60 in 60 steps is straight
    failing = looked(trial=4.0, probe_loss=2.0)
    state, made = controller.update(state, replace(failing, now=moment(86)))
    assert [shares(state)[0], float(made)] == pytest.approx([0.5, 0.5])
    asked = shares(state)[1]
    assert 3.0 < asked < 4.0  # the path went on without getting any further
    state, made = controller.update(state, replace(looked(trial=asked, probe_loss=-3.0), now=moment(92)))
    assert [shares(state)[0], float(made)] == pytest.approx([asked, asked])


def test_a_raise_is_not_made_where_the_probe_says_nothing() -> None:
    controller = DistanceAnchor()
    for silent in ({"descent": 0.0}, {"loss": math.nan}, {"descent": 1e-20, "probe_loss": 1.0}):
        state, made = controller.update(in_the_middle(controller, asked=0.9), looked(trial=0.9, **silent))
        assert float(state.log_share.exp()) == pytest.approx(0.5)
        assert float(made) == pytest.approx(0.5)


def test_the_share_falls_where_the_step_as_it_is_fails_and_where_the_path_bends() -> None:
    controller = DistanceAnchor()
    state, made = controller.update(in_the_middle(controller), looked(probe_loss=1.1))
    assert shares(state)[0] == pytest.approx(0.5 / 1.25) == float(made)
    bent = in_the_middle(controller)._replace(path=column(898.5))
    state, made = controller.update(bent, looked(distance_square=225.0))
    assert shares(state) == pytest.approx(2 * (0.5 * 0.25 ** (0.5 * 6 / 60),))
    assert float(made) == pytest.approx(0.5)  # this step was made before


def test_an_accident_is_taken_back_and_does_not_count() -> None:
    controller = DistanceAnchor()
    state, made = controller.update(
        in_the_middle(controller), looked(descent=1e6, direction_square=1e6, probe_loss=1e6)
    )
    assert float(made) == 0.0
    assert float(state.path) == 13.5


@pytest.mark.parametrize("name", ["loss", "descent", "probe_loss", "direction_square", "distance_square", "memory"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_gone_wrong_leaves_a_usable_state(name: str, value: float) -> None:
    controller = DistanceAnchor()
    state = in_the_middle(controller)
    for _ in range(3):
        state, made = controller.update(state, looked(**{name: value}))
        controller.check_state(state, 1)
        assert math.isfinite(float(made))
        assert 0.0 < shares(state)[0] <= shares(state)[1] <= 1.0


def test_a_rate_at_its_bound_is_told_of_once() -> None:
    def run(controller: DistanceAnchor) -> list[str]:
        descent = Descent(controller, 5)
        source = torch.Generator().manual_seed(0)
        slopes = 1.0 + torch.randn(STEPS, 5, generator=source, dtype=torch.float64)
        # Curved in one direction only, so that the window finds an edge, and otherwise a slope without an end.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            descent.train(lambda step: 0.05 * descent.w[0].square() - 1e-3 * (slopes[step] @ descent.w))
        return [str(warning.message) for warning in caught if "at its bound" in str(warning.message)]

    (text,) = run(DistanceAnchor(begin=0.01, most=0.01))
    assert "the rate stands at its bound, 0.01 times the edge, at the last look (step 176 of 600)" in text
    assert "it may be too low; write DistanceAnchor(most=0.04)" in text
    assert run(DistanceAnchor(begin=0.01, most=1e9)) == []


def test_what_it_asks_for_and_what_that_costs() -> None:
    controller = DistanceAnchor()
    # 40 steps of the window, and a look every 20 from step 60 to 580.
    assert controller.extra_steps(2000) == pytest.approx((40 + 27) / 3)
    asked = [controller.signals(step, 2000) for step in range(2000)]
    assert all(Signal.START not in signals for signals in asked[:40])
    assert all(Signal.START in signals for signals in asked[40:600])
    assert asked[600:] == 1400 * [Signal.NONE]
    assert [step for step in range(2000) if Signal.DISTANCE in asked[step]] == list(range(60, 600, 20))


def test_a_share_that_begins_above_its_bound_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"DistanceAnchor.begin must be at most DistanceAnchor.most, which is 0.1, got 0.12"
    ):
        DistanceAnchor(most=0.1)
