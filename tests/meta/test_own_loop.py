"""The hypergradient of a person's own loop: networks, optimizers written by hand, whatever the state is made of; and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional

from adaptive_lr import Constant, DampedCosine, Linear, table
from adaptive_lr.errors import InputError
from adaptive_lr.meta import hypergradient
from adaptive_lr.meta.differences import Lane, lanes

STEPS = 200
SHAPE = DampedCosine(k=0.8, exponent=1.5, floor=0.01)
NUMBERS = ("log_base_lr", "k", "exponent", "floor")
Loss = Callable[[Tensor, Tensor], Tensor]


class Loop:
    """A tanh network under SGD with momentum, with a count of its steps in the state."""

    def __init__(self, loss: Loss = functional.mse_loss) -> None:
        source = torch.Generator().manual_seed(0)
        self.loss = loss
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        inputs = torch.randn(STEPS, 10, 5, generator=source, dtype=torch.float64)
        noise = 0.1 * torch.randn(STEPS, 10, 1, generator=source, dtype=torch.float64)
        self.batches = list(zip(inputs, inputs[..., :1].sin() + noise, strict=True))
        start = {name: value.detach() for name, value in self.model.named_parameters()}
        zeros = {name: torch.zeros_like(value) for name, value in start.items()}
        self.state = (start, zeros, torch.tensor(0))

    def loss_of(self, parameters: dict[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        loss: Tensor = self.loss(functional_call(self.model, parameters, (batch[0],)), batch[1])
        return loss

    def train_step(self, state: Any, rate: Tensor, batch: Any) -> Any:
        parameters, velocity, count = state
        slopes = grad(self.loss_of)(parameters, batch)
        velocity = {name: 0.9 * velocity[name] + slope for name, slope in slopes.items()}
        return {name: value - rate * velocity[name] for name, value in parameters.items()}, velocity, count + 1

    def final_loss(self, state: Any) -> Tensor:
        assert state[2] == STEPS
        return torch.stack([self.loss_of(state[0], batch) for batch in self.batches[:20]]).mean()

    def trained(self, lane: Lane) -> float:
        state, rates = self.state, lane.base_lr * table([lane.schedule], STEPS)[0]
        for rate, batch in zip(rates, self.batches, strict=False):
            state = self.train_step(state, rate, batch)
        return float(self.final_loss(state))

    def hypergradient(self, base_lr: float = 0.05, **options: Any) -> Any:
        basic: dict[str, Any] = {"state": self.state, "batches": self.batches, "schedule": SHAPE, "numbers": NUMBERS}
        return hypergradient(self.train_step, self.final_loss, base_lr=base_lr, **basic | options)


def decay(weight: Tensor, rate: Tensor, slope: float) -> Tensor:
    return weight - rate * slope * weight


def square(weight: Tensor) -> Tensor:
    return weight.square().sum()


def of_decay(step: Callable[..., Any] = decay, **options: Any) -> Any:
    basic: dict[str, Any] = {
        "state": torch.tensor([1.0, 2.0], dtype=torch.float64),
        "batches": [1.0, 2.0, 1.0],
        "schedule": Linear(),
        "base_lr": 0.1,
        "numbers": ["log_base_lr"],
    }
    return hypergradient(step, square, **basic | options)


@pytest.mark.parametrize("loss", [functional.mse_loss, lambda o, y: (o - y).square().mean()], ids=["torch", "own"])
def test_derivatives_are_what_differences_of_runs_come_to(loss: Loss) -> None:
    loop = Loop(loss)
    ahead, back = (loop.hypergradient(way=way) for way in ("forward", "reverse"))
    assert ahead.final == pytest.approx(back.final, rel=1e-12)
    assert back.per_step is not None
    assert back.per_step.shape == (STEPS,)
    for name in NUMBERS:
        sides = lanes(SHAPE, 0.05, name, 1.0 + 1e-6 if name == "log_base_lr" else 1e-6)
        finals = [loop.trained(side) for side in sides]
        slope = (finals[1] - finals[0]) / (sides[1].stands - sides[0].stands)
        assert ahead.gradient[name] == pytest.approx(slope, rel=1e-6)
        assert ahead.gradient[name] == pytest.approx(back.gradient[name], rel=1e-9)


def test_wide_differences_go_in_the_same_direction() -> None:
    loop = Loop()
    wide, exact = loop.hypergradient(way="differences"), loop.hypergradient()
    assert wide.final == pytest.approx(exact.final, rel=1e-12)
    for name in NUMBERS:
        assert wide.gradient[name] == pytest.approx(exact.gradient[name], rel=0.5)


def test_an_operation_without_forward_derivative_is_named_and_goes_backwards() -> None:
    loop = Loop(functional.huber_loss)
    with pytest.raises(InputError, match=r"no forward derivative .*huber_loss_backward.* use way='reverse'"):
        loop.hypergradient()
    mean_square = Loop(lambda o, y: (o - y).square().mean() / 2.0)
    # As long as no residual is above 1, both losses are the same.
    assert loop.hypergradient(way="reverse").gradient["k"] == pytest.approx(
        mean_square.hypergradient().gradient["k"], rel=0.5
    )


def logistic_map(value: Tensor, rate: Tensor, batch: Any) -> Tensor:
    """Chaos: its derivative doubles with every step, about."""
    return rate * value * (1.0 - value)


@pytest.mark.parametrize(
    ("way", "what"), [("forward", "d parameters / d log_base_lr"), ("reverse", "d final loss / d parameters")]
)
def test_an_exploding_derivative_is_refused_with_step_norm_and_rate(way: str, what: str) -> None:
    state = torch.tensor([0.3], dtype=torch.float64)
    with pytest.raises(InputError, match=rf"{what} has the norm [\d.e+]+ at step \d+ of 60, rate 3.99: .*bound=10000"):
        of_decay(logistic_map, state=state, batches=[1.0] * 60, schedule=Constant(), base_lr=3.99, way=way)


def test_a_state_without_dimensions_and_a_tensor_of_batches_will_do() -> None:
    result = of_decay(state=torch.tensor(1.0, dtype=torch.float64), batches=torch.ones(2, dtype=torch.float64))
    # w = (1 - 0.1)(1 - 0.05), d w^2 / d log rate = 2 w^2 (-0.1/0.9 - 0.05/0.95)
    assert result.final == pytest.approx((0.9 * 0.95) ** 2)
    assert result.gradient["log_base_lr"] == pytest.approx(-2 * (0.9 * 0.95) ** 2 * (0.1 / 0.9 + 0.05 / 0.95))


def in_place(weight: Tensor, rate: Tensor, slope: float) -> Tensor:
    weight -= rate * slope * weight
    return weight


def drawing(weight: Tensor, rate: Tensor, slope: float) -> Tensor:
    return weight - rate * slope * weight + 1e-3 * torch.randn_like(weight)


def shorter(weight: Tensor, rate: Tensor, slope: float) -> Tensor:
    return decay(weight, rate, slope)[:1]


def in_a_list(weight: Tensor, rate: Tensor, slope: float) -> list[Tensor]:
    return [decay(weight, rate, slope)]


@pytest.mark.parametrize(
    ("step", "options", "match"),
    [
        (in_place, {}, "train_step changes its state in place"),
        (drawing, {"way": "reverse"}, "draws random numbers, which reverse mode cannot repeat"),
        (shorter, {}, r"a state like the one it is given: 'float64 \(2,\)', got 'float64 \(1,\)'"),
        (in_a_list, {}, r"got \['float64 \(2,\)'\]"),
        (decay, {"state": {"count": torch.tensor(3)}}, "state must hold a tensor of floating point"),
        (decay, {"batches": []}, "batches must be a sequence of one or more"),
        (decay, {"batches": iter([1.0])}, r"such as list\(loader\)"),
        (decay, {"base_lr": 0.0}, "base_lr must be above 0"),
        (decay, {"way": "sideways"}, "way must be one of"),
        (decay, {"numbers": ["slope"]}, "unknown number of Linear 'slope'"),
    ],
)
def test_what_cannot_be_differentiated_is_said(step: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        of_decay(step, **options)


def test_a_final_loss_must_be_one_number_that_comes_from_the_state() -> None:
    options: dict[str, Any] = {
        "state": torch.ones(2),
        "batches": [1.0],
        "schedule": Linear(),
        "base_lr": 0.1,
        "numbers": ["log_base_lr"],
    }
    with pytest.raises(InputError, match=r"a tensor with one number, got a tensor of shape \(2,\)"):
        hypergradient(decay, lambda weight: weight, **options)
    with pytest.raises(InputError, match="the final loss cannot be differentiated"):
        hypergradient(decay, lambda weight: weight.detach().sum(), **options)


def test_the_whole_package_gives_the_name_without_loading_torch_first() -> None:
    code = (
        "import sys, adaptive_lr; assert 'torch' not in sys.modules; "
        "print(adaptive_lr.meta.hypergradient.__name__, adaptive_lr.meta.hypergradients.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hypergradient", "hypergradients"]
