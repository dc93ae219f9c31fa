"""Figures of an experiment on starting rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from adaptive_lr.analysis.any_rate import beyond as limits
from adaptive_lr.drawing import plain
from adaptive_lr.reporting.prose import study_title
from adaptive_lr.reporting.rate_prose import area_title, grouped

PALETTE = (
    "#0b3c8c", "#e07b1a", "#3c8d40", "#b3261e", "#7b5ad6", "#0fa3b1", "#c0508a", "#86b817", "#8a5a2b", "#5aa9e6", "#555555", "#d4a017",
)  # fmt: skip
"""Colours of the contestants that are no plain schedules, in the order of their declaration."""

STARTS = ("#5aa9e6", "#0b3c8c", "#e07b1a")
"""Colours of the lowest, the middle and the highest start."""

SHOWN_READINGS = 3

SCALE = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Ticks of a map of worst starts, in units of the limit; 20 times a lost share of 5 % is all that training gains."""


def overview(experiment: Mapping[str, Any]) -> Figure:
    """Every study by itself, or a map where several are counted together."""
    return table(experiment) if grouped(experiment) else panels(experiment)


def table(experiment: Mapping[str, Any]) -> Figure:
    """The worst start in units of the limit of what is close, contestants by studies; studies in the order of area, horizon, task."""
    studies = dict(sorted(experiment["studies"].items(), key=lambda item: _place(item[1], experiment)))
    labels = [label for label in experiment["contestants"] if label in experiment["overall"]]
    beyond = np.full((len(labels), len(studies)), np.nan)
    for column, study in enumerate(studies.values()):
        for row, label in enumerate(labels):
            if label in study["contestants"]:
                beyond[row, column] = limits(study["contestants"][label])
    figure = Figure(figsize=(11.5, 1.6 + 0.17 * len(labels)), layout="constrained")
    axes = figure.subplots()
    shown = np.log2(np.clip(beyond, SCALE[0], SCALE[-1]))
    norm = TwoSlopeNorm(0.0, float(np.log2(SCALE[0])), float(np.log2(SCALE[-1])))
    image = axes.imshow(shown, aspect="auto", cmap="RdBu_r", norm=norm)
    axes.set_facecolor("#eeeeee")
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels], fontsize=6)
    cells = [(study["area"], study["factor"]) for study in studies.values()]
    begins = [index for index, cell in enumerate(cells) if index == 0 or cell != cells[index - 1]]
    for index in begins[1:]:
        new = cells[index][0] != cells[index - 1][0]
        axes.axvline(index - 0.5, color="#111111" if new else "#888888", linewidth=1.2 if new else 0.5)
    middles = [(begin + end - 1) / 2 for begin, end in zip(begins, [*begins[1:], len(cells)], strict=True)]
    titles = [area_title({"area": cells[begin][0], "factor": cells[begin][1]}) for begin in begins]
    axes.set_xticks(middles, titles, rotation=45, ha="right", fontsize=6)
    groups = [experiment["overall"][label]["group"] for label in labels]
    for row in range(1, len(labels)):
        if groups[row] != groups[row - 1]:
            axes.axhline(row - 0.5, color="#888888", linewidth=0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01, extend="both")
    bar.set_ticks([float(np.log2(tick)) for tick in SCALE], labels=[f"{tick:g}" for tick in SCALE])
    bar.ax.tick_params(labelsize=6)
    bar.set_label("worst start, × the limit", fontsize=6)
    return figure


def _place(study: Mapping[str, Any], experiment: Mapping[str, Any]) -> tuple[int, float]:
    areas = list(dict.fromkeys(other["area"] for other in experiment["studies"].values()))
    return areas.index(study["area"]), float(study["factor"])


def panels(experiment: Mapping[str, Any]) -> Figure:
    """Loss in units of the oracle's against the starting rate: one panel a study, one line a contestant."""
    studies, columns = experiment["studies"], 3
    count = -(-len(studies) // columns)
    figure = Figure(figsize=(11.5, 2.7 * count + 0.6), layout="constrained")
    parts = np.atleast_1d(figure.subplots(count, columns, squeeze=False)).ravel()
    looks = _looks(experiment)
    for axes, study in zip(parts, studies.values(), strict=False):
        for label, row in study["contestants"].items():
            if not row["relative"]:
                curve = row["curve"]
                heights = np.maximum(_relative(curve["mean"], study), 1e-3)
                axes.plot(curve["rates"], heights, label=plain(label), **looks[label])
        axes.axhline(1.0, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set(xscale="log", yscale="log")
        axes.yaxis.set_major_formatter(_plain)
        if np.ptp(np.log10(axes.get_ylim())) < 1.0:
            axes.yaxis.set_minor_formatter(_plain)
            axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.set_title(plain(study_title(study)), fontsize=8)
        _tidy(axes)
    for axes in parts[len(studies) :]:
        axes.set_visible(False)
    figure.supxlabel("starting rate", fontsize=8)
    figure.supylabel("final loss, × the oracle-tuned " + plain(experiment["reference"]), fontsize=8)
    names: dict[str, Any] = {}
    for axes in parts[: len(studies)]:
        names |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(list(names.values()), list(names), loc="outside upper center", ncols=5, fontsize=7, frameon=False)
    return figure


def trace(starts: Mapping[str, Mapping[str, Any]], cosine: Mapping[str, float] | None) -> Figure:
    """What a controller did in one study: the rate, and the numbers that it decided by.

    Args:
        starts: of each starting rate that is shown the curves, by name.
        cosine: ``rate`` and ``steps`` of the cosine that an oracle tuned, to compare with.
    """
    first = next(iter(starts.values()))
    readings = [key for key in first if key not in ("step", "rate")][:SHOWN_READINGS]
    figure = Figure(figsize=(12.5, 2.5))  # a constrained layout would take most of the time of a report
    panels = np.atleast_1d(figure.subplots(1, 1 + len(readings), squeeze=False)).ravel()
    figure.subplots_adjust(left=0.055, right=0.995, bottom=0.2, top=0.97, wspace=0.28)
    for colour, (start, curves) in zip(STARTS, starts.items(), strict=False):
        steps = np.asarray(curves["step"], dtype=float)
        for axes, key in zip(panels, ("rate", *readings), strict=True):
            values = np.array([np.nan if value is None else value for value in curves[key]])
            shown = np.where(values > 0.0, values, np.nan) if key == "rate" else values
            axes.plot(steps + 1, shown, color=colour, linewidth=1.3, label=f"from {start}")
    if cosine is not None:
        u = np.arange(cosine["steps"]) / cosine["steps"]
        rates = cosine["rate"] * (1 + np.cos(np.pi * u)) / 2
        panels[0].plot(u * cosine["steps"] + 1, rates, color="#888888", linestyle=":", linewidth=1.2)
    panels[0].set(yscale="log", xscale="log", xlabel="step", ylabel="learning rate")
    panels[0].legend(fontsize=7, frameon=False)
    for axes, key in zip(panels[1:], readings, strict=True):
        axes.set(
            xscale="log",
            xlabel="step",
            ylabel=plain(key.replace("_", " ")),
            yscale="log" if key == "edge" else "linear",
        )
    for axes in panels:
        _tidy(axes)
        for axis in (axes.xaxis, axes.yaxis):
            _without_minor_ticks(axis)
    return figure


def _without_minor_ticks(axis: Axis) -> None:
    """On a logarithmic axis of a decade or more: with them and powers of ten set as formulas a figure takes three times as long."""
    if axis.get_scale() == "log" and np.ptp(np.log10(axis.get_view_interval())) >= 1.0:
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(_plain)


def _plain(value: float, _: float | None = None) -> str:
    return f"{value:g}"


def _relative(values: list[float], study: Mapping[str, Any]) -> np.ndarray:
    relative: np.ndarray = np.asarray(values) / max(float(study["oracle"]["loss"]), 1e-300)
    return relative


def _looks(experiment: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Plain schedules thin and grey but the reference, which is black; the judged contestant thick."""
    looks: dict[str, dict[str, Any]] = {}
    greys = ["#999999", "#b5b5b5", "#777777", "#c9b99a"]
    coloured = 0
    for label, about in experiment["contestants"].items():
        if label == experiment["reference"]:
            looks[label] = {"color": "#111111", "linewidth": 1.3}
        elif about["controller"] is None and about["optimizer"] is None:
            looks[label] = {"color": greys[len(looks) % len(greys)], "linewidth": 0.9, "linestyle": (0, (4, 1.5))}
        else:
            colour = PALETTE[coloured % len(PALETTE)]
            dashes = "-" if coloured < len(PALETTE) else (0, (2, 1))
            coloured += 1
            looks[label] = {
                "color": colour,
                "linewidth": 2.4 if label == experiment["judged"] else 1.1,
                "linestyle": dashes,
            }
    return looks


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
