from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.integration.tutorial import BATCHES, SCHEDULE, TUTORIAL, one_group, rates, run, sections

Used = list[list[float]]


def test_the_tests_run_every_example() -> None:
    _, *headings = sections()
    tests = "".join(
        file.read_text(encoding="utf-8") for file in TUTORIAL.parents[2].glob("tests/integration/test_*.py")
    )
    assert [heading for heading in headings if f'run("{heading}")' not in tests] == []


def test_plain_loop_follows_the_table(used: Used) -> None:
    names = run("Plain PyTorch")
    assert names["schedule"] == SCHEDULE
    assert len(names["loader"]) == BATCHES
    assert one_group(used) == rates(2 * BATCHES)


def test_accumulated_gradients_count_as_one_update(used: Used) -> None:
    run("Gradient accumulation")
    assert one_group(used) == rates(10)


@pytest.mark.parametrize(("scale", "skips"), [(2.0**6, False), (2.0**18, True)])
def test_schedule_stands_still_while_the_scaler_backs_off(
    monkeypatch: pytest.MonkeyPatch, used: Used, scale: float, skips: bool
) -> None:
    scaler: Callable[..., Any] = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: scaler(device, init_scale=scale))
    names = run("Mixed precision with a GradScaler")
    assert (len(used) < BATCHES) is skips
    assert used
    assert one_group(used) == rates(BATCHES)[: len(used)]
    assert names["scheduler"].last_epoch == len(used)


def test_checkpoint_goes_on_along_the_table(used: Used) -> None:
    run("Checkpoints")
    assert one_group(used) == rates(BATCHES)
