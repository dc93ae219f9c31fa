import hashlib
import json
import math

import pytest
import torch

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import PowerLawLeastSquares, StreamingLeastSquares, TeacherPerceptron
from adaptive_lr.tasks.base import as_tuple
from adaptive_lr.tasks.random_family import FAMILIES, Draw, random_convex, random_network
from adaptive_lr.training import KINDS, Status, Trial, train_batch
from adaptive_lr.training.random_workloads import DEVELOPMENT, REPORT, random_workload

pytestmark = pytest.mark.usefixtures("one_thread")

every_family = pytest.mark.parametrize("kind", FAMILIES)

GOLDEN = {
    (
        "convex",
        0,
    ): "PowerLawLogistic(dimension=11, signal=1.42, exponent=0.55, decay=1.47, direction=3373548673), SGD() at 1.8, 3350 steps",
    (
        "convex",
        4000,
    ): "PowerLawLeastSquares(dimension=120, batch=8, exponent=0.85, decay=0.2, direction=3999012896, noise=0.521), SGD() at 0.51, 1820 steps",
    (
        "network",
        2,
    ): "Perceptron(batch=128, dataset='breast_cancer', hidden=(21,), activation='tanh'), SGD() at 0.5, 1950 steps",
    ("network", 4000): "Perceptron(batch=64, hidden=(9,)), AdamW(weight_decay=0) at 0.003, 977 steps",
}
DIGESTS = {"convex": "9e171da7dd2f2c72", "network": "3b03367ce6dcc826"}


def text(index: int, kind: str) -> str:
    trial = random_workload(index, kind).trial()
    return f"{trial.task!r}, {trial.optimizer!r} at {trial.base_lr}, {trial.steps} steps"


@pytest.mark.parametrize(("kind", "index"), GOLDEN)
def test_an_index_draws_what_it_always_drew(kind: str, index: int) -> None:
    assert text(index, kind) == GOLDEN[kind, index]


@every_family
def test_all_indices_draw_what_they_always_drew_and_no_workload_is_in_both_ranges(kind: str) -> None:
    development, report = ([text(index, kind) for index in indices] for indices in (DEVELOPMENT, REPORT))
    assert hashlib.sha256("\n".join(development + report).encode()).hexdigest()[:16] == DIGESTS[kind]
    assert not set(development) & set(report)


def test_what_is_trained_on_and_what_is_judged_are_disjoint() -> None:
    assert not set(DEVELOPMENT) & set(REPORT)
    assert (len(DEVELOPMENT), len(REPORT)) == (4000, 1000)


@every_family
@pytest.mark.parametrize("index", [-1, 5000, 2.0, True])
def test_an_index_in_neither_range_is_refused(kind: str, index: int) -> None:
    with pytest.raises(SpecError, match=rf"the index of a random {kind} task must lie in \[0, 5000\), got {index!r}"):
        FAMILIES[kind](index)


def test_another_kind_is_refused() -> None:
    with pytest.raises(SpecError, match=r"unknown kind of random workload 'konvex'; did you mean 'convex'"):
        random_workload(0, "konvex")


@every_family
def test_a_random_trial_survives_json(kind: str) -> None:
    for index in (*range(20), REPORT[0]):
        trial = random_workload(index, kind).trial()
        assert decode(json.loads(json.dumps(encode(trial))), KINDS) == trial


@every_family
def test_numbers_are_spread_over_their_ranges(kind: str) -> None:
    steps = [random_workload(index, kind).trial().steps for index in range(300)]
    low, high = {"convex": (100, 5000), "network": (100, 2000)}[kind]
    assert low <= min(steps) < 1.1 * low
    assert 0.9 * high < max(steps) <= high
    mean = sum(map(math.log, steps)) / 300.0
    assert mean == pytest.approx(0.5 * math.log(low * high), abs=4.0 * math.log(high / low) / 3600.0**0.5)
    assert len({type(random_workload(index, kind).trial().task) for index in range(30)}) == (
        3 if kind == "convex" else 2
    )


def test_a_number_depends_on_family_index_and_name_alone() -> None:
    drawn = {
        Draw(family, index).uniform(name) for family in FAMILIES for index in range(100) for name in ("a", "b", "1")
    }
    assert len(drawn) == 600
    assert sum(drawn) / 600.0 == pytest.approx(0.5, abs=4.0 / 7200.0**0.5)


@every_family
def test_random_workloads_train(kind: str) -> None:
    for index in (*range(5), *REPORT[:3]):
        (result,) = train_batch([random_workload(index, kind).trial("smoke")])
        assert result.status is Status.OK
        assert result.metrics[result.trial.task.report_metric] < 1.5 * result.initial[result.trial.task.report_metric]


def test_some_of_each_family_learn_a_lot_at_the_standard_size() -> None:
    for kind, indices in (("convex", range(4)), ("network", range(2))):
        for index in indices:
            (result,) = train_batch([random_workload(index, kind).trial(steps=300)])
            metric = result.trial.task.selection_metric
            assert result.metrics[metric] < 0.9 * result.initial[metric]


def test_trials_of_a_random_task_are_trained_together() -> None:
    workloads = random_workload(1, "convex"), random_workload(2, "network")
    for trial in (workload.trial("smoke", steps=10) for workload in workloads):
        rates = [Trial(**{**vars(trial), "base_lr": trial.base_lr * factor}) for factor in (0.5, 1.0)]
        together, apart = train_batch(rates), [train_batch([single])[0] for single in rates]
        for a, b in zip(together, apart, strict=True):
            assert a.metrics == pytest.approx(b.metrics, rel=1e-4)


def test_the_usual_stream_is_a_power_law_with_exponent_one() -> None:
    usual, general = StreamingLeastSquares(dimension=30), PowerLawLeastSquares(dimension=30)
    for a, b in zip(usual.minibatches(3, 5, torch.float64), general.minibatches(3, 5, torch.float64), strict=True):
        torch.testing.assert_close(as_tuple(a[0])[0], as_tuple(b[0])[0], rtol=1e-14, atol=0)
        torch.testing.assert_close(a[1], b[1], rtol=1e-13, atol=0)


def test_a_steep_target_is_aligned_with_the_large_eigenvalues() -> None:
    share = []
    for decay in (0.0, 2.0):
        _, target = PowerLawLeastSquares(dimension=50, exponent=1.0, decay=decay).population()
        share.append((target[:5].square().sum() / target.square().sum()).item())
    assert share[0] < 0.3 < 0.7 < share[1]


def test_a_teacher_without_noise_is_a_function_and_its_classes_are_many() -> None:
    clean = TeacherPerceptron(noise=0.0, examples=3000).splits()
    noisy = TeacherPerceptron(noise=0.4, examples=3000).splits()
    assert torch.equal(clean.train.inputs, noisy.train.inputs)
    changed = (clean.train.targets != noisy.train.targets).double().mean().item()
    assert changed == pytest.approx(0.4 * 0.75, abs=0.04)  # a quarter of what is drawn anew is as it was
    shares = torch.bincount(clean.train.targets, minlength=4) / 3000.0
    assert (shares > 0.08).all()
    assert not torch.equal(
        clean.train.inputs, TeacherPerceptron(teacher=1, noise=0.0, examples=3000).splits().train.inputs
    )


def test_a_class_that_does_not_occur_has_an_output() -> None:
    task = TeacherPerceptron(classes=40, examples=20, batch=5, hidden=(6,))
    assert task.splits().classes <= 40
    assert task.initial(0)["2.weight"].shape == (40, 6)


def test_random_tasks_are_as_their_tables_say() -> None:
    for index in range(200):
        convex, network = random_convex(index), random_network(index)
        assert 5 <= convex.dimension <= 200  # type: ignore[attr-defined]
        assert 0.0 <= convex.exponent <= 2.0  # type: ignore[attr-defined]
        assert all(8 <= width <= 128 for width in network.hidden)  # type: ignore[attr-defined]
        assert 1 <= len(network.hidden) <= 3  # type: ignore[attr-defined]
