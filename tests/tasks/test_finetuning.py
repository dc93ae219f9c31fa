from pathlib import Path

import numpy as np
import pytest
import torch

from adaptive_lr.schedules import Constant
from adaptive_lr.tasks import FineTunedConvolution, FineTunedGRU
from adaptive_lr.tasks import pretraining as pretraining_module
from adaptive_lr.tasks.finetuning import AbstractFineTuned, _pretrained
from adaptive_lr.tasks.pretraining import kept
from adaptive_lr.training import SGD, Trial, train

pytestmark = pytest.mark.usefixtures("one_thread")

GRU = FineTunedGRU(context=12, batch=4, width=16, pretraining=40)
CONVOLUTION = FineTunedConvolution(dataset="digits", channels=(4, 8), batch=20, shots=60, pretraining=80)
every_task = pytest.mark.parametrize("task", [GRU, CONVOLUTION], ids=lambda task: task.kind)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(tmp_path))
    _pretrained.cache_clear()
    return tmp_path / "pretrained"


def again(task: AbstractFineTuned) -> dict[str, torch.Tensor]:
    _pretrained.cache_clear()
    return task.pretrained()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".npz")


@every_task
def test_pre_training_is_done_once_and_gives_the_same_bits_again(
    task: AbstractFineTuned, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again(task)
    (path,) = files(folder)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining_module, "pretrain", None)  # would raise if it was called
        second = again(task)
    path.unlink()
    third = again(task)
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert torch.equal(value, third[name])


@every_task
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_weights_are_made_again(task: AbstractFineTuned, folder: Path, damage: str) -> None:
    first = again(task)
    (path,) = files(folder)
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    path.write_bytes({"cut": content[:-9], "flipped": flipped, "empty": b""}[damage])
    second = again(task)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert path.read_bytes() == content


def test_weights_of_something_else_are_kept_apart(folder: Path) -> None:
    others = [
        FineTunedGRU(width=16, pretraining=2),
        FineTunedGRU(width=16, pretraining=3),
        FineTunedGRU(width=12, pretraining=2),
    ]
    weights = [again(task)["head.bias"] for task in others]
    assert len(files(folder)) == 3
    assert not torch.equal(weights[0], weights[1])
    again(FineTunedGRU(width=16, pretraining=2, batch=7, context=9))  # how it is tuned does not matter
    assert len(files(folder)) == 3


def test_a_folder_that_cannot_be_written_to_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(tmp_path / "file"))
    assert kept("name", "content", lambda: {"a": np.ones(3)})["a"].sum() == 3.0


@every_task
def test_all_seeds_begin_from_the_same_weights_but_for_the_head(task: AbstractFineTuned) -> None:
    first, second = task.initial(1), task.initial(2)
    for name, value in first.items():
        anew = bool(task.head) and name.startswith(task.head)
        assert torch.equal(value, second[name]) is not anew
        assert (
            torch.equal(value, task.pretrained()[name]) is not anew
            if value.shape == task.pretrained()[name].shape
            else anew
        )


@every_task
def test_who_changes_the_initial_weights_changes_no_others(task: AbstractFineTuned) -> None:
    before = {name: value.clone() for name, value in task.initial(0).items()}
    for value in task.initial(0).values():
        value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in task.initial(0).items())


def test_pre_training_has_learnt_the_source() -> None:
    state = {name: value[None] for name, value in GRU.initial(0).items()}
    assert GRU.evaluate(state, final=False)["validation_loss"].item() < 3.7  # 5.5 before


def test_running_means_come_from_pre_training() -> None:
    buffers = CONVOLUTION.initial_buffers()
    assert buffers["features.1.running_mean"].abs().max() > 0.01
    assert buffers["features.1.num_batches_tracked"].item() == 80


def test_the_classes_of_pre_training_and_of_fine_tuning_are_disjoint() -> None:
    digits = FineTunedConvolution(dataset="digits", shots=60)
    source, few = digits._source(), digits.examples("train", torch.float32)
    assert set(source.targets.tolist()) == set(few.targets.tolist()) == set(range(5))
    assert len(few.targets) == 60
    assert isinstance(source.inputs, torch.Tensor)
    assert isinstance(few.inputs, torch.Tensor)
    assert not (source.inputs.flatten(1)[:, None] == few.inputs.flatten(1)).all(2).any()


def test_a_trial_that_is_trained_alone_begins_with_the_running_means_of_pre_training() -> None:
    trial = Trial(
        task=CONVOLUTION, schedule=Constant(), optimizer=SGD(), base_lr=1e-9, steps=1, seed=0, dtype="float64"
    )
    state = {name: value[None] for name, value in (CONVOLUTION.initial(0) | CONVOLUTION.initial_buffers()).items()}
    assert train(trial).initial == {
        name: pytest.approx(value.item(), rel=1e-12) for name, value in CONVOLUTION.evaluate(state, final=True).items()
    }
