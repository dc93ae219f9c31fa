"""Exact curves, stored. When numbers change on purpose, write them again with ``python -m tests.golden.test_curves``."""

import json
from pathlib import Path

import pytest
import torch

from adaptive_lr import (
    REX,
    SCHEDULES,
    WSD,
    AbstractSchedule,
    AdditiveKDecay,
    Chebyshev,
    Constant,
    Cyclic,
    DampedCosine,
    Eigencurve,
    ElasticStep,
    Exponential,
    ExponentialCosine,
    GridAware,
    InverseSqrt,
    InverseTime,
    Linear,
    OneCycle,
    Points,
    Polynomial,
    Staircase,
    Step,
    Tanh,
    Trapezoid,
    Warmup,
    decode,
    encode,
    table,
)

STORED = Path(__file__).with_name("curves.json")
STEPS = 10
SPECS: dict[str, AbstractSchedule] = {
    "constant": Constant(),
    "linear": Linear(floor=0.1),
    "polynomial": Polynomial(power=1.5, floor=0.01),
    "step": Step(milestones=(0.3, 0.6, 0.9), factor=0.2),
    "exponential": Exponential(rate=3),
    "inverse square root": InverseSqrt(fraction=0.25),
    "cosine": DampedCosine(),
    "k-decay": DampedCosine(k=2.5),
    "cosine power": DampedCosine(exponent=1.7),
    "damped cosine": DampedCosine(k=0.7, exponent=3, floor=0.05),
    "sqrt cooldown": WSD(cooldown=0.45, floor=0.1),
    "cosine cooldown": WSD(cooldown=0.45, shape="cosine"),
    "warmup": Warmup(steps=3, then=DampedCosine(exponent=2), start=0.1),
    "warmup and inverse square root": Warmup(fraction=0.25, then=InverseSqrt(steps=2)),
    "constant in two phases": Constant(factor=0.3, steps=4),
    "polynomial k-decay": Polynomial(power=1.5, k=2.5, floor=0.01),
    "exponential k-decay": Exponential(rate=3, k=2.5),
    "exponential cooldown": WSD(cooldown=0.45, shape="exponential", floor=0.05),
    "inverse time": InverseTime(rate=7),
    "staircase": Staircase(steps=3, factor=0.3),
    "staircase of a fraction": Staircase(fraction=0.1, factor=0.7),
    "elastic step": ElasticStep(ratio=0.6, factor=0.4, drops=4),
    "rex": REX(floor=0.1),
    "rex with another bend": REX(bend=0.8),
    "tanh": Tanh(low=-3, high=2, floor=0.1),
    "exponential cosine": ExponentialCosine(rate=1.5, floor=0.02),
    "additive k-decay": AdditiveKDecay(k=1, floor=0.1),
    "eigencurve": Eigencurve(eigenvalues=(0.5, 3, 3.5, 20), densities=(1, 2, 3, 4)),
    "chebyshev": Chebyshev(condition=20, levels=3),
    "grid aware": GridAware(ratio=10),
    "grid aware, nearly linear": GridAware(ratio=1.5),
    "triangular": Cyclic(up_steps=2, down_steps=3, low=0.1),
    "triangular of half the height": Cyclic(up=0.2, down=0.3, low=0.1, mode="triangular2"),
    "exponential range": Cyclic(up=0.25, low=0.1, mode="exp_range", gamma=0.6),
    "one cycle": OneCycle(),
    "one cycle in three phases": OneCycle(up=0.4, anneal="linear", start=0.2, phases="three"),
    "trapezoid": Trapezoid(up_steps=2, down_steps=5, floor=0.1),
    "points": Points(u=(0.1, 0.35, 0.9), m=(0.4, 1, 0.2)),
    "points held": Points(u=(0.1, 0.35, 0.9), m=(0.4, 1, 0.2), interpolation="previous"),
}


def test_every_spec_has_a_stored_curve() -> None:
    assert json.loads(STORED.read_text()).keys() == SPECS.keys()


@pytest.mark.parametrize("name", SPECS)
def test_curve_is_the_stored_one(name: str) -> None:
    stored = json.loads(STORED.read_text())[name]
    schedule = decode(stored["spec"], SCHEDULES)
    assert schedule == SPECS[name]
    expected = torch.tensor([float.fromhex(one) for one in stored["multipliers"]], dtype=torch.float64)
    # One unit in the last place of 1: processors differ in the last bit of cos, exp and pow.
    torch.testing.assert_close(table([schedule], STEPS)[0], expected, rtol=0, atol=2.3e-16)


def write_curves() -> None:
    curves = {
        name: {
            "spec": encode(schedule),
            "multipliers": [multiplier.hex() for multiplier in table([schedule], STEPS)[0].tolist()],
        }
        for name, schedule in SPECS.items()
    }
    STORED.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    write_curves()
