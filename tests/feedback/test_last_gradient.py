"""The gradient of the step before: by reference where that is safe, and right wherever it is not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptive_lr.feedback.last_gradient import LastGradient
from tests.controlled import Alignment, controlled, loss_of, minibatches, perceptron


def gradients(value: float) -> list[Tensor]:
    return [torch.full((3,), value), torch.full((2, 2), value)]


def test_the_first_is_copied_and_the_next_ones_are_not() -> None:
    memory = LastGradient()
    first, second, third = gradients(1.0), gradients(2.0), gradients(3.0)
    kept = memory.keep(first)
    assert all(one is not other for one, other in zip(kept, first, strict=True))
    assert memory.intact(kept, second)
    assert all(one is other for one, other in zip(memory.keep(second), second, strict=True))
    assert all(one is other for one, other in zip(memory.keep(third), third, strict=True))


def test_where_gradients_are_written_over_they_are_copied_and_none_is_lost() -> None:
    memory, present = LastGradient(), gradients(0.0)
    kept = memory.keep(present)
    for step in range(1, 5):
        for one in present:
            one.fill_(float(step))
        assert memory.intact(kept, present)
        assert all((one == step - 1.0).all() for one in kept)
        kept = memory.keep(present)


def test_a_loop_that_begins_to_write_over_them_loses_one() -> None:
    memory = LastGradient()
    kept = memory.keep(gradients(1.0))
    present = gradients(2.0)
    assert memory.intact(kept, present)
    kept = memory.keep(present)
    for one in present:
        one.zero_()
    assert not memory.intact(kept)
    assert not memory.intact(kept, present)
    for step in range(3, 6):
        kept = memory.keep(present)
        for one in present:
            one.fill_(float(step))
        assert memory.intact(kept)
        assert memory.intact(kept, present)
        assert not any((one == float(step)).any() for one in kept)


def test_memory_that_is_used_again_is_seen() -> None:
    memory = LastGradient()
    kept = memory.keep(gradients(1.0))
    storage = torch.zeros(7)
    assert memory.intact(kept, gradients(2.0))
    kept = memory.keep([storage[:3], storage[3:].view(2, 2)])
    assert not memory.intact(kept, [storage.view(7)[:3], storage[3:].view(2, 2)])  # new views of the same memory


def test_what_was_loaded_is_intact() -> None:
    memory = LastGradient()
    memory.keep(gradients(1.0))
    memory.intact(memory.keep(gradients(2.0)), gradients(3.0))
    assert memory.intact(gradients(5.0), gradients(3.0))


def trained(clear: Callable[[Any, int], None], *, resume: bool = False) -> list[float]:
    """The losses of a run, and the rates after each step."""
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    scheduler, found = controlled(optimizer, Alignment()), []
    for step, (x, y) in enumerate(minibatches(30)):
        clear(optimizer, step)
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss)
        found += [loss.item(), float(scheduler.get_last_lr()[0])]
        if resume:
            state = scheduler.state_dict()
            scheduler = controlled(optimizer, Alignment())
            scheduler.load_state_dict(state)
    return found


@pytest.mark.parametrize("resume", [False, True])
def test_how_gradients_are_cleared_changes_nothing(resume: bool) -> None:
    new = trained(lambda optimizer, step: optimizer.zero_grad())
    over = trained(lambda optimizer, step: optimizer.zero_grad(set_to_none=False), resume=resume)
    assert new == over
    assert len(set(new[1::2])) == 30


def test_a_change_of_habit_does_no_harm() -> None:
    mixed = trained(lambda optimizer, step: optimizer.zero_grad(set_to_none=step % 5 != 0))
    assert all(torch.tensor(mixed).isfinite())


def test_the_gradient_that_a_loop_writes_over_for_the_first_time_is_not_read() -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler, read = controlled(optimizer, Alignment()), []
    for step, (x, y) in enumerate(minibatches(10)):
        optimizer.zero_grad(set_to_none=step < 5)
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss)
        read.append("gradient_dot_previous" in scheduler.readings())
    assert read == [step not in (0, 5) for step in range(10)]
