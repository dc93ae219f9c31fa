"""``adaptive-lr papers``: what papers claim, measured and judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from adaptive_lr.cli.common import Results, clear_errors, err, out, printable, say_error

if TYPE_CHECKING:
    from adaptive_lr.papers import Judgement, Paper

_COLOURS = {"green": "green", "red": "red", "skipped": "yellow", "broken": "red"}


def papers(
    names: Annotated[
        list[str] | None, typer.Argument(help="Folders below papers/, as in: schaipp-2025-bounds; all by default.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Only the claims that take seconds.")] = False,
    index: Annotated[
        bool, typer.Option("--index", help="Write INDEX.md and papers.bib from what was measured.")
    ] = False,
    recorded: Annotated[
        Path | None,
        typer.Option(
            envvar="ADAPTIVE_LR_RECORDED",
            help="Folder with recorded runs (llm-curves, step-back), which are no part of the repository; claims that read them are skipped without.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder that papers are declared in.")] = Path("papers"),
    results: Results = Path("results"),
) -> None:
    """Measure what papers claim and judge it against the paper's number and the declared verdict.

    The exit code is 1 if a verdict changed, 2 if a claim could not be measured.

    Example: [bold]adaptive-lr papers schaipp-2025-bounds attia-2025-robustness[/bold]
    """
    with clear_errors():
        from adaptive_lr.errors import InputError
        from adaptive_lr.papers import State, bibliography, index_page, paper_names

        if index and (names or fast):
            raise InputError("--index is about all claims of all papers: leave the names and --fast out")
        chosen = list(dict.fromkeys(names or paper_names(folder)))
        if not chosen:
            raise InputError(f"{folder} declares no papers: run it in the project's folder or name one with --folder")
        read, judgements = _judged(chosen, folder, fast, recorded, results)
        rows = [row for group in judgements.values() for row in group]
        for row in rows:
            if row.message:
                say_error(InputError(row.message)) if row.state != State.SKIPPED else _say_skipped(row.message)
        _show_counts(rows)
        states = {row.state for row in rows}
        if index:
            if states != {State.GREEN}:
                err.print("the index is not written: every claim must be measured, and green")
            else:
                from adaptive_lr.files import replace_file

                replace_file(folder / "INDEX.md", index_page(read, judgements).encode())
                replace_file(folder / "papers.bib", bibliography(read).encode())
                out.print(f"wrote {escape(printable(str(folder / 'INDEX.md')))} and papers.bib", soft_wrap=True)
        if State.RED in states:
            raise typer.Exit(1)
        if State.BROKEN in states or (index and states != {State.GREEN}):
            raise typer.Exit(2)


def _judged(
    names: list[str], folder: Path, fast: bool, recorded: Path | None, results: Path
) -> tuple[list[Paper], dict[str, list[Judgement]]]:
    """Papers that could be read, and the judgements of all of them, each told as it is made."""
    from adaptive_lr.errors import AdaptiveLRError
    from adaptive_lr.papers import Claim, Judgement, State, judge_paper, load_paper

    read: list[Paper] = []
    judgements: dict[str, list[Judgement]] = {}
    current = ""

    def started(claim: Claim) -> None:
        nonlocal current
        current = claim.id

    for name in names:
        current = ""
        rows = judgements[name] = []
        try:
            paper = load_paper(name, folder)
            read.append(paper)
            for row in judge_paper(paper, fast=fast, recorded=recorded, results=results, started=started):
                rows.append(row)
                _show(row)
        except KeyboardInterrupt:
            err.print(
                escape(f"{name}: {current or 'its declaration'}: interrupted while it was measured"), soft_wrap=True
            )
            raise
        except AdaptiveLRError as error:
            rows.append(Judgement(name, None, State.BROKEN, message=str(error)))
    return read, judgements


def _show(row: Judgement) -> None:
    from adaptive_lr.papers.index import shown

    if row.claim is None:
        return
    colour = _COLOURS[row.state]
    cells = f"{row.paper} {row.claim.id}: {row.outcome or row.state}"
    numbers = (
        "" if row.measured is None else f", {shown(row.measured)} (expected {row.claim.criterion}), {row.seconds:.1f} s"
    )
    out.print(f"[{colour}]{row.state:<7}[/{colour}] {escape(cells + numbers)}", soft_wrap=True)


def _show_counts(rows: list[Judgement]) -> None:
    states = [str(row.state) for row in rows]
    seconds = sum(row.seconds for row in rows)
    counts = ", ".join(f"{states.count(state)} {state}" for state in _COLOURS if state in states)
    out.print(f"{len(rows)} claims: {counts or 'none'}; {seconds:.0f} s")


def _say_skipped(message: str) -> None:
    err.print(f"[yellow]skipped:[/yellow] {escape(printable(message))}", soft_wrap=True)
