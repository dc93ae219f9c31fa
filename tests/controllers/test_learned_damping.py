"""What a policy reads, does and refuses."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_lr import CONTROLLERS, Constant, ControlledLR, DampedCosine, LearnedDamping, SpecError, Static
from adaptive_lr.controllers import Observation, Signal
from adaptive_lr.controllers.learned_damping import PHASES, READINGS, SHIPPED, look_steps, read_weights
from adaptive_lr.experiment.any_rate import _evaluated
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, Trial, batches, train, train_batch
from tests.controllers.moments import column, moment
from tests.learned import FULL, WEIGHTS

IDLE = LearnedDamping(weights=(0.0,) * 20)


def weighted(**weights: float) -> LearnedDamping:
    """Early weights begin with ``early_``."""
    names = [*READINGS, *(f"early_{reading}" for reading in READINGS)]
    assert set(weights) <= set(names)
    return LearnedDamping(weights=tuple(weights.get(name, 0.0) for name in names))


def trial(controller: Any, base_lr: float = 0.1, seed: int = 100) -> Trial:
    return Trial(
        task=StreamingLeastSquares(dimension=10),
        optimizer=SGD(momentum=0.5),
        schedule=DampedCosine(),
        controller=controller,
        base_lr=base_lr,
        steps=120,
        seed=seed,
        dtype="float64",
    )


def test_without_weights_it_is_the_schedule_and_sees_nothing() -> None:
    assert all(IDLE.signals(step, 500) is Signal.NONE for step in range(500))
    assert IDLE.extra_steps(500) == 0.0
    idle, static = train(trial(IDLE)), train(trial(Static()))
    assert idle.metrics == static.metrics
    np.testing.assert_array_equal(idle.curves["train_loss"], static.curves["train_loss"])
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.3)
    scheduler = ControlledLR(optimizer, DampedCosine(), IDLE, total_steps=50)
    for step in range(50):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * float(DampedCosine()(step / 50)), rel=1e-15)
        w.grad = torch.ones(2)
        optimizer.step()
        scheduler.step()  # neither a loss nor a closure


def test_policies_are_trained_together_as_alone() -> None:
    policies = [FULL, replace(FULL, weights=tuple(-weight / 2 for weight in WEIGHTS))]
    policies.append(replace(FULL, weights=(*(0.0,) * 9, 1e-3, *(0.0,) * 10)))
    planned = [trial(policy, rate, seed) for policy in policies for rate in (1e-3, 0.3) for seed in (100, 101)]
    (batch,) = batches(planned)
    assert len(batch) == 12
    for together in train_batch(batch):
        alone = train(together.trial)
        assert together.metrics == pytest.approx(alone.metrics, rel=1e-9)
        for name, curve in together.curves.items():
            np.testing.assert_allclose(curve, alone.curves[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert len({result.metrics["excess"] for result in train_batch(batch)}) == 12


def test_only_policies_that_look_at_the_same_steps_are_trained_together() -> None:
    others = [replace(FULL, every=0.1), replace(FULL, until=0.5), IDLE, Static()]
    assert len(batches([trial(controller) for controller in (FULL, *others)])) == 5
    with pytest.raises(SpecError, match="may differ in schedule, base_lr, seed and some controllers' numbers only"):
        train_batch([trial(FULL), trial(others[0])])


@pytest.mark.parametrize("controller", [LearnedDamping(), FULL], ids=["shipped", "full"])
def test_json_and_back(controller: LearnedDamping) -> None:
    assert decode(json.loads(json.dumps(encode(controller))), CONTROLLERS) == controller


def test_the_default_is_what_is_shipped() -> None:
    assert LearnedDamping() == LearnedDamping.load(SHIPPED)
    assert len(LearnedDamping().weights) == len(READINGS) * len(PHASES)


def document(**changed: Any) -> dict[str, Any]:
    return {"format": 1, "readings": list(READINGS), "phases": list(PHASES), "weights": list(WEIGHTS)} | changed


def test_a_file_that_was_learned_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(document(learned={"way": "evolution"})))
    assert LearnedDamping.load(path) == LearnedDamping(weights=WEIGHTS)
    assert LearnedDamping.load(str(path)).weights == read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as the file of a policy: this is no JSON"),
        ("[" * 5000, "cannot be read as the file of a policy"),
        ("[]", "must be the file of a policy of format 1, got format None"),
        (document(format=2), "must be the file of a policy of format 1, got format 2: learn it anew"),
        (document(readings=["loss", *READINGS[1:]]), "has other readings than constant, step, share"),
        (document(phases=["early", "throughout"]), "has other phases than throughout, early: learn it anew"),
        (document(weights=list(WEIGHTS[:-1])), "must have 20 weights: learn it anew"),
        (document(weights=None), "must have 20 weights"),
        (document(weights=[math.nan, *WEIGHTS[1:]]), "weight of constant, throughout in .* got nan"),
        (document(weights=[*WEIGHTS[:-1], math.inf]), "weight of horizon, early in .* got inf"),
        (document(weights=[*WEIGHTS[:10], 10**400, *WEIGHTS[11:]]), "cannot be read as the file of a policy"),
        (
            document(weights=[*WEIGHTS[:10], 101, *WEIGHTS[11:]]),
            r"weight of constant, early .* in \[-100, 100\], got 101",
        ),
        (document(weights=[True, *WEIGHTS[1:]]), "got True"),
        (document(weights=["0", *WEIGHTS[1:]]), "got '0'"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SpecError, match=message) as caught:
        LearnedDamping.load(path)
    assert "policy.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"policy\.json cannot be read as the file of a policy: No such file"):
        LearnedDamping.load(tmp_path / "policy.json")


@pytest.mark.parametrize("count", [0, 19, 21])
def test_another_number_of_weights_is_refused(count: int) -> None:
    with pytest.raises(SpecError, match=rf"LearnedDamping.weights must be 20 numbers, one for each .*, got {count}"):
        LearnedDamping(weights=(0.5,) * count)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e3])
def test_a_weight_that_is_no_weight_is_refused(value: float) -> None:
    with pytest.raises(SpecError, match=r"LearnedDamping\.weights"):
        LearnedDamping(weights=(value, *WEIGHTS[1:]))


def test_a_state_that_it_can_never_have_been_in_is_refused() -> None:
    state = FULL.init(2)
    FULL.check_state(state, 2)
    for name, value in (("path", -1.0), ("alignment", 1.5), ("log_factor", 99.0), ("loss", math.nan)):
        with pytest.raises(SpecError, match=f"LearnedDamping's state.{name} must lie in"):
            FULL.check_state(state._replace(**{name: torch.full((2,), value, dtype=torch.float64)}), 2)
    with pytest.raises(SpecError, match="must be a tensor"):
        FULL.check_state(state, 3)


@pytest.mark.parametrize(("steps", "share"), [(160, 0.1), (500, 0.05), (1000, 0.05), (10_000, 0.05), (100_000, 0.05)])
def test_few_steps_are_evaluated_again(steps: int, share: float) -> None:
    assert _evaluated(replace(LearnedDamping(), weights=WEIGHTS), steps) <= share * steps
    looks, early = look_steps(steps, LearnedDamping().every, LearnedDamping().until)
    assert _evaluated(replace(LearnedDamping(), weights=WEIGHTS), steps) == len(looks)
    assert 0 < early < len(looks)
    gaps = np.diff(looks)
    assert (gaps[early:] == gaps[-1]).all()
    assert (np.diff(gaps) >= 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_short_run_has_a_look_too(steps: int) -> None:
    looks, early = look_steps(steps, 0.04, 0.4)
    assert looks[0] == 0
    assert early == len(looks)
    assert max(looks) < steps


def test_every_other_later_look_compares_with_the_start() -> None:
    looks, early = look_steps(1000, FULL.every, FULL.until)
    asked = {step: FULL.signals(step, 1000) for step in range(1000)}
    assert [step for step in asked if Signal.PROBE in asked[step]] == looks
    assert [step for step in asked if Signal.PROBE_START in asked[step]] == looks[early::2]
    assert all(asked[step] is Signal.START for step in range(looks[-1]) if step not in looks)
    assert all(asked[step] is Signal.NONE for step in range(looks[-1] + 1, 1000))


LATE = look_steps(1000, 0.04, 0.4)[0][18]
assert LATE == 214  # the third that is not early, and with the start


def looked(step: int = LATE, **changed: float) -> Observation:
    """A look at which the step is exactly at the edge of a parabola: the loss does not change."""
    values = {"trial": 0.5, "loss": 2.0, "descent": 1.0, "probe_loss": 2.0, "start_loss": 3.0}
    values |= {"gradient_square": 4.0, "previous_gradient_square": 1.0, "gradient_dot_previous": 1.0}
    values |= {"direction_square": 1.0, "distance_square": 9.0}
    return Observation(now=moment(step), **{name: column(value) for name, value in (values | changed).items()})


def change(controller: LearnedDamping, **changed: Any) -> float:
    """Of ln of the factor at the first look of all."""
    state, _ = controller.update(controller.init(1), looked(**changed))
    return float(state.log_factor)


def bounded(total: float, bound: float) -> float:
    return bound * math.tanh(total / bound)


AT_LATE = {
    "constant": 1.0,
    "step": 0.0,
    "share": (0.0 - math.log(0.5)) / 2,
    "alignment": 0.4 * 0.5,
    "straightness": math.log(9.0 / 40.0) / 2,  # a gap of 40 steps of length 1
    "progress": (1.5 + math.log(1.0 / (1000 * 0.5 * 1.0)) / 2) / 2,
    "time": LATE / 1000,
    "loss": 0.0,
    "drift": 0.0,
    "horizon": math.log(2.0) / 2,
}


@pytest.mark.parametrize("reading", READINGS)
def test_each_reading_is_what_its_name_says(reading: str) -> None:
    expected = bounded(AT_LATE[reading], 0.7)
    assert change(weighted(**{reading: 1.0})) == pytest.approx(expected, abs=1e-12)
    # An early weight counts at early looks only, to which this one does not belong.
    assert change(weighted(**{f"early_{reading}": 1.0})) == 0.0


def test_early_looks_add_their_own_weights_and_go_further() -> None:
    both = weighted(constant=0.5, early_constant=1.0)
    assert change(both, step=3) == pytest.approx(bounded(1.5, 2.0))
    assert change(both, step=LATE) == pytest.approx(bounded(0.5, 0.7))
    assert abs(change(weighted(constant=100.0, early_constant=100.0), step=3)) <= 2.0


@pytest.mark.parametrize(
    ("probe_loss", "log_step"),
    [
        (2.0 - 0.25, math.log(0.5)),  # half of what was promised: half of the edge
        (2.0 - 0.5, -4.0),  # all of it: no curvature is seen
        (2.0 + 1.0, math.log(3.0)),
        (1e9, 4.0),
        (math.inf, 4.0),
        (math.nan, 4.0),
    ],
)
def test_the_step_is_read_as_on_a_parabola(probe_loss: float, log_step: float) -> None:
    assert change(weighted(step=0.3), probe_loss=probe_loss) == pytest.approx(
        bounded(0.3 * max(-2.0, min(log_step / 2, 2.0)), 0.7)
    )


def test_a_rate_that_falls_shortens_the_step_that_was_made_and_one_that_rises_does_not() -> None:
    lower, higher = weighted(constant=-0.5), weighted(constant=0.5)
    for controller, share in ((lower, math.exp(bounded(-0.5, 0.7))), (higher, 1.0)):
        _, made = controller.update(controller.init(1), looked())
        assert float(made) == pytest.approx(0.5 * share)


@pytest.mark.parametrize("spoilt", [{"descent": 0.0}, {"descent": -1.0}, {"descent": math.nan}, {"loss": math.nan}])
def test_a_probe_that_says_nothing_changes_no_rate(spoilt: dict[str, float]) -> None:
    state, made = FULL.update(FULL.init(1), looked(LATE, **spoilt))
    assert float(state.log_factor) == 0.0
    assert float(made) == 0.5
    assert float(state.probes) == 0.0


def test_an_accident_is_taken_back_and_is_in_no_mean() -> None:
    state, _ = FULL.update(FULL.init(1), looked())
    for spoilt in ({"probe_loss": 1e6}, {"descent": 1e6}, {"probe_loss": math.inf}):
        following, made = FULL.update(state, looked(step=LATE + 40, **spoilt))
        assert float(made) == 0.0
        FULL.check_state(following, 1)
        if "descent" in spoilt:
            assert torch.equal(following.path, state.path)
            assert torch.equal(following.log_edge, state.log_edge)


def test_the_state_goes_round_between_two_looks() -> None:
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 8, 10, generator=source, dtype=torch.float64)

    def run(start: int, stop: int, saved: Any = None) -> tuple[list[float], Any]:
        w = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64) if saved is None else saved[0].clone())
        optimizer = torch.optim.SGD([w], lr=1e-3, momentum=0.5)
        scheduler = ControlledLR(optimizer, Constant(), FULL, total_steps=200)
        if saved is not None:
            optimizer.load_state_dict(copy.deepcopy(saved[1]))
            scheduler.load_state_dict(copy.deepcopy(saved[2]))
        rates = []
        for x in inputs[start:stop]:

            def loss(x: torch.Tensor = x) -> torch.Tensor:
                return (x @ w - x.sum(1)).square().mean()

            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
            scheduler.step(value.detach(), closure=loss)
            rates.append(float(scheduler.get_last_lr()[0]))
        return rates, (w.detach(), optimizer.state_dict(), scheduler.state_dict())

    whole, _ = run(0, 200)
    head, saved = run(0, 51)
    assert head + run(51, 200, saved)[0] == whole
    assert len({round(rate, 12) for rate in whole}) > 10


def rates(controller: LearnedDamping, *, base_lr: float, factor: float = 1.0, unit: float = 1.0) -> list[float]:
    """The rates of a loop of one's own, whose loss has a factor and whose parameters have a unit."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 8, 10, generator=source, dtype=torch.float64)
    noise = torch.randn(200, 8, generator=source, dtype=torch.float64)
    w = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=base_lr, momentum=0.5)
    scheduler = ControlledLR(optimizer, DampedCosine(), controller, total_steps=200)
    made = []
    for x, error in zip(inputs, noise, strict=True):

        def loss(x: torch.Tensor = x, error: torch.Tensor = error) -> torch.Tensor:
            return factor * (x @ w / unit - x.sum(1) - error).square().mean()

        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        scheduler.step(value.detach(), closure=loss)
        made.append(scheduler.applied_multiplier)
    return made


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e3])
@pytest.mark.parametrize("base_lr", [1e-4, 1e-2, 0.3])
def test_neither_a_factor_of_the_loss_nor_the_unit_of_the_parameters_changes_anything(
    base_lr: float, scale: float
) -> None:
    expected = pytest.approx(rates(FULL, base_lr=base_lr), rel=1e-6)
    assert rates(FULL, base_lr=base_lr / scale, factor=scale) == expected
    assert rates(FULL, base_lr=base_lr * scale**2, unit=scale) == expected


def test_where_it_begins_is_forgotten_by_a_policy_that_reads_its_step() -> None:
    follows = weighted(step=-2.0)
    low, high = (base_lr * rates(follows, base_lr=base_lr)[-1] for base_lr in (1e-3, 0.1))
    assert low == pytest.approx(high, rel=0.5)
