"""Measures the schedulers of this package and of others with `adaptive_lr.testing`, and writes docs/conformance.md.

``pip install -e '.[compare]'`` brings the other packages; one that is not there is left out, and the page says so.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from conformance_columns import STEPS, Column, Package
from conformance_packages import PACKAGES

from adaptive_lr.testing import CHECKS, Case, Check, NotApplicable

PAGE = Path(__file__).parent.parent / "docs" / "conformance.md"

INTRODUCTION = """# Conformance of learning-rate schedulers

<!-- Written by benchmarks/conformance_table.py; do not edit. -->

What a scheduler does when a run is resumed, copied, extended or driven by a trainer, measured with the checks of
`adaptive_lr.testing` on the CPU: {versions}.

Every scheduler is on SGD with momentum, two parameter groups with base rates 0.5 and 0.125, for a run of {steps} updates,
once with rates that are floats and once with float64 tensors; drift is measured over 1000, and costs over ten million. ✓: the claim holds. ✗ with a
number: it does not, and the list below has the first thing that went wrong. –: the scheduler makes no such claim, or has no
such argument. A ✗ says what happens, not that somebody erred: recursive formulas, for example, keep a manual change on
purpose, and torch documents that a scheduler should be built before the optimizer is loaded. The claims are the ones that
this package makes about its own scheduler, which is changed until it meets them; the others were made for other aims.
"""

ADVICE = """## Check your own

```python
import pytest
from adaptive_lr.testing import Case
from adaptive_lr.testing.suite import SchedulerConformance


class TestMyScheduler(SchedulerConformance):
    @pytest.fixture
    def case(self):
        return Case(
            name="mine", factory=lambda optimizer: MyLR(optimizer, steps=12), total_steps=12, first=1.0, last=0.0
        )
```
"""


class Reasons:
    """Reasons by number; a reason that occurs twice has one number."""

    def __init__(self) -> None:
        self.checks: dict[str, dict[str, None]] = {}

    def number(self, check: Check, reason: str) -> int:
        """The number of a reason."""
        self.checks.setdefault(reason, {})[check.name] = None
        return list(self.checks).index(reason) + 1

    def lines(self) -> Iterator[str]:
        """A numbered list.

        Yields:
            An item.
        """
        for number, (reason, checks) in enumerate(self.checks.items(), 1):
            yield f"{number}. {', '.join(checks)}: {_escaped(reason)}"


def _escaped(text: str) -> str:
    for character in "\\`*<>[]|":
        text = text.replace(character, "\\" + character)
    return text.replace("__func__", "\\_\\_func\\_\\_")


def cell(check: Check, case: Case, reasons: Reasons) -> str:
    """What the table says about one check and one scheduler: with floats and, if that goes well, with tensors."""
    try:
        check(case)
    except NotApplicable:
        return "–"
    except AssertionError as error:
        return f"✗ {reasons.number(check, str(error))}"
    try:
        check(replace(case, as_tensor=True))
    except AssertionError as error:
        return f"✗ {reasons.number(check, f'with tensor rates: {error}')}"
    return "✓"


def section(package: Package, columns: list[Column], reasons: Reasons) -> Iterator[str]:
    """The table of one package, and the calls that its columns stand for.

    Yields:
        A line.
    """
    yield f"## {package.distribution} {package.version()}"
    yield ""
    yield "| check | " + " | ".join(column.label for column in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    failed = dict.fromkeys((column.label for column in columns), 0)
    for check in CHECKS:
        cells = [cell(check, column.case, reasons) for column in columns]
        for column, text in zip(columns, cells, strict=True):
            failed[column.label] += text.startswith("✗")
        yield f"| {check.name} | " + " | ".join(cells) + " |"
    yield "| **failed** | " + " | ".join(f"**{number}**" for number in failed.values()) + " |"
    yield ""
    for column in columns:
        yield f"- {column.label}: `{column.call}`"
    yield ""


def page() -> Iterator[str]:
    """The page, line by line.

    Yields:
        A line or a paragraph.
    """
    loaded: list[tuple[Package, list[Column]]] = []
    left_out: list[str] = []
    for package in PACKAGES:
        try:
            loaded.append((package, package.load()))
        except (ImportError, RuntimeError) as error:  # torchvision for another build of torch is a RuntimeError
            installed = package.version()
            left_out.append(
                f"{package.distribution} (not installed)"
                if installed is None
                else f"{package.distribution} {installed} (cannot be imported: {error})"
            )
    versions = ", ".join(f"{package.distribution} {package.version()}" for package, _ in loaded)
    yield INTRODUCTION.format(versions=f"Python {platform.python_version()}, {versions}", steps=STEPS)
    if left_out:
        yield f"Left out: {', '.join(left_out)}.\n"
    yield "## The claims"
    yield ""
    yield "| check | claim |"
    yield "|---|---|"
    for check in CHECKS:
        yield f"| {check.name} | {check.claim} |"
    yield ""
    reasons = Reasons()
    for package, columns in loaded:
        yield from section(package, columns, reasons)
    yield "## Reasons"
    yield ""
    yield from reasons.lines()
    yield ""
    yield ADVICE.rstrip()


def main() -> None:
    """Write the page, or print it if the only argument is ``-``."""
    text = "\n".join(page()) + "\n"
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
