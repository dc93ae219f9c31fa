"""Derivatives through training: against differences, against each other, against a plain loop, and where there are none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptive_lr import WSD, AbstractSchedule, Anchor, Constant, DampedCosine, Warmup
from adaptive_lr.errors import CompileError, InputError
from adaptive_lr.meta import FinalGradients, finite_differences, hypergradients, window_gradients
from adaptive_lr.meta.directions import multiplier_slopes
from adaptive_lr.meta.forward_mode import eager_push, forward
from adaptive_lr.meta.reverse_mode import EagerPasses, Reverse, reverse
from adaptive_lr.meta.trial_runs import trial_runs
from adaptive_lr.meta.unrolled import BOUND, Watch
from adaptive_lr.schedules import table
from adaptive_lr.tasks import Perceptron, RidgeRegression, StreamingLogistic
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Clipped, Muon, Trial, packages, train_batch
from adaptive_lr.training.pure import differentiable
from tests.reference.tasks import CASES, Case

pytestmark = pytest.mark.usefixtures("one_thread")

TANH = Case(Perceptron(dataset="digits", hidden=(12,), activation="tanh", batch=20), 0.02)
LOGISTIC = Case(StreamingLogistic(dimension=20), 0.3)
NUMBERS = ("log_base_lr", "k", "exponent", "floor")
SHAPE = DampedCosine(k=0.8, exponent=1.5, floor=0.01)
MOMENTUM = SGD(momentum=0.9)
STEPS = 200


def trials(
    case: Case = TANH,
    optimizer: AbstractOptimizer = MOMENTUM,
    seeds: Sequence[int] = (0, 1),
    schedule: AbstractSchedule = SHAPE,
    **changes: object,
) -> list[Trial]:
    basic = Trial(
        task=case.task,
        schedule=schedule,
        optimizer=optimizer,
        base_lr=case.rate,
        steps=STEPS,
        seed=0,
        dtype="float64",
    )
    return [replace(basic, seed=seed, **changes) for seed in seeds]  # type: ignore[arg-type]


def narrow(chosen: Sequence[Trial], numbers: Sequence[str] = NUMBERS) -> FinalGradients:
    """Differences so narrow that only rounding is between them and the derivative."""
    widths = {name: 1.0 + 1e-5 if name == "log_base_lr" else 1e-5 for name in numbers}
    return finite_differences(chosen, numbers, widths=widths)


@pytest.mark.parametrize(
    ("case", "optimizer"),
    [
        (TANH, MOMENTUM),
        (TANH, SGD(momentum=0.5, nesterov="on", weight_decay=0.01)),
        (replace(TANH, rate=0.003), AdamW(weight_decay=0.1)),
        (TANH, Clipped(then=MOMENTUM, norm=0.5)),
        (LOGISTIC, SGD()),
    ],
    ids=["perceptron", "nesterov", "adamw", "clipped", "logistic"],
)
def test_derivatives_are_what_differences_of_runs_come_to(case: Case, optimizer: AbstractOptimizer) -> None:
    chosen = trials(case, optimizer)
    ahead, back = (hypergradients(chosen, NUMBERS, way=way, compiled=False) for way in ("forward", "reverse"))
    torch.testing.assert_close(ahead.gradient, back.gradient, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(ahead.gradient, narrow(chosen).gradient, rtol=1e-6, atol=0.0)
    trained = [result.metrics[case.task.selection_metric] for result in train_batch(chosen)]
    np.testing.assert_allclose(ahead.final, trained, rtol=1e-12)
    assert torch.equal(ahead.final, back.final)


@pytest.mark.parametrize("name", CASES)
def test_every_task_is_differentiated_rightly_or_refused(name: str) -> None:
    case = CASES[name]
    calm = replace(case, rate=case.rate * 0.3)
    chosen = trials(calm, SGD(momentum=0.5), schedule=DampedCosine(exponent=1.5), steps=6)
    numbers = ("log_base_lr", "exponent")
    if any(buffer.is_floating_point() for buffer in case.task.initial_buffers().values()):
        with pytest.raises(InputError, match=r"remembers .* from step to step"):
            hypergradients(chosen, numbers)
        return
    result = hypergradients(chosen, numbers, compiled=False)
    torch.testing.assert_close(result.gradient, narrow(chosen, numbers).gradient, rtol=2e-6, atol=0.0)


def test_forward_mode_is_the_recursion_written_out_on_a_quadratic() -> None:
    task = RidgeRegression(examples=12, dimension=3, rank=3, batch=12)
    (trial,) = trials(Case(task, 0.05), MOMENTUM, seeds=(3,), steps=30)
    weight, velocity = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    weight_tangent, velocity_tangent = torch.zeros_like(weight), torch.zeros_like(weight)
    rates = trial.base_lr * table([trial.schedule], 30)[0]
    for rate, (inputs, targets) in zip(rates, task.minibatches(3, 30, torch.float64), strict=False):
        assert isinstance(inputs, torch.Tensor)
        hessian = inputs.t() @ inputs / len(inputs) + task.penalty * torch.eye(3, dtype=torch.float64)
        slope = hessian @ weight - inputs.t() @ targets.flatten() / len(inputs)
        velocity_tangent = 0.9 * velocity_tangent + hessian @ weight_tangent
        velocity = 0.9 * velocity + slope
        weight_tangent = weight_tangent - rate * velocity_tangent - rate * velocity
        weight = weight - rate * velocity
    weight.requires_grad_()
    (slope,) = torch.autograd.grad(task.final_loss({"0.weight": weight.view(1, 1, 3)}).sum(), weight)
    result = hypergradients([trial], ["log_base_lr"])
    assert result.of("log_base_lr").item() == pytest.approx(float(slope @ weight_tangent), rel=1e-10)


def test_trials_of_one_seed_and_of_several_are_the_same_as_one_by_one() -> None:
    mixed = [*trials(steps=20), *trials(steps=20, base_lr=0.01)]
    together = hypergradients(mixed, NUMBERS)
    for index, trial in enumerate(mixed):
        torch.testing.assert_close(
            hypergradients([trial], NUMBERS).gradient[0], together.gradient[index], rtol=1e-9, atol=0.0
        )
    alike = [mixed[0], mixed[2]]
    torch.testing.assert_close(hypergradients(alike, NUMBERS).gradient, together.gradient[::2], rtol=1e-9, atol=0.0)


def test_more_trials_than_fit_into_a_loop_are_taken_in_parts() -> None:
    large = Case(Perceptron(dataset="mnist1d", hidden=(100, 100), activation="tanh", batch=5), 0.01)
    chosen = trials(large, seeds=(0, 1, 2, 3), steps=3)
    result = hypergradients(chosen, ["log_base_lr"], way="reverse")
    assert result.gradient.shape == (4, 1)
    assert result.per_step is not None
    assert result.per_step.shape == (3, 4)
    for index in (0, 3):
        alone = hypergradients([chosen[index]], ["log_base_lr"])
        torch.testing.assert_close(result.gradient[index], alone.gradient[0], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("segment", [1, 7, 200, 1000])
def test_reverse_mode_does_not_depend_on_where_its_checkpoints_are(segment: int) -> None:
    results: list[Reverse] = []
    for each in (None, segment):
        runs = trial_runs(trials(steps=60))
        results.append(reverse(runs.unrolled, Watch(runs.unrolled, NUMBERS, BOUND), EagerPasses(runs.unrolled), each))
    torch.testing.assert_close(results[0].per_step, results[1].per_step, rtol=1e-12, atol=1e-15)


def test_a_rate_step_by_step_is_what_reverse_mode_differentiates_by() -> None:
    (trial,) = trials(LOGISTIC, SGD(), seeds=(0,), steps=40, schedule=Constant())
    result = hypergradients([trial], ["log_base_lr"], way="reverse")
    assert result.per_step is not None
    assert result.per_step.shape == (40, 1)
    assert float(trial.base_lr * result.per_step.sum()) == pytest.approx(result.gradient.item(), rel=1e-12)


def test_windows_share_a_rate_and_add_up_to_the_base_rate() -> None:
    chosen = trials(LOGISTIC, SGD(), steps=50)
    ahead, back = (window_gradients(chosen, 4, way=way) for way in ("forward", "reverse"))
    assert ahead.edges == (0, 12, 25, 37, 50)
    torch.testing.assert_close(ahead.gradient, back.gradient, rtol=1e-9, atol=0.0)
    base = hypergradients(chosen, ["log_base_lr"]).of("log_base_lr")
    torch.testing.assert_close(ahead.gradient.sum(1), base, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(ahead.per_step[:, 1], ahead.gradient[:, 1] / 13)
    torch.testing.assert_close(ahead.standard_error, (ahead.gradient[0] - ahead.gradient[1]).abs() / 2)


def test_averages_over_windows_and_seeds_have_less_noise_than_steps() -> None:
    chosen = trials(LOGISTIC, SGD(), seeds=range(24), schedule=Constant(), steps=STEPS)
    steps, windows = window_gradients(chosen, STEPS, way="reverse"), window_gradients(chosen, 4, way="reverse")

    def noise(gradient: torch.Tensor) -> float:
        """Over seeds, of one of them against the mean."""
        return float((gradient.std(0) / gradient.mean(0).abs()).median())

    assert noise(windows.gradient) < 0.5 * noise(steps.gradient)


def test_a_parameter_that_never_has_a_gradient_has_a_derivative_under_adamw() -> None:
    chosen = trials(CASES["perceptron_digits_relu"], AdamW(), steps=5)  # some pixels are always blank
    assert bool(hypergradients(chosen, ["log_base_lr"]).gradient.isfinite().all())


@pytest.mark.parametrize("rule", [AdamW(weight_decay=0.1), Clipped(then=AdamW(), norm=0.5)], ids=["adamw", "clipped"])
def test_an_update_that_can_be_differentiated_is_the_same_to_the_last_bit(rule: AbstractOptimizer) -> None:
    pure = rule.pure()
    assert pure is not None
    source = torch.Generator().manual_seed(0)
    parameters = [torch.randn(2, 50, generator=source, dtype=torch.float64)]
    gradients = [torch.randn(2, 50, generator=source, dtype=torch.float64) * (torch.arange(50) % 3 > 0)]
    slots = [[torch.zeros_like(parameters[0])] for _ in range(pure.slots)]
    rates, counts = torch.tensor([0.1, 0.2], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    results = [update(parameters, slots, gradients, rates, counts) for update in (pure, differentiable(pure))]
    for usual, other in zip(results[0][1] + [results[0][0]], results[1][1] + [results[1][0]], strict=True):
        assert torch.equal(usual[0], other[0])


@pytest.mark.parametrize("way", ["forward", "reverse"])
def test_derivatives_that_explode_are_refused_with_step_norm_and_rate(way: str) -> None:
    hot = Case(Perceptron(dataset="mnist1d", hidden=(100, 100), activation="tanh", batch=100), 0.5)
    chosen = trials(hot, seeds=(0,), schedule=Constant(), dtype="float32")
    pattern = (
        r"has the norm [\d.e+]+ at step (\d+) of 200, rate (0\.\d+): .* more than bound=10000; .*lower the base rate"
    )
    with pytest.raises(InputError, match=pattern) as refusal:
        hypergradients(chosen, ["log_base_lr"], way=way, compiled=False)
    assert "differences" in str(refusal.value)
    assert bool(finite_differences(chosen, ["log_base_lr"]).gradient.isfinite().all())


def test_a_run_that_diverges_is_refused_and_says_which() -> None:
    chosen = [*trials(LOGISTIC, SGD(), seeds=(0,)), *trials(Case(RidgeRegression(), 0.05), SGD(), seeds=(4,))][:1]
    wild = [*chosen, replace(chosen[0], base_lr=1e200, seed=4)]
    with pytest.raises(InputError, match=r"\(trial 1, seed 4\)"):
        hypergradients(wild, ["log_base_lr"])


@pytest.mark.slow
@pytest.mark.parametrize(("case", "seeds"), [(LOGISTIC, (0,)), (TANH, (0, 1))], ids=["one", "several"])
def test_compiled_loops_give_what_the_loop_in_python_gives(
    case: Case, seeds: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.FOLDER_VARIABLE, str(tmp_path))
    chosen = trials(case, seeds=seeds)
    for way in ("forward", "reverse"):
        fast, slow = (hypergradients(chosen, NUMBERS, way=way, compiled=compiled) for compiled in (True, False))
        torch.testing.assert_close(fast.gradient, slow.gradient, rtol=1e-9, atol=0.0)
        torch.testing.assert_close(fast.norms, slow.norms, rtol=1e-9, atol=0.0)
    assert len(list(tmp_path.glob("*.pt2"))) == 3


def test_without_a_compiler_derivatives_are_computed_step_by_step_and_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise CompileError("the training loop cannot be compiled (no compiler)")

    monkeypatch.setattr("adaptive_lr.meta.compiled_modes.package", broken)
    monkeypatch.setattr("adaptive_lr.meta.through_training.WORTH_COMPILING", 1)
    chosen = trials(LOGISTIC, SGD(), steps=5)
    for way in ("forward", "reverse"):
        with pytest.warns(UserWarning, match="computed step by step: .*no compiler"):
            result = hypergradients(chosen, NUMBERS, way=way)
        torch.testing.assert_close(result.gradient, hypergradients(chosen, NUMBERS, way=way, compiled=False).gradient)
        with pytest.raises(CompileError):
            hypergradients(chosen, NUMBERS, way=way, compiled=True)


def test_what_forward_mode_holds_does_not_grow_with_the_run() -> None:
    held = []
    for steps in (20, 200):
        runs = trial_runs(trials(LOGISTIC, SGD(), seeds=(0,), steps=steps))
        push = eager_push(runs.unrolled)
        alive: list[int] = []

        def watched(*values: object, push=push, alive=alive) -> object:  # type: ignore[no-untyped-def]
            result = push(*values)
            alive.append(sum(part.nbytes for part in (*result.state[0], *result.tangents)))
            return result

        forward(runs.unrolled, runs.directions(NUMBERS), Watch(runs.unrolled, NUMBERS, BOUND), watched)  # type: ignore[arg-type]
        held.append(max(alive))
    assert held[0] == held[1] == 20 * 8 * 5


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (WSD(cooldown=0.237), "cooldown"),
        (Warmup(fraction=0.0513, then=SHAPE), "fraction"),
        (Warmup(fraction=0.05, then=SHAPE), "then.exponent"),
    ],
)
def test_slopes_of_multipliers_are_those_of_the_table(schedule: AbstractSchedule, name: str) -> None:
    value = schedule.leaves()[name]
    assert isinstance(value, float)
    sides = table([schedule.with_leaves({name: value + side * 1e-6}) for side in (-1, 1)], 100)[:, :-1]
    torch.testing.assert_close(
        multiplier_slopes(schedule, 100, name), (sides[1] - sides[0]) / 2e-6, rtol=1e-6, atol=1e-7
    )


def test_the_end_of_a_plateau_has_a_slope_though_its_root_has_none() -> None:
    assert bool(multiplier_slopes(WSD(), 100, "cooldown").isfinite().all())


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        (["exponnent"], "unknown number of DampedCosine 'exponnent'; did you mean 'exponent'"),
        ("exponent", "numbers must be one or more names"),
        ([], "numbers must be one or more names"),
        (["k", "k"], "each of numbers must be there once"),
    ],
)
def test_numbers_that_are_none_are_refused(numbers: Sequence[str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        hypergradients(trials(steps=2), numbers)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schedule": Warmup(steps=5, then=SHAPE), "numbers": ["fraction"]}, "unknown number of Warmup 'fraction'"),
        ({"schedule": Warmup(steps=5, then=SHAPE), "numbers": ["steps"]}, "steps is given in steps"),
        ({"schedule": Constant(), "numbers": ["until"]}, "do not change smoothly with Constant.until"),
        ({"controller": Anchor()}, "without controller"),
        ({"optimizer": Muon()}, "a run of Muon cannot be differentiated"),
        ({"way": "backward"}, "way must be one of forward, reverse, differences"),
        ({"bound": 0.0}, "bound must be above 0"),
    ],
)
def test_what_cannot_be_differentiated_is_said(changes: dict[str, object], match: str) -> None:
    options = {name: changes.pop(name) for name in ("numbers", "way", "bound") if name in changes}
    chosen = [replace(trial, **changes) for trial in trials(steps=20)]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=match):
        hypergradients(chosen, **{"numbers": ["log_base_lr"], **options})  # type: ignore[arg-type]


def test_trials_that_do_not_go_together_are_refused_by_the_field() -> None:
    with pytest.raises(InputError, match="but steps differs"):
        hypergradients([*trials(steps=2), *trials(steps=3)])
    with pytest.raises(InputError, match="one or more, got none"):
        hypergradients([])


def test_an_error_rate_has_no_derivative() -> None:
    chosen = trials(Case(Perceptron(dataset="digits", hidden=(4,), metric="error"), 0.01), steps=2)
    with pytest.raises(InputError, match="final loss cannot be differentiated"):
        hypergradients(chosen, ["log_base_lr"])


def test_names_are_to_be_had_and_results_can_be_read() -> None:
    result = hypergradients(trials(LOGISTIC, SGD(), steps=3))
    assert result.numbers == ("log_base_lr", "k", "exponent")
    assert result.mean()["k"] == pytest.approx(float(result.of("k").mean()))
    assert result.standard_error()["k"] == pytest.approx(float(result.of("k").std() / 2**0.5))
    with pytest.raises(InputError, match="no derivative by 'floor'"):
        result.of("floor")
