"""Figures of an analysed experiment on grids, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptive_lr.analysis.robustness import RATIOS
from adaptive_lr.drawing import plain

SHADES = {
    "fixed": ("#111111",),
    "stepwise": ("#b34700", "#e07b1a", "#f2b35c"),
    "damped cosine": ("#0b3c8c", "#5aa9e6", "#1f6fd0", "#0fa3b1", "#7b5ad6", "#a48be0"),
    "other": ("#3c8d40", "#86b817", "#8a8a8a", "#c0508a", "#b9a44c"),
}
"""Colours by group, in the order in which the schedules of a group are declared."""

OVERVIEW: dict[str, dict[str, Any]] = {
    "fixed": {"color": "#111111", "linestyle": "-"},
    "stepwise": {"color": "#e07b1a", "linestyle": (0, (5, 1.5))},
    "damped cosine": {"color": "#1f6fd0", "linestyle": "-"},
}
"""Looks of usual groups in the overview."""

REFERENCE = {"color": "#0b3c8c", "linestyle": (0, (1.5, 1.5))}

OTHERS = ("#3c8d40", "#c0508a", "#7b5ad6", "#0fa3b1", "#86b817", "#b3261e")
"""Colours of any other group, in the order in which they are declared."""

STYLES = {"fixed": "-", "stepwise": (0, (5, 1.5)), "damped cosine": "-", "other": (0, (1.5, 1.5))}


def colours(groups: Mapping[str, str]) -> dict[str, str]:
    """A colour for each label, from its group."""
    used: dict[str, int] = {}
    paint = {}
    for label, group in groups.items():
        key = group if group in SHADES else "other"  # groups of other names take turns in one palette
        paint[label] = SHADES[key][used.get(key, 0) % len(SHADES[key])]
        used[key] = used.get(key, 0) + 1
    return paint


def study_figure(study: Mapping[str, Any]) -> Figure:
    """Loss against learning rate, and cost against grid resolution, of all schedules in a study."""
    rows = study["schedules"]
    groups = {label: row["group"] for label, row in rows.items()}
    paint = colours(groups)
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, row in rows.items():
        style = {"color": paint[label], "linestyle": STYLES.get(row["group"], "-"), "linewidth": 1.5}
        _loss_curve(left, study["rates"], row, label, style)
        _cost_curve(right, row["resolution"], style)
    left.set(xscale="log", yscale="log", xlabel="base learning rate", ylabel=plain(metric_title(study)))
    left.axhline(_untrained(study), color="#bbbbbb", linewidth=0.8, zorder=0)
    left.annotate("before training", (study["rates"][0], _untrained(study)), fontsize=7, color="#888888", va="bottom")
    right.set(
        xscale="log",
        xlabel="grid ratio: neighbouring learning rates differ by this factor",
        ylabel=f"cost, % above the tuned {plain(study['reference'])} (mean over offsets)",
    )
    _cost_axes(right)
    for axes in (left, right):
        axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def overview_figure(studies: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Cost against grid resolution, one small panel a study: the schedule chosen in each group, and the reference."""
    columns = 3
    count = -(-len(studies) // columns)
    figure = Figure(figsize=(11.5, 2.6 * count + 0.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(count, columns, sharex=True, squeeze=False)).ravel()
    for axes, study in zip(panels, studies.values(), strict=False):
        for index, (group, label) in enumerate(study["answer"]["chosen"].items()):
            look = OVERVIEW.get(group) or {"color": OTHERS[index % len(OTHERS)], "linestyle": "-"}
            style = {**look, "linewidth": 1.6, "label": group if group == "fixed" else plain(f"{group}, chosen")}
            _cost_curve(axes, study["schedules"][label]["resolution"], style)
        style = {**REFERENCE, "linewidth": 1.6, "label": plain(f"plain {study['reference']}")}
        _cost_curve(axes, study["schedules"][study["reference"]]["resolution"], style)
        axes.set_title(plain(study["label"] + (", AdamW" if study["optimizer"] == "adamw" else "")), fontsize=8)
        axes.set(xscale="log")
        _cost_axes(axes)
        axes.tick_params(labelsize=7)
        axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(studies) :]:
        axes.set_visible(False)
    figure.supxlabel("grid ratio: neighbouring learning rates differ by this factor", fontsize=8)
    reference = plain(next(iter(studies.values()))["reference"])
    figure.supylabel(f"cost, % above the tuned {reference} (linear to 30, then logarithmic)", fontsize=8)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return figure


def metric_title(study: Mapping[str, Any]) -> str:
    """What the losses of a study are, in words."""
    if study["optimum_known"]:
        return "excess loss over the optimum"
    return str(study["metric"]).replace("_", " ").replace("error", "error rate")


def _loss_curve(
    axes: Axes, rates: Sequence[float], row: Mapping[str, Any], label: str, style: Mapping[str, Any]
) -> None:
    curve = row["curve"]
    axes.plot(rates, curve["mean"], label=plain(label), **style)
    axes.fill_between(rates, curve["low"], curve["high"], color=style["color"], alpha=0.12, linewidth=0)
    axes.plot([row["best_rate"]], [row["best"]["value"]], "o", color=style["color"], markersize=4)


def _cost_curve(axes: Axes, resolution: Mapping[str, Any], style: Mapping[str, Any]) -> None:
    ratios = list(RATIOS.values())
    cells = [resolution[label]["cost_mean"] for label in RATIOS]
    values = [100.0 * cell["value"] for cell in cells]
    axes.plot(ratios, values, marker="o", markersize=3.5, **style)
    low, high = ([100.0 * cell[end] for cell in cells] for end in ("low", "high"))
    axes.fill_between(ratios, low, high, color=style["color"], alpha=0.10, linewidth=0)


def _cost_axes(axes: Axes) -> None:
    axes.set_xticks([10 ** (1 / 3), 10**0.5, 10.0, 100.0], ["2.2", "3.2", "10", "100"], minor=False)
    axes.minorticks_off()
    axes.set_yscale("symlog", linthresh=30.0)
    low, high = axes.get_ylim()
    ticks = [-30, -10, 0, 10, 20, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(shown, [str(tick) for tick in shown])
    axes.minorticks_off()


def _untrained(study: Mapping[str, Any]) -> float:
    return float(study["initial"])
