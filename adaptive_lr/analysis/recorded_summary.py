"""All numbers of a table of recorded runs, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from adaptive_lr.analysis.paired import ALPHA, holm, t_interval
from adaptive_lr.analysis.recorded import Request, Selection, quoted, select
from adaptive_lr.analysis.recorded_sweep import RATIOS, SHARES, RecordedSweep
from adaptive_lr.analysis.request import TOLERANCE
from adaptive_lr.analysis.tables import Table
from adaptive_lr.errors import InputError

LEAST_RATIO, GREATEST_RATIO = 1.01, 1e6

DRAWN = 1000.0
"""Nobody tunes on a coarser grid than this."""


@dataclass(frozen=True)
class _Asked:
    """What is to be computed of each group.

    Attributes:
        ratios: of grids.
        tolerance: of the basin.
        sign: -1 where more is better: the sweeps are of the metric with its sign changed, and levels are changed back.
    """

    ratios: Sequence[float]
    tolerance: float
    sign: float


def summarise(
    table: Table,
    request: Request,
    *,
    ratios: Sequence[float] = RATIOS,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Everything about the groups of a table: each on its own rates, and all of them on the rates that they have in common.

    Levels (``best``, ``curve``, ``limit``, ``least``) are in the metric's own units. Differences (``regret``, ``cost``,
    ``sensitivity``, ``difference``) say how much worse, and are positive whichever way the metric goes.

    An `InputError` says what is wrong with the table or the request.
    """
    check_ratios(ratios)
    selection = select(table, request)
    sweeps = selection.sweeps
    noise = selection.noise
    asked = _Asked(ratios, tolerance, -1.0 if request.maximise else 1.0)
    return {
        "source": table.source,
        "loss": request.loss,
        "rate": request.rate,
        "by": list(request.by),
        "seed": request.seed,
        "deviation": request.deviation,
        "repeats": request.repeats,
        "where": [list(pair) for pair in request.where],
        "ignored": list(request.ignore),
        "diverged": [list(pair) for pair in request.diverged],
        "direction": "maximize" if request.maximise else "minimize",
        "doubt": selection.doubt,
        "initial": request.initial,
        "optimum": request.optimum,
        "window": None if request.window is None else list(request.window),
        "tolerance": tolerance,
        "ratios": [ratio_label(ratio) for ratio in ratios],
        "runs": int(sum(sweep.counts.sum() for sweep in sweeps.values())),
        "notes": [*selection.notes, *_warnings(selection)],
        "noise": None if noise is None else {"deviation": noise.deviation, "freedom": noise.freedom},
        "lowest": best_group(sweeps),
        "groups": {label: _row(sweep, asked) for label, sweep in sweeps.items()},
        "common": _common(sweeps, asked),
    }


def ratio_label(ratio: float) -> str:
    """A ratio in the keys of the numbers.

    >>> ratio_label(10**0.5)
    '3.16'
    """
    return f"{ratio:.3g}"


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse ratios of which there is no grid to speak of, and those that share a label.

    Raises:
        InputError: there is such a ratio.
    """
    for ratio in ratios:
        if not LEAST_RATIO <= ratio <= GREATEST_RATIO:
            least = f", at least {LEAST_RATIO:g} and at most {GREATEST_RATIO:g}" if ratio > 1.0 else ""
            raise InputError(f"--ratio must be above 1{least}, got {ratio!r}")
    labels = [ratio_label(ratio) for ratio in ratios]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise InputError(f"--ratio: two ratios are {twice[0]} to three digits; say one of them")


def _row(sweep: RecordedSweep, asked: _Asked, lowest: RecordedSweep | None = None) -> dict[str, Any]:
    best = sweep.best
    cells = [_level(sweep.at(index), asked.sign) for index in range(len(sweep.rates))]
    basin = sweep.basin(asked.tolerance)
    return {
        "best_rate": float(sweep.rates[best]),
        "best": cells[best],
        "at_boundary": sweep.at_boundary,
        "resolution": {ratio_label(ratio): sweep.resolution(ratio, lowest) for ratio in asked.ratios},
        "sensitivity": sweep.sensitivity(),
        "sensitivity_log": sweep.sensitivity_log(),
        "misspecification": sweep.misspecification(),
        "basin": basin | {"limit": asked.sign * basin["limit"]},
        "tolerance": _tolerance(sweep, asked.sign),
        "slope": sweep.slope(),
        "reach": {
            "below": float(sweep.rates[best] / sweep.rates[0]),
            "above": float(sweep.rates[-1] / sweep.rates[best]),
        },
        "grid": _grid(sweep),
        "rates": sweep.rates.tolist(),
        "counts": sweep.counts.tolist(),
        "diverged": sweep.diverged.tolist(),
        "paired_seeds": None if sweep.paired is None else len(sweep.paired),
        "curve": {
            end: [cell[name] for cell in cells] for end, name in (("mean", "value"), ("low", "low"), ("high", "high"))
        },
    }


def _tolerance(sweep: RecordedSweep, sign: float) -> dict[str, dict[str, Any] | None]:
    """How many decades the rate may be off, by how much worse the result may be: ``loss 0.05`` is 5 % of it, ``lost 0.05`` a lost share."""
    widths = {
        f"{name} {share:g}": sweep.tolerance(share, lost=name == "lost")
        for name in ("loss", "lost")
        for share in SHARES
    }
    return {key: width and width | {"limit": sign * width["limit"]} for key, width in widths.items()}


def _level(estimate: Mapping[str, float | None], sign: float) -> dict[str, float | None]:
    """An estimate in the metric's own units: with the sign, the ends of the interval change places."""
    if sign > 0:
        return dict(estimate)
    value, low, high = (
        None if end is None else sign * end for end in (estimate["value"], estimate["low"], estimate["high"])
    )
    return {"value": value, "low": high, "high": low}


def _grid(sweep: RecordedSweep) -> dict[str, list[float | None]]:
    """The mean regret of grids of many ratios up to `DRAWN`, interpolated: a curve to be drawn."""
    span = min(float(sweep.rates[-1] / sweep.rates[0]), DRAWN)
    ratios = np.geomspace(min(1.25, span), span, 24).tolist()
    regrets = [sweep.interpolated(ratio)[0] - float(sweep.losses[sweep.best]) for ratio in ratios]
    return {"ratios": ratios, "regret": [regret if np.isfinite(regret) else None for regret in regrets]}


def _common(sweeps: Mapping[str, RecordedSweep], asked: _Asked) -> dict[str, Any] | None:
    """All groups on the rates that every one of them has; None if these are fewer than two, or there is one group only."""
    shared = sorted(set.intersection(*(set(sweep.rates.tolist()) for sweep in sweeps.values())))
    if len(shared) < 2 or len(sweeps) < 2:
        return None
    narrowed = {label: sweep.within(np.flatnonzero(np.isin(sweep.rates, shared))) for label, sweep in sweeps.items()}
    if not all(np.isfinite(sweep.losses).any() for sweep in narrowed.values()):
        return None
    lowest = min(narrowed.values(), key=lambda sweep: float(sweep.losses.min()))
    outside = [label for label, sweep in sweeps.items() if float(sweep.rates[sweep.best]) not in shared]
    return {
        "rates": shared,
        "least": asked.sign * float(lowest.losses.min()),
        "optima_outside": outside,
        "groups": {label: _row(sweep, asked, lowest) for label, sweep in narrowed.items()},
    }


def best_group(sweeps: Mapping[str, RecordedSweep]) -> dict[str, Any]:
    """The group with the best loss at its own best rate, and those that the noise does not tell apart from it.

    Which one is the best is chosen by the same runs, so a comparison with it is one of all pairs of groups, and Holm's correction is over
    as many. The rates are chosen by the same runs, too; that lowers all groups alike, and identical groups differ in no more than 5 %
    of simulated cases, which a test repeats.

    Args:
        sweeps: by group.

    Returns:
        ``label``, ``tied``, whether the noise is ``known`` for all, the number of ``pairs``, the ``procedures``, and the ``adjusted`` p by
        group.
    """
    first = min(sweeps, key=lambda label: float(sweeps[label].losses.min()))
    tests = {label: _difference(sweep, sweeps[first]) for label, sweep in sweeps.items() if label != first}
    known = {label: test for label, test in tests.items() if test is not None}
    pairs = len(sweeps) * (len(sweeps) - 1) // 2
    adjusted = holm([p for p, _ in known.values()] + [1.0] * (pairs - len(known)))
    apart = dict(zip(known, adjusted, strict=False))
    return {
        "label": first,
        "tied": [label for label, p in apart.items() if p > ALPHA],
        "known": len(known) == len(tests),
        "pairs": pairs,
        "procedures": sorted({procedure for _, procedure in known.values()}),
        "adjusted": apart,
    }


def _difference(sweep: RecordedSweep, other: RecordedSweep) -> tuple[float, str] | None:
    """P of no difference of two lowest losses, and its procedure: paired over seeds where that can be; None if nothing is known."""
    if sweep.paired is not None and other.paired is not None and sweep.seeds == other.seeds:
        values = sweep.paired[:, sweep.best] - other.paired[:, other.best]
        if np.isfinite(values).all():
            return t_interval(values)["p"], f"paired t, Holm, n = {len(values)}"
    known = sweep.error_of_difference(other)
    if known is None:
        return None
    (error, freedom, procedure), gap = known, abs(float(sweep.losses.min() - other.losses.min()))
    if error == 0.0:
        return float(gap == 0.0), f"{procedure}, Holm"
    p = 2.0 * float(stdtr(freedom, -gap / error))
    return p, f"{procedure}, Holm" if procedure.startswith(
        "Welch"
    ) else f"{procedure}, Holm, {freedom:g} degrees of freedom"


def _warnings(selection: Selection) -> list[str]:
    """What makes numbers worthless although they look well."""
    warnings = []
    edge = [label for label, sweep in selection.sweeps.items() if sweep.at_boundary]
    if edge:
        warnings.append(
            f"The best rate lies at the edge of the recorded ones in {quoted(edge)}: a better one may lie outside, and regret and "
            "sensitivity would be too small."
        )
    if (
        selection.noise is not None
        and selection.noise.uneven
        and any(sweep.paired is None for sweep in selection.sweeps.values())
    ):
        warnings.append(
            "Runs at bad rates differ much more than those at good ones, from which the noise is taken: intervals of means over the window are "
            "too narrow."
        )
    best = [float(sweep.rates[sweep.best]) for sweep in selection.sweeps.values()]
    if max(best) > min(best) * 1.001:
        warnings.append(
            f"The best rates differ between groups, from {min(best):g} to {max(best):g}: the same window then asks some more for tolerance of "
            "too low a rate, and others of too high a one. What ρ times a group's own best rate costs does not have that flaw."
        )
    return warnings
