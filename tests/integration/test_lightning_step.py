"""A probe finds the loss of the very step, and leaves the module, its minibatch and all random numbers as they were."""

import random
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

from adaptive_lr import DampedCosine, LossPlateau, NanRescue, ProgressAnchor, SpecError, Static
from tests.integration.controlled import BATCHES, examples, loader
from tests.integration.trained import QUIET, callback, probes, regression

pytestmark = [
    pytest.mark.usefixtures("lightning"),
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
]


class Augmented(Dataset[Any]):
    """Draws random numbers in the main process."""

    def __len__(self) -> int:
        return 8 * BATCHES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = examples()[index]
        return x + 0.1 * torch.randn(4) + random.random() + float(np.random.rand()), y  # noqa: NPY002


DRAWS = {
    "torch": lambda module, x: x + torch.randn_like(x),
    "numpy": lambda module, x: x * float(np.random.beta(0.5, 0.5)),  # noqa: NPY002
    "python": lambda module, x: x * random.random(),
    "a generator of its own": lambda module, x: x + torch.randn(x.shape, generator=module.generator),
}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("augmented", [False, True], ids=["", "augmented"])
@pytest.mark.parametrize("source", DRAWS)
def test_random_numbers_of_the_step_are_drawn_again(lightning: Any, source: str, augmented: bool, parts: int) -> None:
    class Noisy(regression(lightning)):  # type: ignore[misc]
        generator = torch.Generator()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return mse_loss(self.network(DRAWS[source](self, batch[0])), batch[1])

    model = Noisy()
    model.network[2].p = 0.5
    model.generator = torch.Generator().manual_seed(0)
    batches = DataLoader(Augmented(), batch_size=8) if augmented else loader()
    pairs = probes(lightning, model, batches, accumulate_grad_batches=parts)
    assert len(pairs) == 2 * -(-BATCHES // parts)
    assert all(loss == probe for loss, probe in pairs)
    assert len({loss for loss, _ in pairs}) == len(pairs)


def test_probes_do_not_change_which_numbers_are_drawn(lightning: Any) -> None:
    class Noisy(regression(lightning)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            drawn.drawn.append((torch.rand(()).item(), random.random(), float(np.random.rand())))  # noqa: NPY002
            return mse_loss(self.network(batch[0]), batch[1])

    class Drawn:
        drawn: list[tuple[float, ...]]

    seen = []
    drawn = Drawn()
    for probing in (True, False):
        lightning.seed_everything(0, verbose=False)
        drawn.drawn = []
        if probing:
            probes(lightning, Noisy(), max_epochs=1)
            seen.append(drawn.drawn[::2])
            assert drawn.drawn[::2] == drawn.drawn[1::2]
        else:
            lightning.Trainer(max_epochs=1, **QUIET).fit(Noisy(), loader())
            seen.append(drawn.drawn)
    assert seen[0] == seen[1]


class Change:
    """Ways in which a step changes its minibatch, a dictionary."""

    @staticmethod
    def pops(batch: Any) -> tuple[Tensor, Tensor]:
        return batch.pop("x"), batch.pop("labels")

    @staticmethod
    def scales_in_place(batch: Any) -> tuple[Tensor, Tensor]:
        return batch["x"].mul_(0.5), batch["labels"]

    @staticmethod
    def replaces(batch: Any) -> tuple[Tensor, Tensor]:
        batch["x"] = batch["x"] * 0.5
        return batch["x"], batch["labels"]

    @staticmethod
    def deep_inside(batch: Any) -> tuple[Tensor, Tensor]:
        batch["nested"][0]["x"] += 1.0
        batch["nested"].append(None)
        return batch["nested"][0]["x"] * len(batch["nested"]), batch["labels"]

    @staticmethod
    def of_a_class(batch: Any) -> tuple[Tensor, Tensor]:
        batch["item"].x.mul_(2.0)
        batch["item"].count += 1
        return batch["item"].x * batch["item"].count, batch["labels"]


class Item:
    def __init__(self, x: Tensor) -> None:
        self.x, self.count = x, 0


def collated(items: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    x, y = (torch.stack(parts) for parts in zip(*items, strict=True))
    return {"x": x, "labels": y, "nested": [{"x": x.clone()}], "item": Item(x.clone())}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("change", ["pops", "scales_in_place", "replaces", "deep_inside", "of_a_class"])
def test_a_batch_is_seen_again_as_the_step_saw_it(lightning: Any, change: str, parts: int) -> None:
    class Changes(regression(lightning)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = getattr(Change, change)(batch)
            return mse_loss(self.network(x), y)

    batches: Any = DataLoader(examples(), batch_size=8, collate_fn=collated)  # type: ignore[arg-type]
    pairs = probes(lightning, Changes(), batches, accumulate_grad_batches=parts)
    assert len(pairs) == 2 * -(-BATCHES // parts)
    assert all(loss == probe for loss, probe in pairs)


def remembering(lightning: Any) -> Any:
    """A module whose step reads and writes all kinds of its attributes, its parts' too."""

    class Remembers(regression(lightning)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("queue", torch.zeros(4, 4))
            self.register_buffer("pointer", torch.zeros((), dtype=torch.long))
            self.momentum = nn.Linear(4, 1).requires_grad_(False)
            self.norm = nn.BatchNorm1d(4)
            self.count, self.last = 0, torch.zeros(4)
            self.losses: list[float] = []
            self.recent: deque[float] = deque(maxlen=3)
            self.table: dict[str, Any] = {"seen": {0}, "nested": [[0]]}
            self.array = np.zeros(2)
            self.network.calls = 0

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            offset = self.queue.mean() + 0.01 * self.count + 0.01 * self.network.calls + self.last.mean()
            offset = offset + sum(self.recent) + 0.001 * len(self.table["seen"]) + float(self.array.sum())
            loss = mse_loss(self.network(self.norm(x)) + offset + 0.1 * self.momentum(x), y)
            self.queue[int(self.pointer) % 4] = x.mean(0)
            self.pointer += 1
            self.count += 1
            self.network.calls += 1
            self.last = x.mean(0)
            self.losses.append(loss.item())
            self.recent.append(float(x.mean()))
            self.table["seen"].add(self.count)
            self.table["nested"][0].append(self.count)
            self.array += 0.01
            with torch.no_grad():
                self.momentum.weight.lerp_(self.network[0].weight[:1], 0.1)
            if not hasattr(self, "made_late"):
                self.made_late = 0
            self.made_late += 1
            return loss

    return Remembers()


@pytest.mark.parametrize("parts", [1, 3])
def test_what_a_step_changes_in_its_module_is_put_back(lightning: Any, parts: int) -> None:
    model, plain = remembering(lightning), remembering(lightning)
    model.lr = plain.lr = 0.0
    pairs = probes(lightning, model, accumulate_grad_batches=parts)
    assert len(pairs) == 2 * -(-BATCHES // parts)
    assert all(loss == probe for loss, probe in pairs)
    lightning.Trainer(max_epochs=2, accumulate_grad_batches=parts, **QUIET).fit(plain, loader())
    assert model.count == model.made_late == model.network.calls == int(model.pointer) == 2 * BATCHES
    for name in ("losses", "recent", "table", "count"):
        assert getattr(model, name) == getattr(plain, name)
    assert torch.equal(model.last, plain.last)
    assert np.array_equal(model.array, plain.array)
    state = plain.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_metrics_and_logs_are_those_of_the_steps(lightning: Any) -> None:
    metrics = pytest.importorskip("torchmetrics")

    class Measured(regression(lightning)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.error = metrics.MeanSquaredError()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            prediction = self.network(batch[0])
            self.log("error", self.error(prediction, batch[1]))
            return mse_loss(prediction, batch[1])

    model = Measured()
    probes(lightning, model, max_epochs=1)
    assert model.error.update_count == BATCHES
    assert int(model.error.total) == 8 * BATCHES


@pytest.mark.parametrize("controller", [ProgressAnchor(), NanRescue(), LossPlateau(), Static()])
@pytest.mark.parametrize(
    ("parts", "left_out", "updates"), [(1, {3}, 19), (1, {0, 19}, 18), (2, {2, 3}, 9), (2, {3}, 10)]
)
@pytest.mark.filterwarnings("ignore:`training_step` returned `None`:UserWarning")
def test_a_batch_that_is_left_out_counts_as_no_update(
    lightning: Any, controller: Any, parts: int, left_out: set[int], updates: int
) -> None:
    class Skips(regression(lightning)):  # type: ignore[misc]
        at = -1

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.at += 1

        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            return None if self.at in left_out else mse_loss(self.network(batch[0]), batch[1])

    trainer = lightning.Trainer(
        max_epochs=2, accumulate_grad_batches=parts, callbacks=[callback(DampedCosine(), controller)], **QUIET
    )
    trainer.fit(Skips(), loader())
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == updates


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`:UserWarning")
def test_a_loss_that_is_left_out_does_not_shift_the_masks_of_the_others(lightning: Any) -> None:
    class Skips(regression(lightning)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            loss = mse_loss(self.network(batch[0] + torch.randn_like(batch[0])), batch[1])
            return None if batch_idx % 2 == 0 else loss

    model = Skips()
    model.network[2].p = 0.5
    pairs = probes(lightning, model, accumulate_grad_batches=2)
    assert len(pairs) == BATCHES
    assert all(loss == probe for loss, probe in pairs)


def test_lbfgs_evaluates_a_batch_often_and_the_first_loss_counts(lightning: Any) -> None:
    losses: list[float] = []

    class Evaluated(regression(lightning)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = mse_loss(self.network(batch[0]), batch[1])
            seen.setdefault((self.current_epoch, batch_idx), loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=0.1)

    class Reader(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            losses.append(trainer.lr_scheduler_configs[0].scheduler.readings()["loss"])

    seen: dict[tuple[int, int], float] = {}
    callbacks = [callback(DampedCosine(), LossPlateau()), Reader()]
    lightning.Trainer(max_epochs=1, callbacks=callbacks, **QUIET).fit(Evaluated(), loader())
    assert losses == pytest.approx(list(seen.values()))


@pytest.mark.filterwarnings("ignore:.*`dataloader_iter`:UserWarning")
def test_a_step_that_takes_the_iterator_is_told(lightning: Any) -> None:
    class Iterates(regression(lightning)):  # type: ignore[misc]
        def training_step(self, dataloader_iter: Any) -> Tensor:
            batch, _, _ = next(dataloader_iter)
            return mse_loss(self.network(batch[0]), batch[1])

    with pytest.raises(SpecError, match="takes dataloader_iter"):
        probes(lightning, Iterates())


def test_the_module_is_left_as_it_was(lightning: Any) -> None:
    class Fails(regression(lightning)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise ValueError("of the user")

    for kind, error in ((regression(lightning), None), (Fails, "of the user")):
        model = kind()
        if error is None:
            probes(lightning, model)
        else:
            with pytest.raises(ValueError, match=error):
                probes(lightning, model)
        assert not {"training_step", "optimizer_step"} & set(vars(model))
