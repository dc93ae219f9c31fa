"""Figures of recorded runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adaptive_lr.drawing import plain
from adaptive_lr.reporting.recorded_prose import words

COLOURS = (
    "#111111", "#1f6fd0", "#e07b1a", "#3c8d40", "#7b5ad6", "#c0508a", "#0fa3b1", "#b9a44c", "#b42318", "#5aa9e6", "#86b817", "#8a8a8a",
)  # fmt: skip
STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
_SHOWN = 20.0
"""How far above the lowest loss the axis goes, in units of the median excess."""


def study(numbers: Mapping[str, Any]) -> Figure:
    """Loss against learning rate, and regret against grid resolution, of all groups."""
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = []
    for index, (label, row) in enumerate(numbers["groups"].items()):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": STYLES[index // len(COLOURS) % len(STYLES)],
            "linewidth": 1.5,
        }
        lines.append(_curve(left, row, style))
        grid = (numbers["common"]["groups"][label] if numbers["common"] else row)["grid"]
        right.plot(grid["ratios"], [np.nan if regret is None else regret for regret in grid["regret"]], **style)
    _limit(left, numbers)
    wording = words(numbers)
    left.set(xscale="log", xlabel=plain(numbers["rate"]), ylabel=plain(numbers["loss"]))
    shared = ", rates in common" if numbers["common"] else ""
    right.set(
        xscale="log",
        xlabel="grid ratio: neighbouring learning rates differ by this factor",
        ylabel=f"regret: {wording.level} {wording.worse} own {wording.best}{shared}",
    )
    low, high = right.get_xlim()
    steps = (1.5, 2, 3, 5, 10, 20, 50, 100) if high < 60.0 else (2, 5, 10, 30, 100, 300, 1000)
    ticks = [tick for tick in steps if low <= tick <= high]
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.minorticks_off()
    for axes in (left, right):
        axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    labels = [plain(label) for label in numbers["groups"]]
    if len(labels) > _NAMED:
        lines, labels = lines[:_NAMED], [*labels[: _NAMED - 1], f"… and {len(labels) - _NAMED + 1} more"]
    # A label that begins with an underscore would be left out if the legend took it from the line.
    figure.legend(lines, labels, loc="outside right center", fontsize=8, frameon=False)
    return figure


_NAMED = 36


def _curve(axes: Axes, row: Mapping[str, Any], style: Mapping[str, Any]) -> Line2D:
    mean, low, high = (
        np.array([np.nan if value is None else value for value in row["curve"][end]]) for end in ("mean", "low", "high")
    )
    (line,) = axes.plot(row["rates"], mean, marker="o", markersize=3, **style)
    axes.fill_between(row["rates"], low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.plot([row["best_rate"]], [row["best"]["value"]], "o", color=style["color"], markersize=6)
    return line


def _limit(axes: Axes, numbers: Mapping[str, Any]) -> None:
    """The axis of the means, whatever their bands reach; what is far worse than the rest is cut off, and marked with an arrow."""
    sign = -1.0 if numbers["direction"] == "maximize" else 1.0
    points = [
        (rate, sign * loss)
        for row in numbers["groups"].values()
        for rate, loss in zip(row["rates"], row["curve"]["mean"], strict=True)
        if loss is not None
    ]
    losses = np.array([loss for _, loss in points])
    least = losses.min()
    top = least + _SHOWN * max(float(np.median(losses - least)), 1e-12)
    top = float(losses.max()) if losses.max() <= top else max(top, float(losses[losses <= top].max()))
    if top == least:
        return
    margin = 0.05 * (top - least)
    axes.set_ylim(*sorted((sign * (least - margin), sign * (top + margin))))
    for rate, loss in sorted(points):  # of several at one rate the worst, or they would lie over one another
        if loss > top and loss == max(other for at, other in points if at == rate):
            text = f"{'↓' if sign < 0 else '↑'} {sign * loss:.3g}"
            axes.annotate(text, (rate, sign * top), fontsize=7, color="#667085", ha="center", va="bottom")
