"""How much is left of the starting rate: losses from every rate of a wide window, against a schedule that an oracle tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_lr.analysis.stats import Array, Places, mean_interval, seeds_interval

CLOSE = 1.2
"""What counts as close to the oracle: the worst start ends with at most this many times its loss."""

FORGOTTEN = 1.1
"""When the start counts as forgotten: the worst start ends with at most this many times the loss of the best."""

DECADES = 3.0
"""The narrower window, around the oracle's rate."""

WRONG = 3.0
"""A start counts as too high or too low from this factor on."""


@dataclass(frozen=True)
class Starts:
    """One contestant in one study: excess losses ``[L, S]`` by starting rate and seed, nothing above the untrained loss.

    Attributes:
        rates: ascending, ``[L]``.
        excess: the losses above the optimum where that is known, the losses themselves elsewhere.
        diverged: the share of seeds that diverged at each rate, ``[L]``.
        seconds: of all trials together, by the machine's clock.
        extra_steps: work beyond the updates, as a share of them.
    """

    rates: Array
    excess: Array
    diverged: Array
    seconds: float
    extra_steps: float

    @classmethod
    def clipped(
        cls, *, rates: Array, losses: Array, initial: float, optimum: float | None, seconds: float, extra_steps: float
    ) -> Starts:
        """From raw losses ``[L, S]``, NaN where a trial diverged, and the loss before training."""
        excess = np.fmin(losses, initial) - (optimum or 0.0)
        return cls(rates, excess, np.isnan(losses).mean(1), seconds, extra_steps)

    def within(self, low: float, high: float) -> Starts:
        """The starts in a window."""
        inside = (self.rates >= low * (1.0 - 1e-9)) & (self.rates <= high * (1.0 + 1e-9))
        return Starts(self.rates[inside], self.excess[inside], self.diverged[inside], self.seconds, self.extra_steps)


def summarise(
    contestants: Mapping[str, Starts], groups: Mapping[str, str], reference: str, relative: Mapping[str, bool]
) -> dict[str, Any]:
    """All numbers of a study.

    The oracle is the reference at the rate that is best on the very seeds that are reported: nobody can have that, and so every
    ratio errs against the contestants.

    Args:
        contestants: by label; same seeds.
        groups: the group of each.
        reference: the schedule that an oracle tunes.
        relative: whether a contestant's rates are multiples of its documented default, so that the window around the oracle's rate
            means nothing to it.
    """
    oracle = contestants[reference]
    index = int(np.argmin(oracle.excess.mean(1)))
    best = float(oracle.rates[index])
    rows = {}
    for label, starts in contestants.items():
        row = _row(starts, oracle)
        near = starts.within(best / 10 ** (DECADES / 2), best * 10 ** (DECADES / 2))
        high, low = starts.within(best * WRONG, np.inf), starts.within(0.0, best / WRONG)
        for name, part in (("near", near), ("too_high", high), ("too_low", low)):
            usable = not relative[label] and len(part.rates) > 0
            row[name] = _ratios(part, oracle) if usable else None
        rows[label] = {"group": groups[label], "relative": relative[label], **row}
        rows[label]["time"] = _time(starts, oracle)
    return {
        "reference": reference,
        "oracle": {
            "loss": float(oracle.excess[index].mean()),
            "rate": best,
            "at_boundary": index in (0, len(oracle.rates) - 1),
        },
        "contestants": rows,
    }


def _row(starts: Starts, oracle: Starts) -> dict[str, Any]:
    low, high = mean_interval(starts.excess)
    return {
        **_ratios(starts, oracle),
        "extra_steps": starts.extra_steps,
        "diverged": starts.diverged.tolist(),
        "curve": {
            "rates": starts.rates.tolist(),
            "mean": starts.excess.mean(1).tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        },
    }


def _ratios(starts: Starts, oracle: Starts) -> dict[str, Any]:
    """Best, worst and mean over the starts in units of the oracle's loss, and worst over best; with intervals over seeds."""
    seeds = starts.excess.shape[1]

    def unit(chosen: Places) -> Array:
        least: Array = oracle.excess[:, chosen].mean(-1).min(0)
        return np.maximum(least, 1e-300)

    def losses(chosen: Places) -> Array:
        means: Array = starts.excess[:, chosen].mean(-1)
        return means

    statistics: dict[str, Callable[[Places], Array]] = {
        "best": lambda chosen: losses(chosen).min(0) / unit(chosen),
        "worst": lambda chosen: losses(chosen).max(0) / unit(chosen),
        "mean": lambda chosen: losses(chosen).mean(0) / unit(chosen),
        "spread": lambda chosen: losses(chosen).max(0) / np.maximum(losses(chosen).min(0), 1e-300),
    }
    intervals = {}
    for name, statistic in statistics.items():
        low, high = seeds_interval(statistic, seeds)
        intervals[name] = {"value": float(statistic(np.arange(seeds))), "low": low, "high": high}
    return intervals


def _time(starts: Starts, oracle: Starts) -> float | None:
    """Seconds a trial against the reference's; None if nothing was measured."""
    mine, theirs = (group.seconds / group.excess.size for group in (starts, oracle))
    return mine / theirs if theirs > 0.0 and mine > 0.0 else None


def headline(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Over all studies: in how many a contestant is close to the oracle and forgets its start, and geometric means of its ratios."""
    labels = {label: row["group"] for study in studies.values() for label, row in study["contestants"].items()}
    summaries = {}
    for label, group in labels.items():
        rows = {name: study["contestants"][label] for name, study in studies.items() if label in study["contestants"]}
        worst = {name: row["worst"]["value"] for name, row in rows.items()}
        summaries[label] = {
            "group": group,
            "studies": len(rows),
            "close": sum(value <= CLOSE for value in worst.values()),
            "forgotten": sum(row["spread"]["value"] <= FORGOTTEN for row in rows.values()),
            "both": sum(
                row["worst"]["value"] <= CLOSE and row["spread"]["value"] <= FORGOTTEN for row in rows.values()
            ),
            "surely": sum(
                row["worst"]["high"] <= CLOSE and row["spread"]["high"] <= FORGOTTEN for row in rows.values()
            ),
            "hardest": max(worst, key=lambda name: worst[name]),
            **{f"geometric_{key}": _geometric(rows, key) for key in ("best", "worst", "mean", "spread")},
            **{key: _geometric_part(rows, key) for key in ("too_high", "too_low")},
            "extra_steps": max(row["extra_steps"] for row in rows.values()),
        }
    return summaries


def _geometric(rows: Mapping[str, Mapping[str, Any]], key: str) -> float:
    return float(np.exp(np.mean([np.log(max(row[key]["value"], 1e-300)) for row in rows.values()])))


def _geometric_part(rows: Mapping[str, Mapping[str, Any]], part: str) -> float | None:
    """The geometric mean of the mean ratios over a part of the starts; None if a study has none of those."""
    values = [row[part] for row in rows.values()]
    return (
        None
        if any(value is None for value in values)
        else _geometric({str(i): value for i, value in enumerate(values)}, "mean")
    )
