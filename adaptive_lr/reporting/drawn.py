"""Figures that are drawn once: by several processes where they are many, and not again while nothing of them has changed."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from adaptive_lr import drawing
from adaptive_lr.documents import parse_json
from adaptive_lr.errors import SpecError
from adaptive_lr.files import make_folder, replace_file
from adaptive_lr.trials.processes import Processes

INDEX = Path("drawn.json")
"""What was drawn, below the folder of a report: of each figure a hash of all that it depends on, and those of its files."""

_FEW = 6
"""Fewer figures than that are drawn in this process; a worker needs as long to start as for three."""

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn.

    Attributes:
        draw: makes it; a function of a module.
        numbers: plain data, its arguments.
        path: of its files below the folder of the report, without their endings.
        name: keeps the identifiers of its ``svg`` element apart from those of others on the same page.
        words: whether it stays text that a page can select, without a PNG; else letters are outlines.
    """

    draw: Callable[..., Figure]
    numbers: tuple[Any, ...]
    path: str
    name: str
    words: bool = False

    @property
    def endings(self) -> tuple[str, ...]:
        """Of its files, the SVG last."""
        return ("svg",) if self.words else ("png", "svg")

    def files(self) -> dict[str, bytes]:
        """It is drawn: its files by their endings."""
        figure = self.draw(*self.numbers)
        return {"svg": drawing.with_words(figure, self.name)} if self.words else drawing.both(figure, self.name)

    def text(self) -> bytes:
        """All that it is made from, as JSON."""
        return json.dumps([self.draw.__module__, self.draw.__qualname__, self.numbers, self.name, self.words]).encode()


def draw_all(drawings: Sequence[Drawing], folder: Path, *, workers: int = 1) -> list[str | Exception]:
    """Write the files of figures below ``folder``, where they are not there already; nothing that is left is trusted unread.

    Args:
        drawings: with paths that differ.
        folder: of the report.
        workers: processes that many figures are drawn by; the files are the same for any number.

    Returns:
        The ``svg`` element of each, or the error that drawing it raised. An `OutputError` says what cannot be written.
    """
    before = _read_index(folder)
    texts, version = [figure.text() for figure in drawings], _version() + repr(_settings()).encode()
    keys = [_hash(version + text) for text in texts]
    after: dict[str, dict[str, str]] = {}
    results: dict[int, str | Exception] = {}
    for index, (figure, key) in enumerate(zip(drawings, keys, strict=True)):
        element = _reused(figure, folder, before.get(figure.path), key)
        if element is not None:
            results[index], after[figure.path] = element, before[figure.path]
    missing = [index for index in range(len(drawings)) if index not in results]
    missing.sort(key=lambda index: -len(texts[index]))  # the longest first: all processes end at about the same time
    try:
        for index, files in _drawn([(index, drawings[index]) for index in missing], workers):
            if isinstance(files, Exception):
                results[index] = files
                continue
            figure = drawings[index]
            results[index] = _written(figure, folder, files)
            after[figure.path] = {"key": keys[index]} | {ending: _hash(content) for ending, content in files.items()}
    finally:
        if after != before:
            make_folder(folder)
            replace_file(folder / INDEX, (json.dumps(after, indent=0, sort_keys=True) + "\n").encode())
    return [results[index] for index in range(len(drawings))]


def _drawn(jobs: Sequence[_Job], workers: int) -> Iterator[_Outcome]:
    """Draw the figures, in any order.

    Yields:
        The number of each, and what came of it.
    """
    if workers == 1 or len(jobs) < _FEW:
        yield from map(_attempt, jobs)
        return
    usual: Any = mpl.rcParamsOrig
    changed = {name: value for name, value in _settings().items() if value != usual[name]}
    with Processes(workers, functools.partial(_attempt, settings=changed), scripts=False) as processes:
        yield from processes.results(jobs)


_Job = tuple[int, Drawing]
_Outcome = tuple[int, dict[str, bytes] | Exception]


def _attempt(job: _Job, settings: Any = None) -> _Outcome:
    """Draw a figure; an error is for the page that it belongs to."""
    index, figure = job
    try:
        with mpl.rc_context(settings):
            return index, figure.files()
    except Exception as error:
        return index, error


def _written(figure: Drawing, folder: Path, files: Mapping[str, bytes]) -> str:
    make_folder((folder / figure.path).parent)
    for ending in figure.endings:
        replace_file(folder / f"{figure.path}.{ending}", files[ending])
    return drawing.element(files["svg"])


def _reused(figure: Drawing, folder: Path, entry: Mapping[str, str] | None, key: str) -> str | None:
    """The ``svg`` element of a figure whose files are as they were written; None if it must be drawn."""
    if entry is None or entry.get("key") != key:
        return None
    content = b""
    for ending in figure.endings:
        path = folder / f"{figure.path}.{ending}"
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            return None
        if _hash(content) != entry.get(ending):
            return None
    return drawing.element(content)


def _read_index(folder: Path) -> dict[str, dict[str, str]]:
    """What the index says, as far as it is one."""
    path = folder / INDEX
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, UnicodeDecodeError, SpecError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _settings() -> dict[str, Any]:
    """Matplotlib's, but for the backend, which has no part in writing files."""
    return {name: mpl.rcParams[name] for name in mpl.rcParams if not name.startswith("backend")}


def sources() -> list[Path]:
    """The files of the code that draws, and of what it shows of other code."""
    others = [_PACKAGE / name for name in ("drawing.py", "analysis/robustness.py", "analysis/exponents.py")]
    return [*sorted((_PACKAGE / "reporting").glob("*.py")), *others]


@functools.cache
def _version() -> bytes:
    """Of the code that draws, and of what it draws with."""
    content = b"".join(path.read_bytes() for path in sources())
    return f"{_hash(content)} {mpl.__version__} {np.__version__} {platform.python_version()}".encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
