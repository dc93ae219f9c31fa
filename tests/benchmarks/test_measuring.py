import importlib.util
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hardware_cost import peak_kilobytes, products
from jax_cost import LOADS, TOLERANCE, check, refuse_different
from pairs import one_core, without_evaluation
from rows import IncomparableError
from trainer_cost import Load

from adaptive_lr.tasks import Perceptron
from adaptive_lr.training import train, train_batch

SMALL = Load(what="small", task=Perceptron(dataset="digits", hidden=(8,)), count=3, steps=30)


def test_rates_of_a_load_are_from_low_to_high_evenly_in_the_logarithm() -> None:
    rates = [trial.base_lr for trial in SMALL.trials()]
    assert rates == pytest.approx([1e-3, 1e-2, 1e-1], rel=1e-12)
    assert {trial.steps for trial in SMALL.trials(7)} == {7}


def test_without_evaluation_the_same_steps_are_made() -> None:
    trials = SMALL.trials()
    usual = train_batch(trials)
    with without_evaluation(SMALL.task):
        alone, literal = train_batch(trials), train(trials[0])
    assert literal.metrics["validation_loss"] == 0.0
    for before, after in zip(usual, alone, strict=True):
        np.testing.assert_array_equal(before.curves["train_loss"], after.curves["train_loss"])
        assert after.metrics["validation_loss"] == 0.0 != before.metrics["validation_loss"]
    assert train_batch(trials)[0].metrics == usual[0].metrics


@pytest.mark.skipif("sched_getaffinity" not in dir(os), reason="this system has no affinity")
def test_one_core_is_one_core_and_is_given_back() -> None:
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
        assert torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == cores
    assert torch.get_num_threads() == threads


def test_losses_that_differ_by_rounding_are_compared() -> None:
    losses = np.array([[1.0, 2.0], [3.0, 4.0]])
    refuse_different(losses * (1.0 + 0.9 * TOLERANCE), losses, "a row")


@pytest.mark.parametrize("wrong", [4.001, np.nan, np.inf])
def test_losses_that_differ_are_refused_by_place(wrong: float) -> None:
    losses = np.array([[1.0, 2.0], [3.0, 4.0]])
    other = np.array([[1.0, 2.0], [3.0, wrong]])
    with pytest.raises(IncomparableError, match=r"^a row: at point 1 of trial 1 our loss is .*nothing is timed$"):
        refuse_different(other, losses, "a row")


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "load",
    [
        pytest.param(load, marks=[pytest.mark.slow] if index else [], id=load.what)
        for index, (load, _) in enumerate(LOADS)
    ],
)
def test_what_is_written_for_jax_is_the_same_training(load: Load) -> None:
    check(replace(load, count=min(2, load.count)))


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.filterwarnings("ignore")
def test_another_computation_in_jax_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax_models

    usual = jax_models.losses(LOADS[0][0].task)[""]
    monkeypatch.setattr(jax_models, "losses", lambda task: {"": lambda *given: 1.001 * usual(*given)})
    with pytest.raises(IncomparableError):
        check(replace(LOADS[0][0], count=1))


def test_bare_products_are_those_of_a_step() -> None:
    step, operations = products(3, 100)
    multiplied = 40 * 100 + 100 * 100 + 100 * 10
    assert operations == 2.0 * 3 * 100 * (3 * multiplied - 40 * 100)  # no gradient with respect to the inputs
    step()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_peak_memory_is_that_of_this_process() -> None:
    before = peak_kilobytes()
    block = np.ones(60_000_000, dtype=np.uint8)
    assert peak_kilobytes() >= before
    assert peak_kilobytes() > block.nbytes / 1024
