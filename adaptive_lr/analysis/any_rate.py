"""How much is left of the starting rate: losses from every rate of a wide window, against a schedule that an oracle tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import diverged
from adaptive_lr.analysis.stats import TINY, Array, t_intervals

CLOSE, LOST = 1.2, 0.05
"""What counts as close to the oracle: the worst start ends with at most this many times its excess over the optimum; where that is not
known, it loses at most this share of what training under the oracle gains."""

FORGOTTEN, LOST_BETWEEN = 1.1, 0.025
"""When the start counts as forgotten: the worst start ends with at most this many times the excess of the best; where the optimum is not
known, their difference is at most this share of what training under the oracle gains."""

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
        diverged: the share of seeds at each rate that were not finite or ended worse than before training, ``[L]``.
        seconds: of all trials together, by the machine's clock.
        extra_steps: work beyond the updates, as a share of them.
        evaluated: the share of the steps in which the loss is evaluated again.
        initial: the excess before training.
        optimum_known: whether losses are compared by their ratio.
    """

    rates: Array
    excess: Array
    diverged: Array
    seconds: float
    extra_steps: float
    initial: float
    optimum_known: bool
    evaluated: float = 0.0

    @classmethod
    def clipped(
        cls,
        *,
        rates: Array,
        losses: Array,
        initial: float,
        optimum: float | None,
        seconds: float,
        extra_steps: float,
        evaluated: float = 0.0,
    ) -> Starts:
        """From raw losses ``[L, S]``, NaN where a trial diverged, and the loss before training."""
        least = optimum or 0.0
        return cls(
            rates=rates,
            excess=np.fmin(losses, initial) - least,
            diverged=diverged(losses, initial, optimum).mean(1),
            seconds=seconds,
            extra_steps=extra_steps,
            initial=initial - least,
            optimum_known=optimum is not None,
            evaluated=evaluated,
        )

    def among(self, rates: Array) -> Starts:
        """The starts at some rates."""
        near = np.isclose(self.rates[:, None], rates[None, :], rtol=1e-9, atol=0.0).any(1)
        return replace(self, rates=self.rates[near], excess=self.excess[near], diverged=self.diverged[near])

    def within(self, low: float, high: float) -> Starts:
        """The starts in a window."""
        inside = (self.rates >= low * (1.0 - 1e-9)) & (self.rates <= high * (1.0 + 1e-9))
        return replace(self, rates=self.rates[inside], excess=self.excess[inside], diverged=self.diverged[inside])


def summarise(
    contestants: Mapping[str, Starts],
    groups: Mapping[str, str],
    reference: str,
    relative: Mapping[str, bool],
    grid: Array | None = None,
) -> dict[str, Any]:
    """All numbers of a study, before the correction that `judge` makes.

    Every seed is a repetition: on it, the oracle is the reference at the rate that is best on that very seed, and so are a contestant's
    best and worst start. Nobody can have such an oracle, so that every ratio errs against the contestants; and Student's t over the
    seeds allows for the choices, which each of them makes by itself.

    Args:
        contestants: by label; same seeds.
        groups: the group of each.
        reference: the schedule that an oracle tunes.
        relative: whether a contestant's rates are multiples of its documented default, so that the window around the oracle's rate
            means nothing to it.
        grid: the starting rates that all others are compared at, whatever else they were started at; the reference's other rates
            are for the oracle alone. All rates if none is given.
    """
    oracle = contestants[reference]
    index = int(np.argmin(oracle.excess.mean(1)))
    best, least = float(oracle.rates[index]), oracle.excess.min(0)
    rows = {}
    for label, every in contestants.items():
        starts = every if grid is None or relative[label] else every.among(grid)
        row = _row(starts, least) | {"curve": _curve(every)}
        near = starts.within(best / 10 ** (DECADES / 2), best * 10 ** (DECADES / 2))
        high, low = starts.within(best * WRONG, np.inf), starts.within(0.0, best / WRONG)
        for name, part in (("near", near), ("too_high", high), ("too_low", low)):
            usable = not relative[label] and len(part.rates) > 0
            row[name] = _ratios(part, least) if usable else None
        rows[label] = {"group": groups[label], "relative": relative[label], **row}
        rows[label]["time"] = _time(every, oracle)
    return {
        "reference": reference,
        "oracle": {
            "loss": paired.level(least, ratio=oracle.optimum_known)["value"],
            "rate": best,
            "at_boundary": index in (0, len(oracle.rates) - 1),
        },
        "contestants": rows,
    }


def _row(starts: Starts, oracle: Array) -> dict[str, Any]:
    losses = _by_seed(starts)
    return {
        **_ratios(starts, oracle),
        "lost": None if starts.optimum_known else _shares(losses, oracle, starts.initial),
        "difference": None
        if starts.optimum_known
        else {key: paired.estimate(losses[key] - oracle) for key in ("best", "mean", "worst")},
        "tests": _tests(losses, oracle, starts),
        "extra_steps": starts.extra_steps,
        "evaluated": starts.evaluated,
        "diverged": starts.diverged.tolist(),
    }


def _curve(starts: Starts) -> dict[str, list[float]]:
    """The loss at every rate, with its interval."""
    ends = t_intervals(paired.logarithms(starts.excess) if starts.optimum_known else starts.excess)[:3]
    mean, low, high = (np.exp(end) if starts.optimum_known else end for end in ends)
    return {"rates": starts.rates.tolist(), "mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()}


def _by_seed(starts: Starts) -> dict[str, Array]:
    """The least, the greatest and the mean excess over the starts, ``[S]`` each."""
    return {"best": starts.excess.min(0), "worst": starts.excess.max(0), "mean": starts.excess.mean(0)}


def _ratios(starts: Starts, oracle: Array) -> dict[str, Any]:
    """Best, worst and mean over the starts in units of the oracle's loss, and worst over best: geometric means over seeds."""
    losses = _by_seed(starts)
    ratios = {key: losses[key] / np.maximum(oracle, TINY) for key in losses}
    ratios["spread"] = losses["worst"] / np.maximum(losses["best"], TINY)
    return {key: paired.geometric(ratio) for key, ratio in ratios.items()}


def _shares(losses: Mapping[str, Array], oracle: Array, initial: float) -> dict[str, dict[str, float]]:
    """What share of what training under the oracle gains is lost: (final - oracle) / (initial - oracle); and worst less best."""
    gained = np.maximum(initial - oracle, TINY)
    shares = {key: paired.estimate((losses[key] - oracle) / gained) for key in losses}
    return shares | {"spread": paired.estimate((losses["worst"] - losses["best"]) / gained)}


def _tests(losses: Mapping[str, Array], oracle: Array, starts: Starts) -> dict[str, Any]:
    """Whether the worst start is close to the oracle and to the best start, beyond doubt: the less certain one of the two counts.

    Below zero is within the limit. Both must hold, so the greater of the two p is a p of «not both», whatever their dependence
    (Berger 1982, Technometrics 24).
    """
    if starts.optimum_known:
        worst = paired.logarithms(losses["worst"])
        close = worst - paired.logarithms(oracle) - np.log(CLOSE)
        forgotten = worst - paired.logarithms(losses["best"]) - np.log(FORGOTTEN)
    else:
        gained = np.maximum(starts.initial - oracle, TINY)
        close = (losses["worst"] - oracle) / gained - LOST
        forgotten = (losses["worst"] - losses["best"]) / gained - LOST_BETWEEN
    tests = [paired.t_interval(values) for values in (close, forgotten)]
    within = max(tests, key=lambda test: (test["value"] >= 0.0, test["p"]))
    both = all(test["value"] < 0.0 for test in tests)
    return {
        **within,
        "close": tests[0]["value"] <= 0.0,
        "forgotten": tests[1]["value"] <= 0.0,
        "p": max(test["p"] for test in tests) if both else 1.0,
        "n": len(oracle),
        "procedure": paired.RATIO if starts.optimum_known else paired.DIFFERENCE,
        "at_boundary": False,
        "words": ("close and forgotten", "neither", "not certain"),
    }


def _time(starts: Starts, oracle: Starts) -> float | None:
    """Seconds a trial against the reference's; None if nothing was measured."""
    mine, theirs = (group.seconds / group.excess.size for group in (starts, oracle))
    return mine / theirs if theirs > 0.0 and mine > 0.0 else None


def judge(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the verdicts on all contestants in all studies of an experiment, which are one family; how many, of how many repetitions.

    Args:
        studies: what `summarise` returned, by name.
    """
    family = [row["tests"] for study in studies.values() for row in study["contestants"].values()]
    return {"verdicts": paired.judge(family), "repetitions": paired.repetitions(family)}


def beyond(row: Mapping[str, Any]) -> float:
    """The worst start in units of the limit of what is close: in logarithms where the optimum is known, its lost share elsewhere."""
    if row["lost"] is None:
        return float(np.log(max(row["worst"]["value"], TINY)) / np.log(CLOSE))
    return float(row["lost"]["worst"]["value"] / LOST)


def headline(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Over all judged studies: in how many a contestant is close to the oracle and forgets its start, and geometric means of its ratios."""
    labels = {label: row["group"] for study in studies.values() for label, row in study["contestants"].items()}
    summaries = {}
    for label, group in labels.items():
        rows = {name: study["contestants"][label] for name, study in studies.items() if label in study["contestants"]}
        tests = [row["tests"] for row in rows.values()]
        summaries[label] = {
            "group": group,
            "studies": len(rows),
            "close": sum(test["close"] for test in tests),
            "forgotten": sum(test["forgotten"] for test in tests),
            "both": sum(test["close"] and test["forgotten"] for test in tests),
            "surely": sum(test["verdict"] == "close and forgotten" for test in tests),
            "hardest": max(rows, key=lambda name: beyond(rows[name])),
            **{f"geometric_{key}": _geometric(rows, key) for key in ("best", "worst", "mean", "spread")},
            **{key: _geometric_part(rows, key) for key in ("too_high", "too_low")},
            "extra_steps": max(row["extra_steps"] for row in rows.values()),
            "evaluated": max(row["evaluated"] for row in rows.values()),
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
