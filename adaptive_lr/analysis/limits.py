"""Simulated studies at the limit of a verdict, where it falls by chance alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from adaptive_lr.analysis import any_rate, exponents
from adaptive_lr.analysis.simulated import Basin, World

FLAT = Basin(depth=0.02, left=0.002, right=0.002)
"""A contestant that depends little on where it starts."""

SEEDS, STUDIES = 20_000, 100
"""From so many seeds, and studies, it is found where a limit lies."""

Tests = list[dict[str, Any]]


def _calm(world: World) -> World:
    """The world with so little noise between starts that they count as forgotten: what is left to be certain of is that they are close."""
    return replace(world, smooth=0.1 * world.smooth, own=0.1 * world.own)


@cache
def _from_the_limit(world: World) -> float:
    """How far above the limit of what is close the worst start of `FLAT` lies on average, in the scale of the test."""
    many = world.starts({"cosine": Basin(), "flat": FLAT}, SEEDS, np.random.default_rng(0))
    numbers = any_rate.summarise(many, dict.fromkeys(many, "g"), "cosine", dict.fromkeys(many, False))
    row = numbers["contestants"]["flat"]
    if world.optimum_known:
        return float(np.log(row["worst"]["value"]) - np.log(any_rate.CLOSE))
    return float(row["lost"]["worst"]["value"] - any_rate.LOST)


def close_at_the_limit(world: World, count: int, source: np.random.Generator) -> Tests:
    """The tests of three contestants whose worst start is on average exactly as far from the oracle as counts as close.

    Args:
        world: how losses come about.
        count: seeds.
        source: of the noise.
    """
    labels, calm = ("a", "b", "c"), _calm(world)
    starts = calm.starts({"cosine": Basin()} | dict.fromkeys(labels, FLAT), count, source)
    oracle, shift = starts["cosine"], _from_the_limit(calm)
    for label in labels:
        flat = starts[label]
        if world.optimum_known:
            moved = flat.excess * np.exp(-shift)
        else:
            moved = flat.excess - shift * (flat.initial - oracle.excess.min(0))
        starts[label] = replace(flat, excess=moved)
    numbers = any_rate.summarise(starts, dict.fromkeys(starts, "g"), "cosine", dict.fromkeys(starts, False))
    return [numbers["contestants"][label]["tests"] for label in labels]


def _tails(world: World, spacing: float, count: int, source: np.random.Generator) -> dict[str, Any] | None:
    """The agreement of four schedules whose losses above the best rate curve differently, by so much from one to the next."""
    basins = {f"{index}": Basin(centre=-3.0, right=0.03 + spacing * index) for index in range(4)}
    sweeps = replace(world, decades=6).sweeps(basins, count, source)
    agreement: dict[str, Any] | None = exponents.summarise(sweeps, {label: 4.0 - int(label) for label in basins})[
        "agreement"
    ]
    return agreement


@cache
def _spacing(world: World) -> float:
    """At which the correlation is on average what counts as ordered: by bisection of its logarithm."""
    low, high = np.log(1e-4), np.log(0.02)
    for _ in range(8):
        middle, source = 0.5 * (low + high), np.random.default_rng(0)
        agreements = [_tails(world, float(np.exp(middle)), 5, source) for _ in range(STUDIES)]
        mean = np.mean([agreement["order"]["value"] for agreement in agreements if agreement is not None])
        low, high = (low, middle) if mean > 0.0 else (middle, high)
    return float(np.exp(0.5 * (low + high)))


def ordered_at_the_limit(world: World, count: int, source: np.random.Generator) -> Tests:
    """The test of slopes whose correlation with theory is on average exactly what counts as ordered; none where nothing can be fitted.

    Args:
        world: how losses come about.
        count: repetitions.
        source: of the noise.
    """
    agreement = _tails(world, _spacing(world), count, source)
    return [] if agreement is None else [agreement["order"]]
