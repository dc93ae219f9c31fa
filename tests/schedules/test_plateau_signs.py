"""A plateau of a negative metric is one as well, by the same margin as of a positive one."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from adaptive_lr import Plateau, from_timm, from_torch, from_transformers


def damping(plateau: Any, metrics: list[float]) -> float:
    for metric in metrics:
        plateau = plateau.observed(metric, 0.5)
    return float(plateau.damping)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("level", [100.0, -100.0, 0.0])
def test_a_flat_metric_lets_the_rate_fall_whatever_its_sign(mode: str, threshold_mode: str, level: float) -> None:
    # https://github.com/pytorch/pytorch/issues/47513
    plateau = Plateau(patience=2, factor=0.5, mode=mode, threshold_mode=threshold_mode)
    assert damping(plateau, [level] * 20) == 0.5**6


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_change_of_less_than_the_threshold_is_no_improvement(sign: float) -> None:
    start = 100.0 * sign
    plateau = Plateau(threshold=0.01).observed(start, 0.0)
    assert plateau.observed(start - 0.5, 0.1).best == start
    assert plateau.observed(start - 1.5, 0.1).best == start - 1.5
    assert plateau.observed(start + 0.5, 0.1).best == start


@given(
    metrics=st.lists(st.floats(-100.0, 100.0) | st.just(math.nan), min_size=1, max_size=30),
    mode=st.sampled_from(["min", "max"]),
)
def test_the_rule_is_symmetric_in_direction_and_sign(metrics: list[float], mode: str) -> None:
    other = {"min": "max", "max": "min"}[mode]
    mirrored = damping(Plateau(patience=1, mode=other), [-metric for metric in metrics])
    assert damping(Plateau(patience=1, mode=mode), metrics) == mirrored


@pytest.mark.parametrize(
    "plateau",
    [
        from_torch("ReduceLROnPlateau", patience=2, factor=0.5, total_steps=30),
        from_timm("plateau", patience_t=2, decay_rate=0.5, mode="min", total_steps=30),
        from_transformers("reduce_lr_on_plateau", patience=2, factor=0.5, total_steps=30),
    ],
)
def test_translated_plateaus_fall_where_those_of_torch_do_not(plateau: Any) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
    for level, expected in ((100.0, 0.5**6), (-100.0, 1.0)):
        optimizer.param_groups[0]["lr"] = 1.0
        theirs._reset()
        for _ in range(20):
            theirs.step(level)
        assert optimizer.param_groups[0]["lr"] == expected
        assert damping(plateau, [level] * 20) == 0.5**6
