"""Every controller on parameters of any shape: without dimensions, empty, of one element, complex."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptive_lr import CONTROLLERS, AbstractController, ControlledLR, DampedCosine, Static
from adaptive_lr.controllers import Signal

SHAPES: dict[str, list[tuple[Any, torch.dtype]]] = {
    "logit scale": [((3,), torch.float32), ((), torch.float32)],
    "scalar alone": [((), torch.float64)],
    "one element": [((1,), torch.float32), ((1, 1, 1), torch.float32)],
    "empty": [((0,), torch.float32), ((2, 0), torch.float32), ((3,), torch.float32)],
    "two precisions": [((2,), torch.float64), ((), torch.float32)],
    "half precision": [((), torch.bfloat16), ((4,), torch.bfloat16)],
    "complex": [((2,), torch.complex64), ((), torch.complex64)],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", CONTROLLERS, ids=lambda kind: kind.kind)
def test_parameters_of_any_shape_are_trained(
    kind: type[AbstractController], shapes: list[tuple[Any, torch.dtype]]
) -> None:
    def losses(controller: AbstractController) -> list[float]:
        parameters = [torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape, dtype in shapes]
        optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.5)
        scheduler = ControlledLR(optimizer, DampedCosine(), controller, total_steps=60)

        def loss() -> Tensor:
            return torch.stack([parameter.abs().square().sum().float() for parameter in parameters]).sum() / 2

        seen = []
        for step in range(60):
            optimizer.zero_grad()
            value = loss()
            (value / 2).backward(retain_graph=True)
            if Signal.HALF in controller.signals(step, 60):
                scheduler.micro_batch()
            (value / 2).backward()
            seen.append(value.item())
            optimizer.step()
            scheduler.step(value.detach(), closure=loss)
            assert [parameter.shape for parameter in parameters] == [torch.Size(shape) for shape, _ in shapes]
        return seen

    made = losses(kind())
    assert all(math.isfinite(loss) for loss in made)
    assert made[-1] < 0.75 * made[0]
    assert losses(Static())[-1] < 0.1
