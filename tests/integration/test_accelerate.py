import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from adaptive_lr import ScheduledLR
from tests.integration.tutorial import BATCHES, SCHEDULE, TUTORIAL, one_group, rates, run

ROOT = TUTORIAL.parents[2]
TWO_PROCESSES = """
import json, os
from torch.optim.optimizer import register_optimizer_step_pre_hook
from tests.integration.tutorial import run

used = []
register_optimizer_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
names = run("Accelerate")
assert names["accelerator"].num_processes == 2
with open(f"{os.environ['RANK']}.json", "w") as file:
    json.dump(used, file)
names["accelerator"].end_training()
"""
Used = list[list[float]]


@pytest.fixture(autouse=True)
def without_state_of_other_tests(accelerate: Any) -> Iterator[None]:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def prepared(accelerate: Any, total_steps: int, **options: Any) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    examples: Any = [(x, x.sum(0, keepdim=True)) for x in torch.randn(8 * BATCHES, 4, generator=generator)]
    accelerator = accelerate.Accelerator(**options)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = ScheduledLR(optimizer, SCHEDULE, total_steps=total_steps)
    loader: DataLoader[Any] = DataLoader(examples, batch_size=8)
    return accelerator, *accelerator.prepare(model, optimizer, scheduler, loader)


def train(accelerator: Any, model: Any, optimizer: Any, scheduler: Any, loader: Any) -> list[float]:
    seen = []
    for x, y in loader:
        with accelerator.accumulate(model):
            accelerator.backward(mse_loss(model(x), y))
            seen.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return seen


def test_tutorial_follows_the_table(used: Used) -> None:
    names = run("Accelerate")
    assert one_group(used) == rates(10)
    assert names["scheduler"].scheduler.last_epoch == 10


@pytest.mark.parametrize("accumulate", [1, 2])
def test_default_stepping_follows_the_table_on_one_process(accelerate: Any, used: Used, accumulate: int) -> None:
    updates = -(-BATCHES // accumulate)
    parts = prepared(accelerate, updates, gradient_accumulation_steps=accumulate)
    read = train(*parts)
    assert one_group(used) == rates(updates)
    assert read == [rates(updates)[batch // accumulate] for batch in range(BATCHES)]


def test_it_does_not_freeze_past_the_horizon(accelerate: Any, used: Used) -> None:
    parts = prepared(accelerate, 4)
    train(*parts)
    assert one_group(used) == [*rates(4), *[0.0] * (BATCHES - 4)]
    # Accelerate would stop here if the scheduler had an attribute called total_steps; a longer horizon must be followed.
    parts[3].scheduler.extend(2 * BATCHES)
    used.clear()
    train(*parts)
    assert one_group(used) == rates(2 * BATCHES)[BATCHES:]


def test_without_step_with_optimizer_it_steps_when_told(accelerate: Any, used: Used) -> None:
    parts = prepared(accelerate, 2 * BATCHES, gradient_accumulation_steps=2, step_scheduler_with_optimizer=False)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        read = train(*parts)
    assert read == rates(2 * BATCHES)[:BATCHES]  # once a batch, and not once an update: why the tutorial asks


def test_more_processes_advance_it_more_often(accelerate: Any, monkeypatch: pytest.MonkeyPatch, used: Used) -> None:
    parts = prepared(accelerate, 3 * BATCHES)
    monkeypatch.setitem(accelerate.state.PartialState._shared_state, "num_processes", 3)
    train(*parts)
    assert one_group(used) == rates(3 * BATCHES)[::3]


@pytest.mark.slow
def test_tutorial_follows_the_table_on_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    # Five of the nine batches an epoch for each process, so three updates.
    assert found == [rates(6)] * 2


def test_saved_and_loaded_state_goes_on_along_the_table(accelerate: Any, used: Used, tmp_path: Path) -> None:
    accelerator, *parts = prepared(accelerate, 2 * BATCHES)
    train(accelerator, *parts)
    accelerator.save_state(str(tmp_path / "state"))
    accelerator, *parts = prepared(accelerate, 2 * BATCHES)
    accelerator.load_state(str(tmp_path / "state"))
    train(accelerator, *parts)
    assert one_group(used) == rates(2 * BATCHES)


def test_a_scaler_is_heard_through_the_optimizer_that_accelerate_makes(accelerate: Any) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, scaler = accelerator.prepare(torch.optim.SGD([weight], lr=0.1)), torch.amp.GradScaler("cpu")
    scheduler = ScheduledLR(optimizer, SCHEDULE, total_steps=BATCHES, grad_scaler=scaler)
    for poisoned in (False, True, False):
        optimizer.zero_grad()
        scaler.scale(weight.square().sum() * (float("inf") if poisoned else 1.0)).backward()
        scaler.step(optimizer.optimizer)
        scaler.update()
        scheduler.step()
    assert scheduler.last_epoch == 2
