"""Small Lightning runs, and what their probes found."""

from typing import Any

import torch
from torch.nn.functional import mse_loss

from adaptive_lr import Constant
from tests.controlled import Nothing
from tests.integration.controlled import loader, network

QUIET: dict[str, Any] = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
    "logger": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}


def callback(*arguments: Any, **options: Any) -> Any:
    from adaptive_lr.integrations.lightning import ControlledLRCallback

    return ControlledLRCallback(*arguments, **options)


def regression(lightning: Any) -> type[Any]:
    """A class to inherit from; its modules record the rates of all groups at each update."""

    class Regression(lightning.LightningModule):
        def __init__(self, lr: float = 0.05) -> None:
            super().__init__()
            self.lr = lr
            self.network = network()
            self.used = Used()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return mse_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=self.lr)

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.used.rates.append([group["lr"] for group in optimizer.param_groups])

    return Regression


class Used:
    """The rates of the updates; no container of Python, so that it is not put back after a probe."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def one_group(self) -> list[float]:
        return [rate for (rate,) in self.rates]


def probes(lightning: Any, model: Any, batches: Any = None, **options: Any) -> list[tuple[float, float]]:
    """The loss of each step, and what its probe found, which goes nowhere: a probe at rate 0 must find the step's loss."""
    pairs: list[tuple[float, float]] = []

    class Reader(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            scheduler = trainer.lr_scheduler_configs[0].scheduler
            if scheduler.last_epoch > len(pairs):
                readings = scheduler.readings()
                pairs.append((readings["loss"], readings["probe_loss"]))

    callbacks = [callback(Constant(), Nothing()), Reader(), *options.pop("callbacks", [])]
    trainer = lightning.Trainer(**{"max_epochs": 2, **QUIET, **options, "callbacks": callbacks})
    trainer.fit(model, loader() if batches is None else batches)
    return pairs
