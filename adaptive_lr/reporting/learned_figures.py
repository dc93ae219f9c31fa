"""Figures of learned damping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from adaptive_lr.drawing import plain

COLOURS = {"evolution": "#0b3c8c", "tpe": "#1f6fd0", "cmaes": "#c0508a"}

PHASE_COLOURS = ("#e07b1a", "#0b3c8c")
"""Of early and later looks."""


def learning(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """J of the candidates against the training steps spent: a panel a learner, a line a way."""
    learners = list(dict.fromkeys(run["learner"] for run in runs.values()))
    figure = Figure(figsize=(3.6 * len(learners), 2.6), layout="constrained")
    panels = figure.subplots(1, len(learners), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, learners, strict=True):
        for run in (run for run in runs.values() if run["learner"] == name):
            steps, mean, least = np.array(run["history"]).T
            colour = COLOURS.get(run["way"], "#111111")
            axes.plot(steps, mean, color=colour, linewidth=1.3, marker="." if len(steps) < 3 else "", label=run["way"])
            axes.plot(steps, np.minimum.accumulate(least), color=colour, linewidth=0.9, linestyle=":")
        axes.set_title(plain(name), fontsize=8)
        axes.set_xlabel("training steps spent", fontsize=8)
        axes.legend(fontsize=7, frameon=False)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("J, in tolerances", fontsize=8)
    return figure


def responses(policy: Mapping[str, Any]) -> Figure:
    """The change of ln of the rate at a look against each reading, where the others let it rest.

    Args:
        policy: ``weights`` by name of reading and phase, and ``largest``, the greatest change at early and at later looks.
    """
    names = list(dict.fromkeys(name.partition(", ")[0] for name in policy["weights"]))
    names.remove("constant")
    figure = Figure(figsize=(11.5, 3.6), layout="constrained")
    panels = figure.subplots(2, -(-len(names) // 2), squeeze=False, sharey=True).ravel()
    reading = np.linspace(-2.0, 2.0, 81)
    for axes, name in zip(panels, names, strict=False):
        for early, colour in zip((True, False), PHASE_COLOURS, strict=True):
            largest = policy["largest"][0 if early else 1]
            change = largest * np.tanh(_weight(policy["weights"], name, early) * reading / largest)
            axes.plot(reading, change, color=colour, linewidth=1.4, label="early looks" if early else "later looks")
        axes.axhline(0.0, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set_title(plain(name), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("reading", fontsize=8)
    figure.supylabel("change of ln of the rate", fontsize=8)
    return figure


def _weight(weights: Mapping[str, float], name: str, early: bool) -> float:
    return weights[f"{name}, throughout"] + (weights[f"{name}, early"] if early else 0.0)
