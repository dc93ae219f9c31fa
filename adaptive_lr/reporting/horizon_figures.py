"""Figures of an experiment on horizons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from adaptive_lr.drawing import plain
from adaptive_lr.reporting.horizon_prose import cells, horizon, metric, scaled, unit, warmup, warmups

COLOURS = ("#111111", "#0b3c8c", "#e07b1a", "#3c8d40", "#c0508a", "#0fa3b1", "#7b5ad6", "#86b817")
"""In the order in which the schedules are declared."""

MARKERS = ("s", "o", "^", "D", "v", "P", "X", "<")

STEEP = 3.0
"""Metrics that fall by more than this factor are drawn on a logarithmic axis."""


def overview(experiment: Mapping[str, Any]) -> Figure:
    """The metric at the chosen rate against the horizon, and its difference to the reference: a row a workload, a pair of columns a warm-up."""
    studies, shares = experiment["studies"], experiment["warmups"]
    figure = Figure(figsize=(11.5, 2.9 * len(studies) + 0.5), layout="constrained")
    panels = figure.subplots(len(studies), 2 * len(shares), squeeze=False)
    for row, (name, study) in zip(panels, studies.items(), strict=True):
        for index, share in enumerate(shares):
            metrics, differences = row[index], row[len(shares) + index]
            if share not in warmups(study):
                metrics.set_visible(False)
                differences.set_visible(False)
                continue
            _metric_lines(metrics, experiment, study, share)
            _difference_lines(differences, experiment, study, share)
            first = share == warmups(study)[0]
            metrics.set_ylabel(plain(metric(study)) if first else "", fontsize=7.5)
            differences.set_ylabel(
                plain(f"less {experiment['reference']}, {unit(study)}") if first else "", fontsize=7.5
            )
            metrics.set_title(plain(f"{name}, {warmup(share)}"), fontsize=8)
            differences.set_title(plain(f"{name}, {warmup(share)}: difference"), fontsize=8)
        _same_height(row[: len(shares)])
        _same_height(row[len(shares) :])
    figure.supxlabel("updates", fontsize=8)
    _legend(figure, panels.ravel())
    return figure


def study(experiment: Mapping[str, Any], numbers: Mapping[str, Any]) -> Figure:
    """The metric against the rate of every schedule: a column a horizon, a row a warm-up."""
    shares, factors = warmups(numbers), experiment["factors"]
    height = 2.9 * len(shares) + 0.7
    figure = Figure(figsize=(11.5, height))  # a constrained layout would take half of the time of a report
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.5 / height, top=1.0 - 0.6 / height, wspace=0.18, hspace=0.28)
    panels = figure.subplots(len(shares), len(factors), squeeze=False, sharex=True)
    looks = _looks(experiment)
    for row, share in zip(panels, shares, strict=True):
        for axes, factor, cell in zip(row, factors, cells(numbers, share), strict=True):
            for label, values in cell["schedules"].items():
                _rate_curve(axes, numbers, values, {"label": plain(label), **looks[label]})
            axes.axhline(scaled(numbers) * numbers["initial"], color="#bbbbbb", linewidth=0.8, zorder=0)
            axes.set(xscale="log")
            axes.set_title(plain(f"{cell['steps']} updates ({horizon(factor)}), {warmup(share)}"), fontsize=8)
            _metric_axis(axes, numbers, cell)
            _tidy(axes)
        row[0].set_ylabel(plain(metric(numbers)), fontsize=8)
    figure.supxlabel("peak learning rate", fontsize=8, y=0.08 / height)
    _legend(figure, panels.ravel(), outside=False)
    return figure


def _metric_lines(axes: Axes, experiment: Mapping[str, Any], numbers: Mapping[str, Any], share: float) -> None:
    """A line a schedule through its metric at the chosen rates."""
    line = cells(numbers, share)
    steps = [cell["steps"] for cell in line]
    for label in line[0]["schedules"]:
        estimates = [cell["schedules"][label]["tuned"] for cell in line]
        heights = scaled(numbers) * np.array([estimate["value"] for estimate in estimates])
        axes.plot(steps, heights, label=plain(label), **_looks(experiment)[label])
    _step_axis(axes, steps)


def _difference_lines(axes: Axes, experiment: Mapping[str, Any], numbers: Mapping[str, Any], share: float) -> None:
    """The same less the reference, with intervals; filled where the difference is clear."""
    rows = [
        row
        for row in numbers["comparisons"]
        if (row["of"], row["measure"], row["warmup"]) == ("schedule", "tuned", share)
    ]
    labels = list(dict.fromkeys(row["schedule"] for row in rows))
    steps = sorted({row["steps"] for row in rows})
    for index, label in enumerate(labels):
        line = sorted((row for row in rows if row["schedule"] == label), key=lambda row: row["steps"])
        look = _looks(experiment)[label]
        places = np.array(steps) * 1.07 ** (
            index - (len(labels) - 1) / 2
        )  # beside one another, or bars would hide bars
        values, low, high = (scaled(numbers) * np.array([row[key] for row in line]) for key in ("value", "low", "high"))
        bars = np.stack([values - low, high - values])
        axes.errorbar(places, values, bars, fmt="none", ecolor=look["color"], elinewidth=1.0, alpha=0.55)
        axes.plot(places, values, **{**look, "markerfacecolor": "white"})
        clear = [place for place, row in enumerate(line) if row["verdict"] in ("lower", "higher")]
        axes.plot(places[clear], values[clear], look["marker"], color=look["color"], markersize=look["markersize"])
    axes.axhline(0.0, color=COLOURS[1], linewidth=0.8, zorder=0)
    _limit(axes, numbers, rows)
    _step_axis(axes, steps)


def _limit(axes: Axes, numbers: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> None:
    """Room for the differences and not for the widest intervals, which few seeds can make larger than all else."""
    if rows:
        values = scaled(numbers) * np.array([row["value"] for row in rows])
        halves = scaled(numbers) * np.array([(row["high"] - row["low"]) / 2 for row in rows])
        reach = max(np.abs(values).max() * 1.3, float(np.median(np.abs(values) + halves)), 1e-9)
        axes.set_ylim(-reach, reach)


def _same_height(row: Any) -> None:
    """One scale for the panels of a row, so that warm-ups can be compared."""
    shown = [axes for axes in row if axes.get_visible()]
    low, high = min(axes.get_ylim()[0] for axes in shown), max(axes.get_ylim()[1] for axes in shown)
    for axes in shown:
        axes.set_ylim(low, high)


def _rate_curve(axes: Axes, numbers: Mapping[str, Any], values: Mapping[str, Any], look: Mapping[str, Any]) -> None:
    mean = scaled(numbers) * np.array(values["curve"]["mean"])
    axes.plot(numbers["rates"], mean, **look)
    best = int(np.argmin(np.abs(np.log(np.array(numbers["rates"]) / values["best_rate"]))))
    axes.plot(values["best_rate"], mean[best], "o", markersize=9, markerfacecolor="none", markeredgecolor=look["color"])


def _metric_axis(axes: Axes, numbers: Mapping[str, Any], cell: Mapping[str, Any]) -> None:
    """From the lowest of the means to the metric before training."""
    lowest = scaled(numbers) * min(min(row["curve"]["mean"]) for row in cell["schedules"].values())
    initial = scaled(numbers) * numbers["initial"]
    if lowest > 0.0 and initial > STEEP * lowest:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda height, _: _number(height, _) if _leads(height) else ""))
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.set_ylim(lowest / 1.15, initial * 1.15)
    else:
        span = max(initial - lowest, 1e-9)
        axes.set_ylim(lowest - 0.06 * span, initial + 0.04 * span)


def _number(height: float, _: Any) -> str:
    return f"{height:g}"


def _leads(height: float) -> bool:
    """Whether the first digit is 2 or 5, the rest zeros."""
    return f"{height:.0e}"[0] in "25"


def _step_axis(axes: Axes, steps: list[int]) -> None:
    axes.set(xscale="log")
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    _tidy(axes)


def _looks(experiment: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        label: {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 4.0,
            "linewidth": 1.4,
        }
        for index, label in enumerate(experiment["schedules"])
    }


def _legend(figure: Figure, panels: Any, *, outside: bool = True) -> None:
    names: dict[str, Any] = {}
    for axes in panels:
        names |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    place: Literal["outside upper center", "upper center"] = "outside upper center" if outside else "upper center"
    figure.legend(list(names.values()), list(names), loc=place, ncols=8, fontsize=8, frameon=False)


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
