from typing import Any

import pytest

from tests.integration.tutorial import BATCHES, one_group, rates, run

pytestmark = [
    pytest.mark.usefixtures("transformers"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator:UserWarning"),
]

Used = list[list[float]]


def logged(trainer: Any) -> list[float]:
    return [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]


def test_every_logged_rate_is_the_one_that_the_update_used(used: Used) -> None:
    trainer = run("transformers")["trainer"]
    assert one_group(used) == rates(12)
    assert logged(trainer) == rates(12)


def test_trainer_that_counts_the_steps_itself(used: Used) -> None:
    trainer = run("Given epochs instead of steps")["trainer"]
    assert trainer.state.max_steps == 2 * -(-BATCHES // 2)
    assert used == [[rate, rate] for rate in rates(10)]  # with weight decay, and without
    assert logged(trainer) == rates(10)


def test_resumed_run_has_the_rates_of_an_uninterrupted_one(used: Used) -> None:
    names = run("transformers")
    used.clear()
    model = names["Regression"]()
    optimizer = names["torch"].optim.AdamW(model.parameters(), lr=0.1)
    scheduler = names["al"].ScheduledLR(optimizer, names["schedule"], total_steps=12)
    trainer = names["Trainer"](
        model, names["arguments"], train_dataset=names["dataset"], optimizers=(optimizer, scheduler)
    )
    trainer.train(resume_from_checkpoint="checkpoints/checkpoint-5")
    assert one_group(used) == rates(12)[5:]
    assert logged(trainer) == rates(12)


def test_resumed_trainer_that_makes_its_own_scheduler(used: Used) -> None:
    names = run("Given epochs instead of steps")
    names["arguments"].save_strategy, names["arguments"].save_steps = "steps", 4
    names["DampedTrainer"](names["Regression"](), names["arguments"], train_dataset=names["dataset"]).train()
    used.clear()
    trainer = names["DampedTrainer"](names["Regression"](), names["arguments"], train_dataset=names["dataset"])
    trainer.train(resume_from_checkpoint="checkpoints/checkpoint-4")
    assert used == [[rate, rate] for rate in rates(10)[4:]]
    assert logged(trainer) == rates(10)


def test_second_train_has_a_schedule_of_its_own(used: Used) -> None:
    trainer = run("Given epochs instead of steps")["trainer"]
    used.clear()
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.args.num_train_epochs = 3
    trainer.train()
    assert used == [[rate, rate] for rate in rates(15)]
    assert all((a != b).any() for a, b in zip(before, trainer.model.parameters(), strict=True))


def test_batch_size_that_is_found_has_a_schedule_of_its_own(used: Used) -> None:
    names = run("Given epochs instead of steps")

    base: Any = names["Regression"]

    class Greedy(base):
        def forward(self, x: Any, labels: Any) -> Any:
            if len(x) > 4 and len(used) > 2:
                raise RuntimeError("CUDA out of memory.")
            return super().forward(x, labels)

    used.clear()
    names["arguments"].auto_find_batch_size = True
    trainer = names["DampedTrainer"](Greedy(), names["arguments"], train_dataset=names["dataset"])
    trainer.train()
    assert used == [[rate, rate] for rate in [*rates(10)[:3], *rates(trainer.state.max_steps)]]
    assert trainer.state.max_steps == 18
