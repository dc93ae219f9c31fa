"""Schedules drawn with characters."""

from __future__ import annotations

from collections.abc import Mapping

import plotext

from adaptive_lr.drawing import readable
from adaptive_lr.schedules import AbstractSchedule, progress, table


def draw_schedules(schedules: Mapping[str, AbstractSchedule], total_steps: int, width: int) -> str:
    """Multipliers against progress, as text of the given width."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(width - 1, 100), 22)
    u = progress(total_steps).tolist()
    rows = table(list(schedules.values()), total_steps).tolist()
    # Braille dots share a character only within a curve, so each curve gets a sign of its own.
    for (label, row), marker in zip(zip(schedules, rows, strict=True), "●▲■◆○△□◇" * len(rows), strict=False):
        stride = max(1, len(u) // 60)
        plotext.scatter(u[::stride], row[::stride], label=readable(label), marker=marker)
    plotext.ylim(0.0, 1.0)
    plotext.xticks([0.0, 0.25, 0.5, 0.75, 1.0])
    plotext.xlabel("progress u = t/T")
    return str(plotext.uncolorize(plotext.build()))
