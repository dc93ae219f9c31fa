"""Rules of other authors, on a parabola by hand and against their own code."""

import math

import pytest
import torch

from adaptive_lr import (
    AbstractController,
    Constant,
    ControlledLR,
    DampedCosine,
    EvaluatedGreedy,
    GeneralizedNewton,
    Greedy,
    Linear,
    StochasticPolyak,
)
from adaptive_lr.controllers import Signal
from adaptive_lr.tasks import Perceptron
from adaptive_lr.training import SGD, Trial, train, train_batch

CURVATURE = 4.0


class Parabola:
    """curvature w^2/2 + offset under a controller, from w = 1 with plain SGD."""

    def __init__(
        self,
        controller: AbstractController,
        rate: float,
        schedule: object = None,
        steps: int = 1000,
        offset: float = 0.0,
    ) -> None:
        self.w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.optimizer, self.offset = torch.optim.SGD([self.w], lr=rate), offset
        chosen = Constant() if schedule is None else schedule
        self.scheduler = ControlledLR(self.optimizer, chosen, controller, total_steps=steps)  # type: ignore[arg-type]

    def loss(self) -> torch.Tensor:
        return 0.5 * CURVATURE * self.w.square().sum() + self.offset

    def step(self, factor: float = 1.0) -> float:
        """The multiplier of one update; its probes are spoilt by the factor."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step(loss.detach(), closure=lambda: self.loss() * factor)
        return self.scheduler.applied_multiplier


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.2, [0.9 + 0.1 * 1.25]), (0.01, [0.9 + 0.1 * 2.0]), (3.0, [0.9 + 0.1 * 0.5])],
    ids=["near", "too low", "too high"],
)
def test_generalized_newton_moves_a_tenth_of_the_way_to_one_over_the_curvature(
    rate: float, expected: list[float]
) -> None:
    # b/a = 1/4 in units of the rate; no further than twice or half of it counts.
    run = Parabola(GeneralizedNewton(), rate)
    assert [run.step()] == pytest.approx(expected, rel=1e-9)
    assert [run.step() for _ in range(3)] == pytest.approx(expected * 3)  # until the fourth step nothing is read


def test_generalized_newton_arrives_at_the_minimum_of_the_parabola_from_below() -> None:
    run = Parabola(GeneralizedNewton(every=1, smoothing=0.5), 1e-6)
    for _ in range(60):
        made = run.step()
    assert made * 1e-6 == pytest.approx(1.0 / CURVATURE, rel=0.01)


def test_generalized_newton_halves_where_a_loss_is_not_finite_and_stays_where_the_parabola_has_no_minimum() -> None:
    run = Parabola(GeneralizedNewton(every=1), 0.2)
    run.scheduler.compared = True  # so that the first call is a probe
    assert run.step(math.inf) == pytest.approx(0.5)
    assert run.step(-1.0) == pytest.approx(0.5)


def test_generalized_newton_measures_where_the_schedule_is_zero() -> None:
    run = Parabola(GeneralizedNewton(every=1), 0.2, Linear(), steps=4)
    multipliers = [run.step() for _ in range(4)]
    scales = [multiplier / (1.0 - t / 4.0) for t, multiplier in enumerate(multipliers)]
    assert scales[1:] == sorted(scales[1:])
    assert scales[3] * 0.2 < 1.0 / CURVATURE


def test_two_probes_in_four_steps_are_a_sixth_more_work() -> None:
    assert GeneralizedNewton().extra_steps(1200) == pytest.approx(200.0)


def test_stochastic_polyak_is_the_minimum_on_a_parabola_and_bounded_by_the_step_before() -> None:
    # f/(c |g|^2) = 1/(2 c curvature): with c = 1/2 that is 1/curvature.
    run = Parabola(StochasticPolyak(), 1.0)
    assert run.step() == pytest.approx(1.0 / CURVATURE)
    assert float(run.w.detach()) == pytest.approx(0.0, abs=1e-15)
    low = Parabola(StochasticPolyak(epoch=10), 1e-3)
    assert [low.step() for _ in range(20)] == pytest.approx([2.0 ** ((t + 1) / 10) for t in range(20)])
    full = Parabola(StochasticPolyak(c=1.0), 1.0)
    assert full.step() == pytest.approx(0.5 / CURVATURE)


def test_stochastic_polyak_without_smoothing_is_the_step_of_the_paper_with_a_fixed_bound_of_the_base_rate() -> None:
    run = Parabola(StochasticPolyak(growth=1.0), 0.1)
    assert [run.step() for _ in range(5)] == pytest.approx([1.0] * 5)


@pytest.mark.filterwarnings("ignore:the losses are below")
def test_stochastic_polyak_makes_no_step_below_its_target() -> None:
    run = Parabola(StochasticPolyak(target=5.0), 0.1)
    assert run.step() == 0.0
    assert run.w.item() == 1.0
    assert Parabola(StochasticPolyak(target=5.0), 0.1, offset=5.0).step() == pytest.approx(2.0 ** (1 / 500))


def evaluated(metrics: list[float], every: float = 0.1, patience: int = 1) -> list[float]:
    """The rates after each of ten evaluations in a hundred steps."""
    controller = EvaluatedGreedy(rule=Greedy(factor=0.5, patience=patience, least=1e-3, most=8.0), every=every)
    run = Parabola(controller, 0.01, steps=10 * len(metrics) + 1)
    rates = []
    for step in range(10 * len(metrics) + 1):
        if step and step % 10 == 0:
            run.scheduler.observe(metrics[step // 10 - 1])
        run.step()
        if step and step % 10 == 0:
            rates.append(run.optimizer.param_groups[0]["lr"] / 0.01)
    return rates


def test_evaluated_greedy_counts_evaluations() -> None:
    metrics = [5.0, 4.0, 3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5]
    # Two improvements in a row double the rate, two evaluations without one halve it.
    assert evaluated(metrics, every=10 / 91) == [1.0, 2.0, 2.0, 4.0, 4.0, 2.0, 2.0, 1.0, 1.0]


def test_evaluated_greedy_leaves_out_what_is_not_finite() -> None:
    assert evaluated([math.nan] * 9, every=10 / 91) == [1.0] * 9
    assert evaluated([5.0, math.nan, 4.0, math.nan, 3.0, 2.0, 1.0, 1.0, 1.0], every=10 / 91)[2] == 2.0


def test_an_observation_waits_until_the_controller_looks_and_travels_with_the_state() -> None:
    controller = EvaluatedGreedy(rule=Greedy(factor=0.5, patience=0, most=8.0), every=0.1)
    run, again = (Parabola(controller, 0.01, steps=100) for _ in range(2))
    for _ in range(7):
        run.step()
    run.scheduler.observe(1.0)
    state = run.scheduler.state_dict()
    again.w.data.copy_(run.w.data)
    again.scheduler.load_state_dict(state)
    for _ in range(5):
        assert run.step() == again.step()
    assert run.optimizer.param_groups[0]["lr"] == again.optimizer.param_groups[0]["lr"] == 0.02


def test_greedy_is_that_of_transformers_on_the_same_evaluations() -> None:
    optimization = pytest.importorskip("transformers.optimization")
    if not hasattr(optimization, "GreedyLR"):
        pytest.skip("transformers has GreedyLR since 5.3")
    metrics = [3.0 - 0.1 * t if t < 12 else 2.0 + 0.01 * (t % 3) for t in range(40)]
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([w], lr=0.01)
    theirs = optimization.GreedyLR(optimizer, factor=0.5, patience=1, min_lr=1e-5, max_lr=0.08)
    expected = []
    for metric in metrics:
        theirs.step(metric)
        expected.append(optimizer.param_groups[0]["lr"] / 0.01)
    assert evaluated(metrics, every=10 / 401) == pytest.approx(expected)


def test_trials_are_evaluated_alike_one_by_one_and_together() -> None:
    task = Perceptron(dataset="digits", hidden=(8,), batch=20, activation="tanh")
    controller = EvaluatedGreedy(rule=Greedy(factor=0.5, patience=1, most=8.0), every=0.1)
    trials = [
        Trial(
            task=task,
            optimizer=SGD(momentum=0.9),
            schedule=DampedCosine(),
            controller=controller,
            base_lr=rate,
            steps=100,
            seed=1,
            dtype="float64",
        )
        for rate in (1e-3, 0.3)
    ]
    for together, trial in zip(train_batch(trials), trials, strict=True):
        alone = train(trial)
        assert together.metrics == pytest.approx(alone.metrics, rel=1e-10)
        scales = together.curves["control/scale"]
        assert scales.max() > 1.0
        assert scales == pytest.approx(alone.curves["control/scale"])


def test_what_is_asked_for() -> None:
    assert EvaluatedGreedy.needs == Signal.METRIC
    assert sum(bool(EvaluatedGreedy().signals(step, 2000)) for step in range(2000)) == 19
    assert Signal.PROBE_BACK in GeneralizedNewton.needs
