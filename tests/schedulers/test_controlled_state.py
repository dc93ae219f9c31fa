"""A state that is damaged is refused in one line, and nothing of it is loaded."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from adaptive_lr import AbstractController, Anchor, NanRescue, ProgressAnchor, SpecError
from tests.controlled import Alignment, Watch, controlled, loss_of, minibatches, perceptron, same, train, values

BATCHES = minibatches(8)
CONTROLLERS: list[AbstractController] = [NanRescue(every=3, then=ProgressAnchor()), Alignment(), Watch()]
MINE = ("controller", "numbers", "control", "held", "trial", "applied", "square", "kept", "update")
WRONG: list[Any] = [
    None,
    "x",
    -1.0,
    math.nan,
    math.inf,
    10**30,
    [],
    {},
    torch.ones(3),
    torch.ones(1, dtype=torch.int8),
    True,
]


class Run:
    def __init__(self, controller: AbstractController, *, between: bool) -> None:
        self.model = perceptron(drop=0.3)
        self.optimizer = SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.scheduler = controlled(self.optimizer, controller)
        train(self.model, self.optimizer, self.scheduler, BATCHES[:5])
        if between:
            self.loss = loss_of(self.model, *BATCHES[5])
            self.optimizer.zero_grad()
            self.loss.backward()
            self.optimizer.step()

    def judge(self) -> None:
        self.scheduler.step(self.loss, lambda: loss_of(self.model, *BATCHES[5]))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a state, the inner ones too."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))


def changed(state: dict[str, Any], path: tuple[Any, ...], replacement: Any, *, remove: bool) -> dict[str, Any]:
    state = copy.copy(state)
    holder: Any = state
    for key in path[:-1]:  # what is not on the path is shared
        holder[key] = copy.copy(holder[key])
        holder = holder[key]
    if remove:
        del holder[path[-1]]
    else:
        holder[path[-1]] = replacement
    return state


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(torch.allclose(a, b, 0.0, 0.0, equal_nan=True))
    return bool(a == b) or (a != a and b != b)


@pytest.mark.parametrize("between", [False, True], ids=["after", "between"])
@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda controller: controller.kind)
@pytest.mark.filterwarnings("ignore:the saved")
def test_states_with_something_wrong_in_them_are_loaded_whole_or_not_at_all(
    controller: AbstractController, between: bool
) -> None:
    run = Run(controller, between=between)
    saved = run.scheduler.state_dict()
    intact = copy.deepcopy(saved)
    model = values(run.model)
    told: list[str] = []
    for path in leaves({name: saved[name] for name in MINE}):
        if path[0] == "controller" and len(path) > 2:
            continue
        for index, wrong in enumerate([*WRONG, None]):
            try:
                run.scheduler.load_state_dict(changed(saved, path, wrong, remove=index == len(WRONG)))
            except SpecError as error:
                told.append(str(error))
                assert alike(run.scheduler.state_dict(), saved), path  # not of the error
                assert same(model, values(run.model))
            else:
                rates = [float(rate) for rate in run.scheduler.get_last_lr()]
                assert all(math.isfinite(rate) and rate >= 0.0 for rate in rates)
                assert math.isfinite(run.scheduler.readings()["multiplier"])
                run.scheduler.load_state_dict(saved)
                with torch.no_grad():  # a step that was given up with the old state is taken back
                    for parameter, value in zip(run.model.parameters(), model, strict=True):
                        parameter.copy_(value)
                run.scheduler._made = run.scheduler._space.versions()
    assert alike(saved, intact)  # what is loaded is copied
    assert len(told) > 100
    assert not any("\n" in message for message in told)


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        (("held",), math.nan, "the state.held must be a finite number of at least 0, got nan"),
        (("applied",), -1.0, "the state.applied must be a finite number of at least 0, got -1.0"),
        (("control", "state"), [], r"state of NanRescue has 0 parts, of this version it has \d+"),
        (
            ("control", "trial"),
            torch.ones(2),
            r"control.trial must be a tensor of shape \[1\] of torch.float64, finite and at least 0, got a tensor of shape \[2\]",
        ),
        (("update",), 3, "the state.update must be a dictionary, got 3"),
        (("kept", "kept", "states"), 3, "kept.states must be a list of 4, got 3"),
        (("update", "replay", "start"), {"cpu": 1}, "update.replay.start.cpu must be a tensor of torch.uint8, got 1"),
        (
            ("update", "gradients"),
            [torch.ones(1)],
            "update.gradients are those of other parameters than the optimizer has",
        ),
    ],
)
def test_what_is_wrong_is_named(path: tuple[str, ...], wrong: Any, message: str) -> None:
    run = Run(CONTROLLERS[0], between=True)
    saved = run.scheduler.state_dict()
    with pytest.raises(SpecError, match=message):
        run.scheduler.load_state_dict(changed(saved, path, wrong, remove=False))
    assert changed(saved, path, wrong, remove=False).keys() == saved.keys()


@pytest.mark.parametrize("controller", [Anchor(), *CONTROLLERS], ids=lambda controller: controller.kind)
def test_training_goes_on_after_a_refused_state_as_if_it_had_not_been(controller: AbstractController) -> None:
    runs = [Run(controller, between=True) for _ in range(2)]
    damaged = changed(runs[0].scheduler.state_dict(), ("tracks",), 3, remove=False)
    with pytest.raises(SpecError):
        runs[0].scheduler.load_state_dict(damaged)
    for run in runs:
        torch.manual_seed(3)
        run.judge()
        train(run.model, run.optimizer, run.scheduler, BATCHES[6:])
    assert same(values(runs[0].model), values(runs[1].model))
    assert runs[0].scheduler.get_last_lr() == runs[1].scheduler.get_last_lr()
    assert runs[0].scheduler.last_epoch == 8


@pytest.mark.parametrize("between", [False, True], ids=["after", "between"])
def test_state_that_was_loaded_onto_another_device_is_the_cpus_again(between: bool) -> None:
    controller = NanRescue(every=3, then=ProgressAnchor())
    run, other = Run(controller, between=between), Run(controller, between=False)

    class Elsewhere(Tensor):
        """Stands in for a tensor on an accelerator."""

        moved = 0

        def to(self, *arguments: Any, **options: Any) -> Tensor:
            Elsewhere.moved += 1
            return self.as_subclass(Tensor).clone()

    def carried(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: carried(part) for name, part in value.items()}
        if isinstance(value, list):
            return [carried(part) for part in value]
        return value.as_subclass(Elsewhere) if isinstance(value, Tensor) else value

    state = copy.deepcopy(run.scheduler.state_dict())
    state["control"] = carried(state["control"])
    other.scheduler.load_state_dict(state)
    control = other.scheduler.control.state_dict()
    kinds = {type(part) for part in control["state"]} | {
        type(control[name]) for name in ("trial", "kept", "ignored", "rescues")
    }
    kinds |= {type(piece) for vector in control["buffers"].values() for piece in vector}
    assert kinds == {Tensor}
    assert Elsewhere.moved > 0
