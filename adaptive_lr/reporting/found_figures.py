"""Figures of what a search found: how it went, what each name does, and what is given up for what."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adaptive_lr.drawing import plain
from adaptive_lr.search import SearchResult, TrialRecord
from adaptive_lr.search.space import Axis

Array = npt.NDArray[np.float64]

LARGEST = 1e100
"""What is beyond it is left out of the figures, as infinity is; the limits of an axis would overflow."""

RASTERISED = 2000
"""From so many trials on, points are drawn as an image."""

PANELS = 18
"""So many names have a slice."""

BLUE, GREY, RED, ORANGE = "#1f6fd0", "#98a2b3", "#b42318", "#e07b1a"


def drawable(result: SearchResult, objective: int, state: str = "complete") -> list[TrialRecord]:
    """The trials that have a place in a figure of that objective."""
    return [trial for trial in result.trials if trial.state == state and _placed(trial, objective)]


def history(result: SearchResult, objective: int) -> Figure:
    """The value of every trial against its number, and the best one so far."""
    figure, axes = _plain(11.5, 3.9)
    complete, pruned = drawable(result, objective), drawable(result, objective, "pruned")
    numbers, values = [trial.number for trial in complete], _values(complete, objective)
    axes.plot(numbers, values, "o", color=BLUE, markersize=4.5, alpha=0.65, label="complete", **_raster(complete))
    better = np.minimum if result.directions[objective] == "minimize" else np.maximum
    if complete:
        last = max(trial.number for trial in result.trials)
        best = better.accumulate(values)
        axes.plot(
            [*numbers, last], [*best, best[-1]], color=ORANGE, linewidth=1.8, drawstyle="steps-post", label="best"
        )
    if pruned:
        ended = [trial.number for trial in pruned], _values(pruned, objective)
        axes.plot(*ended, "v", color=GREY, markersize=4, label="ended early", **_raster(pruned))
    shown = {trial.number for trial in (*complete, *pruned)}
    missing = [trial.number for trial in result.trials if trial.number not in shown]
    if missing:
        bottom = axes.get_xaxis_transform()
        axes.plot(
            missing, [0.02] * len(missing), "x", color=RED, markersize=5, transform=bottom, label="no finite value"
        )
    axes.set(xlabel="trial", ylabel="value")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _value_axis(axes, [*values, *_values(pruned, objective)])
    if result.trials:
        figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return figure


def slices(result: SearchResult, objective: int, names: Sequence[str]) -> Figure:
    """The value against each name; the colour is the number of the trial."""
    columns = min(3, len(names))
    count = -(-len(names) // columns)
    figure = Figure(figsize=(11.5 if columns > 1 else 7.0, 3.0 * count + 0.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(count, columns, sharey=True, squeeze=False)).ravel()
    complete, pruned = drawable(result, objective), drawable(result, objective, "pruned")
    values = _values(complete, objective)
    winner = _winner(result, complete, values, objective)
    dots: Any = None
    for axes, name in zip(panels, names, strict=False):
        axis = result.space.axes[name]
        axes.plot(
            _positions(axis, name, pruned), _values(pruned, objective), "v", color=GREY, markersize=3, **_raster(pruned)
        )
        positions = _positions(axis, name, complete)
        numbers = [trial.number for trial in complete]
        dots = axes.scatter(positions, values, c=numbers, cmap="viridis", s=20, linewidths=0, **_raster(complete))
        _ring(axes, positions[winner], values[winner])
        _name_axis(axes, axis, name)
        _tidy(axes)
    for index, axes in enumerate(panels):
        axes.set_visible(index < len(names))
        if index % columns == 0:
            axes.set_ylabel("value")
    _value_axis(panels[0], [*values, *_values(pruned, objective)])
    bar = figure.colorbar(dots, ax=panels.tolist(), shrink=0.8, aspect=30)
    bar.set_label("trial", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def contour(result: SearchResult, objective: int, names: tuple[str, str]) -> Figure:
    """The value over the plane of two names: a local mean, and the trials it is made of."""
    figure, axes = _plain(7.6, 5.0)
    complete = drawable(result, objective)
    values = _values(complete, objective)
    log = _is_log(values)
    heights = np.log10(values) if log else values
    points = np.stack([_unit(result.space.axes[name], name, complete) for name in names], axis=1)
    sides = np.linspace(0.0, 1.0, 81)
    mesh = np.stack(np.meshgrid(sides, sides), axis=-1).reshape(-1, 2)
    surface = _smooth(points, heights, mesh).reshape(81, 81)
    minimize = result.directions[objective] == "minimize"
    # A few bad trials would take all of the colours: beyond the worst tenth there is only one.
    low, high = np.quantile(heights, [0.0, 0.9] if minimize else [0.1, 1.0])
    high = high if high > low else low + max(abs(low), 1.0) * 1e-9
    colours: Any = {"cmap": "Blues_r" if minimize else "Blues", "vmin": low, "vmax": high}
    across, up = (_from_unit(result.space.axes[name], sides) for name in names)
    axes.contourf(
        across, up, np.ma.masked_invalid(surface), levels=np.linspace(low, high, 13), extend="both", **colours
    )
    horizontal, vertical = (_positions(result.space.axes[name], name, complete) for name in names)
    dots = axes.scatter(horizontal, vertical, c=heights, s=26, edgecolors="#344054", linewidths=0.7, **colours)
    winner = _winner(result, complete, values, objective)
    _ring(axes, horizontal[winner], vertical[winner])
    _name_axis(axes, result.space.axes[names[0]], names[0])
    _name_axis(axes, result.space.axes[names[1]], names[1], vertical=True)
    bar = figure.colorbar(dots, ax=axes, extend="max" if minimize else "min")
    bar.set_label("log10 of the value" if log else "value", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def importance(shares: dict[str, float]) -> Figure:
    """A bar for each name."""
    figure, axes = _plain(7.6, 0.7 + 0.32 * len(shares))
    names = [_text(name, 40) for name in shares]
    positions = range(len(names))
    bars = axes.barh(positions, list(shares.values()), color=BLUE, height=0.62)
    axes.bar_label(bars, labels=[f"{share:.2f}" for share in shares.values()], padding=3, fontsize=8)
    axes.set_yticks(positions, names)
    axes.set(xlabel="importance", xlim=(0.0, 1.12 * max(*shares.values(), 1e-9)), ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    return figure


def front(result: SearchResult, best: Sequence[TrialRecord]) -> Figure | None:
    """Each objective against each other one; the trials of the front are marked. None if there is nothing to show."""
    objectives = range(len(result.directions))
    shown = [
        trial
        for trial in result.trials
        if trial.state == "complete" and all(_placed(trial, objective) for objective in objectives)
    ]
    chosen = [trial for trial in best if trial in shown]
    if not shown:
        return None
    pairs = list(itertools.combinations(objectives, 2))[:6]
    columns = min(3, len(pairs))
    count = -(-len(pairs) // columns)
    figure = Figure(figsize=((7.6, 5.0) if columns == 1 else (11.5, 3.6 * count)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(count, columns, squeeze=False)).ravel()
    for axes, pair in zip(panels, pairs, strict=False):
        (x, y), (x_best, y_best) = ([_values(some, objective) for objective in pair] for some in (shown, chosen))
        axes.plot(x, y, "o", color=GREY, markersize=4, alpha=0.6, label="complete", **_raster(shown))
        order = np.argsort(x_best)
        line = "-" if len(objectives) == 2 else ""
        style = {"color": ORANGE, "linewidth": 1.2, "markersize": 5.5, "drawstyle": _step(result)}
        axes.plot(x_best[order], y_best[order], marker="o", linestyle=line, label="Pareto front", **style)
        for values, objective, set_label in ((x, pair[0], axes.set_xlabel), (y, pair[1], axes.set_ylabel)):
            set_label(f"objective {objective + 1} ({result.directions[objective]})")
            if _is_log(values):
                (axes.set_xscale if objective == pair[0] else axes.set_yscale)("log")
        _tidy(axes)
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=8, frameon=False)
    return figure


def _step(result: SearchResult) -> str:
    """How the border of what is beaten runs between two points of the front: as either of them is, never better."""
    return "steps-post" if result.directions[0] == "minimize" else "steps-pre"


def _plain(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8)


def _placed(trial: TrialRecord, objective: int) -> bool:
    return len(trial.values) > objective and abs(trial.values[objective]) < LARGEST  # not of NaN


def _values(trials: Sequence[TrialRecord], objective: int) -> Array:
    return np.array([trial.values[objective] for trial in trials], dtype=float)


def _raster(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    return {"rasterized": len(trials) > RASTERISED}


def _is_log(values: Sequence[float] | Array) -> bool:
    """Whether they are positive and span more than a decade."""
    return len(values) > 0 and min(values) > 1.0 / LARGEST and max(values) > 10.0 * min(values)


def _value_axis(axes: Axes, values: Sequence[float]) -> None:
    if _is_log(values):
        axes.set_yscale("log")


def _winner(result: SearchResult, trials: Sequence[TrialRecord], values: Array, objective: int) -> slice:
    """Where the best trial stands, as a slice that is empty without trials."""
    if not trials:
        return slice(0)
    best = int(values.argmin() if result.directions[objective] == "minimize" else values.argmax())
    return slice(best, best + 1)


def _ring(axes: Axes, x: Array, y: Array) -> None:
    axes.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.8)


def _positions(axis: Axis, name: str, trials: Sequence[TrialRecord]) -> Array:
    """Where the trials stand on the axis; choices have the places 0, 1, …, each a strip that trials are spread over."""
    if not axis.choices:
        return np.array([trial.point[name] for trial in trials], dtype=float)
    spread = [0.5 * ((trial.number * 0.6180339887498949) % 1.0 - 0.5) for trial in trials]
    chosen = [axis.choices.index(trial.point[name]) for trial in trials]
    return np.array([choice + aside for choice, aside in zip(chosen, spread, strict=True)], dtype=float)


def _unit(axis: Axis, name: str, trials: Sequence[TrialRecord]) -> Array:
    values, ends = _positions(axis, name, trials), np.array([axis.low, axis.high])
    if axis.log:
        values, ends = np.log(values), np.log(ends)
    return np.asarray((values - ends[0]) / (ends[1] - ends[0]), dtype=float)


def _from_unit(axis: Axis, unit: Array) -> Array:
    if axis.log:
        low, high = math.log(axis.low), math.log(axis.high)
        return np.asarray(np.exp(np.clip(low + (high - low) * unit, -690.0, 690.0)), dtype=float)
    return np.asarray(axis.low + (axis.high - axis.low) * unit, dtype=float)


def _name_axis(axes: Axes, axis: Axis, name: str, *, vertical: bool = False) -> None:
    """Label the axis of a name, over all of its range."""
    drawn: Any = axes.yaxis if vertical else axes.xaxis
    (axes.set_ylabel if vertical else axes.set_xlabel)(_text(name, 40))
    if axis.choices:
        labels, many = [_text(str(choice), 16) for choice in axis.choices], len(axis.choices) > 4
        drawn.set_ticks(range(len(labels)), labels, fontsize=7 if many else 8, rotation=90 if many else 0)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        return
    if axis.log:
        (axes.set_yscale if vertical else axes.set_xscale)("log")
    edge = _from_unit(axis, np.array([-0.04, 1.04]))
    (axes.set_ylim if vertical else axes.set_xlim)(edge[0], edge[1])


def _text(text: str, longest: int) -> str:
    """A name as a label."""
    return plain(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _smooth(points: Array, heights: Array, positions: Array) -> Array:
    """The mean of the trials around each place, the near ones counting more; NaN where none is near.

    (1) linear between neighbours  (2) thin plates  (3) a weighted mean. We do (3): the other names differ between
    neighbours, of which (1) makes splinters, and (2) overshoots what was ever measured.
    """
    thinned = slice(None, None, -(-len(points) // 1000))  # the square of their number is held in memory
    points, heights = points[thinned], heights[thinned]
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    errors = {}
    for width in (0.04, 0.06, 0.09, 0.13, 0.2):
        weights = np.exp(-squares / (2.0 * width**2)) + 1e-12
        np.fill_diagonal(weights, 0.0)  # each trial is predicted from the others
        errors[width] = float(np.mean((weights @ heights / weights.sum(1) - heights) ** 2))
    width = min(errors, key=errors.__getitem__)
    away = ((positions[:, None] - points[None]) ** 2).sum(-1)
    weights = np.exp(-(away - away.min(1, keepdims=True)) / (2.0 * width**2))
    smoothed = weights @ heights / weights.sum(1)
    return np.where(away.min(1) < max(3.0 * width, 0.2) ** 2, smoothed, np.nan)
