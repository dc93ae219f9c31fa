"""Pages from templates, and files that are replaced whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adaptive_lr.files import replace_file


def page_environment(**names: Any) -> Environment:
    """The package's templates, with names that they may use."""
    environment = Environment(
        loader=PackageLoader("adaptive_lr.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= names
    return environment


def replace_page(path: Path, text: str) -> None:
    """Write a page; whoever reads it meanwhile finds the old or the new one. A lone surrogate, which no file can hold, becomes ``?``."""
    replace_file(path, text.encode("utf-8", "replace"))
