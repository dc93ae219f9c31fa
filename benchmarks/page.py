"""docs/performance.md, from what is stored in results.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rows import cells

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

HEAD = """# Speed

<!-- Written by benchmarks/bench.py --write-docs; do not edit. -->

How many times faster things are than the usual way, measured in turn in one run: medians of interleaved pairs, with their range. A ratio
hardly depends on the machine; a time does. Each row has an aim, and says where it was missed.

`make bench` measures all of it in some twenty minutes and writes this page; `python benchmarks/bench.py --only trainer,jax` measures a
part, `--quick` tries it out.
"""


def written(tables: dict[str, Any]) -> str:
    """The page for tables by name, in their order."""
    return "\n".join([HEAD, *(line for content in tables.values() for line in _section(content))])


def _section(content: dict[str, Any]) -> Iterator[str]:
    """The lines of a table; rows that were left out stand below it, by reason.

    Yields:
        A line.
    """
    yield from (f"## {content['title']}", "", content["about"], "", _conditions(content["measured"]), "")
    left: dict[str, list[str]] = {}
    yield "| what | median | spread | aim | |"
    yield "|---|---|---|---|---|"
    for row in content["rows"]:
        if "left_out" in row:
            left.setdefault(row["left_out"], []).append(row["what"])
        else:
            what, median, spread, aim, verdict = map(_escaped, cells(row))
            marked = verdict.replace("missed", "**missed**", 1) if verdict.startswith("missed") else verdict
            yield f"| {what} | {median} | {spread} | {aim} | {marked} |"
    yield ""
    for reason, names in left.items():
        yield f"Left out, since {_escaped(reason)}: {_escaped('; '.join(names))}."
        yield ""


def _conditions(measured: dict[str, Any]) -> str:
    names = ("torch", "jax", "transformers", "timm", "python")
    versions = ", ".join(f"{name} {measured[name]}" for name in names if name in measured)
    load = "" if measured["load"] is None else f", load average {measured['load']} before"
    return f"{measured['date']}, {measured['processor']}; {versions}{load}."


def _escaped(text: str) -> str:
    for character in "\\*<|_":
        text = text.replace(character, "\\" + character)
    return text
