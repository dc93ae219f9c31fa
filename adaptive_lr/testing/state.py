"""Checks of the state: saving, loading, copying."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    advance,
    build,
    expect,
    expect_same,
    new_optimizer,
    parameters,
    rates,
    require,
    stops,
    train,
    uninterrupted,
    update,
)
from adaptive_lr.testing.values import ROUNDING, last_rates


def _set_parameters(optimizer: Optimizer, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters(optimizer), values, strict=True):
            parameter.copy_(value)


def _expect_resumed(case: Case, *, optimizer_before: bool, optimizer_last: bool) -> None:
    """A run that is stopped, saved and resumed equals the uninterrupted one in rates and parameters, bit for bit."""
    for stop in stops(case):
        pair = build(case)
        train(case, pair, stop)
        values = [parameter.detach().clone() for parameter in parameters(pair.optimizer)]
        optimizer_state = copy.deepcopy(pair.optimizer.state_dict())
        scheduler_state = copy.deepcopy(pair.scheduler.state_dict())
        remaining = case.total_steps - stop
        want = train(case, pair, remaining, start=stop)

        optimizer = new_optimizer(case)
        _set_parameters(optimizer, values)
        if optimizer_before:
            optimizer.load_state_dict(optimizer_state)
        scheduler = case.factory(optimizer)
        if not optimizer_before and not optimizer_last:
            optimizer.load_state_dict(optimizer_state)
        scheduler.load_state_dict(scheduler_state)
        if optimizer_last:
            optimizer.load_state_dict(optimizer_state)

        got = train(case, Pair(optimizer, scheduler), remaining, start=stop)
        expect_same(got, want, f"resumed at step {stop}", start=stop)
        same = all(map(torch.equal, parameters(optimizer), parameters(pair.optimizer)))
        expect(same, f"resumed at step {stop}: the parameters differ in the end")


@Check
def check_resume(case: Case) -> None:
    """Resumes bit for bit when both are built, then the optimizer and the scheduler are loaded."""
    _expect_resumed(case, optimizer_before=False, optimizer_last=False)


@Check
def check_resume_optimizer_before_construction(case: Case) -> None:
    """Resumes bit for bit when the optimizer is loaded before the scheduler is built."""
    _expect_resumed(case, optimizer_before=True, optimizer_last=False)


@Check
def check_resume_scheduler_first(case: Case) -> None:
    """Resumes bit for bit when the scheduler is loaded before the optimizer."""
    _expect_resumed(case, optimizer_before=False, optimizer_last=True)


@Check
def check_resume_by_last_epoch(case: Case) -> None:
    """Built with last_epoch=N on a loaded optimizer, it goes on with the value of step N + 1."""
    require(case.resume_at is not None, "it has no last_epoch")
    want = uninterrupted(case)
    for stop in stops(case):
        # Whether the checkpoint is made before or after step() is not agreed upon; a scheduler may rely on one of them.
        attempts = [_by_last_epoch(case, stop, stepped=stepped) for stepped in (True, False)]
        best = min(attempts, key=lambda got: _distance(got, want[stop:-1]))
        expect_same(best, want[stop:-1], f"built with last_epoch={stop - 1}", relative=ROUNDING, start=stop)


def _by_last_epoch(case: Case, stop: int, *, stepped: bool) -> list[list[float]]:
    assert case.resume_at is not None
    pair = build(case)
    train(case, pair, stop - 1)
    update(pair.optimizer)
    if stepped:
        advance(case, pair.scheduler, stop - 1)
    optimizer = new_optimizer(case)
    optimizer.load_state_dict(copy.deepcopy(pair.optimizer.state_dict()))
    scheduler = case.resume_at(optimizer, stop - 1)
    return train(case, Pair(optimizer, scheduler), case.total_steps - stop, start=stop)


def _distance(got: list[list[float]], want: list[list[float]]) -> float:
    return max(abs(a - b) for rows in zip(got, want, strict=True) for a, b in zip(*rows, strict=True))


@Check
def check_last_lr_after_loading(case: Case) -> None:
    """get_last_lr() is what the optimizer holds as soon as the scheduler is loaded, the optimizer loaded or not."""
    for stop in stops(case):
        pair = build(case)
        train(case, pair, stop)
        fresh = build(case)
        fresh.scheduler.load_state_dict(copy.deepcopy(pair.scheduler.state_dict()))
        reported, held = last_rates(fresh.scheduler), rates(fresh.optimizer)
        expect(
            reported == held,
            f"loaded at step {stop}: get_last_lr() says {reported[0]:.7g}, the optimizer has {held[0]:.7g}",
        )


@Check
def check_state_is_plain_data(case: Case) -> None:
    """The state can be read by torch.load(weights_only=True), and be loaded again."""
    pair = build(case)
    train(case, pair, case.total_steps // 2)
    file = io.BytesIO()
    torch.save(pair.scheduler.state_dict(), file)
    file.seek(0)
    state, refused = {}, ""
    try:
        state = torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _culprit(str(error))
    expect(not refused, f"torch.load refuses: {refused}")
    build(case).scheduler.load_state_dict(state)


def _culprit(message: str) -> str:
    """The one informative sentence in torch's page of advice."""
    informative = [line for line in message.splitlines() if "Unsupported" in line or "GLOBAL" in line]
    return " ".join((informative or message.splitlines())[0].split())[:160]


@Check
def check_changed_hyperparameters(case: Case) -> None:
    """A state saved with other hyperparameters does not replace the constructed ones without a warning."""
    require(case.other is not None, "no second set of hyperparameters is given")
    assert case.other is not None
    half = case.total_steps // 2
    saved = build(case)
    train(case, saved, half)
    optimizer = new_optimizer(case)
    reference = Pair(optimizer, case.other(optimizer))
    train(case, reference, half)
    want = train(case, reference, case.total_steps - half, start=half)

    optimizer = new_optimizer(case)
    loaded = Pair(optimizer, case.other(optimizer))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded.scheduler.load_state_dict(copy.deepcopy(saved.scheduler.state_dict()))
    if caught:
        return
    got = train(case, loaded, case.total_steps - half, start=half)
    # Whether the rate is right before the next step is the matter of another check.
    expect_same(got[1:], want[1:], "no warning, and not the constructed schedule", relative=ROUNDING, start=half + 1)


@Check
def check_deepcopy(case: Case) -> None:
    """A deep copy goes on by itself, with an optimizer of its own."""
    pair = build(case)
    half, remaining = case.total_steps // 2, case.total_steps - case.total_steps // 2
    train(case, pair, half)
    before = rates(pair.optimizer)
    scheduler = copy.deepcopy(pair.scheduler)
    got = train(case, Pair(scheduler.optimizer, scheduler), remaining, start=half)
    expect(rates(pair.optimizer) == before, "stepping the copy changes the rates of the original")
    expect_same(got, train(case, pair, remaining, start=half), "the copy", start=half)


@Check
def check_pickle(case: Case) -> None:
    """A pickled scheduler goes on."""
    pair = build(case)
    half, remaining = case.total_steps // 2, case.total_steps - case.total_steps // 2
    train(case, pair, half)
    scheduler = pickle.loads(pickle.dumps(pair.scheduler))
    got = train(case, Pair(scheduler.optimizer, scheduler), remaining, start=half)
    expect_same(got, train(case, pair, remaining, start=half), "unpickled", start=half)


STATE = (
    check_resume,
    check_resume_optimizer_before_construction,
    check_resume_scheduler_first,
    check_resume_by_last_epoch,
    check_last_lr_after_loading,
    check_state_is_plain_data,
    check_changed_hyperparameters,
    check_deepcopy,
    check_pickle,
)
