"""Muon on matrices with AdamW on the rest, held to the two optimizers of torch that it is made of."""

import copy

import pytest
import torch
from torch import Tensor, nn

from adaptive_lr import ControlledLR, DampedCosine, NanRescue, ScheduledLR
from adaptive_lr.errors import SpecError
from adaptive_lr.training import Muon
from adaptive_lr.training.base import FlatState

RULE = Muon(momentum=0.9, weight_decay=0.2, beta1=0.8, beta2=0.9)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(18, 7), nn.LayerNorm(7), nn.Linear(7, 2))


def loss(model: nn.Module, step: int) -> Tensor:
    source = torch.Generator().manual_seed(step)
    outputs: Tensor = model(torch.randn(5, 2, 8, generator=source))
    return outputs.square().mean() + outputs.sum().sin()


def steps(model: nn.Module, optimizers: list[torch.optim.Optimizer], first: int, last: int) -> None:
    for step in range(first, last):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.05 / (1 + step)
            optimizer.zero_grad()
        loss(model, step).backward()
        for optimizer in optimizers:
            optimizer.step()


def parts(model: nn.Module) -> list[torch.optim.Optimizer]:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    return [
        torch.optim.Muon(matrices, lr=1.0, momentum=0.9, weight_decay=0.2, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1.0, betas=(0.8, 0.9), weight_decay=0.0),
    ]


def test_it_is_torchs_muon_and_torchs_adamw() -> None:
    model, reference = network(), network()
    steps(model, [RULE.literal(model.parameters(), 1.0)], 0, 12)
    steps(reference, parts(reference), 0, 12)
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True)]
    assert all(moved)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), reference.parameters(), strict=True))


def test_a_state_that_is_loaded_goes_on_to_the_last_bit() -> None:
    model, again = network(), network()
    optimizer = RULE.literal(model.parameters(), 1.0)
    steps(model, [optimizer], 0, 5)
    again.load_state_dict(model.state_dict())
    loaded = RULE.literal(again.parameters(), 1.0)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for part, others in ((model, [optimizer]), (again, [loaded])):
        steps(part, others, 5, 9)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("controlled", [False, True], ids=["scheduled", "controlled"])
def test_a_scheduler_sets_the_rates_of_both_parts(controlled: bool) -> None:
    model = network()
    optimizer = RULE.literal(model.parameters(), 0.1)
    scheduler = (
        ControlledLR(optimizer, DampedCosine(), NanRescue(), total_steps=4)
        if controlled
        else ScheduledLR(optimizer, DampedCosine(), total_steps=4)
    )
    rates = []
    for step in range(4):
        optimizer.zero_grad()
        minibatch = loss(model, step)
        minibatch.backward()
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
        if isinstance(scheduler, ControlledLR):
            scheduler.step(minibatch)
        else:
            scheduler.step()
    assert [row[0] for row in rates] == pytest.approx([DampedCosine().at(step, 4) * 0.1 for step in range(4)])
    assert all(first == second for first, second in rates)


def test_a_model_without_matrices_is_refused() -> None:
    with pytest.raises(SpecError, match="Muon updates matrices, and the model has none: take AdamW"):
        RULE.literal([torch.zeros(3, requires_grad=True)], 0.1)


def test_many_trials_at_once_are_refused() -> None:
    assert not RULE.batched
    with pytest.raises(SpecError, match="Muon trains one trial at a time"):
        RULE.stacked(FlatState([torch.zeros(2, 3)]))
