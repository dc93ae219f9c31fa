"""Checks of parameter groups: groups that share a rate, that join, that leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    build,
    expect,
    expect_same,
    load,
    new_parameter,
    number,
    rates,
    require,
    require_holds,
    train,
    uninterrupted,
)
from adaptive_lr.testing.values import ROUNDING

SHARING = ((torch.float32, 3), (torch.float32, 2), (torch.float64, 3), (torch.bfloat16, 3))
"""The precision of the shared tensor, and how many of three groups share it; the others have a float."""


@Check
def check_added_group(case: Case) -> None:
    """A parameter group that is added during the run is scheduled too, and the others go on as before."""
    want = uninterrupted(case)
    half = case.total_steps // 2
    pair = build(case)
    train(case, pair, half)
    _add_group(case, pair.optimizer, case.rates[0])
    got = [*train(case, pair, case.total_steps - half, start=half), rates(pair.optimizer)]
    expect_same([row[:-1] for row in got], want[half:], "the groups before it", start=half)
    new = [row[-1] for row in got]
    expect(all(math.isfinite(rate) and rate >= 0.0 for rate in new), f"the new group: rates {new}")
    require(len({row[0] for row in got[1:]}) > 1, "the rate does not change after the middle of the run")
    expect(len(set(new[1:])) > 1, f"the new group stays at {new[-1]:.7g}")


@Check
def check_rate_of_added_group(case: Case) -> None:
    """A group that is added at a tenth of the first group's present rate stays at a tenth of it.

    Trainers add unfrozen layers in this way (Lightning-AI/pytorch-lightning#12141). Where the present rate is taken for a base
    rate, the group is damped twice, or not at all.
    """
    require_holds(check_added_group, case)
    half = case.total_steps // 2
    pair = build(case)
    train(case, pair, half)
    present = rates(pair.optimizer)[0]
    require(present > 0.0, "the rate is 0 in the middle of the run")
    _add_group(case, pair.optimizer, 0.1 * present)
    _expect_share(case, pair, 0.1, start=half)


@Check
def check_initial_rate_of_added_group(case: Case) -> None:
    """A group that is added with an ``initial_lr`` follows the schedule from that base rate.

    It is how a person says which base rate is meant, where the present rate could be either (asked for, among others, in
    Lightning-AI/pytorch-lightning#12141); the rate that the group has when it is added is then only that of the next update.
    """
    require_holds(check_added_group, case)
    half = case.total_steps // 2
    pair = build(case)
    train(case, pair, half)
    _add_group(case, pair.optimizer, case.rates[0], initial_lr=0.25 * case.rates[0])
    train(case, pair, 1, start=half)
    _expect_share(case, pair, 0.25, start=half + 1)


@Check
def check_group_added_before_loading(case: Case) -> None:
    """A run to which a group was added resumes when the group is added again before the states are loaded.

    Unfreezing adds groups, and resuming then counted the wrong ones (Lightning-AI/pytorch-lightning#6891, #8502).
    """
    require_holds(check_added_group, case)
    stop = case.total_steps // 2
    saved = build(case)
    train(case, saved, stop - 1)
    _add_group(case, saved.optimizer, 0.5 * case.rates[0])
    train(case, saved, 1, start=stop - 1)
    resumed = build(case)
    _add_group(case, resumed.optimizer, case.rates[0])
    load(resumed, saved)
    remaining = case.total_steps - stop
    expect_same(
        train(case, resumed, remaining, start=stop), train(case, saved, remaining, start=stop), "resumed", start=stop
    )


@Check
def check_removed_group(case: Case) -> None:
    """When a parameter group is taken out, the others go on as before, each from its own base rate.

    Groups are dropped when they are empty or frozen for good (pytorch/pytorch#62475, microsoft/DeepSpeedExamples#756).
    """
    want = uninterrupted(case)
    half = case.total_steps // 2
    last = len(case.rates) - 1
    removals: dict[str, tuple[int, Callable[[Optimizer], object]]] = {
        "the last one popped": (last, lambda optimizer: optimizer.param_groups.pop()),
        "the first one popped": (0, lambda optimizer: optimizer.param_groups.pop(0)),
        "the first one left out of a new list": (0, _leave_out_the_first),
    }
    for name, (index, remove) in removals.items():
        pair = build(case)
        train(case, pair, half)
        remove(pair.optimizer)
        got = train(case, pair, case.total_steps - half, start=half)
        expected = [row[:index] + row[index + 1 :] for row in want[half:-1]]
        expect_same(got, expected, name, relative=ROUNDING, start=half)


@Check
def check_emptied_group(case: Case) -> None:
    """A group whose parameters were all taken out keeps its rate on schedule, and so do the others.

    Pruning, sharding and LoRA leave such groups behind (pytorch/pytorch#104361).
    """
    want = uninterrupted(case)
    half = case.total_steps // 2
    pair = build(case)
    train(case, pair, half)
    pair.optimizer.param_groups[0]["params"] = []
    got = train(case, pair, case.total_steps - half, start=half)
    expect_same(got, want[half:-1], "the first group emptied", relative=ROUNDING, start=half)


@Check
def check_shared_tensor_rate(case: Case) -> None:
    """Groups that share one tensor as their rate get the rates of groups that have a tensor each.

    An optimizer that is built with ``lr=torch.tensor(…)`` puts that tensor into every group, also after loading; whatever is
    added to it for each group adds up (pytorch/ao#2574).
    """
    equal = replace(case, rates=(case.rates[0],) * 3, as_tensor=False)
    require(_treats_groups_alike(equal), "it gives groups of one base rate different rates")
    half = case.total_steps // 2
    for dtype, sharing in SHARING:
        relative = 4 * torch.finfo(dtype).eps
        apart, shared = _built(equal, dtype, sharing, clone=True), _built(equal, dtype, sharing)
        name = f"{f'{dtype}'.removeprefix('torch.')}, {sharing} of 3 groups"
        expect_same(train(equal, shared, half), train(equal, apart, half), name, relative=relative)
        resumed = _built(equal, dtype, sharing)
        load(resumed, shared)
        want, got = (train(equal, pair, case.total_steps - half, start=half) for pair in (apart, resumed))
        expect_same(got, want, f"{name}, loaded", relative=relative, start=half)


def _treats_groups_alike(case: Case) -> bool:
    try:
        return all(len(set(row)) == 1 for row in uninterrupted(case))
    except ValueError:  # it was given a number for each group, and there is one group more
        return False


def _built(case: Case, dtype: torch.dtype, sharing: int, *, clone: bool = False) -> Pair:
    """A pair in which the first groups hold one tensor, or clones of it, and the others hold floats."""
    shared = torch.tensor(case.rates[0], dtype=dtype)
    held: list[float | Tensor] = [shared.clone() if clone else shared for _ in range(sharing)]
    held += case.rates[sharing:]
    optimizer = case.optimizer([{"params": [new_parameter()], "lr": rate} for rate in held])
    return Pair(optimizer, case.factory(optimizer))


def _add_group(case: Case, optimizer: Optimizer, rate: float, **settings: float) -> None:
    numbers: dict[str, Any] = {name: number(case, value) for name, value in {"lr": rate, **settings}.items()}
    optimizer.add_param_group({"params": [new_parameter()], **numbers})


def _expect_share(case: Case, pair: Pair, share: float, *, start: int) -> None:
    for step, row in enumerate(train(case, pair, case.total_steps - start, start=start), start):
        expect(
            math.isclose(row[-1], share * row[0], rel_tol=1e-9, abs_tol=1e-12 * case.rates[0]),
            f"step {step}: the first group has the rate {row[0]:.7g}, the added one {row[-1]:.7g}, not {share} of it",
        )


def _leave_out_the_first(optimizer: Optimizer) -> None:
    optimizer.param_groups = optimizer.param_groups[1:]


GROUPS = (
    check_added_group,
    check_rate_of_added_group,
    check_initial_rate_of_added_group,
    check_group_added_before_loading,
    check_removed_group,
    check_emptied_group,
    check_shared_tensor_rate,
)
