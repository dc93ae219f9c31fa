"""Rules that live on losses or on statistics of gradients, driven by hand: against others' code, and on noise that is known."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_lr import (
    AbstractController,
    Constant,
    ControlledLR,
    Greedy,
    Hypergradient,
    LossPlateau,
    NoiseScaleDamping,
    StationarityDrop,
)
from adaptive_lr.controllers import Observation
from tests.controllers.moments import column, moment


def drive(controller: AbstractController, losses: list[float]) -> list[float]:
    """The multipliers held before each step, from losses alone."""
    state, held = controller.init(1), []
    for t, loss in enumerate(losses):
        now = moment(t, len(losses))
        held.append(float(controller.multiplier(state, now)))
        state, _ = controller.update(state, Observation(now=now, trial=column(held[-1]), loss=column(loss)))
    return held


def noisy_losses() -> list[float]:
    source = np.random.default_rng(0)
    return [math.exp(-t / 30) + 0.1 * source.normal() ** 2 for t in range(600)]


@pytest.mark.parametrize("window", [1, 30])
def test_greedy_is_greedy_lr(window: int) -> None:
    optimization = pytest.importorskip("transformers.optimization")
    if not hasattr(optimization, "GreedyLR"):
        pytest.skip("this transformers has no GreedyLR yet")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    fields: dict[str, Any] = {"factor": 0.8, "patience": 3, "cooldown": 2, "warmup": 1}
    theirs = optimization.GreedyLR(
        optimizer, min_lr=0.1, max_lr=5.0, eps=0.0, smooth=window > 1, window_size=window, reset_start=3, **fields
    )
    expected = []
    for loss in noisy_losses():
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    made = drive(Greedy(window=window, least=0.1, most=5.0, reset=3, **fields), noisy_losses())
    assert made == pytest.approx(expected, rel=1e-12)
    assert min(made) == pytest.approx(0.1)


@pytest.mark.parametrize("fields", [{}, {"factor": 0.5, "patience": 1, "cooldown": 2, "threshold": 0.01}])
def test_loss_plateau_is_reduce_on_plateau_of_the_means(fields: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **fields)
    expected: list[float] = []
    losses = noisy_losses()
    for start in range(0, 600, 12):
        expected += 12 * [optimizer.param_groups[0]["lr"]]
        theirs.step(float(np.mean(losses[start : start + 12])))
    made = drive(LossPlateau(**fields), losses)
    assert made == pytest.approx(expected, rel=1e-12)
    assert min(made) < 1.0


def run_stationarity(theta: Callable[[int, np.random.Generator], float], steps: int = 2000) -> float:
    """The factor after samples of z from a path of |theta|^2/2."""
    controller, source = StationarityDrop(), np.random.default_rng(3)
    state, before = controller.init(1), theta(0, source)
    for t in range(steps):
        after = theta(t + 1, source)
        scale = float(state.scale)
        zero = column(0.0)
        z = column((before - after) / scale)
        now, trial = moment(t, steps), column(scale)
        seen = Observation(now=now, trial=trial, parameters_dot_direction=z, direction_square=zero)
        state, _ = controller.update(state, seen)
        before = after
    return float(state.scale)


def test_stationarity_drops_on_noise() -> None:
    assert run_stationarity(lambda t, source: source.normal()) == pytest.approx(1e-3, rel=1e-9)


def test_stationarity_does_not_drop_while_progressing() -> None:
    assert run_stationarity(lambda t, source: 0.5 * t + source.normal()) == 1.0


def test_noise_scale_damps_as_much_as_the_noise_is() -> None:
    signal, noise, source = 2.0, 6.0, torch.Generator().manual_seed(0)
    G = torch.zeros(10, dtype=torch.float64)
    G[0] = math.sqrt(signal)
    controller = NoiseScaleDamping(every=1, decay=0.999)
    state = controller.init(1)
    for _ in range(4000):  # noise is tr(Sigma)/B, so each half of a minibatch has twice as much
        halves = [G + torch.randn(10, generator=source, dtype=torch.float64) * math.sqrt(noise * 2 / 10) for _ in "ab"]
        whole = (halves[0] + halves[1]) / 2
        squares = {"half_square": halves[0].square().sum(), "gradient_square": whole.square().sum()}
        seen = Observation(
            now=moment(), trial=column(1.0), **{name: value.reshape(1) for name, value in squares.items()}
        )
        state, _ = controller.update(state, seen)
    assert float(controller.multiplier(state, moment())) == pytest.approx(1 / (1 + noise / signal), rel=0.1)


def test_hypergradient_stays_within_what_controllers_may_do() -> None:
    controller = Hypergradient(gain=10.0)
    state = controller.init(1)
    for _ in range(10):
        agreed = {name: column(1.0) for name in ("gradient_dot_step", "gradient_square", "previous_step_square")}
        state, _ = controller.update(state, Observation(now=moment(), trial=column(1.0), **agreed))
    assert float(controller.multiplier(state, moment())) == pytest.approx(1e12)


def test_stationarity_bears_more_steps_than_planned() -> None:
    controller, state = StationarityDrop(recent=1.0), StationarityDrop().init(1)
    for t in range(700):
        drift = {"parameters_dot_direction": column(1.0 + 0.1 * (t % 2)), "direction_square": column(0.0)}
        state, _ = controller.update(state, Observation(now=moment(t, 300), trial=column(1.0), **drift))
    assert float(state.filled) == 256
    assert float(state.scale) == 1.0


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_noise_scale_is_the_same_from_any_number_of_parts(parts: int) -> None:
    source = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64))  # many, so that few steps tell the noise
    controller = NoiseScaleDamping(every=1, decay=0.98)
    scheduler = ControlledLR(torch.optim.SGD([w], lr=1e-9), Constant(), controller, total_steps=300)
    for _ in range(300):  # |G|^2 = 2 and tr(Sigma) = 12 for each of eight examples
        examples = torch.randn(8, 1000, generator=source, dtype=torch.float64) * math.sqrt(0.012)
        examples[:, 0] += math.sqrt(2.0)
        w.grad = torch.zeros_like(w)
        for index, part in enumerate(examples.view(parts, -1, 1000)):
            w.grad += part.mean(0) / parts
            if index + 1 < parts:
                scheduler.micro_batch()
        scheduler.optimizer.step()
        scheduler.step()
    state = scheduler.control.state
    assert float(state.signal) == pytest.approx(2.0, rel=0.05)
    assert float(state.noise) == pytest.approx(12 / 8, rel=0.05)
