import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.tasks import (
    SoftmaxRegression,
)
from adaptive_lr.tasks.classification import AbstractClassification
from adaptive_lr.tasks.data import DATASETS, load
from tests.reference.tasks import (
    CLASSIFICATION,
)

pytestmark = pytest.mark.usefixtures("one_thread")

every_classification = pytest.mark.parametrize("task", CLASSIFICATION.values(), ids=list(CLASSIFICATION))


every_dataset = pytest.mark.parametrize("name", DATASETS)


SIZES = {"digits": (1078, 359, 360), "breast_cancer": (341, 114, 114), "mnist1d": (3200, 800, 1000)}


def global_states() -> tuple[bytes, str, str]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002  # what must stay as it is
    return torch.get_rng_state().numpy().tobytes(), repr(numpy_state), repr(random.getstate())


@every_dataset
def test_splits_have_the_documented_sizes(name: str) -> None:
    data = load(name)
    splits = (data.train, data.validation, data.test)
    assert tuple(len(split.targets) for split in splits) == SIZES[name]
    features = {"digits": 64, "breast_cancer": 30, "mnist1d": 40}[name]
    for split in splits:
        assert split.inputs.shape == (len(split.targets), features)
        assert split.inputs.dtype == torch.float64
        assert split.targets.dtype == torch.int64
        assert split.inputs.isfinite().all()
    assert data.classes == {"digits": 10, "breast_cancer": 2, "mnist1d": 10}[name]


@every_dataset
def test_splits_are_disjoint_and_together_the_whole_data_set(name: str) -> None:
    data = load(name)
    rows = [row.numpy().tobytes() for split in (data.train, data.validation, data.test) for row in split.inputs]
    assert len(rows) == len(set(rows)) == {"digits": 1797, "breast_cancer": 569, "mnist1d": 5000}[name]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("digits", (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)), ("breast_cancer", (212, 357))],
)
def test_splits_are_stratified(name: str, counts: tuple[int, ...]) -> None:
    data = load(name)
    for split, share in ((data.train, 0.6), (data.validation, 0.2), (data.test, 0.2)):
        found = torch.bincount(split.targets, minlength=len(counts)).tolist()
        assert found == pytest.approx([share * count for count in counts], rel=0, abs=2)
    total = sum(torch.bincount(one.targets) for one in (data.train, data.validation, data.test))
    assert isinstance(total, Tensor)
    assert tuple(total.tolist()) == counts


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_features_are_standardised_on_the_training_data(name: str) -> None:
    inputs = load(name).train.inputs
    torch.testing.assert_close(inputs.mean(0), torch.zeros(inputs.shape[1]).double(), rtol=0, atol=1e-12)
    deviation = inputs.std(0, correction=0)
    varies = deviation > 0
    torch.testing.assert_close(deviation[varies], torch.ones(int(varies.sum())).double(), rtol=0, atol=1e-12)


def test_mnist1d_is_made_without_touching_the_global_generators_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load("mnist1d")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    before = global_states()
    made = DATASETS["mnist1d"]()
    assert global_states() == before
    assert torch.equal(made.test.inputs, expected.test.inputs)
    assert torch.equal(made.train.targets, expected.train.targets)
    assert len(list((tmp_path / "adaptive_lr").iterdir())) == 1

    def never(*arguments: object) -> None:
        pytest.fail("made again although it was kept")

    monkeypatch.setattr("mnist1d.data.make_dataset", never)
    assert torch.equal(DATASETS["mnist1d"]().train.inputs, expected.train.inputs)


@pytest.mark.filterwarnings("ignore:Exception ignored.*mnist1d:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"x" * 99])
def test_a_torn_mnist1d_file_is_made_again(
    damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    data = load("mnist1d")
    calls = []

    def stored(*arguments: object) -> dict[str, object]:
        calls.append(arguments)
        x, y = (
            torch.cat([getattr(one, part) for one in (data.train, data.validation)]) for part in ("inputs", "targets")
        )
        return {"x": x.numpy(), "y": y.numpy(), "x_test": data.test.inputs.numpy(), "y_test": data.test.targets.numpy()}

    monkeypatch.setattr("mnist1d.data.make_dataset", stored)
    DATASETS["mnist1d"]()
    (kept,) = (tmp_path / "adaptive_lr").iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert torch.equal(DATASETS["mnist1d"]().train.inputs, data.train.inputs)
    assert len(calls) == 2
    DATASETS["mnist1d"]()
    assert len(calls) == 2


@every_classification
def test_epochs_are_permutations_without_replacement(task: AbstractClassification) -> None:
    train = load(task.dataset).train
    place = {row.numpy().tobytes(): index for index, row in enumerate(train.inputs)}
    per_epoch = len(train.targets) // task.batch
    epochs: list[list[int]] = [[], []]
    for step, (inputs, targets) in enumerate(task.minibatches(1, 2 * per_epoch, torch.float64)):
        rows = [place[row.numpy().tobytes()] for row in inputs]
        assert len(rows) == task.batch
        assert torch.equal(train.targets[torch.tensor(rows)], targets)
        epochs[step // per_epoch] += rows
    for rows in epochs:
        assert len(set(rows)) == len(rows) == per_epoch * task.batch > len(train.targets) - task.batch
    assert epochs[0] != epochs[1]


def test_a_minibatch_of_the_whole_data_set_is_every_example_once() -> None:
    task = SoftmaxRegression(dataset="breast_cancer", batch=341)
    for inputs, _ in task.minibatches(0, 3, torch.float64):
        assert Counter(map(tuple, inputs.tolist())) == Counter(map(tuple, load("breast_cancer").train.inputs.tolist()))


def test_a_minibatch_larger_than_the_data_set_is_refused() -> None:
    with pytest.raises(SpecError, match=r"SoftmaxRegression\.batch must be at most 341, got 342"):
        SoftmaxRegression(dataset="breast_cancer", batch=342).minibatches(0, 1, torch.float64)
