import math

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptive_lr.tasks import (
    StreamingLogistic,
)
from adaptive_lr.tasks.streaming import AbstractStreaming
from tests.reference.tasks import (
    STREAMING,
    logistic_excess,
    population_target,
    sampled_losses,
    spectrum,
)

pytestmark = pytest.mark.usefixtures("one_thread")

every_streaming = pytest.mark.parametrize("task", STREAMING.values(), ids=list(STREAMING))


@every_streaming
def test_streaming_starts_at_zero_and_ends_above_the_optimum(task: AbstractStreaming) -> None:
    assert task.optimum == 0.0
    assert torch.equal(task.initial(5)["0.weight"], torch.zeros(1, task.dimension, dtype=torch.float64))
    assert task.evaluate({"0.weight": task.initial(5)["0.weight"][None]}, final=True)["excess"] > 0.01


@every_streaming
def test_inputs_and_signal_have_the_documented_variances(task: AbstractStreaming) -> None:
    variances = spectrum(task)
    assert (population_target(task) ** 2 * variances).sum() == pytest.approx(task.signal**2, rel=1e-12)
    inputs = torch.cat([one for one, _ in task.minibatches(0, 4000, torch.float64)]).numpy()
    scaled = inputs / np.sqrt(variances)
    covariance = scaled.T @ scaled / len(inputs)
    np.testing.assert_allclose(covariance, np.eye(task.dimension), rtol=0, atol=5.0 * np.sqrt(2.0 / len(inputs)))


@every_streaming
def test_gradients_of_the_stream_average_to_zero_at_the_optimum_and_not_elsewhere(task: AbstractStreaming) -> None:
    target = torch.from_numpy(population_target(task))
    inputs, targets = (torch.cat(parts) for parts in zip(*task.minibatches(0, 5000, torch.float64), strict=True))

    def deviations(weight: Tensor) -> float:
        outputs = (inputs @ weight).unsqueeze(1).requires_grad_()
        (slope,) = torch.autograd.grad(task.loss(outputs, targets) * len(targets), outputs)
        gradients: Tensor = slope * inputs
        return float((gradients.mean(0) / gradients.std(0)).abs().max()) * math.sqrt(len(targets))

    assert deviations(target) < 4.5
    assert deviations(0.7 * target) > 10.0


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.99, 1.01, 2.0, 30.0])
@every_streaming
def test_excess_agrees_with_monte_carlo(task: AbstractStreaming, factor: float) -> None:
    target = population_target(task)
    sideways = np.random.default_rng(1).standard_normal(task.dimension) * 0.1
    weight = factor * target + (sideways if factor not in {0.99, 1.01} else 0.0)
    losses = sampled_losses(task, np.stack([weight, target]), examples=100_000)
    differences = losses[0] - losses[1]
    error = differences.std() / np.sqrt(len(differences))
    excess = task.evaluate({"0.weight": torch.from_numpy(weight)[None, None]}, final=True)["excess"].item()
    assert differences.mean() == pytest.approx(excess, rel=0, abs=4.0 * error)


@every_streaming
def test_excess_is_zero_at_the_target_and_not_below_it_nearby(task: AbstractStreaming) -> None:
    target = torch.from_numpy(population_target(task))
    source = torch.Generator().manual_seed(0)
    away = torch.randn(200, task.dimension, generator=source, dtype=torch.float64)
    away *= torch.logspace(-9, 2, 200, dtype=torch.float64).unsqueeze(1)
    along = target * torch.linspace(-0.1, 0.1, 100, dtype=torch.float64).unsqueeze(1)
    weights = torch.cat([target + away, target + along]).unsqueeze(1)
    at_target = task.evaluate({"0.weight": target[None, None]}, final=True)["excess"]
    assert at_target.item() == pytest.approx(0.0, rel=0, abs=1e-14)
    assert task.evaluate({"0.weight": weights}, final=True)["excess"].min() > -1e-14


@pytest.mark.parametrize("name", ["least_squares", "flat_squares"])
def test_least_squares_excess_is_the_quadratic_form(name: str) -> None:
    task = STREAMING[name]
    weights = np.random.default_rng(0).standard_normal((5, task.dimension))
    expected = 0.5 * ((weights - population_target(task)) ** 2 * spectrum(task)).sum(1)
    found = task.evaluate({"0.weight": torch.from_numpy(weights)[:, None]}, final=True)["excess"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("signal", [0.009, 0.01, 0.5, 2.0, 3.0, 5.0, 10.0, 30.0])
def test_logistic_excess_equals_quadrature(signal: float) -> None:
    variances = [0.0, 1e-6, 9.9e-5, 1.01e-4, 1e-2, 1.0, 4.0, 1e2, 1e4, 1e6]
    points = [(variance, rho * signal * variance**0.5) for variance in variances for rho in (-1.0, -0.3, 0.0, 0.8, 1.0)]
    expected = [logistic_excess(signal, variance, covariance) for variance, covariance in points]
    variance, covariance = torch.tensor(points, dtype=torch.float64).unbind(1)
    error = variance - 2.0 * covariance + signal**2
    found = StreamingLogistic(signal=signal).excess(error, variance, covariance)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=3e-13)


@pytest.mark.parametrize("signal", [0.5, 3.0, 10.0, 30.0])
def test_logistic_excess_is_not_negative_for_steeper_targets(signal: float) -> None:
    task = StreamingLogistic(dimension=5, signal=signal)
    target = torch.from_numpy(population_target(task))
    away = torch.logspace(-6, -1, 30, dtype=torch.float64)
    weights = (target * torch.cat([1.0 - away, 1.0 + away]).unsqueeze(1)).unsqueeze(1)
    assert task.evaluate({"0.weight": weights}, final=True)["excess"].min() > -1e-13
