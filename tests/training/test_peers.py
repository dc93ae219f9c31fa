import json
import math
import sys
from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adaptive_lr import AbstractSchedule, Constant, DampedCosine, ScheduledLR, SpecError, Warmup
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import CharacterModel
from adaptive_lr.training import KINDS, OPTIMIZERS, SGD, AdamW, Peer, Status, Trial, batches, train_batch
from adaptive_lr.training.optimizers import FlatState

pytestmark = pytest.mark.usefixtures("one_thread")

MODULES = {
    "schedulefree_sgd": "schedulefree",
    "schedulefree_adamw": "schedulefree",
    "prodigy": "prodigyopt",
    "dadapt_sgd": "dadaptation",
    "dadapt_adam": "dadaptation",
    "momo": "momo",
    "momo_adam": "momo",
    "dog": "dog",
    "prodigy_plus": "prodigyplus",
    "relative_polling": "efficient_polling_lr_scheduler",
}
CLASSES = {
    "schedulefree_sgd": "SGDScheduleFree",
    "schedulefree_adamw": "AdamWScheduleFree",
    "prodigy": "Prodigy",
    "dadapt_sgd": "DAdaptSGD",
    "dadapt_adam": "DAdaptAdam",
    "momo": "Momo",
    "momo_adam": "MomoAdam",
    "dog": "DoG",
    "prodigy_plus": "ProdigyPlusScheduleFree",
    "relative_polling": "SGD",
}
DISTRIBUTIONS = {
    "momo": "momo-opt",
    "dog": "dog-optimizer",
    "prodigyplus": "prodigy-plus-schedule-free",
    "efficient_polling_lr_scheduler": "efficient-polling-lr-scheduler",
}
MOMENTA = {"dog": 0.0, "prodigy": 0.8, "prodigy_plus": 0.8}
RATES = {"schedulefree_sgd": 1.0, "schedulefree_adamw": 0.01, "momo_adam": 0.01, "relative_polling": 0.01}
"""Base rates; 1 for those that estimate the rate."""

every_peer = pytest.mark.parametrize("name", MODULES)
stepping = pytest.mark.parametrize("name", [name for name in MODULES if name != "relative_polling"])
averaging = pytest.mark.parametrize("name", ["schedulefree_sgd", "schedulefree_adamw"])
estimating = pytest.mark.parametrize("name", ["prodigy", "dadapt_sgd", "dadapt_adam", "prodigy_plus"])


def needs(name: str) -> None:
    pytest.importorskip(MODULES[name], reason=f"pip install 'adaptive-lr[peers]' installs {MODULES[name]}")


@dataclass
class Run:
    """A model in training with a peer."""

    peer: Peer
    task: CharacterModel
    module: nn.Module
    optimizer: Optimizer
    scheduler: ScheduledLR

    def losses(self) -> dict[str, float]:
        """The metrics where the peer wants the model to be judged; training can go on afterwards."""
        self.peer.prepare_evaluation(self.optimizer)
        stacked = {name: value.detach()[None] for name, value in self.module.named_parameters()}
        found = {name: value.item() for name, value in self.task.evaluate(stacked, final=True).items()}
        self.peer.prepare_training(self.optimizer)
        return found


def trained(peer: Peer, schedule: AbstractSchedule, steps: int = 150, *, evaluate_every: int = 50) -> Run:
    task = CharacterModel(context=2, hidden=(16,), batch=32)
    module = task.module().double()
    module.load_state_dict(task.initial(0))
    optimizer = peer.literal(module.parameters(), RATES.get(peer.name, 1.0))
    run = Run(peer, task, module, optimizer, ScheduledLR(optimizer, schedule, total_steps=steps))
    peer.prepare_training(optimizer)
    for step, (inputs, targets) in enumerate(task.minibatches(0, steps, torch.float64)):
        optimizer.zero_grad()
        loss = task.loss(module(inputs), targets)
        loss.backward()
        peer.literal_step(optimizer, loss)
        run.scheduler.step()
        if (step + 1) % evaluate_every == 0:
            run.losses()
    return run


def point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def step(peer: Peer, optimizer: Optimizer, x: Tensor) -> float:
    """One update on |x|^2 / 2; the loss before it."""
    loss = 0.5 * x.square().sum()
    x.grad = x.detach().clone()
    peer.literal_step(optimizer, loss)
    return loss.item()


def test_peers_are_optimizers_without_a_stacked_form() -> None:
    assert Peer in OPTIMIZERS
    assert not Peer(name="prodigy").batched
    assert SGD().batched
    assert AdamW().batched
    (names,) = (item.metadata["options"] for item in fields(Peer) if item.name == "name")
    assert set(names) == set(MODULES) == set(CLASSES)


@every_peer
def test_a_peer_survives_json(name: str) -> None:
    trial = Trial(
        task=CharacterModel(),
        schedule=Constant(),
        optimizer=Peer(name=name, momentum=MOMENTA.get(name, 0.95), weight_decay=0.01),
        base_lr=1.0,
        steps=10,
        seed=0,
    )
    again = decode(json.loads(json.dumps(encode(trial))), KINDS)
    assert again == trial
    assert again.digest() == trial.digest()


def test_digests_tell_peers_apart() -> None:
    peers = [Peer(name=name) for name in MODULES]
    changed = [Peer(name="momo", momentum=0.5), Peer(name="momo", weight_decay=0.5)]
    assert len({one.digest() for one in peers + changed}) == len(MODULES) + 2


@every_peer
def test_a_missing_package_is_an_error_that_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)  # as if it were not installed
    peer = Peer(name=name)
    package = DISTRIBUTIONS.get(MODULES[name], MODULES[name])
    message = f"Peer '{name}' needs the package {package}: pip install 'adaptive-lr[peers]'"
    assert peer.unavailable() == message
    with pytest.raises(SpecError) as caught:
        peer.literal([point(1.0)], 1.0)
    assert str(caught.value) == message


@every_peer
def test_many_trials_at_once_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=rf"Peer '{name}' trains one trial at a time"):
        Peer(name=name).stacked(FlatState([torch.zeros(2, 3)]))


def test_unknown_peers_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(SpecError, match=r"Peer\.name must be one of schedulefree_sgd, .*, got 'lion'"):
        Peer(name="lion")
    with pytest.raises(SpecError, match=r"Peer\.momentum must lie in \[0, 1\), got 1.0"):
        Peer(name="momo", momentum=1.0)
    with pytest.raises(SpecError, match=r"Peer\.weight_decay must lie in \[0, inf\), got -1"):
        Peer(name="momo", weight_decay=-1)


@averaging
def test_schedule_free_methods_need_momentum(name: str) -> None:
    with pytest.raises(SpecError, match=rf"Peer\.momentum must lie in \(0, 1\) for {name}, got 0.0"):
        Peer(name=name, momentum=0.0)


@pytest.mark.parametrize("rule", [SGD(momentum=0.9), AdamW()], ids=repr)
def test_torch_optimizers_step_as_ever_and_stay_where_they_are(rule: SGD | AdamW) -> None:
    (x, same), rates = (point(1.0, -2.0), point(1.0, -2.0)), 0.1
    optimizer, expected = rule.literal([x], rates), rule.literal([same], rates)
    for _ in range(3):
        x.grad, same.grad = x.detach().clone(), same.detach().clone()
        rule.prepare_training(optimizer)
        rule.literal_step(optimizer, torch.tensor(math.nan))
        rule.prepare_evaluation(optimizer)
        expected.step()
        assert torch.equal(x, same)


@every_peer
def test_a_peer_is_the_optimizer_of_its_package(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    needs(name)
    peer = Peer(name=name, momentum=0.0 if name == "dog" else 0.8, weight_decay=0.125)
    assert peer.unavailable() is None
    optimizer = peer.literal([point(1.0)], 0.25)
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, Optimizer)
    assert type(optimizer).__name__ == CLASSES[name]
    assert type(optimizer).__module__.split(".")[0] == ("torch" if name == "relative_polling" else MODULES[name])
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)
    momentum = optimizer.beta if name == "momo" else group.get("momentum", group.get("betas"))  # type: ignore[attr-defined]
    assert momentum in {0.8, (0.8, 0.999), (0.8, 0.99), None}
    assert (momentum is None) == (name == "dog")
    assert capsys.readouterr() == ("", "")


@stepping
@pytest.mark.parametrize(
    "schedule", [Constant(), Warmup(fraction=0.1, then=DampedCosine())], ids=["constant", "warm-up from zero"]
)
def test_a_peer_learns(name: str, schedule: AbstractSchedule) -> None:
    needs(name)
    run = trained(Peer(name=name), schedule, steps=400)
    for value in run.losses().values():
        assert value < 3.6  # guessing is 4.16


@stepping
def test_trials_with_a_peer_are_trained_one_by_one_as_by_hand(name: str) -> None:
    needs(name)
    hand = trained(Peer(name=name), Constant(), steps=200, evaluate_every=20)
    trial = Trial(
        task=hand.task,
        schedule=Constant(),
        optimizer=hand.peer,
        base_lr=RATES.get(name, 1.0),
        steps=200,
        seed=0,
        dtype="float64",
    )
    assert batches([trial, trial]) == [[trial], [trial]]
    (result,) = train_batch([trial])
    assert result.status is Status.OK
    assert result.metrics == pytest.approx(hand.losses(), rel=1e-9)


@stepping
def test_the_same_training_gives_the_same_bits(name: str) -> None:
    needs(name)
    first, second = (trained(Peer(name=name, weight_decay=0.01), Constant(), steps=30) for _ in range(2))
    assert first.losses() == second.losses()


@stepping
def test_a_step_at_a_rate_of_zero_moves_nothing(name: str) -> None:
    needs(name)
    peer, x = Peer(name=name), point(1.0, -2.0)
    optimizer = peer.literal([x], 1.0)
    peer.prepare_training(optimizer)
    optimizer.param_groups[0]["lr"] = 0.0
    step(peer, optimizer, x)
    assert x.tolist() == [1.0, -2.0]


@stepping
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_exception(name: str, value: float) -> None:
    needs(name)
    peer, x = Peer(name=name), point(1.0, -2.0)
    optimizer = peer.literal([x], 0.1)
    peer.prepare_training(optimizer)
    step(peer, optimizer, x)
    for _ in range(2):
        x.grad = torch.full_like(x, value)
        peer.literal_step(optimizer, torch.tensor(value, dtype=torch.float64))
    peer.prepare_evaluation(optimizer)


@stepping
def test_evaluating_changes_the_training_by_rounding_only(name: str) -> None:
    needs(name)
    often, once = (trained(Peer(name=name), Constant(), steps=60, evaluate_every=every) for every in (1, 60))
    for one, other in zip(often.module.parameters(), once.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_schedule_free_takes_gradients_at_y_and_is_evaluated_at_the_average() -> None:
    # z <- z - eta g(y), x <- mean of all z, y = (1 - beta) z + beta x: Defazio et al. 2024, equations 2 to 4.
    needs("schedulefree_sgd")
    beta, eta = 0.75, 0.3
    peer, parameter = Peer(name="schedulefree_sgd", momentum=beta), point(1.0, -2.0)
    optimizer = peer.literal([parameter], eta)
    y = z = x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    peer.prepare_training(optimizer)
    for t in range(1, 20):
        torch.testing.assert_close(parameter.detach(), y, rtol=0, atol=1e-12)
        step(peer, optimizer, parameter)
        z = z - eta * y
        x = x + (z - x) / t
        y = (1.0 - beta) * z + beta * x
        peer.prepare_evaluation(optimizer)
        torch.testing.assert_close(parameter.detach(), x, rtol=0, atol=1e-12)
        peer.prepare_evaluation(optimizer)
        torch.testing.assert_close(parameter.detach(), x, rtol=0, atol=1e-12)
        peer.prepare_training(optimizer)
    assert (x - y).abs().max() > 1e-3


@averaging
def test_schedule_free_models_are_judged_at_the_average(name: str) -> None:
    needs(name)
    run = trained(Peer(name=name, momentum=0.75), Constant(), steps=100)
    parameters = list(run.module.parameters())
    y = [one.detach().clone() for one in parameters]
    before = {name: value.detach()[None].clone() for name, value in run.module.named_parameters()}
    x = [(one - 0.25 * run.optimizer.state[key]["z"]) / 0.75 for one, key in zip(y, parameters, strict=True)]
    run.peer.prepare_evaluation(run.optimizer)
    for found, expected in zip(parameters, x, strict=True):
        torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)
    run.peer.prepare_training(run.optimizer)
    assert abs(run.losses()["train_loss"] - run.task.evaluate(before, final=True)["train_loss"].item()) > 1e-4


def test_momo_reads_the_loss() -> None:
    # Without momentum the step is min(eta, f / |g|^2), which for |x|^2 / 2 is min(eta, 1/2).
    needs("momo")
    for eta, factor in ((100.0, 0.5), (0.25, 0.75)):
        peer, x = Peer(name="momo", momentum=0.0), point(1.0, -2.0)
        optimizer = peer.literal([x], eta)
        for t in range(1, 5):
            step(peer, optimizer, x)
            torch.testing.assert_close(x.tolist(), [factor**t, -2.0 * factor**t], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["prodigy", "dadapt_sgd", "dadapt_adam"])
def test_the_base_rate_multiplies_the_estimated_one(name: str) -> None:
    needs(name)
    moved = []
    for rate in (1.0, 0.25):
        peer, x = Peer(name=name), point(1.0, -2.0)
        step(peer, peer.literal([x], rate), x)  # the estimate is still where it starts
        moved.append(x.detach() - torch.tensor([1.0, -2.0]))
    assert moved[0].any()
    torch.testing.assert_close(moved[1], 0.25 * moved[0], rtol=1e-6, atol=0)


@estimating
def test_the_rate_is_estimated(name: str) -> None:
    needs(name)
    estimates = [trained(Peer(name=name), Constant(), steps=steps).optimizer.param_groups[0]["d"] for steps in (1, 200)]
    assert estimates[0] < 1e-5
    assert estimates[1] > 1e-3


def test_prodigy_makes_up_for_a_small_base_rate_without_its_safeguard_alone() -> None:
    needs("prodigy")
    found = {}
    for safeguard in ("on", "off"):
        peer, x = Peer(name="prodigy", safeguard=safeguard), point(1.0, -2.0)
        optimizer = peer.literal([x], 0.1)
        for _ in range(50):
            step(peer, optimizer, x)
        found[safeguard] = optimizer.param_groups[0]["d"]
    assert found["on"] < 1e-5
    assert found["off"] > 1e-2


def test_a_safeguard_is_a_setting_of_prodigy() -> None:
    with pytest.raises(SpecError, match=r"Peer\.safeguard is a setting of prodigy and must be left at 'on' for momo"):
        Peer(name="momo", safeguard="off")
