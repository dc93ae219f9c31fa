"""Figures of a search for exponents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from adaptive_lr.drawing import plain
from adaptive_lr.reporting.prose import study_title


def overview(experiment: Mapping[str, Any]) -> Figure:
    """Loss of every shape on the report seeds over that of the reference, over the plane of k and exponent; one panel a task."""
    studies, columns = experiment["studies"], 3
    count = -(-len(studies) // columns)
    figure = Figure(figsize=(11.5, 3.1 * count + 0.3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(count, columns, squeeze=False)).ravel()
    painted: Any = None
    for axes, study in zip(panels, studies.values(), strict=False):
        points = [
            (shape["k"], shape["exponent"], study["shapes"][label]) for label, shape in experiment["shapes"].items()
        ]
        k, exponent, ratio = np.array(points, dtype=float).T
        painted = axes.scatter(
            k,
            exponent,
            c=np.log2(ratio),
            cmap="RdBu_r",
            vmin=-0.5,
            vmax=0.5,
            s=46,
            edgecolors="#555555",
            linewidths=0.4,
        )
        won = experiment["shapes"][study["winner"]]
        axes.plot(won["k"], won["exponent"], "o", markersize=12, markerfacecolor="none", markeredgecolor="#111111")
        axes.set(xscale="log", yscale="log", xlabel="k", ylabel="exponent")
        axes.minorticks_off()
        axes.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
        axes.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["0.25", "0.5", "1", "2", "4", "8"])
        axes.set_title(plain(study_title(study)), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(studies) :]:
        axes.set_visible(False)
    bar = figure.colorbar(painted, ax=panels[: len(studies)].tolist(), shrink=0.8)
    bar.set_ticks(np.log2([0.75, 0.85, 1.0, 1.18, 1.33]).tolist(), labels=["0.75", "0.85", "1", "1.18", "1.33"])
    bar.set_label(f"loss on the report seeds, × {plain(experiment['reference'])}", fontsize=8)
    return figure
