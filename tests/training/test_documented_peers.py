"""Peers as their packages document them: arguments, start parameters, and the methods that need more than a step."""

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from adaptive_lr import Constant, DampedCosine, SpecError, Warmup
from adaptive_lr.spec import canonical_json, decode, encode
from adaptive_lr.tasks import CharacterModel
from adaptive_lr.training import KINDS, NUMERICS, SGD, Peer, Status, Trial, train
from adaptive_lr.training.peer_packages import DOCUMENTED
from adaptive_lr.training.sequential import LiteralRun
from tests.training.test_peers import needs, point, step

pytestmark = pytest.mark.usefixtures("one_thread")

every_peer = pytest.mark.parametrize("name", DOCUMENTED)
TASK = CharacterModel(context=2, hidden=(16,), batch=32)


def trial(peer: Peer, rate: float, steps: int = 100, schedule: object = None) -> Trial:
    chosen = peer.settings.schedule if schedule is None else schedule
    return Trial(task=TASK, schedule=chosen, optimizer=peer, base_lr=rate, steps=steps, seed=0, dtype="float64")  # type: ignore[arg-type]


@every_peer
def test_arguments_are_the_defaults_of_the_package(name: str) -> None:
    needs(name)
    peer, known = Peer.documented(name), DOCUMENTED[name]
    module = importlib.import_module(known.module)
    signature = inspect.signature(torch.optim.SGD if name == "relative_polling" else getattr(module, known.name))
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    arguments = peer.arguments(known.start_at)
    if name == "relative_polling":
        rates = inspect.signature(module.EfficientRelativePollingSGD).parameters
        assert arguments.pop("lr") == rates["lr"].default
    if name == "dadapt_adam":
        assert arguments.pop("decouple")  # which changes nothing without weight decay
        assert arguments["weight_decay"] == 0.0
    assert arguments == {key: defaults[key] for key in arguments}
    assert known.lr == arguments.get("lr", 1e-3)


@every_peer
def test_the_optimizer_holds_what_is_documented(name: str) -> None:
    needs(name)
    known = DOCUMENTED[name]
    (group,) = Peer.documented(name).literal([point(1.0)], 0.125).param_groups
    assert group["d" if known.module == "dadaptation" else known.start] == 0.125  # which keeps no other trace of it
    assert group["lr"] == (0.125 if known.start == "lr" else 1.0)


@every_peer
def test_with_a_start_of_its_own_the_rate_is_the_schedule(name: str) -> None:
    needs(name)
    peer, known = Peer.documented(name), DOCUMENTED[name]
    schedule = Constant() if peer.searches else DampedCosine()
    run = LiteralRun(trial(peer, 0.01, schedule=schedule))
    assert run.advance_to(50)
    assert peer.searches or run.optimizer.param_groups[0]["lr"] == pytest.approx(
        0.5 * (0.01 if known.start == "lr" else 1.0)
    )


@pytest.mark.parametrize("name", ["prodigy", "dadapt_sgd", "dadapt_adam", "prodigy_plus", "dog"])
def test_the_start_parameter_is_where_the_step_size_starts(name: str) -> None:
    needs(name)
    lengths = []
    for start in (1e-5, 1e-4):
        peer, x = Peer.documented(name), point(1.0, -2.0).detach().float().requires_grad_()
        optimizer = peer.literal([x], start)
        peer.prepare_training(optimizer)
        step(peer, optimizer, x)
        lengths.append(float((x.detach() - torch.tensor([1.0, -2.0])).norm()))
    assert lengths[1] / lengths[0] == pytest.approx(10.0, rel=0.02)


def test_what_is_not_given_is_as_documented() -> None:
    assert Peer(name="dadapt_sgd").momentum == 0.0
    assert Peer(name="momo").momentum == 0.9
    assert (Peer(name="prodigy").safeguard, Peer(name="momo").safeguard) == ("off", "on")
    assert Peer(name="momo") == Peer(name="momo", momentum=0.9, safeguard="on", start="lr")
    assert isinstance(DOCUMENTED["schedulefree_sgd"].schedule, Warmup)


def test_a_start_that_the_package_does_not_have_is_refused() -> None:
    with pytest.raises(SpecError, match=r"Peer\.start must be 'lr' for momo, got 'd0'"):
        Peer(name="momo", start="d0")
    with pytest.raises(SpecError, match=r"Peer\.start must be 'lr' or 'd0' for prodigy, got 'reps_rel'"):
        Peer(name="prodigy", start="reps_rel")
    with pytest.raises(SpecError, match=r"Peer\.momentum must be 0 for dog, which has none, got 0.5"):
        Peer(name="dog", momentum=0.5)


def test_digests_of_trials_that_were_stored_before_there_were_starts_stand() -> None:
    stored = '{"kind":"peer","momentum":0.9,"name":"prodigy","safeguard":"off","weight_decay":0.0}'
    assert canonical_json(Peer(name="prodigy")) == stored
    assert Peer(name="prodigy").digest() == hashlib.sha256(stored.encode()).hexdigest()[:32]
    assert decode(encode(Peer(name="prodigy")) | {}, KINDS) == Peer(name="prodigy")
    own = Peer.documented("prodigy")
    assert '"start":"d0"' in canonical_json(own)
    assert decode(encode(own), KINDS) == own
    assert trial(own, 0.1).digest() != trial(Peer(name="prodigy"), 0.1).digest()
    assert NUMERICS == 5


def test_dog_is_the_distance_over_the_gradients_judged_at_the_average() -> None:
    # Ivgi et al. 2023, Algorithm 1, and Shamir & Zhang 2013 with gamma 8.
    needs("dog")
    peer, w = Peer(name="dog", start="reps_rel"), point(1.0, -2.0)
    optimizer = peer.literal([w], 0.1)
    first = x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    average, squares, distance = x, 1e-8, 0.1 * (1.0 + math.sqrt(5.0))
    for t in range(1, 12):
        distance = max(distance, float((x - first).norm()))
        squares += float(x.square().sum())
        x = x - distance / math.sqrt(squares) * x
        average = average + 9.0 / (8.0 + t) * (x - average)
        step(peer, optimizer, w)
        torch.testing.assert_close(w.detach(), x, rtol=0, atol=1e-12)
        for _ in range(2):
            peer.prepare_evaluation(optimizer)
            torch.testing.assert_close(w.detach(), average, rtol=0, atol=1e-12)
        for _ in range(2):
            peer.prepare_training(optimizer)
            torch.testing.assert_close(w.detach(), x, rtol=0, atol=1e-12)
    assert float((x - average).norm()) > 0.01


def polled(curvature: float, rate: float, steps: int) -> tuple[list[float], list[float]]:
    """Rates and losses of polling on curvature w^2 / 2 from 1, the loss being what the candidates are ranked by."""
    peer, w = Peer(name="relative_polling"), point(1.0)
    module = nn.ParameterList([w])
    (inside,) = module.parameters()
    optimizer = peer.literal([inside], rate)
    search = peer.search(optimizer, module)
    assert search is not None
    rates, losses = [], []
    for _ in range(steps):
        losses.append(search(lambda: 0.5 * curvature * inside.square().sum()))
        rates.append(optimizer.param_groups[0]["lr"])
    return rates, losses


def test_polling_climbs_decades_to_the_rate_at_which_the_loss_falls_most() -> None:
    needs("relative_polling")
    rates, losses = polled(curvature=2.0, rate=1e-4, steps=5)
    # A step at 1 leads from w to -w, where the loss is the same: a tenth of it is better.
    assert rates == pytest.approx([1e-3, 1e-2, 1e-1, 1e-1, 1e-1])
    assert losses[0] == 1.0
    assert losses[4] == pytest.approx(losses[3] * (1.0 - 2.0 * 0.1) ** 2)


@pytest.mark.parametrize(("rate", "most"), [(1e-4, 3.8), (1e4, math.inf)])
def test_a_trial_that_polls_finds_a_rate_or_goes_back(rate: float, most: float) -> None:
    needs("relative_polling")
    result = train(trial(Peer(name="relative_polling"), rate, 200))
    assert result.status is Status.OK
    assert result.metrics[TASK.selection_metric] < most  # guessing is 4.16


def test_polling_writes_its_rates_itself() -> None:
    with pytest.raises(SpecError, match=r"Peer\(name='relative_polling'.*use it with schedule=Constant\(\)"):
        trial(Peer(name="relative_polling"), 0.1, schedule=DampedCosine())
    assert Peer(name="relative_polling").searches
    assert not any(other.searches for other in (SGD(), Peer(name="momo")))


def test_others_search_nothing() -> None:
    w = nn.Parameter(torch.ones(1))
    found: Callable[..., object] | None = SGD().search(torch.optim.SGD([w], lr=0.1), nn.ParameterList([w]))
    assert found is None


@every_peer
def test_a_peer_as_documented_learns(name: str) -> None:
    needs(name)
    peer, known = Peer.documented(name), DOCUMENTED[name]
    result = train(trial(peer, known.start_at, 600))
    assert result.status is Status.OK
    assert result.metrics[TASK.selection_metric] < result.initial[TASK.selection_metric] - 0.3


def test_averages_of_two_optimizers_do_not_meet() -> None:
    needs("dog")
    first, second = point(1.0), point(1.0)
    one, other = Peer(name="dog").literal([first], 1.0), Peer(name="dog").literal([second], 1.0)
    step(Peer(name="dog"), one, first)
    Peer(name="dog").prepare_evaluation(one)
    Peer(name="dog").prepare_evaluation(other)
    assert second.item() == 1.0
    assert first.item() < 1.0
