"""Write the tables of docs/protocol.md from the protocol and the controllers: ``python docs/make_protocol.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blocks import filled

from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.experiment.protocol import DEVELOPMENT, REPORT, REPORT_LONGER, UNTOUCHED, ProtocolTask

PAGE = Path(__file__).parent / "protocol.md"
GROUPS = {"development": DEVELOPMENT, "report": REPORT, "longer": REPORT_LONGER, "untouched": UNTOUCHED}


def with_tables(text: str) -> str:
    """The page with all tables as the protocol and the controllers have them now."""
    tables = {name: tasks(group) for name, group in GROUPS.items()}
    return filled(text, PAGE.name, "make_protocol", **tables, constants=constants())


def tasks(group: Mapping[str, ProtocolTask]) -> str:
    """A row a task."""
    head = "| name | area | task | optimizer | T | rate |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{task.name}` | {task.area} | `{task.task!r}` | `{task.optimizer!r}` | {task.steps} | {task.rate:g} |"
        for task in group.values()
    )


def constants() -> str:
    """Where the constants of each controller come from."""
    head = "| controller | chosen on |\n|---|---|\n"
    return head + "\n".join(
        f"| `{kind.__name__}` | {', '.join(kind.tuned_on) if kind.tuned_on else 'no task: from its paper, or it has none'} |"
        for kind in CONTROLLERS
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
