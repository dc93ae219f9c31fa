"""Curves and figures as matplotlib draws them, of arrays alone: what a schedule's own picture and the report have in common."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adaptive_lr.errors import OutputError
from adaptive_lr.files import make_folder, replace_file

Array = NDArray[Any]

_DPI = 130
"""Of a PNG."""

LONGEST = 80
"""Characters of a name that a figure shows."""


def readable(name: object) -> str:
    r"""A name that somebody gave, on one line, not too long, and without what no file or terminal should get.

    >>> readable("two\nlines"), readable("\x1b[2J"), len(readable("x" * 1000))
    ('two lines', '�[2J', 80)
    """
    text = " ".join(str(name)[: 4 * LONGEST].split())
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def plain(name: object) -> str:
    r"""The same for a figure: no formula is read between dollars, and no label is dropped for its first character.

    Every label, title and tick that is not a word of this package goes through it.

    >>> print(plain("US$ and $x$"))
    US\$ and \$x\$
    """
    shown = readable(name)
    if shown.startswith("_"):  # for matplotlib such a label is none
        shown = "\u200b" + shown
    return shown.replace("$", r"\$")


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
        axes.plot(u, row, label=plain(label), linewidth=1.8)
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
    return _drawn(figure, ending, name, dpi=110)


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an ``svg`` element; ``name`` keeps its identifiers apart from those of others on the same page."""
    return element(with_words(figure, name))


def with_words(figure: Figure, name: str) -> bytes:
    """The figure as the content of an SVG file whose words can be selected; ``name`` as for `as_svg`."""
    with mpl.rc_context({"svg.fonttype": "none"}):
        return _drawn(figure, "svg", name)


def element(content: bytes) -> str:
    """The ``svg`` element of the content of an SVG file."""
    return content[content.index(b"<svg") :].decode()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the file's ending; the same figure gives the same bytes.

    Raises:
        OutputError: the ending is neither ``.png`` nor ``.svg``, or the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (".png", ".svg"):
        raise OutputError(f"a figure is written as .png or .svg, got {path.name}")
    make_folder(path.parent)
    replace_file(path, _drawn(figure, ending[1:], path.stem, dpi=_DPI))


def save_both(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG and as SVG, and return its ``svg`` element; an `OutputError` says what cannot be written."""
    make_folder(folder)
    files = both(figure, name)
    for ending, content in files.items():
        replace_file(folder / f"{name}.{ending}", content)
    return element(files["svg"])


def both(figure: Figure, name: str) -> dict[str, bytes]:
    """The contents of the figure's files, ``png`` and ``svg``.

    It is laid out once, which takes as long as all the rest of drawing: what is placed for one fits the other. Matplotlib would
    also go through all of the figure once more before it draws each, as long as that has a layout engine.
    """
    figure.set_dpi(_DPI)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    return {ending: _drawn(figure, ending, name, dpi=_DPI) for ending in ("png", "svg")}


def _drawn(figure: Figure, ending: str, name: str, *, dpi: int = 100) -> bytes:
    """The figure as ``png`` or ``svg``; the same figure under the same name gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if ending == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box is drawn, which says it
        figure.savefig(buffer, format=ending, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
