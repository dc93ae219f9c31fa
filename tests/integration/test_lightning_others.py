"""The callback beside Lightning's own: averaging, finders of rates, unfreezing, resuming, and runs whose length is another or unknown."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, IterableDataset

from adaptive_lr import Anchor, ControlledLR, DampedCosine, ProgressAnchor, ScheduledLR, SpecError, Static
from tests.integration.controlled import BATCHES, examples, loader
from tests.integration.trained import QUIET, callback, regression

pytestmark = [
    pytest.mark.usefixtures("lightning"),
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch:UserWarning"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch:UserWarning"),
    pytest.mark.filterwarnings("ignore:`weights_only` was not set:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning"),
]

SCHEDULE, CONTROLLER = DampedCosine(), Anchor(least_steps=8)


def own(lightning: Any, interval: str = "step", **options: Any) -> Any:
    class Own(regression(lightning)):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
            total_steps = int(self.trainer.estimated_stepping_batches)
            scheduler = ControlledLR(optimizer, SCHEDULE, CONTROLLER, total_steps=total_steps)
            return [optimizer], [{"scheduler": scheduler, "interval": interval, **options}]

    return Own()


def fit(lightning: Any, model: Any, *callbacks: Any, batches: Any = None, ckpt_path: Any = None, **options: Any) -> Any:
    trainer = lightning.Trainer(**{**QUIET, "max_epochs": 4, **options, "callbacks": list(callbacks)})
    resumed = {} if ckpt_path is None else {"ckpt_path": ckpt_path, "weights_only": False}
    trainer.fit(model, loader() if batches is None else batches, **resumed)
    return trainer


def averaging(lightning: Any) -> Any:
    return lightning.pytorch.callbacks.StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=2, annealing_epochs=1)


@pytest.mark.parametrize("order", ["before", "after", "own"])
@pytest.mark.parametrize("normalised", [False, True])
def test_weight_averaging_takes_over_and_all_updates_are_made(
    lightning: Any, tmp_path: Path, order: str, normalised: bool
) -> None:
    def made() -> tuple[Any, list[Any]]:
        model = own(lightning) if order == "own" else regression(lightning)()
        if normalised:
            model.network[1] = nn.BatchNorm1d(16)
        callbacks = [callback() if order == "own" else callback(SCHEDULE, CONTROLLER), averaging(lightning)]
        return model, callbacks[::-1] if order == "after" else callbacks

    class Saves(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    class Horizon(lightning.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            horizons.append(trainer.lr_scheduler_configs[0].scheduler.horizon.end)

    horizons: list[int] = []
    model, callbacks = made()
    with pytest.warns(UserWarning, match=f"SWALR has taken the place of the ControlledLR after {BATCHES} updates"):
        fit(lightning, model, *callbacks, Saves(), Horizon())
    rates = model.used.one_group()
    assert len(rates) == 4 * BATCHES + normalised  # one more, without a gradient, when the statistics are computed anew
    if order != "own":
        assert horizons == [4 * BATCHES]
    assert len(set(rates[:BATCHES])) > 2
    assert len(set(rates[BATCHES + 1 : 2 * BATCHES])) == 1  # nothing is probed any more, and no rate is ours
    assert rates[-1] == pytest.approx(1e-3)
    # A run that is resumed after that has no controller either, and says nothing.
    again, callbacks = made()
    fit(lightning, again, *callbacks, ckpt_path=tmp_path / "2.ckpt")
    assert again.used.one_group() == rates[3 * BATCHES :]


def test_any_other_scheduler_that_takes_over_is_told_in_the_middle_of_a_run(lightning: Any) -> None:
    class Swaps(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                trainer.strategy.lr_scheduler_configs = []

    model = regression(lightning)()
    with pytest.warns(UserWarning, match="nothing has taken the place of the ControlledLR after 3 updates"):
        fit(lightning, model, callback(SCHEDULE, CONTROLLER), Swaps())
    assert len(model.used.rates) == 4 * BATCHES


@pytest.mark.parametrize("kind", ["own", "callback"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_rate_is_found_and_then_used(lightning: Any, kind: str, parts: int) -> None:
    model = own(lightning) if kind == "own" else regression(lightning)()
    used = callback() if kind == "own" else callback(SCHEDULE, CONTROLLER)
    trainer = lightning.Trainer(**QUIET, max_epochs=4, callbacks=[used], accumulate_grad_batches=parts)
    lightning.pytorch.tuner.Tuner(trainer).lr_find(model, loader(), num_training=15)
    start, model.used.rates = model.lr, []
    assert start != 0.05
    trainer.fit(model, loader())
    assert model.used.rates[0] == [pytest.approx(start)]
    assert len(model.used.rates) == 4 * BATCHES // parts
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 4 * BATCHES // parts


def test_a_finder_among_the_callbacks(lightning: Any) -> None:
    def finder() -> Any:
        return lightning.pytorch.callbacks.LearningRateFinder(num_training_steps=15)

    model = regression(lightning)()
    trainer = fit(lightning, model, finder(), callback(SCHEDULE, CONTROLLER))
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == [model.lr]
    # One's own ControlledLR was built before the rate was found, which would be overwritten.
    with pytest.raises(SpecError, match=r"was set to .* after the ControlledLR was built for"):
        fit(lightning, own(lightning), finder(), callback())


@pytest.mark.parametrize("how", ["hold", "stretch", "continue"])
@pytest.mark.parametrize("epochs", [3, 8])
def test_a_checkpoint_goes_on_for_more_or_fewer_epochs(lightning: Any, tmp_path: Path, how: str, epochs: int) -> None:
    def run(count: int, on_longer: str | None, saved: Path | None) -> tuple[Any, Any]:
        class Saves(lightning.Callback):
            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                trainer.save_checkpoint(tmp_path / f"{count}-{trainer.current_epoch}.ckpt")

        model = regression(lightning)()
        used = callback(SCHEDULE, Static(), on_longer=on_longer)
        return model, fit(lightning, model, used, Saves(), max_epochs=count, ckpt_path=saved)

    run(4, None, None)
    saved = tmp_path / "4-1.ckpt"
    with pytest.raises(SpecError, match="say how to go on with on_longer="):
        run(epochs, None, saved)
    if how == "hold" and epochs < 4:
        with pytest.raises(SpecError, match="'hold' cannot shorten"):
            run(epochs, how, saved)
        return
    model, trainer = run(epochs, how, saved)
    plain = ScheduledLR(
        torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.05), SCHEDULE, total_steps=4 * BATCHES
    )
    for _ in range(2 * BATCHES):
        plain.optimizer.step()
        plain.step()
    plain.extend(epochs * BATCHES, how)
    expected = []
    for _ in range((epochs - 2) * BATCHES):
        expected += plain.get_last_lr()
        plain.optimizer.step()
        plain.step()
    assert model.used.one_group() == pytest.approx(expected)
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == epochs * BATCHES


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(examples())


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.parametrize(
    ("options", "batches"),
    [({"max_epochs": -1}, None), ({"max_epochs": -1, "max_steps": -1}, None), ({"max_epochs": 2}, Endless())],
)
def test_a_run_of_unknown_length_needs_total_steps(lightning: Any, options: Any, batches: Any) -> None:
    stream = None if batches is None else DataLoader(batches, batch_size=8)
    with pytest.raises(SpecError, match=r"number of updates is not known .* give ControlledLRCallback total_steps="):
        fit(lightning, regression(lightning)(), callback(SCHEDULE, CONTROLLER), batches=stream, **options)
    ends = {"max_steps": 12} if options["max_epochs"] == -1 else {}
    for used in (callback(SCHEDULE, CONTROLLER, total_steps=12), *([callback(SCHEDULE, CONTROLLER)] if ends else [])):
        trainer = fit(lightning, regression(lightning)(), used, batches=stream, **options | ends)
        assert trainer.lr_scheduler_configs[0].scheduler.horizon.end == 12


CASES: dict[str, tuple[dict[str, Any], int]] = {
    "one step only": ({"fast_dev_run": True}, 1),
    "one batch over and over": ({"overfit_batches": 1}, 4),
    "part of the loader": ({"limit_train_batches": 3}, 12),
    "a rest of two batches": ({"accumulate_grad_batches": 4}, 12),
    "validation in between": ({"val_check_interval": 3}, 40),
    "steps instead of epochs": ({"max_steps": 13, "max_epochs": None}, 13),
}


@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled training dataloader shuffling:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_horizon_is_the_number_of_updates(lightning: Any, case: str) -> None:
    class Validated(regression(lightning)):  # type: ignore[misc]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("validation_loss", mse_loss(self.network(batch[0]), batch[1]))

    options, updates = CASES[case]
    model = Validated()
    trainer = lightning.Trainer(**{**QUIET, "max_epochs": 4, **options, "callbacks": [callback(SCHEDULE, CONTROLLER)]})
    trainer.fit(model, loader(), loader())
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    assert (scheduler.horizon.end, scheduler.last_epoch, len(model.used.rates)) == (updates, updates, updates)


def test_accumulation_that_changes_by_epoch_is_counted(lightning: Any) -> None:
    accumulation = lightning.pytorch.callbacks.GradientAccumulationScheduler({0: 1, 2: 4})
    model = regression(lightning)()
    trainer = fit(lightning, model, callback(SCHEDULE, CONTROLLER), accumulation)
    assert trainer.lr_scheduler_configs[0].scheduler.horizon.end == len(model.used.rates) == 2 * BATCHES + 2 * 3


def test_an_early_stop_and_a_second_fit(lightning: Any) -> None:
    class Stops(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.global_step == 7 and not first

    first: list[int] = []
    model = regression(lightning)()
    trainer = fit(lightning, model, callback(SCHEDULE, CONTROLLER), Stops())
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 7
    first.append(1)
    trainer = fit(lightning, model, callback(SCHEDULE, CONTROLLER))
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 4 * BATCHES


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("stop", [3, 4])
def test_a_checkpoint_in_the_middle_of_an_epoch(lightning: Any, tmp_path: Path, parts: int, stop: int) -> None:
    class Saves(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == stop and trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                states.append(trainer.lr_scheduler_configs[0].scheduler.last_epoch)

    states: list[int] = []
    fit(lightning, regression(lightning)(), callback(SCHEDULE, CONTROLLER), Saves(), accumulate_grad_batches=parts)
    model = regression(lightning)()
    path = tmp_path / "middle.ckpt"
    trainer = fit(lightning, model, callback(SCHEDULE, CONTROLLER), ckpt_path=path, accumulate_grad_batches=parts)
    assert states == [(BATCHES + stop + 1) // parts]
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == states[0] + len(model.used.rates)
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 4 * BATCHES // parts


def test_what_cannot_work_is_told(lightning: Any) -> None:
    class Manual(regression(lightning)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

    class Several(Manual):
        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

    for model in (Manual(), Several()):
        with pytest.raises(SpecError, match="needs automatic optimization; with manual, call"):
            fit(lightning, model, callback(SCHEDULE, CONTROLLER))
    for model in (
        own(lightning, "epoch"),
        own(lightning, frequency=2),
        own(lightning, reduce_on_plateau=True, monitor="loss"),
    ):
        with pytest.raises(SpecError, match="with interval: step, frequency: 1 and without reduce_on_plateau"):
            fit(lightning, model, callback())
    with pytest.raises(SpecError, match="give total_steps and on_longer to the ControlledLR"):
        callback(total_steps=10)


def unfreezing(lightning: Any, epoch: int) -> Any:
    class Unfreezes(lightning.pytorch.callbacks.BaseFinetuning):
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.network[0])

        def finetune_function(self, pl_module: Any, current_epoch: int, optimizer: Any) -> None:
            if current_epoch == epoch:
                self.unfreeze_and_add_param_group(pl_module.network[0], optimizer)

    return Unfreezes()


def partly_frozen(lightning: Any, kind: str) -> Any:
    class Head(regression(lightning)):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)
            total_steps = int(self.trainer.estimated_stepping_batches)
            if kind == "callback":
                return optimizer
            scheduler: Any = ScheduledLR(optimizer, SCHEDULE, total_steps=total_steps)
            if kind == "own":
                scheduler = ControlledLR(optimizer, SCHEDULE, ProgressAnchor(), total_steps=total_steps)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    return Head()


@pytest.mark.parametrize("kind", ["scheduled", "own", "callback"])
@pytest.mark.parametrize("first", [True, False], ids=["unfreezing first", "unfreezing last"])
def test_unfrozen_layers_keep_their_share_of_the_rate_and_are_resumed(
    lightning: Any, tmp_path: Path, kind: str, first: bool
) -> None:
    class Saves(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    def run(ckpt_path: Path | None) -> list[list[float]]:
        model = partly_frozen(lightning, kind)
        ours = {"scheduled": [], "own": [callback()], "callback": [callback(SCHEDULE, ProgressAnchor())]}[kind]
        callbacks = [unfreezing(lightning, 2), *ours] if first else [*ours, unfreezing(lightning, 2)]
        fit(lightning, model, *callbacks, Saves(), max_epochs=4, ckpt_path=ckpt_path)
        rates: list[list[float]] = model.used.rates
        return rates

    rates = run(None)
    assert [len(group) for group in rates] == [1] * 2 * BATCHES + [2] * 2 * BATCHES
    for head, body in rates[2 * BATCHES :]:
        assert body == pytest.approx(head / 10)
    resumed = run(tmp_path / "2.ckpt")
    assert resumed == rates[3 * BATCHES :]
