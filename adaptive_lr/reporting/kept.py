"""The numbers of a report that is there already: what is run later is added to it, and replaces nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptive_lr.documents import parse_json
from adaptive_lr.errors import OutputError, SpecError

FORMAT = 4
"""Version of the layout of ``report.json``."""


def kept_numbers(folder: Path) -> dict[str, dict[str, Any]]:
    """The experiments in ``report.json``, by name; none if there is no such file.

    Raises:
        OutputError: what stands there is no report of this version, and would be lost.
    """
    path = folder / "report.json"
    if not path.exists():
        return {}
    refusal = "move it away, or write the report into another folder with --report"
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, SpecError) as error:
        raise OutputError(f"{path} is no report of adaptive_lr ({error}): {refusal}") from None
    experiments = content.get("experiments") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(experiments, dict):
        raise OutputError(f"{path} is no report of adaptive_lr: {refusal}")
    if content.get("format") in (1, 2, 3):  # of an earlier version, which lacks what the page shows now
        return {}
    if content.get("format") != FORMAT:
        raise OutputError(f"{path} has format {content.get('format')!r}, this version writes {FORMAT}: {refusal}")
    for name, numbers in experiments.items():
        if not isinstance(numbers, dict) or numbers.get("name") != name or not isinstance(numbers.get("kind"), str):
            raise OutputError(f"{path} holds something else than an experiment under {name!r}: {refusal}")
    return experiments
