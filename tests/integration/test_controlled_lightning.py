from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss

from adaptive_lr import ControlledLR, SpecError, Static
from tests.controlled import Nothing
from tests.integration.controlled import BATCHES, CONTROLLER, SCHEDULE, by_hand, close, loader, network, sees_its_masks

pytestmark = [
    pytest.mark.usefixtures("lightning"),
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
]

QUIET: dict[str, Any] = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
    "logger": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}


def module(lightning: Any, *, own: bool = False, interval: str = "step") -> Any:
    class Regression(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.calls = 0

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.calls += 1
            loss = mse_loss(self.network(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            if not own:
                return optimizer
            total_steps = int(self.trainer.estimated_stepping_batches)
            scheduler = ControlledLR(optimizer, SCHEDULE, CONTROLLER, total_steps=total_steps)
            return [optimizer], [{"scheduler": scheduler, "interval": interval}]

    return Regression()


def callback(*arguments: Any, **options: Any) -> Any:
    from adaptive_lr.integrations.lightning import ControlledLRCallback

    return ControlledLRCallback(*arguments, **options)


def recorder(lightning: Any, applied: list[float]) -> Any:
    class Recorder(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            scheduler = trainer.lr_scheduler_configs[0].scheduler
            while len(applied) < scheduler.last_epoch:  # what was before a checkpoint is not known
                applied.append(scheduler.applied_multiplier)

    return Recorder()


@pytest.mark.parametrize("own", [False, True], ids=["made by the callback", "configured"])
@pytest.mark.parametrize("parts", [1, 3])
def test_it_does_what_a_loop_by_hand_does(lightning: Any, own: bool, parts: int) -> None:
    expected, weights = by_hand(4, parts)
    applied: list[float] = []
    passes: list[int] = []
    model = module(lightning, own=own)
    model.network.register_forward_pre_hook(lambda *_: passes.append(1))
    callbacks = [callback() if own else callback(SCHEDULE, CONTROLLER), recorder(lightning, applied)]
    lightning.Trainer(max_epochs=4, accumulate_grad_batches=parts, callbacks=callbacks, **QUIET).fit(model, loader())
    assert applied == pytest.approx(expected, rel=1e-5)
    assert close(model.network, weights)
    # Eight updates are probed, each on all of its parts.
    assert 4 * BATCHES + 8 <= len(passes) <= 4 * BATCHES + 8 * parts
    assert model.calls == 4 * BATCHES


def test_clipping_is_seen_through(lightning: Any) -> None:
    expected, weights = by_hand(2, max_norm=0.1)
    applied: list[float] = []
    model = module(lightning)
    callbacks = [callback(SCHEDULE, CONTROLLER), recorder(lightning, applied)]
    lightning.Trainer(max_epochs=2, gradient_clip_val=0.1, callbacks=callbacks, **QUIET).fit(model, loader())
    assert applied == pytest.approx(expected, rel=1e-4)
    assert close(model.network, weights)


@pytest.mark.parametrize("parts", [1, 2])
def test_probes_see_the_masks_of_training(lightning: Any, parts: int) -> None:
    readings: list[dict[str, float]] = []

    class Reader(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            scheduler = trainer.lr_scheduler_configs[0].scheduler
            if scheduler.last_epoch > len(readings):
                readings.append(scheduler.readings())

    model = module(lightning)
    model.network[2].p = 0.6
    callbacks = [callback(SCHEDULE, Nothing()), Reader()]
    lightning.Trainer(max_epochs=2, accumulate_grad_batches=parts, callbacks=callbacks, **QUIET).fit(model, loader())
    assert sees_its_masks(readings)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended:UserWarning")
@pytest.mark.parametrize("stop", [5, BATCHES])
@pytest.mark.parametrize("own", [False, True])
def test_resumed_run_is_that_of_an_uninterrupted_one(lightning: Any, tmp_path: Path, stop: int, own: bool) -> None:
    class Interrupted(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == stop:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    def run(*extra: Any, **options: Any) -> list[float]:
        applied: list[float] = []
        model = module(lightning, own=own)
        callbacks = [callback() if own else callback(SCHEDULE, CONTROLLER), recorder(lightning, applied), *extra]
        lightning.Trainer(max_epochs=2, callbacks=callbacks, **QUIET).fit(model, loader(), **options)
        return applied

    expected = run(Interrupted())
    found = run(ckpt_path=tmp_path / "middle.ckpt")
    assert len(expected) == 2 * BATCHES
    if stop == BATCHES:
        assert found[stop:] == expected[stop:]
    else:  # Lightning begins the loader anew, so the minibatches are others
        assert found[stop] == pytest.approx(expected[stop], rel=0.6)


def test_numbers_are_logged_and_those_of_the_probes_are_not(lightning: Any) -> None:
    class Capturing(lightning.pytorch.loggers.logger.DummyLogger):
        def __init__(self) -> None:
            super().__init__()
            self.logged: list[dict[str, float]] = []

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.logged.append(dict(metrics))

    logger = Capturing()
    options = QUIET | {"logger": logger}
    lightning.Trainer(max_epochs=1, callbacks=[callback(SCHEDULE, CONTROLLER)], **options).fit(
        module(lightning), loader()
    )
    assert sum("loss" in one for one in logger.logged) == BATCHES
    assert sum("damping/multiplier" in one for one in logger.logged) == BATCHES
    assert any("damping/edge" in one for one in logger.logged)


@pytest.mark.parametrize(
    ("options", "own", "interval", "message"),
    [
        ((SCHEDULE, CONTROLLER), True, "step", "one optimizer and no scheduler, got 1 optimizers and 1 schedulers"),
        ((), False, "step", "must return a ControlledLR"),
        ((), True, "epoch", "with interval: step"),
    ],
)
def test_what_does_not_fit_together_is_told(
    lightning: Any, options: Any, own: bool, interval: str, message: str
) -> None:
    trainer = lightning.Trainer(max_epochs=1, callbacks=[callback(*options)], **QUIET)
    with pytest.raises(SpecError, match=message):
        trainer.fit(module(lightning, own=own, interval=interval), loader())


def test_schedule_without_controller() -> None:
    with pytest.raises(SpecError, match="both a schedule and a controller"):
        callback(SCHEDULE)
    callback(SCHEDULE, Static())
