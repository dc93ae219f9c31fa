"""Figures of an experiment on the ends of schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from adaptive_lr.drawing import plain
from adaptive_lr.reporting.tail_prose import title


def overview(experiment: Mapping[str, Any]) -> Figure:
    """Measured against predicted slopes, one panel a study."""
    studies = {name: study for name, study in experiment["studies"].items() if study["agreement"] is not None}
    columns = min(3, max(1, len(studies)))
    count = -(-max(1, len(studies)) // columns)
    figure = Figure(figsize=(11.5, 3.4 * count), layout="constrained")
    panels = np.atleast_1d(figure.subplots(count, columns, squeeze=False)).ravel()
    for axes, study in zip(panels, studies.values(), strict=False):
        for label, row in study["schedules"].items():
            if row["slope"] is None:
                continue
            value, low, high = (row["slope"][key] for key in ("value", "low", "high"))
            colour = "#1f6fd0" if label.startswith("cosine") else "#e07b1a"
            axes.plot([row["predicted"]] * 2, [low, high], color=colour, linewidth=1.2)
            axes.plot(row["predicted"], value, "o", color=colour, markersize=5)
            axes.annotate(
                plain(label), (row["predicted"], value), fontsize=6.5, xytext=(4, 3), textcoords="offset points"
            )
        axes.plot([0.04, 0.6], [0.04, 0.6], color="#999999", linestyle=":", linewidth=1.2)
        axes.set_title(plain(title(study)), fontsize=8)
        _tidy(axes)
    for axes in panels[len(studies) :]:
        axes.set_visible(False)
    figure.supxlabel("predicted slope, 1/(2p+1); dotted: measured as predicted", fontsize=8)
    figure.supylabel("measured slope of log excess against log rate", fontsize=8)
    return figure


def study(numbers: Mapping[str, Any]) -> Figure:
    """Excess loss against the rate in units of each schedule's best, coloured by the end of the schedule."""
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    axes = figure.subplots()
    tails = sorted({row["p"] for row in numbers["schedules"].values()})
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, len(tails)))
    rates = np.asarray(numbers["rates"])
    for label, row in numbers["schedules"].items():
        colour = shades[tails.index(row["p"])]
        style = "-" if label.startswith("cosine") else (0, (4, 1.5))
        axes.plot(
            rates / row["best_rate"],
            row["curve"]["mean"],
            color=colour,
            linestyle=style,
            label=f"{plain(label)} (p = {row['p']:g})",
        )
    axes.axhline(numbers["initial"], color="#bbbbbb", linewidth=0.8)
    axes.set(
        xscale="log", yscale="log", xlabel="rate, × the schedule's own best", ylabel="excess loss", xlim=(1e-2, 3e3)
    )
    _tidy(axes)
    figure.legend(loc="outside right center", fontsize=7.5, frameon=False)
    return figure


def _tidy(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
