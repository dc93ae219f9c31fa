"""Checks with rates that are tensors, and with optimizers that are not the plain loop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr.testing.case import (
    Case,
    Check,
    Groups,
    advance,
    build,
    expect,
    expect_same,
    rates,
    stops,
    train,
    uninterrupted,
)

FLOAT32 = 4 * torch.finfo(torch.float32).eps
"""Relative error of a few roundings to float32."""

IMPLEMENTATIONS: dict[str, Callable[[Groups], Optimizer]] = {
    "fused AdamW": lambda groups: AdamW(groups, lr=float(groups[0]["lr"]), fused=True),
    "foreach AdamW": lambda groups: AdamW(groups, lr=float(groups[0]["lr"]), foreach=True),
    "fused SGD": lambda groups: SGD(groups, lr=float(groups[0]["lr"]), fused=True),
    "foreach SGD": lambda groups: SGD(groups, lr=float(groups[0]["lr"]), foreach=True),
}


@Check
def check_tensor_rates_stay_in_place(case: Case) -> None:
    """A rate that is a tensor stays the same tensor in the same storage: compiled code and CUDA graphs read it there."""
    pair = build(case, dtype=torch.float32)
    held = [group["lr"] for group in pair.optimizer.param_groups]
    expect(all(isinstance(rate, Tensor) for rate in held), "the construction replaces the tensor")
    addresses = [rate.data_ptr() for rate in held]

    def unchanged(when: str) -> None:
        for group, rate, address in zip(pair.optimizer.param_groups, held, addresses, strict=True):
            expect(group["lr"] is rate, f"{when}: another object of type {type(group['lr']).__name__}")
            expect(rate.data_ptr() == address, f"{when}: the same tensor with new storage")

    for step in range(case.total_steps):
        train(case, pair, 1, start=step)
        unchanged(f"after step {step + 1}")
    saved = build(case, dtype=torch.float32)
    train(case, saved, stops(case)[1])
    pair.scheduler.load_state_dict(copy.deepcopy(saved.scheduler.state_dict()))
    unchanged("after load_state_dict()")


@Check
def check_tensor_rates_do_not_drift(case: Case) -> None:
    """Rates that are float32 tensors agree with floats to float32 rounding over the whole horizon."""
    long = case.long or case
    plain, tensors = build(replace(long, as_tensor=False)), build(long, dtype=torch.float32)
    worst, at = 0.0, 0
    for step in range(long.total_steps):
        advance(long, plain.scheduler, step)
        advance(long, tensors.scheduler, step)
        for a, b, base in zip(rates(tensors.optimizer), rates(plain.optimizer), long.rates, strict=True):
            error = abs(a - b) / max(abs(b), 1e-9 * base)
            worst, at = max((worst, at), (error, step + 1))
    expect(worst <= FLOAT32, f"relative error {worst:.1e} at step {at} of {long.total_steps}")


@Check
def check_last_lr_is_a_copy(case: Case) -> None:
    """What get_last_lr() returns for tensor rates can be changed without changing the optimizer."""
    pair = build(case, dtype=torch.float64)
    for step in range(2):
        before = rates(pair.optimizer)
        for rate in pair.scheduler.get_last_lr():
            if isinstance(rate, Tensor):
                rate.fill_(7.0)
        expect(rates(pair.optimizer) == before, f"step {step}: writing into it changes the optimizer")
        train(case, pair, 1, start=step)


@Check
def check_fused_and_foreach(case: Case) -> None:
    """Fused and foreach optimizers are driven like the plain one."""
    floats = replace(case, as_tensor=False)
    want = uninterrupted(floats)
    for name, make in IMPLEMENTATIONS.items():
        expect_same(uninterrupted(replace(floats, optimizer=make)), want, name)


TENSORS = (
    check_tensor_rates_stay_in_place,
    check_tensor_rates_do_not_drift,
    check_last_lr_is_a_copy,
    check_fused_and_foreach,
)
