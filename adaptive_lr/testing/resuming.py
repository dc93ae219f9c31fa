"""Checks of runs that go on elsewhere, with other settings, or after somebody else has touched the optimizer."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW, Optimizer

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    advance,
    build,
    expect,
    expect_same,
    load,
    new_optimizer,
    new_parameter,
    number,
    parameters,
    rates,
    require,
    require_holds,
    train,
    uninterrupted,
    warnings_during,
)
from adaptive_lr.testing.driving import check_no_false_warnings_after_resuming
from adaptive_lr.testing.values import ROUNDING

REFUSALS = (TypeError, ValueError, RuntimeError)
"""What a call may raise to refuse its arguments; a KeyError or an AttributeError is an accident."""


def same(first: Any, second: Any) -> bool:
    """Whether two states hold the same numbers, tensors and NaN included."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and (first == second or (first != first and second != second))


def require_rates_of_the_optimizer(case: Case) -> None:
    """Nothing, if half the base rates give half the rates; a scheduler that is given its rates as numbers is let off."""
    halved = uninterrupted(_with_rates(case, *(0.5 * rate for rate in case.rates)))
    pairs = (pair for rows in zip(halved, uninterrupted(case), strict=True) for pair in zip(*rows, strict=True))
    require(
        all(math.isclose(low, 0.5 * high, rel_tol=1e-9) for low, high in pairs), "its rates are not the optimizer's"
    )


def _with_rates(case: Case, *base_rates: float) -> Case:
    return replace(case, rates=base_rates)


@Check
def check_changed_base_rates(case: Case) -> None:
    """Base rates, or an order of groups, other than those of the loaded state are taken, or a warning says that they are not.

    People change the rate in their configuration and resume (pytorch/pytorch#156846, #29697): a rate that is silently the old
    one is found out, if ever, when the run has ended.
    """
    require_rates_of_the_optimizer(case)
    half = case.total_steps // 2
    saved = build(case)
    train(case, saved, half)
    first, *others = case.rates
    changes = {
        "half the rates": _with_rates(case, *(0.5 * rate for rate in case.rates)),
        "groups in another order": _with_rates(case, *others, first),
    }
    loadings: dict[str, Callable[[Pair], None]] = {
        "both loaded": lambda pair: load(pair, saved),
        "scheduler loaded": lambda pair: pair.scheduler.load_state_dict(copy.deepcopy(saved.scheduler.state_dict())),
    }
    for change, changed in changes.items():
        want = uninterrupted(changed)[half + 1 : -1]
        for loading, loaded in loadings.items():
            pair = build(changed)
            got: list[list[float]] = []

            def resume(changed: Case = changed, pair: Pair = pair, got: list[list[float]] = got) -> None:
                loaded(pair)  # noqa: B023  # called at once
                got.extend(train(changed, pair, case.total_steps - half, start=half))

            try:
                messages = warnings_during(resume)
            except REFUSALS:
                continue
            if not messages:
                when = f"{change}, {loading}, no warning"
                expect_same(got[1:], want, when, relative=ROUNDING, start=half + 1)


@Check
def check_reordered_arguments(case: Case) -> None:
    """A state loads into a scheduler whose arguments are the same in another order, without a warning.

    A mapping or a configuration file has no order that a person would look at; what is matched by place is exchanged silently.
    """
    require(case.reordered is not None, "its arguments have no other order")
    assert case.reordered is not None
    require_holds(check_no_false_warnings_after_resuming, case)
    half = case.total_steps // 2
    saved = build(case)
    train(case, saved, half)
    optimizer = new_optimizer(case)
    pair = Pair(optimizer, case.reordered(optimizer))
    messages = warnings_during(lambda: load(pair, saved))
    expect(not messages, f"loaded: {'; '.join(messages)}")
    for step in range(half, case.total_steps):
        for want, got in zip(_settings(saved.optimizer), _settings(pair.optimizer), strict=True):
            wrong = next((name for name in want if got.get(name) != want[name]), None)
            expect(wrong is None, f"step {step}: {wrong} is {got.get(wrong or '')}, not {want.get(wrong or '')}")
        train(case, saved, 1, start=step)
        train(case, pair, 1, start=step)


def _settings(optimizer: Optimizer) -> list[dict[str, float]]:
    """The numbers of each group by name, the two of ``betas`` too."""
    settings = []
    for group in optimizer.param_groups:
        flat = {name: value for name, value in group.items() if isinstance(value, int | float | Tensor)}
        flat |= {f"beta{index}": value for index, value in enumerate(group.get("betas", ()), 1)}
        settings.append({name: float(value) for name, value in flat.items()})
    return settings


@Check
def check_foreign_update(case: Case) -> None:
    """An update at rate 0 that torch.distributed.checkpoint makes for itself moves no weight and no schedule.

    ``get_optimizer_state_dict`` steps a fresh optimizer with rates and gradients of 0, to have a state to load into
    (pytorch/pytorch#164929, #133415, #140900): before the first update, and once more when a run is resumed.
    """
    require(torch.distributed.is_available(), "torch was built without torch.distributed")
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict  # takes a second

    model, pair = _decayed(case)
    before = [parameter.detach().clone() for parameter in parameters(pair.optimizer)]
    get_optimizer_state_dict(model, pair.optimizer)
    _expect_unmoved(before, pair, "before the first update")
    _, reference = _decayed(case)
    want = train(case, reference, case.total_steps)
    half = case.total_steps // 2
    expect_same(train(case, pair, half), want[:half], "after that update")

    resumed_model, resumed = _decayed(case)
    before = [parameter.detach().clone() for parameter in parameters(resumed.optimizer)]
    resumed.scheduler.load_state_dict(copy.deepcopy(pair.scheduler.state_dict()))
    get_optimizer_state_dict(resumed_model, resumed.optimizer)
    _expect_unmoved(before, resumed, "resumed")
    load(resumed, pair)
    got = train(case, resumed, case.total_steps - half, start=half)
    expect_same(got, want[half:], "resumed", start=half)


def _decayed(case: Case) -> tuple[nn.Module, Pair]:
    """A model and AdamW with weight decay on it: an update at rate 0 moves nothing, one at another rate does."""
    model = nn.ParameterList([nn.Parameter(new_parameter().detach()) for _ in case.rates])
    groups = [{"params": [weight], "lr": number(case, rate)} for weight, rate in zip(model, case.rates, strict=True)]
    optimizer = AdamW(groups, lr=case.rates[0], weight_decay=0.5)
    return model, Pair(optimizer, case.factory(optimizer))


def _expect_unmoved(before: list[Tensor], pair: Pair, when: str) -> None:
    moved = max(float((a - b).abs().max()) for a, b in zip(before, parameters(pair.optimizer), strict=True))
    expect(moved == 0.0, f"{when}: the weights move by {moved:.3g}")


@Check
def check_map_location(case: Case) -> None:
    """A state whose tensors torch.load put onto another device goes on as it would have.

    Whole checkpoints are loaded with ``map_location`` (pytorch/pytorch#8741, #2830), and the scheduler's tensors move with the
    model's. Without an accelerator the device is ``meta``, on which a tensor has no numbers: those belong in plain floats.
    """
    plain = replace(case, as_tensor=False)
    half = case.total_steps // 2
    saved = build(plain)
    train(plain, saved, half)
    buffer = io.BytesIO()
    torch.save(saved.scheduler.state_dict(), buffer)
    buffer.seek(0)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("meta")
    resumed = build(plain)
    resumed.optimizer.load_state_dict(copy.deepcopy(saved.optimizer.state_dict()))
    resumed.scheduler.load_state_dict(torch.load(buffer, map_location=device, weights_only=False))
    remaining = case.total_steps - half
    want, got = (train(plain, pair, remaining, start=half) for pair in (saved, resumed))
    expect_same(got, want, f"loaded onto {device}", start=half)


@Check
def check_grad_scaler(case: Case) -> None:
    """With a GradScaler, updates that it skips are not counted, and all others are, also right after resuming.

    A scale that has fallen below that of a fresh scaler, or that is set by hand, is no skipped update
    (mosaicml/composer#1376, huggingface/transformers#11663).
    """
    require(case.with_scaler is not None, "it cannot be told of a scaler")
    want = uninterrupted(case)
    scaler, pair = _scaled(case)
    got = [_scaled_update(case, pair, scaler, overflow=step in (1, 3)) for step in range(5)]
    expected = [want[0], want[1], want[1], want[2], want[2]]
    expect_same(got, expected, "updates 1 and 3 overflow", relative=ROUNDING)
    scaler.update(16.0)
    expect_same([_scaled_update(case, pair, scaler)], [want[3]], "scale set by hand", relative=ROUNDING, start=3)
    expect_same([_scaled_update(case, pair, scaler)], [want[4]], "scale set by hand", relative=ROUNDING, start=4)
    for scaler_first in (True, False):
        fresh, resumed = _scaled(case)
        if scaler_first:
            fresh.load_state_dict(copy.deepcopy(scaler.state_dict()))
        load(resumed, pair)
        if not scaler_first:
            fresh.load_state_dict(copy.deepcopy(scaler.state_dict()))
        rows = [_scaled_update(case, resumed, fresh, overflow=step == 1) for step in range(3)]
        expect_same(rows, [want[5], want[6], want[6]], "resumed with a lower scale", relative=ROUNDING, start=5)


def _scaled(case: Case) -> tuple[GradScaler, Pair]:
    assert case.with_scaler is not None
    scaler = GradScaler("cpu", init_scale=1024.0)
    optimizer = new_optimizer(case)
    return scaler, Pair(optimizer, case.with_scaler(optimizer, scaler))


def _scaled_update(case: Case, pair: Pair, scaler: GradScaler, *, overflow: bool = False) -> list[float]:
    """The rates that one scaled update uses, or would have used if it had not overflowed."""
    used = rates(pair.optimizer)
    scale = float(scaler.scale(torch.ones(())))
    for parameter in parameters(pair.optimizer):
        parameter.grad = parameter.detach() * (math.inf if overflow else scale)
    scaler.step(pair.optimizer)
    scaler.update()
    advance(case, pair.scheduler, 0)
    return used


@Check
def check_damaged_state(case: Case) -> None:
    """A state with a value missing or of the wrong type is refused, and nothing of it is taken.

    Half of a state is worse than none: the run goes on with a rate that nobody asked for. A value that the scheduler does not
    need may be wrong.

    Raises:
        AssertionError: a damage is taken, or crashes.
    """
    half = case.total_steps // 2
    saved = build(case)
    train(case, saved, half)
    state = saved.scheduler.state_dict()
    optimizer_state = copy.deepcopy(saved.optimizer.state_dict())
    want = train(case, saved, case.total_steps - half, start=half)
    for name, damaged in _damages(state):
        pair = build(case)
        pair.optimizer.load_state_dict(copy.deepcopy(optimizer_state))
        before = copy.deepcopy(pair.scheduler.state_dict()), rates(pair.optimizer)
        try:
            pair.scheduler.load_state_dict(damaged)
        except REFUSALS:
            after = pair.scheduler.state_dict(), rates(pair.optimizer)
            expect(same(before, after), f"{name}: refused, but half of it is taken")
            continue
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__} instead of a refusal") from error
        try:
            got = train(case, pair, case.total_steps - half, start=half)
        except Exception as error:
            raise AssertionError(f"{name}: accepted, then {type(error).__name__}") from error
        expect_same(got, want, f"{name}: accepted", relative=ROUNDING, start=half)


def _damages(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in state.items():
        yield f"{key} missing", {name: copy.deepcopy(entry) for name, entry in state.items() if name != key}
        wrong: list[Any] = [0.5 if isinstance(value, str) else "text", None]
        if isinstance(value, int | float):
            wrong.append(math.nan)
        for damage in wrong:
            yield f"{key}={damage!r}", {**copy.deepcopy(state), key: damage}


RESUMING = (
    check_changed_base_rates,
    check_reordered_arguments,
    check_foreign_update,
    check_map_location,
    check_grad_scaler,
    check_damaged_state,
)
