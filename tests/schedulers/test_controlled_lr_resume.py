"""A run that was saved and loaded anywhere goes on to the last bit."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, parametrizations
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr import (
    Anchor,
    ControlledLR,
    DampedCosine,
    DistanceAnchor,
    Hypergradient,
    NanRescue,
    NoiseScaleDamping,
    ProgressAnchor,
    ScheduledLR,
    SpecError,
    Static,
)
from tests.controlled import STEPS, Alignment, Watch, controlled, loss_of, minibatches, perceptron

END = 24
BATCHES = minibatches(END, dtype=torch.float32)
SHORT = Anchor(least_steps=10)
CONTROLLERS = [Anchor(least_steps=14), SHORT, Alignment(), Watch()]

ORDERS = (("optimizer", "scheduler"), ("scheduler", "optimizer"))


def network() -> nn.Module:
    model = perceptron(dtype=torch.float32, drop=0.3)
    model.append(parametrizations.spectral_norm(nn.Linear(3, 3)))
    return model


class Run:
    def __init__(self, kind: Any, controller: Any) -> None:
        self.model = network()
        self.optimizer: Optimizer = kind(self.model.parameters(), lr=0.01)
        self.scheduler = controlled(self.optimizer, controller)
        self.loss: Tensor | float = 0.0

    def update(self, step: int) -> None:
        x, y = BATCHES[step]
        self.optimizer.zero_grad()
        loss = loss_of(self.model, x, y)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.detach()

    def judge(self, step: int) -> list[float]:
        x, y = BATCHES[step]
        self.scheduler.step(self.loss, lambda: loss_of(self.model, x, y))
        rates = [float(rate) for rate in self.scheduler.get_last_lr()]
        return [*rates, float(self.loss), self.scheduler.applied_multiplier]

    def saved(self) -> io.BytesIO:
        file = io.BytesIO()
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        torch.save(parts | {"loss": self.loss, "random": torch.get_rng_state()}, file)
        file.seek(0)
        return file

    def load(self, file: io.BytesIO, order: tuple[str, str]) -> None:
        found = torch.load(file, weights_only=True)
        for name in ("model", *order):
            getattr(self, name).load_state_dict(found[name])
        self.loss = found["loss"]
        torch.set_rng_state(found["random"])


def weights(run: Run) -> list[list[float]]:
    return [one.flatten().tolist() for one in run.model.state_dict().values()]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", [SGD, AdamW])
@pytest.mark.parametrize("controller", CONTROLLERS, ids=["anchor", "short anchor", "alignment", "watch"])
@pytest.mark.parametrize("between", [False, True], ids=["after", "between"])
def test_resumed_run_is_the_same_to_the_last_bit(kind: Any, controller: Any, between: bool) -> None:
    torch.manual_seed(5)
    whole = Run(kind, controller)
    states, expected = [], []
    for step in range(END):
        if not between:
            states.append(whole.saved())
        whole.update(step)
        if between:
            states.append(whole.saved())
        expected.append(whole.judge(step))
    for index, stop in enumerate((0, 1, 7, 9, 10, 11, 13, 14, 15, 20)):
        run = Run(kind, controller)
        run.load(states[stop], ORDERS[index % 2])
        found = []
        for step in range(stop, END):
            if step > stop or not between:
                run.update(step)
            found.append(run.judge(step))
        assert found == expected[stop:]
        assert weights(run) == weights(whole)


class ClippedRun(Run):
    """In two parts, with clipped gradients, which may be cleared as soon as the step is made."""

    early = False

    def update(self, step: int) -> None:
        x, y = BATCHES[step]
        self.optimizer.zero_grad()
        first = loss_of(self.model, x[:8], y[:8]) / 2.0
        first.backward()
        self.scheduler.micro_batch()
        second = loss_of(self.model, x[8:], y[8:]) / 2.0
        second.backward()
        self.norm = clip_grad_norm_(self.model.parameters(), 0.1)
        self.optimizer.step()
        if self.early:
            self.optimizer.zero_grad()
        self.loss = (first + second).detach()

    def judge(self, step: int) -> list[float]:
        x, y = BATCHES[step]

        def whole() -> Tensor:
            return (loss_of(self.model, x[:8], y[:8]) + loss_of(self.model, x[8:], y[8:])) / 2.0

        self.scheduler.step(self.loss, whole, grad_norm=self.norm)
        return list(self.scheduler.readings().values())


CLIPPED = [
    NoiseScaleDamping(every=1),
    NoiseScaleDamping(every=3),
    Hypergradient(until=0.9),
    Hypergradient(until=0.9, reference="gradient"),
    ProgressAnchor(probing=Anchor(least_steps=8)),
    DistanceAnchor(probing=Anchor(least_steps=8), until=0.9, begin=0.02),
    Watch(),
]


@pytest.mark.parametrize("controller", CLIPPED)
def test_clipping_is_undone_to_the_last_bit_in_a_resumed_run(controller: Any) -> None:
    torch.manual_seed(5)
    whole = ClippedRun(SGD, controller)
    expected, states = [], []
    for step in range(12):
        whole.update(step)
        states.append((whole.saved(), whole.norm))
        expected.append(whole.judge(step))
    for stop in range(12):
        run = ClippedRun(SGD, controller)
        state, run.norm = states[stop]
        run.load(state, ORDERS[0])
        assert run.judge(stop) == expected[stop]
        if stop < 11:
            run.update(stop + 1)
            assert run.judge(stop + 1) == expected[stop + 1]


@pytest.mark.parametrize("controller", CLIPPED)
def test_clipping_is_undone_also_where_gradients_are_cleared_early(controller: Any) -> None:
    found: list[list[list[float]]] = []
    for early in (False, True):
        torch.manual_seed(5)
        run = ClippedRun(SGD, controller)
        run.early = early
        found.append([])
        for step in range(10):
            run.update(step)
            found[-1].append(run.judge(step))
            seen = run.scheduler.readings()
            square = float(run.norm) ** 2
            assert seen.get("gradient_square", square) == pytest.approx(square, rel=1e-5)
    assert found[0] == found[1]


def test_state_between_the_steps_may_be_loaded_into_a_run_that_is_elsewhere() -> None:
    torch.manual_seed(5)
    whole, other = Run(SGD, Anchor()), Run(SGD, Anchor())
    other.update(0)  # and never judged
    state, expected = whole.saved(), []
    for step in range(10):
        whole.update(step)
        expected.append(whole.judge(step))
    other.load(state, ("optimizer", "scheduler"))
    for step in range(10):
        other.update(step)
        assert other.judge(step) == expected[step]


@pytest.mark.parametrize("how", ["stretch", "hold", "continue"])
def test_extended_run_is_resumed(how: str) -> None:
    torch.manual_seed(5)
    whole = Run(SGD, SHORT)
    for step in range(6):
        whole.update(step)
        whole.judge(step)
    whole.scheduler.extend(2 * STEPS, how)
    state, run = whole.saved(), Run(SGD, SHORT)
    run.load(state, ("optimizer", "scheduler"))
    assert run.scheduler.get_last_lr() == whole.scheduler.get_last_lr()
    found: list[Any] = []
    for one in (whole, run):
        torch.manual_seed(6)
        found.append([])
        for step in range(6, 20):
            one.update(step)
            found[-1].append(one.judge(step))
    assert found[0] == found[1]


def fresh(controller: Any) -> ControlledLR:
    return controlled(SGD(network().parameters(), lr=0.01), controller)


@pytest.mark.parametrize("other", [Anchor(fraction=0.5), Static()])
def test_state_of_another_controller_is_refused(other: Any) -> None:
    scheduler = fresh(Anchor())
    before = scheduler.state_dict()
    with pytest.raises(SpecError, match="the state is of the controller"):
        scheduler.load_state_dict(fresh(other).state_dict())
    assert str(scheduler.state_dict()) == str(before)


def test_the_error_names_the_fields_that_differ() -> None:
    state = fresh(ProgressAnchor(probing=Anchor(growth=2.0), scale=20.0)).state_dict()
    with pytest.raises(SpecError) as caught:
        fresh(ProgressAnchor(probing=Anchor(growth=1.5), scale=25.0)).load_state_dict(state)
    cure = "construct the ControlledLR with the saved one to go on, or leave the state out to start afresh"
    told = (
        f"the state is of the controller progress_anchor with probing.growth 2.0, not 1.5, scale 20.0, not 25.0: {cure}"
    )
    assert str(caught.value) == told
    with pytest.raises(
        SpecError,
        match=f"^the state is of the controller progress_anchor, not of anchor: {cure}$",
    ):
        fresh(Anchor()).load_state_dict(state)
    with pytest.raises(SpecError, match=f"with then progress_anchor, not static: {cure}$"):
        fresh(NanRescue(then=Static())).load_state_dict(fresh(NanRescue(then=ProgressAnchor())).state_dict())


@pytest.mark.parametrize(
    "controller", [SHORT, ProgressAnchor(probing=SHORT), DistanceAnchor(probing=SHORT, until=0.9), Static()]
)
@pytest.mark.parametrize("longer", [60, 100 * STEPS])
def test_state_of_a_run_with_another_horizon_is_refused(controller: Any, longer: int) -> None:
    run = Run(SGD, controller)
    for step in range(END):
        run.update(step)
        run.judge(step)
    state, rates = run.scheduler.state_dict(), run.scheduler.get_last_lr()
    other = ControlledLR(SGD(network().parameters(), lr=0.01), DampedCosine(), controller, total_steps=longer)
    before = str(other.state_dict())
    with pytest.raises(SpecError, match=rf"build it with the saved total_steps={STEPS}, .* extend\({longer}\)"):
        other.load_state_dict(state)
    assert str(other.state_dict()) == before
    other = fresh(controller)
    other.load_state_dict(state)
    assert other.get_last_lr() == rates
    other.extend(longer, how="continue")
    assert other.get_last_lr() == pytest.approx(rates, rel=1e-9)


def test_state_of_an_extended_run_is_loaded_into_one_of_either_length() -> None:
    run = Run(SGD, Anchor())
    run.scheduler.extend(2 * STEPS)
    for total_steps in (STEPS, 2 * STEPS):
        other = ControlledLR(
            SGD(network().parameters(), lr=0.01), DampedCosine(floor=0.01), Anchor(), total_steps=total_steps
        )
        other.load_state_dict(run.scheduler.state_dict())
        assert other.horizon == run.scheduler.horizon


def test_state_of_another_class_is_refused() -> None:
    plain = ScheduledLR(SGD(network().parameters(), lr=0.01), DampedCosine(), total_steps=STEPS)
    with pytest.raises(
        SpecError,
        match="the state of a ScheduledLR, not of a ControlledLR: load it into a ScheduledLR, or leave it out",
    ):
        fresh(Anchor()).load_state_dict(plain.state_dict())
    with pytest.raises(
        SpecError,
        match="the state of a ControlledLR, not of a ScheduledLR: load it into a ControlledLR, or leave it out",
    ):
        plain.load_state_dict(fresh(Anchor()).state_dict())


def test_state_is_a_copy() -> None:
    torch.manual_seed(5)
    run = Run(SGD, Watch())
    run.update(0)
    state = run.scheduler.state_dict()
    before = str(state)
    run.judge(0)
    for step in range(1, 5):
        run.update(step)
        run.judge(step)
    assert str(state) == before
