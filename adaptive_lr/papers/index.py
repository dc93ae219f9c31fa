"""What is written from papers and their judgements: the index, and the bibliography."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from adaptive_lr.papers.declaration import Paper
from adaptive_lr.papers.judging import Judgement, Measured

_HEAD = """# Claims, measured

What the project stands on, claim by claim: what a paper says, what comes out here, and the verdict that its folder declares.
Made by `adaptive-lr papers --index`; a test compares it with new measurements. A row that is not reproduced has its reason below the table.
Bounds and tolerances of the first ten papers were set with first measurements in sight: there, green says that nothing has changed, not that a prediction came true.

"""


def index_page(papers: Sequence[Paper], judgements: Mapping[str, Sequence[Judgement]]) -> str:
    """Markdown: a table of all claims of ``papers``, from their ``judgements`` by the paper's name."""
    rows = [judgement for paper in papers for judgement in judgements[paper.name]]
    verdicts = [row.outcome for row in rows]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(sorted(verdicts, reverse=True)))
    lines = [
        f"{len(papers)} papers, {len(rows)} claims: {counts}.",
        "",
        "| paper | claim | expected | measured | verdict | seconds | command |",
        "|---|---|---|---|---|---|---|",
    ]
    reasons = []
    for paper in papers:
        for row in judgements[paper.name]:
            claim = row.claim
            if claim is None:
                continue
            lines.append(index_row(paper, row, f"{row.seconds:.1f} "))
            if claim.why:
                reasons.append(f"- {paper.short}, {claim.verdict}: «{claim.statement}» {claim.why}")
    return (
        _HEAD
        + "\n".join([*lines, *(["", "## What is not reproduced, or in part", "", *reasons] if reasons else [])])
        + "\n"
    )


def index_row(paper: Paper, judgement: Judgement, seconds: str = "") -> str:
    """The row of a claim in the table; without the seconds, for comparison, unless they are said."""
    claim = judgement.claim
    if claim is None:
        return ""
    cells = [
        f"[{paper.short}]({paper.name}/README.md)",
        f"{_cell(claim.statement)} ({_cell(claim.source)})",
        str(claim.criterion),
        shown(judgement.measured),
        judgement.outcome,
    ]
    return f"| {' | '.join(cells)} | {seconds}| `adaptive-lr papers {paper.name}` |"


def shown(measured: float | Measured | None) -> str:
    """A measurement with four digits.

    >>> shown(0.100630), shown(None)
    ('0.1006', '-')
    """
    if measured is None:
        return "-"
    if isinstance(measured, Measured):
        return str(measured)
    return f"{measured:.4g}" if abs(measured) >= 1e-12 else "0"


def bibliography(papers: Iterable[Paper]) -> str:
    """BibTeX, an entry for each paper, by the name of its folder."""
    return "\n".join(_entry(paper) for paper in papers)


def _entry(paper: Paper) -> str:
    fields = {
        "title": f"{{{paper.title}}}",
        "author": " and ".join(paper.authors),
        "year": str(paper.year),
        "eprint": paper.arxiv,
        "archiveprefix": "arXiv" if paper.arxiv else "",
        "doi": paper.doi,
        "note": paper.venue,
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@misc{{{paper.name},", *lines, "}", ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
