"""Finished trials that were never run, and what it means that they are stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import Constant
from adaptive_lr.errors import StoreError
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, RunResult, Status, Trial
from adaptive_lr.trials.store import Store

SOURCE: dict[str, str | None] = {"commit": "abc", "torch": "2"}


TASK = StreamingLeastSquares(dimension=3)


def result(seed: int, **changes: Any) -> RunResult:
    """A finished trial with numbers that tell it from every other."""
    source = np.random.default_rng(seed)
    basic = RunResult(
        trial=Trial(task=TASK, schedule=Constant(), optimizer=SGD(), base_lr=0.1, steps=40, seed=seed),
        status=Status.OK,
        stopped_at=None,
        initial={"excess": 0.5},
        metrics={"excess": float(source.random()), "other": 1e-300},
        curves={
            "step": np.arange(1, 41, dtype=np.int32),
            "train_loss": source.random(40),
            "excess": np.where(np.arange(40) % 4 == 3, source.random(40), np.nan),
        },
        seconds=0.25,
    )
    return replace(basic, **changes)


def digests(results: list[RunResult]) -> list[str]:
    return [one.trial.digest() for one in results]


def assert_stored(store: Store, results: list[RunResult]) -> None:
    records = store.read(digests(results))
    assert set(records) == set(digests(results))
    for one in results:
        found = records[one.trial.digest()]
        assert found.digest == one.trial.digest()
        assert (found.status, found.stopped_at, found.seconds) == (one.status, one.stopped_at, one.seconds)
        assert repr(found.initial) == repr(one.initial)  # to the last bit, NaN equal to NaN
        assert repr(found.metrics) == repr(one.metrics)
        curves = store.curves(found.digest)
        assert list(curves) == list(one.curves)
        for name, values in one.curves.items():
            assert curves[name].dtype == (np.int32 if name == "step" else np.float64)
            np.testing.assert_array_equal(curves[name], values, strict=True)


def refused(path: Path, *, write: bool, containing: str = "") -> None:
    """Opening is refused in one line that names the file."""
    with pytest.raises(StoreError) as caught:
        Store(path, write=write)
    assert_explains(caught.value, path, containing)


def assert_explains(error: StoreError, path: Path, containing: str) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert containing in str(error)
