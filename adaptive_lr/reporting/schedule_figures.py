"""The figure of schedules."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from adaptive_lr.drawing import draw_multipliers
from adaptive_lr.schedules import AbstractSchedule, progress, table


def schedules_figure(schedules: Mapping[str, AbstractSchedule], total_steps: int) -> Figure:
    """Multipliers against progress."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    rows = table(list(schedules.values()), total_steps).numpy()
    draw_multipliers(dict(zip(schedules, rows, strict=True)), progress(total_steps).numpy(), figure.subplots())
    return figure
