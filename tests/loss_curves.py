"""Small loss curves that a law gave, with noise; and curves that others recorded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.law_curves import Curve
from adaptive_lr.meta.laws import AbstractLaw, AnnealingLaw, MultiPowerLaw

RECORDED = Path(__file__).parents[2] / "shared/data/llm-curves/multi-power-law"
"""Curves of language models that others recorded; they are no part of the repository."""

MULTI_POWER = MultiPowerLaw(L0=3.0, A=0.5, alpha=0.5, B=400.0, C=2.0, beta=0.55, gamma=0.5)
ANNEALING = AnnealingLaw(L0=3.0, A=0.5, alpha=0.5, C=1.0, forgetting=4e-3)
STEPS, WARMUP, PEAK, STRIDE = 3000, 150, 3e-4, 25


def path(shape: str, steps: int = STEPS) -> Array:
    """Rates with a warm-up and then ``cosine``, ``constant``, or a drop to a share of the peak as in ``0.3``."""
    t = np.arange(steps + 1)
    u = np.clip((t - WARMUP) / (steps - WARMUP), 0.0, 1.0)
    if shape == "cosine":
        fall = 0.1 + 0.45 * (1.0 + np.cos(np.pi * u))
    elif shape == "constant":
        fall = np.ones(steps + 1)
    else:
        fall = np.where(t < 1500, 1.0, float(shape))
    rates: Array = PEAK * np.minimum(t / WARMUP, 1.0) * fall
    return rates


def curve(shape: str, law: AbstractLaw = MULTI_POWER, noise: float = 0.0, seed: int = 0) -> Curve:
    rates = path(shape)
    steps = np.arange(WARMUP, STEPS + 1, STRIDE)
    generator = np.random.default_rng([seed, sum(map(ord, shape))])
    losses = law.losses(rates, steps) * np.exp(noise * generator.standard_normal(len(steps)))
    return Curve(shape, rates, WARMUP, steps, losses)


def curves(law: AbstractLaw = MULTI_POWER, noise: float = 0.0, seed: int = 0) -> list[Curve]:
    return [curve(shape, law, noise, seed) for shape in ("cosine", "constant", "0.3", "0.1")]


def write_curve(file: Path, shape: str, *, columns: Mapping[str, str] | None = None, noise: float = 3e-4) -> Path:
    """A CSV of one curve as somebody would have it: rows from the end of the warm-up on."""
    made = curve(shape, noise=noise)
    names = {"step": "step", "lr": "lr", "loss": "loss"} | dict(columns or {})
    lines = [",".join(names.values())]
    lines += [
        f"{step},{float(made.rates[step])!r},{loss:.5f}"
        for step, loss in zip(made.steps.tolist(), made.losses.tolist(), strict=True)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
