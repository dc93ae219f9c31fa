from collections.abc import Callable

import pytest
import torch

from adaptive_lr import DampedCosine, Linear, ScheduledLR


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled_first", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_compiled_step_is_compiled_once_for_all_rates(
    kind: type[torch.optim.Optimizer], compiled_first: bool
) -> None:
    torch._dynamo.reset()
    graphs = 0

    def counting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        nonlocal graphs
        graphs += 1
        return graph.forward

    parameter = torch.ones(3, requires_grad=True)
    make: Callable[..., torch.optim.Optimizer] = kind
    optimizer = make([parameter], lr=torch.tensor(0.1), foreach=False)
    compiled = torch.compile(optimizer.step, backend=counting)
    if compiled_first:
        optimizer.__dict__["step"] = compiled
    scheduler = ScheduledLR(optimizer, DampedCosine(), total_steps=12)
    rates = []
    counts = []
    for _ in range(12):
        parameter.grad = torch.ones(3)
        (optimizer.step if compiled_first else compiled)()
        counts.append(graphs)
        scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.1 * DampedCosine().at(step, 12) for step in range(1, 13)], abs=1e-8)
    assert counts[-1] == counts[1], f"compiled again: {counts}"  # the first step makes the state


@pytest.mark.parametrize("flags", [{"foreach": True}, {"fused": True}, {}], ids=["foreach", "fused", "plain"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_every_implementation_of_a_step_follows_the_schedule(
    kind: type[torch.optim.Optimizer], flags: dict[str, bool]
) -> None:
    parameter = torch.ones(3, requires_grad=True)
    make: Callable[..., torch.optim.Optimizer] = kind
    optimizer = make([parameter], lr=0.1, **flags)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=5)
    moved = []
    for _ in range(6):
        before = parameter.detach().clone()
        parameter.grad = torch.ones(3)
        optimizer.step()
        scheduler.step()
        moved.append(float((before - parameter.detach()).abs().max()))
    if kind is torch.optim.SGD:
        assert moved == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0.0], abs=1e-7)
    assert moved[-1] == 0.0
