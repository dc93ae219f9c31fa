from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from adaptive_lr import DampedCosine, Linear, Plateau, Product, ScheduledLR, SpecError
from tests.integration.tutorial import BATCHES, SCHEDULE, one_group, rates, run

pytestmark = [
    pytest.mark.usefixtures("lightning"),
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
]

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
Used = list[list[float]]


def loader() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    examples: Any = [(x, x.sum(0, keepdim=True)) for x in torch.randn(8 * BATCHES, 4, generator=generator)]
    return DataLoader(examples, batch_size=8)


def capturing_logger(lightning: Any) -> Any:
    class Capturing(lightning.pytorch.loggers.logger.DummyLogger):
        def __init__(self) -> None:
            super().__init__()
            self.logged: list[tuple[int, dict[str, float]]] = []

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.logged.append((step, dict(metrics)))

    return Capturing()


def module(lightning: Any, *bases: float, schedule: Any = SCHEDULE) -> Any:
    class Groups(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 1) for _ in bases)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y = batch
            return mse_loss(torch.stack([layer(x) for layer in self.layers]).sum(0), y)

        def configure_optimizers(self) -> Any:
            groups: Any = [
                {"params": layer.parameters(), "lr": base} for layer, base in zip(self.layers, bases, strict=True)
            ]
            total_steps = int(self.trainer.estimated_stepping_batches)
            scheduler = ScheduledLR(torch.optim.SGD(groups), schedule, total_steps=total_steps)
            return [scheduler.optimizer], [{"scheduler": scheduler, "interval": "step"}]

    return Groups()


def test_tutorial_advances_once_an_accumulated_update(used: Used) -> None:
    run("Lightning")
    assert one_group(used) == rates(10)


@pytest.mark.filterwarnings("ignore")  # of the command line itself
def test_schedule_of_the_command_line_goes_by_updates(used: Used) -> None:
    pytest.importorskip("jsonargparse", reason="LightningCLI needs jsonargparse")
    run("From the command line")
    assert one_group(used) == rates(2 * BATCHES)


def test_run_without_an_end_is_told(lightning: Any) -> None:
    model = run("Lightning")["Regression"]()
    options = {"logger": False, "enable_checkpointing": False, **QUIET}
    with pytest.raises(SpecError, match="total_steps must be a whole number of at least 1, got inf"):
        lightning.Trainer(max_epochs=-1, **options).fit(model, loader())
    trainer = lightning.Trainer(max_epochs=-1, max_steps=5, **options)
    trainer.fit(model, loader())
    assert trainer.lr_scheduler_configs[0].scheduler.horizon.end == 5


def test_monitor_logs_the_rate_of_every_group_at_every_step(lightning: Any, used: Used) -> None:
    logger = capturing_logger(lightning)
    monitor = lightning.pytorch.callbacks.LearningRateMonitor()
    trainer = lightning.Trainer(max_epochs=2, logger=logger, callbacks=[monitor], enable_checkpointing=False, **QUIET)
    trainer.fit(module(lightning, 0.1, 0.03, schedule=[SCHEDULE, Linear(floor=0.25)]), loader())
    first, second = rates(2 * BATCHES), rates(2 * BATCHES, Linear(floor=0.25), 0.03)
    assert used == [list(pair) for pair in zip(first, second, strict=True)]
    logged = [(step, found) for step, found in logger.logged if "lr-SGD/pg1" in found]
    assert [step for step, _ in logged] == list(range(2 * BATCHES))
    assert [found["lr-SGD/pg1"] for _, found in logged] == first
    assert [found["lr-SGD/pg2"] for _, found in logged] == second


# The loader begins the interrupted epoch again; which batches it gives does not matter here.
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended:UserWarning")
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("stop", [4, BATCHES, 11], ids=["inside an epoch", "between epochs", "in the second epoch"])
def test_resumed_run_has_the_rates_of_an_uninterrupted_one(
    lightning: Any, used: Used, tmp_path: Path, stop: int, accumulate: int
) -> None:
    total = 2 * -(-BATCHES // accumulate)
    stop = min(stop, total - 1)
    common = {"accumulate_grad_batches": accumulate, "logger": False, "enable_checkpointing": False, **QUIET}

    class Interrupted(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == stop and not (tmp_path / "middle.ckpt").exists():
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                trainer.should_stop = True

    lightning.Trainer(max_epochs=2, callbacks=[Interrupted()], **common).fit(module(lightning, 0.1, 0.03), loader())
    del used[stop:]
    lightning.Trainer(max_epochs=2, **common).fit(
        module(lightning, 0.1, 0.03), loader(), ckpt_path=tmp_path / "middle.ckpt"
    )
    assert used == [list(pair) for pair in zip(rates(total), rates(total, base=0.03), strict=True)]


@pytest.mark.filterwarnings("ignore:Precision 16-mixed is not supported by the model summary:UserWarning")
def test_schedule_stands_still_while_the_scaler_backs_off(monkeypatch: pytest.MonkeyPatch, used: Used) -> None:
    scaler: Callable[..., Any] = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: scaler(device, init_scale=2.0**18))
    run("With a GradScaler")
    assert 0 < len(used) < BATCHES
    assert one_group(used) == rates(BATCHES)[: len(used)]


def test_plateau_gets_the_monitored_metric(monkeypatch: pytest.MonkeyPatch, used: Used) -> None:
    seen: list[float] = []
    observed = Plateau.observed

    def spied(self: Plateau, metric: float, u: float) -> Plateau:
        seen.append(metric)
        # Only the first one counts as an improvement, so that with patience 1 the rate falls after every second epoch.
        return observed(self, float(len(seen)), u)

    monkeypatch.setattr(Plateau, "observed", spied)
    trainer = run("A schedule that follows a metric")["trainer"]
    assert seen[-1] == trainer.callback_metrics["validation_loss"].item()
    assert len(seen) == len(set(seen)) == 6
    damping = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    by_epoch = [rate * factor for rate, factor in zip(rates(6, DampedCosine()), damping, strict=True)]
    assert one_group(used)[::BATCHES] == by_epoch
    assert one_group(used)[BATCHES - 1 :: BATCHES] == by_epoch


def test_plateau_inside_a_product_gets_the_training_loss_at_every_step(lightning: Any, used: Used) -> None:
    schedule = Product(schedules=(SCHEDULE, Plateau(factor=0.5, patience=0)))

    class Stuck(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.log("loss", 1.0)
            return mse_loss(self.linear(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            scheduler = ScheduledLR(torch.optim.SGD(self.parameters(), lr=0.1), schedule, total_steps=BATCHES)
            plan = {"scheduler": scheduler, "interval": "step", "monitor": "loss", "reduce_on_plateau": True}
            return [scheduler.optimizer], [plan]

    trainer = lightning.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(Stuck(), loader())
    # The first loss is the best so far; each of the others is no better.
    assert one_group(used) == [rate * 0.5 ** max(step - 1, 0) for step, rate in enumerate(rates(BATCHES))]
