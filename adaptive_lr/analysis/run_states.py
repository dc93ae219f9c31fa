"""What trackers say about how a run ended: a run that is not over, or was broken off, has no result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaptive_lr.analysis.tables import Table

NAMES = ("state", "status", "runstate", "runstatus", "trialstate", "trialstatus")
"""Last parts of the names of columns in which trackers put it, without capitals and signs between words."""

FINISHED = frozenset({"complete", "completed", "finished", "done", "success", "succeeded", "terminated"})
UNFINISHED = frozenset(
    {"running", "waiting", "pending", "queued", "scheduled", "paused", "pruned", "preempting", "preempted", "suspended"}
)
FAILED = frozenset(
    {"fail", "failed", "crashed", "error", "errored", "killed", "timeout", "cancelled", "canceled", "outofmemory"}
)
"""In the words of Weights & Biases, Optuna, MLflow, Ray and Slurm."""


def state_columns(table: Table) -> list[str]:
    """Columns with the name of a state all of whose cells are known ones."""
    return [
        name
        for name, texts in table.columns.items()
        if _plain(name.replace("/", ".").rpartition(".")[2]) in NAMES
        and all(state_of(text) in FINISHED | UNFINISHED | FAILED for text in set(texts) - {""})
        and any(texts)
    ]


def state_of(text: str) -> str:
    """A state without capitals, signs and the name of its enumeration.

    >>> state_of("TrialState.COMPLETE"), state_of("OUT_OF_MEMORY")
    ('complete', 'outofmemory')
    """
    return _plain(text.rpartition(".")[2])


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def left_out(table: Table, named: Sequence[str], counted: Sequence[bool]) -> Iterator[tuple[str, str, list[int]]]:
    """Runs that have no result by what a tracker says.

    Args:
        table: one row a run.
        named: columns that somebody has spoken about, which are not looked at.
        counted: rows that count as diverged whatever their state.

    Yields:
        The column, the state, and the rows.
    """
    for name in state_columns(table):
        if name in named:
            continue
        by_state: dict[str, list[int]] = {}
        for row, text in enumerate(table.columns[name]):
            if not counted[row] and state_of(text) in UNFINISHED | FAILED:
                by_state.setdefault(text, []).append(row)
        for text, rows in by_state.items():
            yield name, text, rows
