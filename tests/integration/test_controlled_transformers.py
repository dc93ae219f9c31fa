from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from adaptive_lr import ControlledLR, SpecError
from tests.controlled import Nothing
from tests.integration.controlled import (
    BATCHES,
    CONTROLLER,
    SCHEDULE,
    by_hand,
    close,
    examples,
    network,
    sees_its_masks,
)

pytestmark = [
    pytest.mark.usefixtures("transformers"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator:UserWarning"),
]


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": mse_loss(self.network(x), labels)}


def trainer(transformers: Any, model: nn.Module, **options: Any) -> tuple[Any, list[float]]:
    """A Trainer that goes through the examples in order, and what its updates were made with."""
    applied: list[float] = []

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(dataset)

    class Recorder(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            applied.append(made.lr_scheduler.applied_multiplier)

    dataset: Any = [{"x": x, "labels": y} for x, y in examples()]
    optimizers = options.pop("optimizers", (torch.optim.SGD(model.parameters(), lr=0.05), None))
    common = {"per_device_train_batch_size": 8, "logging_steps": 1, "report_to": "none", "max_grad_norm": 0.0}
    arguments = transformers.TrainingArguments("checkpoints", use_cpu=True, **common | options)
    made = InOrder(model, arguments, train_dataset=dataset, optimizers=optimizers, callbacks=[Recorder()])
    return made, applied


def attach(*arguments: Any) -> None:
    from adaptive_lr.integrations.transformers import attach as attached

    attached(*arguments)


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("max_norm", [0.0, 0.1])
def test_it_does_what_a_loop_by_hand_does(transformers: Any, parts: int, max_norm: float) -> None:
    expected, weights = by_hand(4, parts, max_norm=max_norm or None)
    model = Regression()
    made, applied = trainer(
        transformers, model, num_train_epochs=4, gradient_accumulation_steps=parts, max_grad_norm=max_norm
    )
    attach(made, SCHEDULE, CONTROLLER)
    made.train()
    assert applied == pytest.approx(expected, rel=1e-4)
    assert close(model.network, weights)


@pytest.mark.parametrize("parts", [1, 2])
def test_probes_see_the_masks_of_training(transformers: Any, parts: int) -> None:
    readings: list[dict[str, float]] = []

    class Reader(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            readings.append(made.lr_scheduler.readings())

    model = Regression()
    model.network[2].p = 0.6  # type: ignore[assignment]
    made, _ = trainer(transformers, model, num_train_epochs=2, gradient_accumulation_steps=parts)
    attach(made, SCHEDULE, Nothing())
    made.add_callback(Reader())
    made.train()
    assert sees_its_masks(readings)


def test_scheduler_that_was_passed_to_the_trainer(transformers: Any) -> None:
    expected, weights = by_hand(2)
    model = Regression()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = ControlledLR(optimizer, SCHEDULE, CONTROLLER, total_steps=2 * BATCHES)
    made, applied = trainer(transformers, model, num_train_epochs=2, optimizers=(optimizer, scheduler))
    attach(made)
    made.train()
    assert applied == pytest.approx(expected, rel=1e-5)
    assert close(model.network, weights)


def test_numbers_join_the_logs(transformers: Any) -> None:
    made, applied = trainer(transformers, Regression(), num_train_epochs=2)
    attach(made, SCHEDULE, CONTROLLER)
    made.train()
    logged = [one["damping/multiplier"] for one in made.state.log_history if "learning_rate" in one]
    assert logged == applied
    assert "damping/edge" in made.state.log_history[0]


def test_resumed_run_is_that_of_an_uninterrupted_one(transformers: Any) -> None:
    def run(**options: Any) -> tuple[list[float], Regression]:
        model = Regression()
        made, applied = trainer(transformers, model, num_train_epochs=2, save_steps=5, save_strategy="steps")
        attach(made, SCHEDULE, CONTROLLER)
        made.train(**options)
        return applied, model

    expected, whole = run()
    assert (Path("checkpoints") / "checkpoint-5").exists()
    found, resumed = run(resume_from_checkpoint="checkpoints/checkpoint-5")
    assert found == expected[5:]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_it_trains_a_language_model(transformers: Any) -> None:
    """Whose loss the model itself divides by the number of tokens of the whole minibatch."""
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=16)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    source = torch.Generator().manual_seed(0)
    dataset: Any = []
    for length in torch.randint(4, 16, (64,), generator=source).tolist():
        ids = (torch.arange(16) * 3 + int(torch.randint(20, (1,), generator=source))) % 20
        labels = torch.where(torch.arange(16) < length, ids, -100)
        dataset.append({"input_ids": ids, "labels": labels})
    arguments = transformers.TrainingArguments(
        "checkpoints",
        max_steps=20,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-4,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    )
    made = transformers.Trainer(model, arguments, train_dataset=dataset)
    attach(made, SCHEDULE, CONTROLLER)
    made.train()
    losses = [one["loss"] for one in made.state.log_history if "loss" in one]
    assert losses[-1] < losses[0]
    assert made.state.log_history[9]["damping/multiplier"] > 1.5  # at 1e-4 itself little would happen
    probed = [one for one in made.state.log_history if "damping/probe_loss" in one]
    assert len(probed) == 8
    assert all(one["damping/loss"] == pytest.approx(one["loss"], rel=1e-3, abs=2e-4) for one in probed)


def test_what_does_not_fit_together_is_told(transformers: Any) -> None:
    made, _ = trainer(transformers, Regression(), max_steps=1)
    with pytest.raises(SpecError, match="both a schedule and a controller"):
        attach(made, SCHEDULE)
    with pytest.raises(SpecError, match="must be a ControlledLR"):
        attach(made)
