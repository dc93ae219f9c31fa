"""Measures for Hägele et al. 2024: shapes and lengths of the cooldown, in recorded runs of language models and in the bound."""

from __future__ import annotations

import itertools
from pathlib import Path

from adaptive_lr.meta.bound import last_iterate_bound
from adaptive_lr.papers.language_models import losses_by_rate
from adaptive_lr.schedules import WSD, Constant

RATES = (1e-4, 5e-4, 1e-3, 2e-3, 3e-3)
LENGTHS = (0.1, 0.2, 0.4, 0.6)


def sqrt_shape() -> float:
    """The multiplier a quarter into a 1-sqrt cooldown of a fifth."""
    return WSD(cooldown=0.2).at(85, 100)


def holds_until_the_cooldown() -> float:
    """The multiplier a step before it."""
    return WSD(cooldown=0.2).at(79, 100)


def sqrt_against_linear_in_the_bound() -> float:
    """Omega* with a 1-sqrt cooldown of a fifth over that with a linear one."""
    return last_iterate_bound(WSD(cooldown=0.2)).best / last_iterate_bound(WSD(cooldown=0.2, shape="linear")).best


def cooldown_against_none_in_the_bound() -> float:
    """Omega* with a linear cooldown of a tenth over that of a constant rate."""
    return last_iterate_bound(WSD(cooldown=0.1, shape="linear")).best / last_iterate_bound(Constant()).best


def sqrt_against_linear(folder: Path) -> float:
    """The recorded loss with a 1-sqrt cooldown of a fifth minus that with a linear one, each at its best rate, in nats."""
    losses = losses_by_rate(folder)
    return min(losses["wsd 0.2 sqrt"].values()) - min(losses["wsd 0.2 linear"].values())


def sqrt_at_every_rate(folder: Path) -> float:
    """The share of five rates at which the 1-sqrt cooldown ends lower."""
    losses = losses_by_rate(folder)
    return sum(losses["wsd 0.2 sqrt"][rate] < losses["wsd 0.2 linear"][rate] for rate in RATES) / len(RATES)


def matches_cosine(folder: Path) -> float:
    """The recorded loss with a 1-sqrt cooldown of a fifth minus the cosine's, each at its best rate, in nats."""
    losses = losses_by_rate(folder)
    return min(losses["wsd 0.2 sqrt"].values()) - min(losses["cosine to 0"].values())


def longer_cooldowns_help(folder: Path) -> float:
    """The largest rise of the best loss from one length of a linear cooldown to the next, .1 to .6, in nats."""
    losses = losses_by_rate(folder)
    best = [min(losses[f"wsd {length} linear"].values()) for length in LENGTHS]
    return max(later - earlier for earlier, later in itertools.pairwise(best))


def long_cooldown_against_cosine(folder: Path) -> float:
    """The recorded loss with a linear cooldown of .6 minus the cosine's, each at its best rate, in nats."""
    losses = losses_by_rate(folder)
    return min(losses["wsd 0.6 linear"].values()) - min(losses["cosine to 0"].values())


def cooldown_against_none(folder: Path) -> float:
    """The recorded loss with a linear cooldown of a tenth minus that of a constant rate, each at its best rate, in nats."""
    losses = losses_by_rate(folder)
    return min(losses["wsd 0.1 linear"].values()) - min(losses["constant"].values())
