"""A probe sees the function that was trained on, and leaves no trace."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import SGD
from torch.utils.checkpoint import checkpoint

from adaptive_lr import AbstractController, Anchor, CurvatureCap, ShrinkageDamping
from tests.controlled import (
    Nothing,
    Watch,
    controlled,
    loss_of,
    minibatches,
    perceptron,
    probed_equals_trained,
    same,
    train,
    values,
)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: perceptron(drop=0.7),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double(),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 3)).double(),
}


def buffers(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


@pytest.mark.parametrize("network", NETWORKS)
def test_probe_repeats_the_training_loss(network: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[network]()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    train(model, optimizer, scheduler, minibatches(20), lambda _: probed_equals_trained(scheduler))


@pytest.mark.parametrize("network", NETWORKS)
def test_probe_leaves_buffers_random_numbers_and_modes(network: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[network]()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    for x, y in minibatches(5):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        before, state = buffers(model), torch.get_rng_state()
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        assert same(before, buffers(model))
        assert torch.equal(state, torch.get_rng_state())
        assert all(module.training for module in model.modules())


def test_run_with_probes_draws_the_same_random_numbers_as_one_without() -> None:
    states = []
    for probed in (False, True):
        torch.manual_seed(3)
        model = perceptron(drop=0.5)
        optimizer = SGD(model.parameters(), lr=0.01)
        if probed:
            train(model, optimizer, controlled(optimizer, Anchor()), minibatches(20))
        else:
            for x, y in minibatches(20):
                loss_of(model, x, y).backward()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_probe_is_made_in_the_mode_of_training_after_a_validation_that_forgot_to_go_back() -> None:
    model = perceptron(drop=0.7)
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    for x, y in minibatches(5):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            loss_of(model, x, y)
        scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
        probed_equals_trained(scheduler)
        assert not model.training


def test_several_models_and_random_numbers_between_them() -> None:
    one, other = perceptron(seed=1, drop=0.5), perceptron(seed=2, drop=0.5)
    optimizer = SGD([*one.parameters(), *other.parameters()], lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    criterion = nn.MSELoss()
    for x, y in minibatches(5):
        torch.rand(3)  # the loader shuffles
        optimizer.zero_grad()
        first = one(x)
        torch.rand(5)  # and something else happens
        loss = criterion(other(x) + first, y)
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=lambda x=x, y=y: criterion(one(x) + other(x), y))  # type: ignore[misc]
        assert scheduler.readings()["probe_loss"] == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:two controllers")
def test_two_optimizers_that_share_a_loss() -> None:
    model = perceptron(drop=0.5)
    # So slow that one does not see what the other did.
    halves = [SGD(model[0].parameters(), lr=1e-9), SGD(model[3].parameters(), lr=1e-9)]
    schedulers = [controlled(one, Nothing()) for one in halves]
    for x, y in minibatches(5):
        loss = loss_of(model, x, y)
        loss.backward()
        for one in halves:
            one.step()
        for scheduler in schedulers:
            scheduler.step(loss, closure=lambda x=x, y=y: loss_of(model, x, y))  # type: ignore[misc]
            assert scheduler.readings()["probe_loss"] == pytest.approx(loss.item(), rel=1e-6)
        for one in halves:
            one.zero_grad()


def test_adversarial_training() -> None:
    generator, critic = perceptron(seed=1, drop=0.5), nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5)).double()
    makers, judges = SGD(generator.parameters(), lr=0.01), SGD(critic.parameters(), lr=0.01)
    schedulers = [controlled(judges, Nothing()), controlled(makers, Nothing())]
    for x, y in minibatches(5):
        judges.zero_grad()

        def critic_loss(x: Tensor = x, y: Tensor = y) -> Tensor:
            return critic(y).square().mean() + (1.0 - critic(generator(x).detach())).square().mean()  # type: ignore[no-any-return]

        def generator_loss(x: Tensor = x) -> Tensor:
            return critic(generator(x)).square().mean()  # type: ignore[no-any-return]

        for optimizer, scheduler, closure in zip(
            (judges, makers), schedulers, (critic_loss, generator_loss), strict=True
        ):
            optimizer.zero_grad()
            loss = closure()
            loss.backward()
            optimizer.step()
            scheduler.step(loss, closure)
            assert scheduler.readings()["probe_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_accumulated_minibatches_with_other_random_numbers_between_them() -> None:
    model = perceptron(drop=0.5)
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())
    batches = minibatches(12)
    for start in range(0, 12, 3):
        parts, total = batches[start : start + 3], 0.0
        optimizer.zero_grad()
        for x, y in parts:
            x = x + 0.0 * torch.rand_like(x)
            loss = loss_of(model, x, y) / 3
            loss.backward()
            total += loss.item()
        optimizer.step()
        scheduler.step(total, lambda parts=parts: torch.stack([loss_of(model, x, y) for x, y in parts]).mean())  # type: ignore[misc]
        probed_equals_trained(scheduler)


def test_checkpointed_layers_are_no_passes_of_their_own() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)) for _ in range(2)).double()
    optimizer = SGD(layers.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Nothing())

    def model(x: Tensor) -> Tensor:
        for layer in layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return x[:, :3]

    batches = minibatches(6)
    for start in range(0, 6, 2):
        parts = batches[start : start + 2]
        losses = [loss_of(model, x, y) / 2 for x, y in parts[:1]]
        losses[0].backward()
        losses.append(loss_of(model, *parts[1]) / 2)
        losses[1].backward()
        optimizer.step()
        total = losses[0].item() + losses[1].item()
        scheduler.step(total, lambda parts=parts: torch.stack([loss_of(model, x, y) for x, y in parts]).mean())  # type: ignore[misc]
        probed_equals_trained(scheduler)
        optimizer.zero_grad()


@pytest.mark.parametrize("closure_has_gradient", [False, True])
def test_gradients_of_the_user_are_untouched(closure_has_gradient: bool) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch() if closure_has_gradient else Nothing())
    x, y = minibatches(1)[0]
    loss = loss_of(model, x, y)
    loss.backward()
    before = [p.grad for p in model.parameters()]
    copies = [gradient.clone() for gradient in before if gradient is not None]
    optimizer.step()
    scheduler.step(loss, lambda: loss_of(model, x, y))
    assert all(gradient is p.grad for gradient, p in zip(before, model.parameters(), strict=True))
    assert same(copies, [p.grad for p in model.parameters() if p.grad is not None])


def test_window_is_over_without_a_trace() -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    train(model, optimizer, scheduler, minibatches(42))
    assert not scheduler.probes
    assert not scheduler._replayer.armed
    before = values(model)
    loss_of(model, *minibatches(1)[0]).backward()
    optimizer.step()
    scheduler.step()  # neither loss nor closure are needed any more
    assert not same(before, values(model))


@pytest.mark.parametrize("controller", [CurvatureCap(every=1), ShrinkageDamping(every=1)], ids=lambda one: one.kind)
def test_gradient_through_two_passes_of_one_model(controller: AbstractController) -> None:
    torch.manual_seed(0)
    model = NETWORKS["batch norm"]()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    for x, y in minibatches(4):

        def loss_of_both(x: Tensor = x, y: Tensor = y) -> Tensor:
            return loss_of(model, x, y) + loss_of(model, x + 0.1, y)

        optimizer.zero_grad()
        loss = loss_of_both()
        loss.backward()
        optimizer.step()
        before, objects = buffers(model), list(model.buffers())
        scheduler.step(loss, closure=loss_of_both)
        assert same(before, buffers(model))
        assert all(one is other for one, other in zip(objects, model.buffers(), strict=True))


def test_buffers_of_a_part_that_is_called_before_the_whole_are_put_back() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), nn.Linear(6, 3)).double()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Watch())
    x, y = minibatches(1)[0]

    def loss_of_both() -> Tensor:
        return model[0](x).square().mean() + loss_of(model, x, y)  # type: ignore[no-any-return]

    loss = loss_of_both()
    loss.backward()
    optimizer.step()
    before = buffers(model)
    scheduler.step(loss, loss_of_both)
    assert same(before, buffers(model))


class Accelerator:
    """Random numbers of a device that this machine does not have."""

    def __init__(self) -> None:
        self.states: dict[str, Tensor] = {}

    def get_rng_state(self, device: Any) -> Tensor:
        return self.states.setdefault(str(device), torch.zeros(16, dtype=torch.uint8))

    def set_rng_state(self, state: Tensor, device: Any) -> None:
        self.states[str(device)] = state


def test_devices_are_those_of_the_parameters_when_a_pass_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    model = perceptron()
    optimizer = SGD(model.parameters(), lr=0.01)
    scheduler = controlled(optimizer, Anchor())
    accelerator, there = Accelerator(), torch.device("cuda:1")
    monkeypatch.setattr(torch, "get_device_module", lambda device=None: accelerator)
    monkeypatch.setattr(scheduler._replayer, "_devices", lambda: [there])  # as after model.to("cuda:1")
    x, y = minibatches(1)[0]
    loss = loss_of(model, x, y)
    loss.backward()
    during = accelerator.states["cuda:1"] + 1
    accelerator.states["cuda:1"] = during
    optimizer.step()
    seen = []

    def closure() -> Tensor:
        prediction = model(x)
        seen.append(accelerator.states["cuda:1"])
        return nn.functional.mse_loss(prediction, y)

    scheduler.step(loss, closure)
    assert [int(state[0]) for state in seen] == [0] * len(seen)
    assert seen
    assert torch.equal(accelerator.states["cuda:1"], during)
