"""All numbers of a table of recorded runs, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis.recorded import Request, Selection, quoted, select
from adaptive_lr.analysis.recorded_sweep import RATIOS, RecordedSweep, students_half
from adaptive_lr.analysis.tables import Table

TOLERANCE = 0.01
"""The basin of a group: as far as the loss is at most this share above its least one, where the optimum is not known."""


def summarise(
    table: Table,
    request: Request,
    *,
    ratios: Sequence[float] = RATIOS,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Everything about the groups of a table: each on its own rates, and all of them on the rates that they have in common.

    An `InputError` says what is wrong with the table or the request.
    """
    selection = select(table, request)
    sweeps = selection.sweeps
    noise = selection.noise
    return {
        "source": table.source,
        "loss": request.loss,
        "rate": request.rate,
        "by": list(request.by),
        "seed": request.seed,
        "where": [list(one) for one in request.where],
        "ignored": list(request.ignore),
        "initial": request.initial,
        "optimum": request.optimum,
        "window": None if request.window is None else list(request.window),
        "tolerance": tolerance,
        "ratios": [ratio_label(one) for one in ratios],
        "runs": int(sum(sweep.counts.sum() for sweep in sweeps.values())),
        "notes": [*selection.notes, *_warnings(selection)],
        "noise": None if noise is None else {"deviation": noise.deviation, "freedom": noise.freedom},
        "lowest": _lowest(sweeps),
        "groups": {label: _row(sweep, ratios, tolerance) for label, sweep in sweeps.items()},
        "common": _common(sweeps, ratios, tolerance),
    }


def ratio_label(ratio: float) -> str:
    """A ratio in the keys of the numbers.

    >>> ratio_label(10**0.5)
    '3.16'
    """
    return f"{ratio:.3g}"


def _row(sweep: RecordedSweep, ratios: Sequence[float], tolerance: float, least: float | None = None) -> dict[str, Any]:
    best = sweep.best
    cells = [sweep.estimate(_at(place)) for place in range(len(sweep.rates))]
    return {
        "best_rate": float(sweep.rates[best]),
        "best": cells[best],
        "at_boundary": sweep.at_boundary,
        "resolution": {ratio_label(ratio): sweep.resolution(ratio, least) for ratio in ratios},
        "sensitivity": sweep.sensitivity(),
        "sensitivity_log": sweep.sensitivity_log(),
        "misspecification": sweep.misspecification(),
        "basin": sweep.basin(tolerance),
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


def _grid(sweep: RecordedSweep) -> dict[str, list[float | None]]:
    """The mean regret of grids of many ratios, interpolated: a curve to be drawn."""
    span = float(sweep.rates[-1] / sweep.rates[0])
    ratios = np.geomspace(min(1.25, span), span, 24).tolist()
    regrets = [sweep.interpolated(one)[0] - float(sweep.losses[sweep.best]) for one in ratios]
    return {"ratios": ratios, "regret": [one if np.isfinite(one) else None for one in regrets]}


def _at(place: int) -> Any:
    return lambda losses: losses[..., place]


def _common(sweeps: Mapping[str, RecordedSweep], ratios: Sequence[float], tolerance: float) -> dict[str, Any] | None:
    """All groups on the rates that every one of them has; None if these are fewer than two, or there is one group only."""
    shared = sorted(set.intersection(*(set(sweep.rates.tolist()) for sweep in sweeps.values())))
    if len(shared) < 2 or len(sweeps) < 2:
        return None
    narrowed = {label: sweep.within(np.flatnonzero(np.isin(sweep.rates, shared))) for label, sweep in sweeps.items()}
    finite = [float(sweep.losses.min()) for sweep in narrowed.values() if np.isfinite(sweep.losses).any()]
    if len(finite) < len(narrowed):
        return None
    outside = [label for label, sweep in sweeps.items() if float(sweep.rates[sweep.best]) not in shared]
    return {
        "rates": shared,
        "least": min(finite),
        "optima_outside": outside,
        "groups": {label: _row(sweep, ratios, tolerance, min(finite)) for label, sweep in narrowed.items()},
    }


def _lowest(sweeps: Mapping[str, RecordedSweep]) -> dict[str, Any]:
    """The group with the least loss at its own best rate, and those that the noise does not tell apart from it."""
    first = min(sweeps, key=lambda label: float(sweeps[label].losses.min()))
    halves = {label: _half_difference(sweep, sweeps[first]) for label, sweep in sweeps.items() if label != first}
    tied = [
        label
        for label, half in halves.items()
        if half is not None and float(sweeps[label].losses.min() - sweeps[first].losses.min()) <= half
    ]
    return {"label": first, "tied": tied, "known": all(half is not None for half in halves.values())}


def _half_difference(one: RecordedSweep, other: RecordedSweep) -> float | None:
    """Half the interval of the difference of two lowest losses, paired over seeds where that can be; None if nothing is known."""
    if one.paired is not None and other.paired is not None and len(one.paired) == len(other.paired):
        values = one.paired[:, one.best] - other.paired[:, other.best]
        if np.isfinite(values).all():
            return students_half(values)
    if one.noise is None:
        return None
    share = 1.0 / one.counts[one.best] + 1.0 / other.counts[other.best]
    return float(one.noise.quantile * one.noise.deviation * np.sqrt(share))


def _warnings(selection: Selection) -> list[str]:
    """What makes numbers worthless although they look well."""
    found = []
    edge = [label for label, sweep in selection.sweeps.items() if sweep.at_boundary]
    if edge:
        found.append(
            f"The best rate lies at the edge of the recorded ones in {quoted(edge)}: a better one may lie outside, and regret and "
            "sensitivity would be too small."
        )
    if (
        selection.noise is not None
        and selection.noise.uneven
        and any(one.paired is None for one in selection.sweeps.values())
    ):
        found.append(
            "Runs at bad rates differ much more than those at good ones, from which the noise is taken: intervals of means over the window are "
            "too narrow."
        )
    best = [float(sweep.rates[sweep.best]) for sweep in selection.sweeps.values()]
    if max(best) > min(best) * 1.001:
        found.append(
            f"The best rates differ between groups, from {min(best):g} to {max(best):g}: the same window then asks some more for tolerance of "
            "too low a rate, and others of too high a one. What ρ times a group's own best rate costs does not have that flaw."
        )
    return found
