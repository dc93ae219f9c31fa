"""Optimizers that keep a second copy of the parameters, or hold other optimizers, are found out before they are probed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr import Anchor, ControlledLR, DampedCosine, Linear, NanRescue, ProgressAnchor, SpecError
from adaptive_lr.feedback.linearity import check_linear

HALF = (torch.float16, torch.bfloat16)


class Plain(Optimizer):
    """Descends along the gradient; what else it remembers is up to a subclass."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    def move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        parameter.sub_(gradient, alpha=rate)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, parameter.grad, float(group["lr"]))


class Master(Plain):
    """Single-precision master weights."""

    def move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if parameter.dtype not in HALF:
            super().move(parameter, gradient, rate)
            return
        master = self.state[parameter].setdefault("master", parameter.float().clone())
        master.sub_(gradient.float(), alpha=rate)
        parameter.copy_(master)


class Slow(Plain):
    """Slow weights that it goes back to half of the way every fifth step."""

    def move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        super().move(parameter, gradient, rate)
        if parameter.dtype in HALF:
            state = self.state[parameter]
            slow = state.setdefault("slow", parameter.clone())
            state["count"] = state.get("count", 0) + 1
            if state["count"] % 5 == 0:
                parameter.copy_(slow.lerp_(parameter, 0.5))


class Kahan(Plain):
    """What rounding lost is added to the next step."""

    def move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if parameter.dtype not in HALF:
            super().move(parameter, gradient, rate)
            return
        lost = self.state[parameter].setdefault("lost", torch.zeros_like(parameter))
        lost.sub_(gradient, alpha=rate)
        before = parameter.clone()
        parameter.add_(lost)
        lost.add_(before - parameter)


class Remainder(Plain):
    """The lower 16 bits of a single-precision number, of which the parameter is the upper 16."""

    def move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if parameter.dtype != torch.bfloat16:
            super().move(parameter, gradient, rate)
            return
        low = self.state[parameter].setdefault("low", torch.zeros_like(parameter, dtype=torch.int32))
        bits = (parameter.view(torch.int16).to(torch.int32) << 16) | low
        full = bits.view(torch.float32) - rate * gradient.float()
        bits = full.view(torch.int32)
        low.copy_(bits & 0xFFFF)
        parameter.view(torch.int16).copy_((bits >> 16).to(torch.int16))


def weights(dtype: torch.dtype, count: int = 20) -> list[Parameter]:
    return [Parameter(torch.full((count,), 3.0, dtype=dtype))]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("kind", [Master, Slow])
def test_second_copies_are_refused_with_the_reason(kind: type[Plain], dtype: torch.dtype) -> None:
    optimizer = kind(weights(dtype), lr=0.1)
    with pytest.raises(SpecError, match=f"^{kind.__name__} keeps a second copy of .*float16 parameters .*autocast"):
        ControlledLR(optimizer, DampedCosine(), ProgressAnchor(), total_steps=10)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer.state
    ControlledLR(optimizer, DampedCosine(), NanRescue(), total_steps=10)  # which does not revise a step


@pytest.mark.parametrize("kind", [Master, Slow])
def test_second_copies_that_are_made_in_one_group_only_are_found(kind: type[Plain]) -> None:
    groups = [{"params": weights(torch.float32)}, {"params": [*weights(torch.float32), *weights(torch.bfloat16)]}]
    with pytest.raises(SpecError, match="second copy"):
        check_linear(kind(groups, lr=0.1))
    assert check_linear(kind(weights(torch.float32), lr=0.1))


@pytest.mark.parametrize("dtype", [*HALF, torch.float32])
@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: SGD(parameters, lr=0.1),
        lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
        lambda parameters: AdamW(parameters, lr=0.1),
        lambda parameters: AdamW(parameters, lr=0.1, fused=True),
        lambda parameters: Kahan(parameters, lr=0.1),
        lambda parameters: Remainder(parameters, lr=0.1),
    ],
    ids=["sgd", "momentum", "adamw", "fused", "kahan", "remainder"],
)
def test_optimizers_that_go_on_from_the_parameters_pass_in_every_precision(
    make: Callable[[Any], Optimizer], dtype: torch.dtype
) -> None:
    assert check_linear(make(weights(dtype)))


@pytest.mark.parametrize("kind", [Plain, Kahan, Remainder])
@pytest.mark.parametrize("rate", [1e-4, 1.0, 100.0])
def test_half_precision_is_trained_from_any_rate(kind: type[Plain], rate: float) -> None:
    (parameter,) = weights(torch.bfloat16)
    slopes = torch.linspace(1.0, 10.0, 20)
    optimizer = kind([parameter], lr=rate)
    scheduler = ControlledLR(optimizer, DampedCosine(), ProgressAnchor(), total_steps=200)

    def loss_of() -> Tensor:
        return (slopes * (parameter.float() - 1.0).square()).mean()

    first = loss_of().item()
    for _ in range(200):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        scheduler.step(loss, closure=loss_of)
    assert loss_of().item() < 0.05 * first


class Clipped(Optimizer):
    """Clips first: as linear in the rate as what it holds."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner = inner
        super().__init__([p for group in inner.param_groups for p in group["params"]], {"lr": 0.1})
        self.param_groups = inner.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        self.inner.step()


class Several(Optimizer):
    """One optimizer for some parameters and another for the rest."""

    def __init__(self, *held: Optimizer, shared: bool = True) -> None:
        self.held = list(held)
        groups = [group for inner in held for group in inner.param_groups]
        super().__init__([dict(group) for group in groups], {"lr": 0.1})
        if shared:
            self.param_groups = groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for inner in self.held:
            inner.step()


class Lookahead(Optimizer):
    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.count, self.slow = inner, 0, {}  # type: ignore[var-annotated]
        super().__init__([p for group in inner.param_groups for p in group["params"]], {"lr": 0.1})
        self.param_groups = inner.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()
        self.count += 1
        for parameter in self.param_groups[0]["params"]:
            slow = self.slow.setdefault(parameter, parameter.clone())
            if self.count % 5 == 0:
                parameter.copy_(slow.lerp_(parameter, 0.5))


def matrices(count: int = 1) -> list[Parameter]:
    torch.manual_seed(0)
    return [Parameter(torch.randn(4, 3, dtype=torch.float64)) for _ in range(count)]


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_clipping_wrapper_is_probed_like_what_it_holds(kind: Any) -> None:
    (parameter,), (twin,) = matrices(), matrices()
    optimizer, reference = Clipped(kind([parameter], lr=0.1)), Clipped(kind([twin], lr=0.1))
    scheduler = ControlledLR(optimizer, DampedCosine(), Anchor(), total_steps=60)
    for _ in range(60):
        for p in (parameter, twin):
            p.grad = None
            (p - 1.0).square().sum().backward()
        loss = (parameter - 1.0).square().sum()
        optimizer.step()
        scheduler.step(loss, lambda: (parameter - 1.0).square().sum())
        reference.param_groups[0]["lr"] = 0.1 * scheduler.applied_multiplier
        reference.step()
        torch.testing.assert_close(parameter, twin, rtol=0.0, atol=1e-12)


def test_container_of_several_passes_where_the_groups_are_shared() -> None:
    first, second = matrices(2)
    assert check_linear(Several(torch.optim.Muon([first], lr=0.1), AdamW([second], lr=0.1)))
    with pytest.raises(SpecError, match=r"the groups of the SGD, AdamW that it holds are not its own"):
        check_linear(Several(SGD([first], lr=0.1), AdamW([second], lr=0.1), shared=False))


def test_what_a_wrapper_does_beyond_stepping_is_named() -> None:
    with pytest.raises(
        SpecError, match="it holds SGD and does more than step by it; build the scheduler on what it holds"
    ):
        ControlledLR(Lookahead(SGD(matrices(), lr=0.1)), Linear(), ProgressAnchor(), total_steps=10)
