"""Curves and figures as matplotlib draws them, of arrays alone: what a schedule's own picture and the report have in common."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adaptive_lr.errors import OutputError

Array = NDArray[Any]


def draw_multipliers(rows: Mapping[str, Array], u: Array, axes: Axes | None = None, *, legend: bool = True) -> Axes:
    """Draw multipliers against progress, into ``axes`` or into new ones of a figure of their own.

    Args:
        rows: the multipliers ``[T + 1]`` by label.
        u: progress, ``[T + 1]``.
        axes: to draw into.
        legend: whether the labels are shown.
    """
    if axes is None:
        axes = Figure(figsize=(7.0, 4.0), layout="constrained").subplots()
    for label, row in rows.items():
        axes.plot(u, row, label=label, linewidth=1.8)
    axes.set(xlabel="progress u = t/T", ylabel="multiplier m(u)", ylim=(-0.02, 1.04), xlim=(0.0, 1.0))
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize=8)
    return axes


def thumbnail(row: Array, u: Array, name: str, ending: str) -> bytes:
    """A small picture of one schedule's multipliers, as ``png`` or as an ``svg`` element that is called ``name``."""
    figure = Figure(figsize=(3.6, 2.1), layout="constrained")
    axes = draw_multipliers({"": row}, u, figure.subplots(), legend=False)
    axes.set(xlabel="", ylabel="")
    if ending == "svg":
        return as_svg(figure, name).encode()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending, dpi=110)
    return buffer.getvalue()


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an ``svg`` element; ``name`` keeps its identifiers apart from those of others on the same page."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    markup = buffer.getvalue().decode()
    return markup[markup.index("<svg") :]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the file's ending; the same figure gives the same bytes.

    Raises:
        OutputError: the ending is neither ``.png`` nor ``.svg``.
    """
    ending = path.suffix.lower()
    if ending not in (".png", ".svg"):
        raise OutputError(f"a figure is written as .png or .svg, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if ending == ".svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, dpi=130, metadata=metadata)
