"""Figures of searches over shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptive_lr.analysis.searches import EXHAUSTIVE
from adaptive_lr.drawing import plain
from adaptive_lr.reporting.prose import study_title
from adaptive_lr.reporting.search_prose import row_of, sampler

COLOURS = {
    "tpe": "#1f6fd0",
    "random": "#555555",
    "qmc": "#e07b1a",
    "gp": "#3c8d40",
    "cmaes": "#c0508a",
    "grid": "#7b5ad6",
}


def overview(experiment: Mapping[str, Any]) -> Figure:
    """The best shape so far against the number of trials, by sampler: a row for each objective, a column for each task."""
    studies = experiment["studies"]
    objectives = list(next(iter(studies.values()))["objectives"])
    figure = Figure(figsize=(2.9 * len(studies) + 0.8, 3.0 * len(objectives) + 0.5), layout="constrained")
    panels = figure.subplots(len(objectives), len(studies), squeeze=False, sharex=True)
    for row, objective in zip(panels, objectives, strict=True):
        for axes, study in zip(row, studies.values(), strict=True):
            _panel(axes, study, objective)
        row[0].set_ylabel(f"{plain(objective)}:\nloss, × best baseline", fontsize=8)
    for axes, study in zip(panels[0], studies.values(), strict=True):
        axes.set_title(plain(study_title(study)), fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("trials", fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    return figure


def _panel(axes: Axes, study: Mapping[str, Any], objective: str) -> None:
    searches = study["objectives"][objective]
    for name, numbers in searches["samplers"].items():
        curve, colour = numbers["curve"], COLOURS.get(name, "#111111")
        axes.plot(curve["trials"], curve["value"], "o-", color=colour, markersize=3, linewidth=1.5, label=sampler(name))
        axes.fill_between(curve["trials"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve["trials"], curve["seen"], ":", color=colour, linewidth=1.0)
    best = row_of(searches[EXHAUSTIVE]["rows"], objective)["ratio"]["value"]
    axes.axhline(best, color="#3c8d40", linewidth=1.0, linestyle=(0, (5, 1.5)), label="best of all shapes")
    axes.axhline(1.0, color="#111111", linewidth=0.8, label="best baseline")
    axes.set(xscale="log", yscale="log")
    ticks = searches["samplers"][next(iter(searches["samplers"]))]["curve"]["trials"]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    marks = [
        mark for mark in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0) if low <= mark <= high
    ]
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
