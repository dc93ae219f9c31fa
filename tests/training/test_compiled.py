"""Compiled loops train as the others do."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adaptive_lr import DampedCosine, SpecError
from adaptive_lr.controllers import AbstractController, Anchor, Hypergradient, ProgressAnchor
from adaptive_lr.errors import CompileError
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.tasks.base import stacked
from adaptive_lr.training import (
    SGD,
    AbstractOptimizer,
    Backend,
    BatchRun,
    Muon,
    Paused,
    Trial,
    backends,
    compiled_loop,
    packages,
    train_batch,
)
from adaptive_lr.training.base import FlatState
from adaptive_lr.training.compiled_loop import State, Structure, traced
from adaptive_lr.training.paused import stacked_buffers
from adaptive_lr.training.stretches import at_once
from tests.reference.tasks import CASES, Case
from tests.training.test_optimizers import RULES, STEPS, TRIALS, Quadratics
from tests.training.test_training import ABSURD, assert_agree, bits, trial

pytestmark = pytest.mark.usefixtures("one_thread")

PERCEPTRON = CASES["perceptron_digits_relu"]
MOMENTUM = SGD(momentum=0.9)
COMPILABLE = {name: case for name, case in CASES.items() if case.task.compilable}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for compiled loops with nothing in it, and nothing remembered by this process."""
    monkeypatch.setenv(packages.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiled_loop, "_LOOPS", {})
    return tmp_path


def some(case: Case = PERCEPTRON, controller: AbstractController | None = None, **changes: object) -> list[Trial]:
    """Four, one of which diverges."""
    rates = (case.rate * 0.1, ABSURD, case.rate * 0.05, case.rate * 0.02)
    basic = [trial(case, schedule=DampedCosine(), optimizer=MOMENTUM, base_lr=rate, **changes) for rate in rates]
    return [replace(each, controller=controller) for each in basic] if controller else basic


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_an_update_as_a_pure_function_is_the_same(rule: AbstractOptimizer) -> None:
    problem, every = Quadratics(), torch.arange(TRIALS)
    state = FlatState(problem.start)
    update, pure = rule.stacked(state), rule.pure()
    assert pure is not None
    parameters = [parameter.clone() for parameter in state.parameters]
    slots = [[view.clone() for view in state.views(flat)] for flat in update.buffers()]
    assert pure.slots == len(slots)
    for step in range(STEPS):
        before = [value.clone() for value in parameters]
        gradients = problem.gradients(parameters, every)
        for into, gradient in zip(state.gradients, problem.gradients(state.parameters, every), strict=True):
            into.copy_(gradient)
        update.step(problem.rates[step])
        counts = torch.full((TRIALS,), step + 1.0, dtype=torch.float64)
        moved, slots = pure(parameters, slots, gradients, problem.rates[step], counts)
        assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))
        parameters = moved
    for value, other in zip(parameters, state.parameters, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-10, atol=1e-12)


def begun(task: AbstractTask, seeds: Sequence[int]) -> State:
    initial = [task.initial(seed) for seed in seeds]
    parameters = [torch.stack([values[name] for values in initial]) for name in initial[0]]
    buffers = list(stacked_buffers(task, torch.float64, len(seeds)).values())
    return State(parameters, [[torch.zeros_like(parameter) for parameter in parameters]], buffers)


@pytest.mark.parametrize("apart", [False, True], ids=["shared", "apart"])
@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("case", COMPILABLE.values(), ids=list(COMPILABLE))
def test_the_step_that_is_compiled_is_that_of_the_stacked_trainer(case: Case, trials: int, apart: bool) -> None:
    task, seeds = case.task, [0, 1, 2][:trials]
    state = begun(task, seeds)
    drawn = [next(iter(task.minibatches(seed, 1, torch.float64))) for seed in (seeds if apart else [5])]
    inputs, targets = stacked(drawn) if apart else drawn[0]
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    rates, counts = torch.full((trials,), 0.01, dtype=torch.float64), torch.ones(trials, dtype=torch.float64)
    update = MOMENTUM.pure()
    assert update is not None
    with torch.no_grad():
        series = [value.unsqueeze(0) for value in (*parts, targets, rates, counts)]
        graph = traced(Structure(task, MOMENTUM, torch.float64, trials, apart), update, state, series)
        *results, losses = graph(*state.flat(), *parts, targets, rates, counts)
    expected, expected_losses = by_hand(task, state, stacked(drawn), rates)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-9, atol=1e-11)
    for value, other in zip(results, expected.flat(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-11)


def by_hand(
    task: AbstractTask, begin: State, minibatch: tuple[Tensor | tuple[Tensor, ...], Tensor], rates: Tensor
) -> tuple[State, Tensor]:
    """One step of the stacked trainer."""
    state, buffers = FlatState(begin.parameters), [value.clone() for value in begin.buffers]
    update = MOMENTUM.stacked(state)
    with torch.no_grad():
        losses = task.gradient_function()(state.parameters, *minibatch, state.gradients, buffers)
        update.step(rates)
    return State(state.parameters, [state.views(flat) for flat in update.buffers()], buffers), losses


@pytest.mark.parametrize("controller", [None, ProgressAnchor(), Anchor(), Hypergradient()], ids=repr)
def test_a_compiled_batch_agrees_with_one_trained_step_by_step(controller: AbstractController | None) -> None:
    trials = some(controller=controller)
    for compiled, other in zip(train_batch(trials, Backend.COMPILED), train_batch(trials), strict=True):
        assert_agree(compiled, other, tolerance=1e-8)


def test_a_compiled_trial_is_the_same_whatever_the_others_do() -> None:
    trials = some()
    results = train_batch(trials, Backend.COMPILED)
    others = train_batch([trials[0], replace(trials[1], base_lr=1e-3), *trials[2:]], Backend.COMPILED)
    assert results[1].stopped_at is not None
    assert [bits(results[row]) for row in (0, 2, 3)] == [bits(others[row]) for row in (0, 2, 3)]
    # Three are trained with a copy of the last beside them.
    run = BatchRun(Paused.begun(trials[1:]), compiled=True, of_a_seed=4)
    run.advance(trials[0].steps)
    assert [bits(result) for result in run.results()] == [bits(result) for result in results[1:]]


def test_a_compiled_run_may_be_paused_anywhere() -> None:
    trials = some()
    expected = train_batch(trials, Backend.COMPILED)
    run = BatchRun(Paused.begun(trials), compiled=True)
    for end in (1, 7, 8, trials[0].steps):
        run.advance(end)
        if end < trials[0].steps:
            run = BatchRun(run.paused(), compiled=True)
    assert [bits(result) for result in run.results()] == [bits(result) for result in expected]


@pytest.mark.slow
@pytest.mark.parametrize("case", COMPILABLE.values(), ids=list(COMPILABLE))
def test_every_task_agrees_when_compiled(case: Case) -> None:
    trials = [one for seed in (0, 1) for one in some(case, seed=seed)]
    for compiled, other in zip(train_batch(trials, Backend.COMPILED), train_batch(trials), strict=True):
        assert_agree(compiled, other, tolerance=1e-6)


@pytest.mark.slow
def test_seeds_with_few_trials_are_trained_together() -> None:
    trials = [one for seed in range(3) for one in some(seed=seed)[:2]]
    for compiled, other in zip(train_batch(trials, Backend.COMPILED), train_batch(trials), strict=True):
        assert_agree(compiled, other, tolerance=1e-8)


def test_a_damaged_file_is_made_anew(empty: Path) -> None:
    trials = [replace(one, task=CASES["least_squares"].task) for one in some(CASES["least_squares"])[:1]]
    expected = [bits(result) for result in train_batch(trials, Backend.COMPILED)]
    (path,) = empty.glob("*.pt2")
    path.write_bytes(path.read_bytes()[:1000])
    compiled_loop._LOOPS.clear()
    assert [bits(result) for result in train_batch(trials, Backend.COMPILED)] == expected
    assert path.stat().st_size > 1000


WITHOUT = """
from adaptive_lr import DampedCosine
from adaptive_lr.errors import CompileError
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, Backend, Trial, train_batch
from adaptive_lr.trials.runner import Training

task = StreamingLeastSquares(dimension=3)
trials = [Trial(task=task, schedule=DampedCosine(), optimizer=SGD(), base_lr=0.1, steps=20, seed=0)]
try:
    train_batch(trials, Backend.COMPILED)
except CompileError as error:
    print("the training loop cannot be compiled (" in str(error), "No working C++ compiler" in str(error), len(str(error)) < 300)
print(Training(trials, Backend.COMPILED).results() == train_batch(trials))
"""


def test_without_a_compiler_an_error_says_so_and_trials_are_trained_without(tmp_path: Path) -> None:
    # In a process of its own, since torch remembers that there is no compiler.
    environment = os.environ | {"CXX": "no-such-compiler", packages.FOLDER_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines() == ["True True True", "True"]
    assert not list(tmp_path.glob("*.pt2"))


def test_a_folder_that_is_a_file_is_named(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "file").write_text("mine")
    monkeypatch.setenv(packages.FOLDER_VARIABLE, str(empty / "file"))
    with pytest.raises(CompileError, match=f"cannot be kept in {empty / 'file'}"):
        train_batch(some()[:1], Backend.COMPILED)
    assert (empty / "file").read_text() == "mine"


def test_what_cannot_be_compiled_is_refused() -> None:
    assert Backend.COMPILED not in backends(trial(PERCEPTRON, optimizer=Muon()))
    with pytest.raises(SpecError, match=r"must be trained 'one by one', got 'compiled'"):
        train_batch([trial(PERCEPTRON, optimizer=Muon())], Backend.COMPILED)


def test_a_loop_trains_about_equal_parts_at_once() -> None:
    assert [at_once(10**9, 3), at_once(1, 10_000), at_once(100, 3), at_once(100, 1)] == [1, 512, 3, 1]
    for parameters in (1, 100, 6_000, 20_000):
        for trials in range(1, 700, 7):
            size = at_once(parameters, trials)
            assert size <= max(1, min(512, 65_536 // parameters)) * 1.13
            parts = -(-trials // size)
            assert parts * size <= 1.13 * (trials + parts)
