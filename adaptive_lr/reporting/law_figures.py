"""Predicted loss curves, as a figure and with characters."""

from __future__ import annotations

from collections.abc import Mapping

import plotext
from matplotlib.figure import Figure

from adaptive_lr.analysis.stats import Array, Places
from adaptive_lr.drawing import plain, readable


def loss_figure(
    bands: Mapping[str, tuple[Places, Array, Array, Array]], recorded: Mapping[str, tuple[Places, Array]]
) -> Figure:
    """Losses against steps.

    Args:
        bands: by label steps, the loss, and the low and the high end of its interval, ``[n]`` each.
        recorded: by label steps and losses, ``[r]`` each; drawn as dots.
    """
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for index, (label, (steps, losses, low, high)) in enumerate(bands.items()):
        axes.plot(steps, losses, label=plain(label), linewidth=1.8, color=f"C{index}")
        axes.fill_between(steps, low, high, color=f"C{index}", alpha=0.2, linewidth=0.0)
    for label, (positions, losses) in recorded.items():
        axes.plot(positions, losses, ".", label=plain(label), markersize=3.0, color="#333333")
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def draw_losses(steps: Places, rows: Mapping[str, Array], width: int) -> str:
    """Losses ``[n]`` by label against steps ``[n]``, as text of the given width."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(width - 1, 100), 22)
    stride = max(1, len(steps) // 60)
    for (label, row), marker in zip(rows.items(), "●▲■◆○△□◇" * len(rows), strict=False):
        plotext.scatter(steps[::stride].tolist(), row[::stride].tolist(), label=readable(label), marker=marker)
    plotext.xlabel("step")
    return str(plotext.uncolorize(plotext.build()))
