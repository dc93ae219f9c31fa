import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR
from torch.optim.optimizer import register_optimizer_step_pre_hook

from adaptive_lr import SpecError
from adaptive_lr.feedback.linearity import check_linear


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.randn(5, 4)), torch.nn.Parameter(torch.randn(4))]


def made(name: str, **options: Any) -> Optimizer:
    return getattr(optim, name)(parameters()[: 1 if name == "Muon" else 2], **{"lr": 0.1} | options)  # type: ignore[no-any-return]


class HeavyBall(Optimizer):
    """With the rate inside the momentum buffer."""

    def __init__(self, parameters: Any, lr: float, momentum: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for one in group["params"]:
                buffer = self.state[one].setdefault("buffer", torch.zeros_like(one))
                buffer.mul_(group["momentum"]).sub_(one.grad, alpha=group["lr"])
                one.add_(buffer)


class WithAttributes(Optimizer):
    """Keeps a number outside of its groups, and clears the gradients."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self.slope = 0.5

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for one in group["params"]:
                one.sub_(one.grad.sign() * self.slope, alpha=group["lr"])
                one.grad = None


LINEAR: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"momentum": 0.9, "fused": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"fused": True}),
    ("AdamW", {}),
    ("AdamW", {"foreach": True}),
    ("AdamW", {"lr": torch.tensor(0.1)}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("Adadelta", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adagrad", {"fused": True}),
    ("Muon", {}),
]


@pytest.mark.parametrize(("name", "options"), LINEAR)
def test_linear_optimizers_pass(name: str, options: dict[str, Any]) -> None:
    assert check_linear(made(name, **options)) is True


@pytest.mark.parametrize("name", ["ASGD", "Adafactor", "LBFGS", "Rprop", "SparseAdam"])
def test_the_others_of_torch_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(SpecError, match=rf"{name}.* probed") as caught:
        check_linear(made(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_optimizers_that_maximise_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match=f"{name} maximises, .* probed .* leave out maximize=True"):
        check_linear(made(name, maximize=True))
    optimizer = made(name)
    optimizer.add_param_group({"params": parameters(), "maximize": True})
    with pytest.raises(SpecError, match="maximises"):
        check_linear(optimizer)


def test_rate_inside_the_momentum_is_refused() -> None:
    with pytest.raises(SpecError, match="HeavyBall depend on the learning rates of earlier steps"):
        check_linear(HeavyBall(parameters(), lr=0.1))


def test_momentum_with_the_rate_inside_is_fine_without_momentum() -> None:
    assert check_linear(HeavyBall(parameters(), lr=0.1, momentum=0.0)) is True


def test_attributes_are_copied_and_cleared_gradients_are_noticed() -> None:
    assert check_linear(WithAttributes(parameters(), lr=0.1)) is False


PEERS = [
    ("schedulefree", "SGDScheduleFree"),
    ("schedulefree", "AdamWScheduleFree"),
    ("prodigyopt", "Prodigy"),
    ("dadaptation", "DAdaptAdam"),
    ("dadaptation", "DAdaptSGD"),
]


@pytest.mark.parametrize(("package", "name"), PEERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_optimizers_with_a_step_size_of_their_own_are_refused(package: str, name: str) -> None:
    pytest.importorskip(package)
    optimizer = getattr(importlib.import_module(package), name)(parameters(), lr=0.1)
    if package == "schedulefree":
        optimizer.train()
    with pytest.raises(SpecError, match=f"{name}.* probed"):
        check_linear(optimizer)


def stepped(optimizer: Optimizer) -> Optimizer:
    for group in optimizer.param_groups:
        for one in group["params"]:
            one.grad = torch.ones_like(one)
    optimizer.step()
    return optimizer


def scheduled(optimizer: Optimizer) -> Optimizer:
    StepLR(optimizer, 2)
    return stepped(optimizer)


@pytest.mark.parametrize("prepare", [lambda optimizer: optimizer, stepped, scheduled])
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adagrad"])
def test_the_optimizer_itself_is_untouched(name: str, prepare: Callable[[Optimizer], Optimizer]) -> None:
    optimizer = prepare(made(name))
    optimizer.register_step_pre_hook(lambda *_: pytest.fail("a hook of the optimizer was called"))
    found = [one for group in optimizer.param_groups for one in group["params"]]
    values, state = [one.detach().clone() for one in found], copy.deepcopy(optimizer.state_dict())
    attributes = set(vars(optimizer))
    anywhere = register_optimizer_step_pre_hook(lambda *_: pytest.fail("a hook of all optimizers was called"))
    try:
        check_linear(optimizer)
    finally:
        anywhere.remove()
    assert all(torch.equal(a, b) for a, b in zip(values, found, strict=True))
    assert str(optimizer.state_dict()) == str(state)
    assert set(vars(optimizer)) == attributes


def test_global_random_numbers_are_untouched() -> None:
    optimizer, before = made("AdamW"), torch.get_rng_state()
    check_linear(optimizer)
    assert torch.equal(before, torch.get_rng_state())
