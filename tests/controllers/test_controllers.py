"""What holds for every controller: a new one is tested here without a word about it."""

import json
import math
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adaptive_lr import (
    CONTROLLERS,
    AbstractController,
    Anchor,
    AnchorLift,
    ControlledLR,
    CurvatureCap,
    DampedCosine,
    DistanceAnchor,
    EvaluatedGreedy,
    Greedy,
    Hypergradient,
    LearnedDamping,
    LossPlateau,
    MomoCap,
    NanRescue,
    NoiseScaleDamping,
    ProgressAnchor,
    ShrinkageDamping,
    Spec,
    SpecError,
    Static,
    StationarityDrop,
)
from adaptive_lr.controllers import Moment, Observation, Signal
from adaptive_lr.controllers.base import bounded
from adaptive_lr.feedback.update import flattened, rebuilt
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import AbstractTask, Perceptron, StreamingLeastSquares
from adaptive_lr.training import KINDS, SGD, AbstractOptimizer, AdamW, RunResult, Status, Trial, train, train_batch
from tests.learned import WEIGHTS

EXAMPLES: dict[type[AbstractController], AbstractController] = {
    AnchorLift: AnchorLift(anchor=Anchor(least_steps=10), alignment=-0.5, every=4),
    ProgressAnchor: ProgressAnchor(probing=Anchor(least_steps=10, fraction=0.15), alignment=-0.5, every=3),
    DistanceAnchor: DistanceAnchor(probing=Anchor(least_steps=10, fraction=0.12), until=0.8, spacing=3),
    # With all of WEIGHTS the rate comes near divergence, which magnifies rounding beyond what single runs are compared to.
    LearnedDamping: LearnedDamping(weights=tuple(weight / 2 for weight in WEIGHTS), until=0.5),
    Hypergradient: Hypergradient(reference="gradient", until=0.5),
    MomoCap: MomoCap(estimate_target="on"),
    CurvatureCap: CurvatureCap(every=5),
    NoiseScaleDamping: NoiseScaleDamping(every=3),
    StationarityDrop: StationarityDrop(recent=0.5),
    ShrinkageDamping: ShrinkageDamping(every=7),
    LossPlateau: LossPlateau(patience=1),
    Greedy: Greedy(patience=2, window=5),
    EvaluatedGreedy: EvaluatedGreedy(rule=Greedy(patience=0, factor=0.5), every=0.1),
    NanRescue: NanRescue(then=Anchor(least_steps=10), every=5),
}
"""Where the defaults would do little in a short run."""

SCHEDULE = DampedCosine()
SEEN = [item.name for item in fields(Observation) if item.name not in ("now", "trial")]

pytestmark = pytest.mark.filterwarnings("ignore:step .* loss or gradient is not finite:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=CONTROLLERS, ids=lambda one: one.kind)
def controller(request: pytest.FixtureRequest) -> AbstractController:
    found: AbstractController = EXAMPLES[request.param] if request.param in EXAMPLES else request.param()
    return found


WORK: dict[str, tuple[AbstractTask, AbstractOptimizer, int]] = {
    "least_squares": (StreamingLeastSquares(dimension=20), SGD(), 120),
    "momentum": (Perceptron(dataset="digits", hidden=(8,), batch=20, activation="tanh"), SGD(momentum=0.9), 60),
    "adamw": (Perceptron(dataset="digits", hidden=(8,), batch=20, activation="tanh"), AdamW(), 60),
}


def trials(work: str, controller: AbstractController, rates: tuple[float, ...]) -> list[Trial]:
    task, optimizer, steps = WORK[work]
    return [
        Trial(
            task=task,
            optimizer=optimizer,
            schedule=SCHEDULE,
            controller=controller,
            base_lr=rate,
            steps=steps,
            seed=1,
            dtype="float64",
        )
        for rate in rates
    ]


def assert_same(batched: RunResult, alone: RunResult, points: int | None = None) -> None:
    assert list(batched.curves) == list(alone.curves)
    for name, curve in batched.curves.items():
        np.testing.assert_allclose(curve[:points], alone.curves[name][:points], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("work", WORK)
def test_a_batch_does_what_single_runs_do(controller: AbstractController, work: str) -> None:
    asked = trials(work, controller, (1e-3, 0.03))
    for batched, trial in zip(train_batch(asked), asked, strict=True):
        alone = train(trial)
        assert (batched.status, batched.stopped_at) == (alone.status, alone.stopped_at)
        assert batched.metrics == pytest.approx(alone.metrics, rel=1e-10, nan_ok=True)
        assert_same(batched, alone)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("work", ["least_squares", "momentum"])
def test_a_batch_does_what_single_runs_do_at_absurd_rates(controller: AbstractController, work: str) -> None:
    # Such runs are chaotic: a rounding grows by orders of magnitude in a few steps. So the beginning is compared, and the end.
    asked = trials(work, controller, (1e-3, 30.0, 1e150))
    for batched, trial in zip(train_batch(asked), asked, strict=True):
        alone = train(trial)
        assert (batched.status, batched.stopped_at) == (alone.status, alone.stopped_at)
        assert_same(batched, alone, points=4)


def test_absurd_neighbours_change_no_bit_of_a_trial(controller: AbstractController) -> None:
    one = train_batch(trials("momentum", controller, (0.01, 0.02)))[0]
    other = train_batch(trials("momentum", controller, (0.01, 1e150)))[0]
    assert one.metrics == other.metrics
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(curve, other.curves[name], err_msg=name)


def test_json_and_back(controller: AbstractController) -> None:
    assert decode(json.loads(json.dumps(encode(controller))), CONTROLLERS) == controller
    trial = trials("momentum", controller, (0.1,))[0]
    assert decode(json.loads(json.dumps(encode(trial))), KINDS) == trial


def test_numbers_and_search_ranges_are_legal(controller: AbstractController) -> None:
    leaves, space = controller.leaves(), controller.search_space()
    assert set(space) <= set(leaves)
    for name, found in space.items():
        assert math.isfinite(found.low)
        assert found.low < found.high
        for value in (found.low, found.high):
            assert controller.with_leaves({name: value}).leaves()[name] == value
    assert controller.with_leaves(leaves) == controller


@pytest.mark.parametrize("total_steps", [1, 2, 7, 100, 3000])
def test_signals_are_among_the_needs(controller: AbstractController, total_steps: int) -> None:
    asked = Signal.NONE
    for step in range(total_steps + 2):
        asked |= controller.signals(step, total_steps)
    assert asked in controller.needs
    assert total_steps < 3000 or asked == controller.needs or isinstance(controller, Hypergradient)
    assert 0.0 <= controller.extra_steps(total_steps) <= total_steps


@lru_cache
def moment(step: int, total_steps: int, trials: int) -> Moment:
    u = step / total_steps
    return Moment(step, total_steps, u, SCHEDULE(u).expand(trials), lambda v: SCHEDULE(v))


EXTREMES = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e300, 1e-300, 1e12, -7.0, 0.3, 1.0)
ROWS = st.fixed_dictionaries({name: st.tuples(*[st.sampled_from(EXTREMES)] * 2) for name in SEEN})


def columns(rows: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
    return [{name: torch.tensor(row[name], dtype=torch.float64) for name in SEEN} for row in rows]


def bits(values: Iterable[Tensor]) -> list[tuple[torch.Size, bytes]]:
    return [(value.shape, value.numpy().tobytes()) for value in values]


@settings(max_examples=16)
@given(rows=st.lists(ROWS, min_size=1, max_size=8), total_steps=st.sampled_from((1, 3, 30, 60)))
def test_nothing_seen_makes_the_rate_useless(
    controller: AbstractController, rows: list[dict[str, Any]], total_steps: int
) -> None:
    state, shown = controller.init(2), columns(rows)
    for step in range(total_steps + 1):
        now = moment(step, total_steps, 2)
        held, trial = controller.multiplier(state, now), controller.trial(state, now)
        for value in (held, trial):
            assert value.dtype == torch.float64
            assert value.shape == (2,)
            assert bool(value.isfinite().all())
            assert bool((value > 0.0).all() if step < total_steps else (value >= 0.0).all())
        for reading in controller.readings(state).values():
            assert reading.shape == (2,)
        if controller.signals(step, total_steps):
            seen = Observation(now=now, trial=bounded(trial), **shown[step % len(shown)])
            state, _ = controller.update(state, seen)


@settings(max_examples=8)
@given(rows=st.lists(ROWS, min_size=3, max_size=3))
def test_update_changes_neither_state_nor_observation(
    controller: AbstractController, rows: list[dict[str, Any]]
) -> None:
    state, shown = controller.init(2), columns(rows)
    for step in range(24):
        if not controller.signals(step, 24):
            continue
        row = shown[step % len(shown)]
        seen = Observation(now=moment(step, 24, 2), trial=torch.ones(2, dtype=torch.float64), **row)
        before = bits([*flattened(state), seen.trial, *row.values()])
        following, decided = controller.update(state, seen)
        again, decided_again = controller.update(state, seen)
        assert bits([*flattened(state), seen.trial, *row.values()]) == before
        assert all(getattr(seen, name) is value for name, value in row.items())
        assert bits([*flattened(following), decided]) == bits([*flattened(again), decided_again])
        state = rebuilt(controller.init(2), flattened(following))
        assert type(state) is type(following)


def descend(controller: AbstractController, factors: list[float]) -> list[float]:
    """The rates held before each step of a torch loop in which loss and gradient of step t are multiplied by factors[t]."""
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer, total_steps = torch.optim.SGD([w], lr=0.1, momentum=0.5), len(factors)
    scheduler = ControlledLR(optimizer, SCHEDULE, controller, total_steps=total_steps)
    rates = []
    for step, factor in enumerate(factors):
        rates.append(optimizer.param_groups[0]["lr"])
        scale = torch.tensor(factor, dtype=torch.float64)

        def loss(scale: Tensor = scale) -> Tensor:
            return (w * torch.tensor([1.0, 3.0])).square().sum() * scale

        optimizer.zero_grad()
        if Signal.HALF in controller.signals(step, total_steps):
            (loss() / 2).backward()
            scheduler.micro_batch()
            (loss() / 2).backward()
        else:
            loss().backward()
        value = loss().detach()
        optimizer.step()
        scheduler.step(value, closure=loss)
    return rates


@pytest.mark.filterwarnings("ignore:the losses are below")
@settings(max_examples=12)
@given(
    factors=st.lists(st.sampled_from((1.0, 1.0, 0.5, math.nan, math.inf, -1.0, 0.0, 1e200)), min_size=24, max_size=24)
)
def test_bad_losses_and_gradients_leave_the_optimizer_a_rate(
    controller: AbstractController, factors: list[float]
) -> None:
    for rate in descend(controller, factors):
        assert math.isfinite(rate)
        assert rate > 0.0


def gained() -> list[AbstractController]:
    found = []
    for kind in CONTROLLERS:
        example = EXAMPLES[kind] if kind in EXAMPLES else kind()
        found += [example.with_leaves({"gain": 0.0})] if "gain" in example.leaves() else []
    return found


@pytest.mark.sampled(3)
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("still", gained(), ids=lambda one: one.kind)
def test_zero_gain_equals_the_static_schedule(still: AbstractController, work: str) -> None:
    asked, static = trials(work, still, (1e-3, 0.03)), trials(work, Static(), (1e-3, 0.03))
    for one, other in zip(train_batch(asked), train_batch(static), strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-12)
        steps = one.curves["control/step"] / one.trial.steps
        np.testing.assert_allclose(
            one.curves["control/multiplier"], SCHEDULE(torch.from_numpy(steps)), rtol=0, atol=1e-12
        )


def test_rescue_of_nothing_is_what_is_inside(controller: AbstractController) -> None:
    inside, outside = (trials("momentum", one, (0.01, 0.1)) for one in (controller, NanRescue(then=controller)))
    for one, other in zip(train_batch(inside), train_batch(outside), strict=True):
        assert one.metrics == other.metrics
        np.testing.assert_array_equal(one.curves["train_loss"], other.curves["train_loss"])


def test_a_run_rescued_in_the_last_step_of_a_window_goes_on() -> None:
    # The loss overflows in single precision every other step, and windows of three steps end there now and then.
    for trial in trials("least_squares", NanRescue(every=1), (1e30,)):
        changed = Trial(**{item.name: getattr(trial, item.name) for item in fields(trial)} | {"dtype": "float32"})
        (batched,), alone = train_batch([changed]), train(changed)
        for result in (batched, alone):
            assert result.status is Status.OK
            assert result.curves["control/fallen"].sum() > 0.0


def test_one_gradient_that_is_not_finite_does_not_stay_in_the_mean() -> None:
    w = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=10.0)
    scheduler = ControlledLR(optimizer, SCHEDULE, MomoCap(), total_steps=40)
    for step in range(40):
        optimizer.zero_grad()
        loss = w.square().sum() * (math.nan if step == 5 else 1.0)
        loss.backward()
        optimizer.step()
        scheduler.step(loss)
        assert (scheduler.applied_multiplier == 0.0) == (step == 5)
    assert float(w.detach().square().sum()) < 0.1


def test_greedy_must_stay_within_what_controllers_may_do() -> None:
    with pytest.raises(SpecError, match="least and most"):
        Greedy(most=1e13)


def test_a_rescue_needs_what_is_inside_it() -> None:
    assert Signal.PROBE in NanRescue(then=Anchor()).needs
    assert Signal.PROBE not in NanRescue.needs
    assert isinstance(NanRescue(then=NanRescue()), Spec)


@pytest.mark.parametrize("which", [slice(0, 1), slice(None)], ids=["a part of the gradient", "the whole gradient"])
def test_a_step_that_is_not_finite_is_left_out_of_the_mean_gradient_as_a_whole(which: slice) -> None:
    w = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.01)
    scheduler = ControlledLR(optimizer, SCHEDULE, MomoCap(), total_steps=40)
    mean = torch.zeros(2, dtype=torch.float64)
    for step in range(8):
        gradient = 2.0 * w.detach().clone()
        mean = 0.9 * mean + (0.0 if step in (3, 5) else 0.1 * gradient)
        w.grad = gradient.clone()
        if step == 3:
            w.grad[which] = math.nan
        optimizer.step()
        scheduler.step(math.inf if step == 5 else w.detach().square().sum())
    torch.testing.assert_close(scheduler.control.statistics.buffers["average"][0], mean, rtol=0, atol=1e-15)
