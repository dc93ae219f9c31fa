"""Pages from templates, and files that are replaced whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


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
    """Write a file so that whoever reads it meanwhile finds the old or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
