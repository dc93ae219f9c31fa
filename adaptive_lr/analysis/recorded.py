"""Groups of comparable runs from a table of recorded ones; what would be mixed in silence is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.recorded_sweep import Noise, RecordedSweep
from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Table
from adaptive_lr.errors import InputError

EVERYTHING = "all runs"
"""The label of the one group if nothing is grouped by."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to read from a table of runs.

    Attributes:
        rate: the column of the learning rate: one number a run, the peak of its schedule.
        loss: the column of the loss, lower is better.
        by: columns whose values make the groups.
        seed: the column of the seed.
        where: columns and the value that they must have.
        ignore: columns that may vary inside a group, because somebody says that they do not matter.
        initial: the loss before training; what diverged, or ended above it, counts as that.
        optimum: the least possible loss.
        window: lowest and highest rate to look at.
    """

    rate: str
    loss: str
    by: tuple[str, ...] = ()
    seed: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    initial: float | None = None
    optimum: float | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Selection:
    """Runs by group, and what a reader has to know about them.

    Attributes:
        sweeps: by label, in the order of the table.
        notes: sentences.
        noise: between runs that should be alike, over all groups.
    """

    sweeps: Mapping[str, RecordedSweep]
    notes: Sequence[str]
    noise: Noise | None


_ABSURD = 1000.0

Cells = dict[str, dict[float, list[int]]]


def select(table: Table, request: Request) -> Selection:
    """The groups of a table.

    Raises:
        InputError: a column is missing or holds what it should not, nothing is left, runs would be mixed that differ in another
            column, or there are not two learning rates.
    """
    for name in (request.rate, request.loss, *request.by, *([request.seed] if request.seed else []), *request.ignore):
        table.column(name)
    notes: list[str] = []
    table = _where(table, request)
    rates, losses = _rates(table, request), table.numbers(request.loss)
    inside = _inside(rates, request)
    if not inside.any():
        low, high = request.window or (0.0, 0.0)
        raise InputError(f"{table.source}: no run has {request.rate} between {low:g} and {high:g}")
    if not inside.all():
        notes.append(f"Outside the window, and left out: {_runs(int((~inside).sum()))}.")
    keep = np.flatnonzero(inside).tolist()
    table, rates, losses = table.rows(keep), rates[keep], losses[keep]
    cells = _cells(table, rates, request)
    notes += _mixed(table, rates, cells, request)
    notes += _repeats(table, cells, request)
    losses, diverged, said = _clipped(table, losses, request)
    notes += said
    noise = Noise.pooled([_alike(group, losses, diverged) for group in cells.values()])
    sweeps = {}
    for label, group in cells.items():
        if len(group) < 2:
            notes.append(f"«{label}» has one learning rate only ({min(group):g}) and is left out.")
        elif not any(np.isfinite(losses[places]).all() for places in group.values()):
            notes.append(f"«{label}» diverged at every rate and is left out.")
        else:
            sweeps[label] = _sweep(table, group, losses, diverged, noise, request)
    if not sweeps:
        raise InputError(_too_few(table, cells, rates, request))
    notes += _gaps(sweeps)
    return Selection(sweeps, notes, noise)


def _where(table: Table, request: Request) -> Table:
    keep = list(range(len(table)))
    for name, value in request.where:
        texts = table.column(name)
        left = [place for place in keep if _same(texts[place], value)]
        if not left:
            known = sorted({texts[place] for place in keep}, key=_order)
            shown = ", ".join(one or "(empty)" for one in known[:8]) + (", …" if len(known) > 8 else "")
            raise InputError(f"{table.source}: no run with {name}={value}; {name} is one of {shown}")
        keep = left
    return table.rows(keep)


def _same(text: str, value: str) -> bool:
    try:
        return float(text) == float(value)
    except ValueError:
        return text.strip() == value.strip()


def _order(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _rates(table: Table, request: Request) -> Array:
    rates = table.numbers(request.rate)
    wrong = np.flatnonzero(~(rates > 0.0))
    if len(wrong):
        text = table.column(request.rate)[wrong[0]]
        raise InputError(
            f"{table.source}, {table.places[wrong[0]]}: {request.rate} is {text!r}, a learning rate must be above 0"
        )
    return np.array([float(f"{rate:.9g}") for rate in rates])


def _inside(rates: Array, request: Request) -> np.ndarray:
    if request.window is None:
        return np.ones(len(rates), dtype=bool)
    low, high = request.window
    return (rates >= low * (1.0 - 1e-6)) & (rates <= high * (1.0 + 1e-6))


def _cells(table: Table, rates: Array, request: Request) -> Cells:
    """Rows by group and rate."""
    columns = [table.column(name) for name in request.by]
    found: Cells = {}
    for place, rate in enumerate(rates.tolist()):
        values = [column[place].strip() or "(empty)" for column in columns]
        named = values if len(values) == 1 else [f"{name}={one}" for name, one in zip(request.by, values, strict=True)]
        found.setdefault(", ".join(named) or EVERYTHING, {}).setdefault(rate, []).append(place)
    return {label: dict(sorted(group.items())) for label, group in found.items()}


def _mixed(table: Table, rates: Array, cells: Cells, request: Request) -> list[str]:
    """Sentences about columns that vary without harm; every other one that varies inside a group is an error.

    A column is harmless inside a group if every run has its own value (an identifier, another measurement), if the learning rate
    determines its value (``min_lr`` as a tenth of the peak), or if somebody said so.

    Raises:
        InputError: another column varies inside a group.
    """
    told = {request.rate, request.loss, request.seed, *request.by, *(name for name, _ in request.where)}
    kinds: dict[str, list[str]] = {"own": [], "moving": [], "ignored": [], "between": []}
    mixed = {}
    for name, texts in table.columns.items():
        if name in told or len(set(texts)) == 1:
            continue
        inside = {label: _values(texts, group) for label, group in cells.items()}
        varying = [label for label, one in inside.items() if len(one) > 1]
        if not varying:
            kinds["between"].append(name)
        elif name in request.ignore:
            kinds["ignored"].append(name)
        elif len(set(texts)) == len(texts):
            kinds["own"].append(name)
        elif len({*zip(rates.tolist(), texts, strict=True)}) == len(set(rates.tolist())):
            kinds["moving"].append(name)
        else:
            mixed[name] = (varying[0], inside[varying[0]])
    if mixed:
        raise InputError(_refusal(table, mixed))
    sentences = {
        "between": "Differs between groups too, so that it may be what makes their difference",
        "own": "Not looked at, since every run has its own value",
        "moving": f"Moves with {request.rate}, and cannot be told apart from it",
        "ignored": "Varies inside groups and was declared not to matter",
    }
    return [f"{words}: {', '.join(kinds[kind])}." for kind, words in sentences.items() if kinds[kind]]


def _values(texts: Sequence[str], group: Mapping[float, list[int]]) -> list[str]:
    return sorted({texts[place] for places in group.values() for place in places}, key=_order)


def _refusal(table: Table, mixed: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    parts = []
    for name, (label, values) in mixed.items():
        shown = ", ".join(one or "(empty)" for one in values[:4]) + (", …" if len(values) > 4 else "")
        parts.append(f"{name} ({shown} in «{label}»)")
    seeds = next((one for one in mixed if "seed" in one.lower()), None)
    if seeds is not None:
        parts.append(f"if {seeds} is the seed, say --seed {seeds}")
    name, (_, values) = next(iter(mixed.items()))
    value = next((one for one in values if one), "VALUE")
    return (
        f"{table.source}: runs of one group differ in {'; '.join(parts)}. For each column say which to keep (--where {name}={value}), "
        f"split by it (--by {name}), or that it does not matter (--ignore {name})"
    )


def _repeats(table: Table, cells: Cells, request: Request) -> Iterator[str]:
    several = [
        (label, rate, places) for label, group in cells.items() for rate, places in group.items() if len(places) > 1
    ]
    if not several:
        yield "One run at each rate of each group: nothing is known of the noise between runs, and there are no intervals."
        return
    yield (
        f"Several runs at one rate of one group: in {len(several)} of {sum(map(len, cells.values()))} cases (up to "
        f"{max(len(one) for *_, one in several)} runs); means over them."
    )
    if request.seed is not None:
        seeds = table.column(request.seed)
        if any(len({seeds[place] for place in places}) < len(places) for *_, places in several):
            yield (
                f"Some runs at one rate share their {request.seed}: what differs between those is not the seed, and intervals that "
                "rest on them may be too narrow."
            )


def _clipped(table: Table, losses: Array, request: Request) -> tuple[Array, np.ndarray, list[str]]:
    """Losses with what diverged at the loss before training, or infinite where that is not known; which those are; and sentences.

    Raises:
        InputError: a loss lies below the least possible one.
    """
    diverged = ~np.isfinite(losses)
    below = np.flatnonzero(losses < (-np.inf if request.optimum is None else request.optimum))
    if len(below):
        where = f"{table.source}, {table.places[below[0]]}"
        raise InputError(
            f"{where}: {request.loss} is {losses[below[0]]:g}, below the least possible loss {request.optimum:g}"
        )
    said = list(_diverged(losses, diverged, request))
    if request.initial is None:
        return np.where(diverged, np.inf, losses), diverged, said
    diverged |= losses > request.initial
    return np.where(diverged, request.initial, losses), diverged, said


def _diverged(losses: Array, diverged: np.ndarray, request: Request) -> Iterator[str]:
    count = int(diverged.sum())
    if request.initial is None:
        absurd = int((losses > _ABSURD * np.nanmedian(losses)).sum()) if count < len(losses) else 0
        if absurd:
            yield (
                f"{_runs(absurd)} ended with more than {_ABSURD:g} times the median loss: if these diverged, give the loss before training."
            )
        if count:
            yield (
                f"{_runs(count)} diverged (no finite loss): their rates count as useless. With the loss before training they would count "
                "as untrained, and a mean over the window would be defined."
            )
        return
    above = int((losses > request.initial).sum())
    if count or above:
        yield (
            f"{_runs(count)} diverged (no finite loss), and {_runs(above)} ended above the loss before training, {request.initial:g}: counted as that loss."
        )


def _alike(group: Mapping[float, list[int]], losses: Array, diverged: np.ndarray) -> list[Array]:
    """The losses at each rate, infinite where one diverged, so that noise is not taken from there."""
    return [np.where(diverged[places].any(), np.inf, np.sort(losses[places])) for places in group.values()]


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count or 'no'} runs"


def _sweep(
    table: Table,
    group: Mapping[float, list[int]],
    losses: Array,
    diverged: np.ndarray,
    noise: Noise | None,
    request: Request,
) -> RecordedSweep:
    places = list(group.values())
    return RecordedSweep(
        rates=np.array(list(group)),
        # Sorted, so that the last bit does not depend on the order of the rows.
        losses=np.array([np.sort(losses[one]).mean() for one in places]),
        counts=np.array([len(one) for one in places]),
        diverged=np.array([diverged[one].mean() for one in places]),
        paired=_paired(table, places, losses, request),
        noise=noise,
        optimum=request.optimum,
        initial=request.initial,
    )


def _paired(table: Table, places: Sequence[list[int]], losses: Array, request: Request) -> Array | None:
    if request.seed is None:
        return None
    seeds = table.column(request.seed)
    by_seed = [{seeds[place]: losses[place] for place in one} for one in places]
    names = sorted(by_seed[0])
    complete = all(sorted(one) == names and len(one) == len(rows) for one, rows in zip(by_seed, places, strict=True))
    return np.array([[one[name] for one in by_seed] for name in names]) if complete and len(names) > 1 else None


def _gaps(sweeps: Mapping[str, RecordedSweep]) -> list[str]:
    """Which rates some groups lack."""
    everywhere = sorted({rate for sweep in sweeps.values() for rate in sweep.rates.tolist()})
    lacking: dict[tuple[float, ...], list[str]] = {}
    for label, sweep in sweeps.items():
        missing = tuple(rate for rate in everywhere if rate not in sweep.rates.tolist())
        lacking.setdefault(missing, []).append(label)
    return [
        f"No run at {_rates_in_words(missing)} in {quoted(labels)}." for missing, labels in lacking.items() if missing
    ]


def _rates_in_words(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates[:6]) + (", …" if len(rates) > 6 else "")


def quoted(labels: Sequence[str]) -> str:
    """Some labels in a sentence, not all of them if there are many."""
    marked = [f"«{one}»" for one in labels]
    return ", ".join(marked) if len(marked) <= 4 else f"{', '.join(marked[:3])} and {len(marked) - 3} other groups"


def _too_few(table: Table, cells: Cells, rates: Array, request: Request) -> str:
    distinct = sorted(set(rates.tolist()))
    if len(distinct) == 1:
        return f"{table.source}: there is one learning rate only ({request.rate} = {distinct[0]:g}); it takes two to say anything"
    if all(len(group) == 1 for group in cells.values()):
        return f"{table.source}: no group has two learning rates; group by fewer columns than {', '.join(request.by)}"
    return f"{table.source}: every group diverged, or has one learning rate only"
