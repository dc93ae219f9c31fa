"""What an update really used, seen from inside the optimizer and not from what a trainer says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook


@pytest.fixture(autouse=True)
def offline_in_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def used() -> Iterator[list[list[float]]]:
    """The rates of all groups at every update of any optimizer, in order."""
    seen: list[list[float]] = []

    def record(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        seen.append([float(group["lr"]) for group in optimizer.param_groups])

    handle = register_optimizer_step_pre_hook(record)
    yield seen
    handle.remove()


def imported(name: str, package: str) -> Any:
    # In a fixture and not at the top of a file: what an import warns of can be filtered there, and it costs seconds.
    return pytest.importorskip(name, reason=f"{package} is not installed; `make integrations` installs it")


@pytest.fixture
def lightning() -> Any:
    imported("lightning.pytorch", "lightning")
    return imported("lightning", "lightning")


@pytest.fixture
def transformers() -> Any:
    imported("accelerate", "accelerate")
    return imported("transformers", "transformers")


@pytest.fixture
def accelerate() -> Any:
    return imported("accelerate", "accelerate")


@pytest.fixture
def ignite() -> Any:
    imported("ignite.handlers.param_scheduler", "pytorch-ignite")
    return imported("ignite", "pytorch-ignite")
