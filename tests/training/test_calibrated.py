"""The calibrated default, and how it was chosen."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from adaptive_lr import SpecError
from adaptive_lr.tasks import Perceptron, StreamingLeastSquares
from adaptive_lr.training import SGD, AdamW, Status, Trial, train
from adaptive_lr.training.calibrated import FILE, calibrated_default
from adaptive_lr.training.random_workloads import DEVELOPMENT
from adaptive_lr.trials.store import Record

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "calibrate.py"
    described = importlib.util.spec_from_file_location("calibrate", path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "optimizer"), [("sgd", SGD(momentum=0.9)), ("adamw", AdamW())])
def test_a_default_is_a_setting_that_was_tried(name: str, optimizer: SGD | AdamW, script: ModuleType) -> None:
    chosen = calibrated_default(name)
    assert chosen.optimizer == optimizer
    _, low, high = script.OPTIMIZERS[name]
    tried = {(rate, script.schedules()[shape, warmup]) for rate, shape, warmup in script.settings(low, high)}
    assert (chosen.rate, chosen.schedule) in tried
    assert 10.0**low < chosen.rate < 10.0**high
    assert 0.0 < chosen.penalty < 0.5


def test_it_comes_from_development_tasks_alone(script: ModuleType) -> None:
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(stored["random indices"]) <= set(DEVELOPMENT)
    assert stored["tasks"] == {name: trial.steps for name, trial in script.models().items()}
    assert stored["seeds"] == list(script.SEEDS)
    for found in stored["optimizers"].values():
        assert list(found["penalties"]) == list(stored["tasks"])
        assert np.mean(list(found["penalties"].values())) == pytest.approx(found["penalty"], abs=1e-4)
        assert [row["penalty"] for row in found["next"]] == sorted(row["penalty"] for row in found["next"])
        assert found["penalty"] <= found["next"][0]["penalty"]


def test_others_have_none() -> None:
    with pytest.raises(SpecError, match="unknown optimizer with a calibrated default 'muon'"):
        calibrated_default("muon")


def test_penalties_are_shares_of_what_can_be_learned_or_decades_of_excess(script: ModuleType) -> None:
    def penalties(task: Perceptron | StreamingLeastSquares, ended: list[float], initial: float) -> list[float]:
        metric = task.selection_metric
        trials = [
            Trial(task=task, schedule=script.SHAPES["cosine"], optimizer=SGD(), base_lr=rate, steps=10, seed=0)
            for rate in (0.1, 1.0, 10.0)
        ]
        records = {
            trial.digest(): Record(trial.digest(), Status.OK, None, {metric: initial}, {metric: loss}, 1.0)
            for trial, loss in zip(trials, ended, strict=True)
        }
        found: list[float] = script.penalties([[trial] for trial in trials], records).tolist()
        return found

    network = Perceptron(dataset="digits", hidden=(4,))
    assert penalties(network, [1.0, 1.5, float("nan")], 3.0) == pytest.approx([0.0, 0.25, 1.0])
    convex = StreamingLeastSquares(dimension=4)
    assert convex.optimum is not None
    assert convex.selection_metric == convex.report_metric
    ended = [convex.optimum + excess for excess in (0.1, 0.1 * 10**0.5, 7.0)]
    assert penalties(convex, ended, 9.0) == pytest.approx([0.0, 0.5, 1.0])


def test_a_default_trains_what_it_was_not_chosen_on() -> None:
    chosen = calibrated_default("adamw")
    task = Perceptron(dataset="breast_cancer", hidden=(16,))
    trial = Trial(
        task=task, schedule=chosen.schedule, optimizer=chosen.optimizer, base_lr=chosen.rate, steps=200, seed=0
    )
    result = train(trial)
    assert result.metrics[task.selection_metric] < 0.5 * result.initial[task.selection_metric]
