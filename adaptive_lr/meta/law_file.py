"""A fitted law as a small JSON file, with where it comes from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adaptive_lr.documents import parse_json
from adaptive_lr.errors import InputError
from adaptive_lr.files import make_folder, replace_file
from adaptive_lr.meta.law_curves import Source
from adaptive_lr.meta.law_fit import LawFit, Scores
from adaptive_lr.meta.laws import LAWS, AbstractLaw

FORMAT = 1
"""Version of the layout."""

_NUMBERS = ("peak", "lowest", "longest", "rows")


@dataclass(frozen=True)
class Stored:
    """What a file holds: the fit, the files that it was made from, and the version of this package that made it."""

    fit: LawFit
    sources: tuple[Source, ...]
    version: str


def to_document(fit: LawFit, sources: Sequence[Source]) -> dict[str, Any]:
    """Plain data for JSON; numbers of resampled fits have seven digits."""
    return {
        "format": FORMAT,
        "adaptive_lr": _version(),
        "law": fit.law.kind,
        "parameters": fit.law.parameters(),
        "intervals": {name: list(fit.interval(name)) for name in fit.law.names()},
        "in_sample": asdict(fit.in_sample),
        "peak": fit.peak,
        "lowest": fit.lowest,
        "longest": fit.longest,
        "rows": fit.rows,
        "losses": list(fit.losses),
        "notes": list(fit.notes),
        "sources": [asdict(source) for source in sources],
        "noise": [float(f"{value:.5g}") for value in fit.noise],
        "draws": [[float(f"{value:.7g}") for value in draw.parameters().values()] for draw in fit.draws],
    }


def save_law(fit: LawFit, sources: Sequence[Source], path: Path) -> None:
    """Write a fit to ``path``; an `OutputError` says why that cannot be done."""
    make_folder(path.parent)
    text = json.dumps(to_document(fit, sources), indent=1, allow_nan=False)
    replace_file(path, (text + "\n").encode())


def load_law(path: Path) -> Stored:
    """The fit that `save_law` wrote.

    Raises:
        InputError: there is no such file, it holds something else, was made by a newer version, or a number in it is not finite.
    """
    if not path.is_file():
        raise InputError(
            f"{path} is not a file" if path.exists() else f"there is no file {path}: make one with fit-law"
        )
    reason: object = None
    try:
        return _decoded(parse_json(path.read_text(encoding="utf-8")), path.name)
    except InputError:
        raise
    except KeyError as error:
        reason = f"{error.args[0]!r} is missing"
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # SpecError and UnicodeDecodeError among them
        reason = error
    raise InputError(f"{path.name} is not a fitted law as fit-law writes it: {reason}")


def _decoded(document: Any, name: str) -> Stored:
    if not isinstance(document, Mapping) or "law" not in document:
        raise InputError(f"{name} is not a fitted law: fit one with fit-law")
    if document["format"] != FORMAT:
        raise InputError(
            f"{name} has format {document['format']!r}, written by adaptive_lr {document.get('adaptive_lr', '?')}; "
            f"this version reads {FORMAT}: fit the law again, or install that version"
        )
    kinds = {kind.kind: kind for kind in LAWS}
    if document["law"] not in kinds:
        raise InputError(f"{name} has the law {document['law']!r}; known are {', '.join(kinds)}")
    kind = kinds[document["law"]]
    parameters = document["parameters"]
    if set(parameters) != set(kind.names()):
        raise InputError(
            f"{name} has the parameters {', '.join(parameters)}; the {kind.title} has {', '.join(kind.names())}"
        )
    for key in _NUMBERS:
        _finite(document[key], key)
    fit = LawFit(
        law=kind(**{key: _finite(value, key) for key, value in parameters.items()}),
        draws=tuple(_draw(kind, values) for values in document["draws"]),
        noise=tuple(_finite(value, "noise") for value in document["noise"]),
        in_sample=Scores(**document["in_sample"]),
        peak=float(document["peak"]),
        lowest=float(document["lowest"]),
        longest=int(document["longest"]),
        rows=int(document["rows"]),
        losses=(_finite(document["losses"][0], "losses"), _finite(document["losses"][1], "losses")),
        notes=tuple(str(note) for note in document["notes"]),
    )
    if not fit.draws or not fit.noise:
        raise InputError(f"{name} has no resampled fits, so that there would be no intervals: fit the law again")
    sources = tuple(Source(str(source["name"]), str(source["sha256"])) for source in document["sources"])
    return Stored(fit, sources, str(document["adaptive_lr"]))


def _draw(kind: type[AbstractLaw], values: Sequence[float]) -> AbstractLaw:
    names = kind.names()
    if len(values) != len(names):
        raise InputError(f"a resampled fit in the file has {len(values)} numbers; the {kind.title} has {len(names)}")
    return kind(*(_finite(value, name) for name, value in zip(names, values, strict=True)))


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} in the file must be a finite number, got {value!r}")
    return float(value)


def _version() -> str:
    try:
        return version("adaptive-lr")
    except PackageNotFoundError:
        return "unknown"
