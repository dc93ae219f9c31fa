"""In the Trainer a probe finds the loss of the very step, whatever `compute_loss` does; and train() may be called again."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import IterableDataset

from adaptive_lr import Anchor, Constant, ControlledLR, DampedCosine, ScheduledLR, SpecError, Static
from tests.controlled import Nothing
from tests.integration.controlled import BATCHES, examples, network

pytestmark = [
    pytest.mark.usefixtures("transformers"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator:UserWarning"),
]
SCHEDULE, CONTROLLER = DampedCosine(), Anchor(least_steps=8)


class Regression(nn.Module):
    pointer: Tensor

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.network = network(drop)
        self.register_buffer("pointer", torch.zeros(()))
        self.calls = 0

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        self.pointer += 1
        self.calls += 1
        prediction = self.network(x) + 0.01 * self.calls
        return (
            {"logits": prediction} if labels is None else {"loss": mse_loss(prediction, labels), "logits": prediction}
        )


def attach(*arguments: Any, **options: Any) -> None:
    from adaptive_lr.integrations.transformers import attach as attached

    attached(*arguments, **options)


def trainer(transformers: Any, model: nn.Module, kind: Any = None, **options: Any) -> Any:
    dataset: Any = options.pop("dataset", [{"x": x, "labels": y} for x, y in examples()])
    extra = {
        name: options.pop(name) for name in ("compute_loss_func", "data_collator", "eval_dataset") if name in options
    }
    common = {"per_device_train_batch_size": 8, "logging_steps": 1, "report_to": "none", "learning_rate": 0.05}
    arguments = transformers.TrainingArguments(
        "checkpoints", use_cpu=True, **{"num_train_epochs": 2} | common | options
    )
    return (kind or transformers.Trainer)(model, arguments, train_dataset=dataset, **extra)


def probes(transformers: Any, made: Any) -> list[tuple[float, float]]:
    """The loss of each step, and what its probe found, which goes nowhere."""
    pairs: list[tuple[float, float]] = []

    class Reader(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            readings = made.lr_scheduler.readings()
            pairs.append((readings["loss"], readings["probe_loss"]))

    attach(made, Constant(), Nothing())
    made.add_callback(Reader())
    made.train()
    return pairs


def steps(transformers: Any) -> dict[str, Any]:
    """Trainers whose loss is not a function of the inputs alone, or which change them."""

    class Draws(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            noise = torch.randn_like(inputs["x"]) * random.random() + float(np.random.beta(1.0, 1.0))  # noqa: NPY002
            loss = model(x=inputs["x"] + noise, labels=inputs["labels"])["loss"]
            return (loss, {}) if return_outputs else loss

    class Changes(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            labels = inputs.pop("labels")
            inputs["x"].mul_(0.5)
            inputs["x"] = inputs["x"] + 1.0
            return model(x=inputs["x"], labels=labels)["loss"]

    class Counts(transformers.Trainer):
        seen = 0

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            self.__dict__.setdefault("losses", {"train": []})
            loss = model(**inputs)["loss"] * (1.0 + 0.1 * len(self.losses["train"]))
            self.losses["train"].append(loss.item())
            self.seen += 1
            self.log({"own": loss.item()})
            return loss

    return {"draws": Draws, "changes": Changes, "counts": Counts}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("step", ["draws", "changes", "counts"])
def test_probes_find_the_loss_of_the_step(transformers: Any, step: str, parts: int) -> None:
    model = Regression(drop=0.5)
    made = trainer(transformers, model, steps(transformers)[step], gradient_accumulation_steps=parts)
    pairs = probes(transformers, made)
    assert len(pairs) == 2 * -(-BATCHES // parts)
    assert all(loss == probe for loss, probe in pairs)
    assert len({loss for loss, _ in pairs}) == len(pairs)
    assert model.calls == int(model.pointer) == 2 * BATCHES
    if step == "counts":
        assert made.seen == len(made.losses["train"]) == 2 * BATCHES
        assert sum("own" in entry for entry in made.state.log_history) == 2 * BATCHES


def test_augmentation_in_the_main_process(transformers: Any) -> None:
    def collated(items: Any) -> dict[str, Tensor]:
        x = torch.stack([item["x"] for item in items])
        return {"x": x + torch.randn_like(x), "labels": torch.stack([item["labels"] for item in items])}

    made = trainer(transformers, Regression(drop=0.5), steps(transformers)["draws"], data_collator=collated)
    assert all(loss == probe for loss, probe in probes(transformers, made))


def language_model(transformers: Any) -> tuple[Any, Any]:
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=16)
    torch.manual_seed(0)
    source = torch.Generator().manual_seed(0)
    dataset = []
    for length in torch.randint(4, 16, (48,), generator=source).tolist():
        ids = torch.randint(20, (16,), generator=source)
        dataset.append({"input_ids": ids, "labels": torch.where(torch.arange(16) < length, ids, -100)})
    return transformers.GPT2LMHeadModel(config), dataset


def by_hand(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    losses = nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
    total: Tensor = losses / num_items_in_batch
    return total


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing_factor": 0.1}, {"compute_loss_func": by_hand}], ids=["plain", "smoothed", "own"]
)
def test_losses_by_tokens_are_those_of_the_update(transformers: Any, options: Any, parts: int) -> None:
    model, dataset = language_model(transformers)
    made = trainer(transformers, model, dataset=dataset, gradient_accumulation_steps=parts, **options)
    pairs = probes(transformers, made)
    assert len(pairs) == 2 * 6 // parts
    assert all(loss == pytest.approx(probe, rel=1e-6) for loss, probe in pairs)
    logged = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert [loss for loss, _ in pairs] == pytest.approx(logged, rel=2e-3)


def test_the_second_train_begins_anew(transformers: Any) -> None:
    made = trainer(transformers, Regression())
    attach(made, SCHEDULE, CONTROLLER)
    for count in (2, 3):
        made.args.num_train_epochs = count
        before = [parameter.detach().clone() for parameter in made.model.parameters()]
        made.train()
        assert (made.lr_scheduler.horizon.end, made.lr_scheduler.last_epoch) == (count * BATCHES, count * BATCHES)
        assert any(not torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))


def test_a_trainer_is_watched_while_it_trains_and_by_the_last_controller_only(transformers: Any) -> None:
    from adaptive_lr.integrations.transformers import ControlledLRCallback

    class Fails(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            raise ConnectionError

    made = trainer(transformers, Regression())
    losses, kind, own = [], type(made), made.compute_loss

    def counted(*arguments: Any, **options: Any) -> Any:
        losses.append(own(*arguments, **options))
        return losses[-1]

    made.compute_loss = counted
    names = ("training_step", "_clip_grad_norm")
    for fails in (False, True, False):
        attach(made, Constant(), Nothing())
        assert made.compute_loss is counted
        if fails:
            made.add_callback(Fails)
            with pytest.raises(ConnectionError):
                made.train()
            made.remove_callback(Fails)
        else:
            losses.clear()
            made.train()
            assert len(losses) == 2 * 2 * BATCHES  # each step and its probe
            assert made.compute_loss is counted
            assert not any(name in vars(made) for name in names)
        made.remove_callback(ControlledLRCallback)
    losses.clear()
    made.args.num_train_epochs = 1
    made.train()
    assert made.compute_loss is counted
    assert all(getattr(made, name).__func__ is getattr(kind, name) for name in names if hasattr(kind, name))
    assert len(losses) == BATCHES
    assert not isinstance(made.lr_scheduler, ControlledLR)


@pytest.mark.filterwarnings("ignore:this is step .* and the rate is 0 since the end")  # as is true as well
def test_a_second_train_with_the_scheduler_that_was_passed_is_told(transformers: Any) -> None:
    model = Regression()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = ControlledLR(optimizer, SCHEDULE, CONTROLLER, total_steps=2 * BATCHES)
    made = trainer(transformers, model)
    made.optimizer, made.lr_scheduler = optimizer, scheduler
    attach(made)
    made.train()
    with pytest.warns(
        UserWarning, match=f"goes on at update {2 * BATCHES} of {2 * BATCHES}, though the trainer starts at 0"
    ):
        made.train()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_batch_size_that_is_found_has_its_own_horizon(transformers: Any, parts: int) -> None:
    class Greedy(Regression):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            if len(x) > 4 and passes.count(1) > 6:
                raise RuntimeError("CUDA out of memory.")
            passes.append(1)
            return super().forward(x, labels)

    passes: list[int] = []
    made = trainer(transformers, Greedy(), auto_find_batch_size=True, gradient_accumulation_steps=parts)
    attach(made, SCHEDULE, CONTROLLER)
    made.train()
    updates = 4 * BATCHES // parts
    assert (made.state.max_steps, made.lr_scheduler.horizon.end, made.lr_scheduler.last_epoch) == (updates,) * 3


@pytest.mark.parametrize("how", ["hold", "stretch", "continue"])
@pytest.mark.parametrize(("options", "updates"), [({"num_train_epochs": 4}, 40), ({"max_steps": 14}, 14)])
def test_a_checkpoint_goes_on_for_another_length(transformers: Any, how: str, options: Any, updates: int) -> None:
    used: list[float] = []

    class Recorder(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **__: Any) -> None:
            used.append(optimizer.param_groups[0]["lr"])

    first = trainer(transformers, Regression(), save_steps=10)
    attach(first, SCHEDULE, Static())
    first.train()

    def resumed(**more: Any) -> None:
        made = trainer(transformers, Regression(), **options)
        attach(made, SCHEDULE, Static(), **more)
        made.add_callback(Recorder())
        made.train(resume_from_checkpoint="checkpoints/checkpoint-10")

    assert Path("checkpoints/checkpoint-10").exists()
    with pytest.raises(SpecError, match="say how to go on with on_longer="):
        resumed()
    if how == "hold" and updates < 20:
        with pytest.raises(SpecError, match="'hold' cannot shorten"):
            resumed(on_longer=how)
        return
    resumed(on_longer=how)
    plain = ScheduledLR(torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.05), SCHEDULE, total_steps=20)
    for _ in range(10):
        plain.optimizer.step()
        plain.step()
    plain.extend(updates, how)
    expected = []
    for _ in range(updates - 10):
        expected += plain.get_last_lr()
        plain.optimizer.step()
        plain.step()
    assert used == pytest.approx(expected)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield from ({"x": x, "labels": y} for x, y in examples())


def test_a_stream_is_trained_for_max_steps(transformers: Any) -> None:
    with pytest.raises(ValueError, match="max_steps"):
        trainer(transformers, Regression(), dataset=Endless())
    made = trainer(transformers, Regression(), dataset=Endless(), max_steps=12)
    attach(made, SCHEDULE, CONTROLLER)
    made.train()
    assert (made.lr_scheduler.horizon.end, made.lr_scheduler.last_epoch) == (12, 12)
    made = trainer(transformers, Regression(), max_steps=12)
    attach(made, SCHEDULE, CONTROLLER, total_steps=50)
    made.train()
    assert (made.lr_scheduler.horizon.end, made.lr_scheduler.last_epoch) == (50, 12)


class Plain(Regression):
    """Whose loss does not count how often it was called."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        prediction = self.network(x)
        return {"loss": mse_loss(prediction, prediction if labels is None else labels)}


def test_evaluation_in_between_changes_nothing(transformers: Any) -> None:
    weights = []
    for options in ({}, {"eval_strategy": "steps", "eval_steps": 3}):
        dataset: Any = [{"x": x, "labels": y} for x, y in examples()]
        model = Plain()
        made = trainer(transformers, model, eval_dataset=dataset, logging_steps=4, **options)
        attach(made, SCHEDULE, CONTROLLER)
        made.train()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.network.parameters()]))
        assert made.lr_scheduler.last_epoch == 2 * BATCHES
    assert torch.equal(*weights)


def test_what_does_not_fit_together_is_told(transformers: Any) -> None:
    made = trainer(transformers, Regression())
    with pytest.raises(SpecError, match="on_longer must be one of"):
        attach(made, SCHEDULE, CONTROLLER, on_longer="longer")
    attach(made, SCHEDULE, CONTROLLER)
    with pytest.raises(SpecError, match="has a controller already"):
        attach(made, SCHEDULE, CONTROLLER)
    made.create_scheduler = lambda num_training_steps, optimizer=None: None
    made.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(made.model.parameters(), lr=0.1))
    with pytest.raises(SpecError, match=r"scheduler was replaced by a ConstantLR, .* call attach again"):
        made.train()
