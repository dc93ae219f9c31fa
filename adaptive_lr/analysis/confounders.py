"""Columns that vary inside a group of runs: which of them say nothing, and which would be averaged over in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.direction import METRICS, words_of
from adaptive_lr.analysis.outcomes import order
from adaptive_lr.analysis.request import Request
from adaptive_lr.analysis.run_states import state_columns
from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Table, number, shortened
from adaptive_lr.errors import InputError

Cells = dict[str, dict[float, list[int]]]
"""Rows by group and rate."""

_MANY = 6
"""Of so few runs each with its own rate, one in 360 unrelated columns rises or falls with the rate by chance."""

_ROUNDED = 0.02
"""What a column may be off from a power of the rate, for want of digits."""

_IDENTIFIERS = frozenset(
    [
        "id",
        "ids",
        "uid",
        "uuid",
        "number",
        "index",
        "idx",
        "job",
        "jobid",
        "run",
        "name",
        "file",
        "path",
        "source",
        "trial",
        "trialid",
        "seed",
        "hash",
        "pid",
        "rank",
    ]
)
_TIMES = frozenset(
    [
        "time",
        "times",
        "date",
        "datetime",
        "timestamp",
        "created",
        "updated",
        "started",
        "finished",
        "ended",
        "start",
        "end",
        "duration",
        "runtime",
        "elapsed",
    ]
)
_AMBIGUOUS = frozenset(["top", "pass", "neg", "negative"])
"""Words of metrics that name settings as well: ``top_k``, ``negative_slope``."""

_SPENT = frozenset(
    ["seconds", "secs", "sec", "minutes", "hours", "memory", "mem", "vram", "throughput", "flops", "value"]
)
_MEASURED = (METRICS - _AMBIGUOUS) | _TIMES | _SPENT
_SETTINGS = frozenset(
    [
        "weight",
        "coef",
        "coefficient",
        "lambda",
        "alpha",
        "beta",
        "fn",
        "func",
        "function",
        "type",
        "name",
        "mode",
        "kind",
        "scale",
        "factor",
        "smoothing",
        "threshold",
        "clip",
        "max",
        "limit",
        "target",
        "size",
        "every",
        "interval",
        "patience",
        "budget",
        "ratio",
        "embedding",
        "dropout",
        "warmup",
        "decay",
    ]
)
"""Words beside which a measured one names a setting: ``aux_loss_weight``, ``max_time``."""

_RESULTS = re.compile(r"(last|best|final|summary|metrics?|results?|eval|perf|scores?)[./]", re.IGNORECASE)
_CONFIGURED = re.compile(r"(config|params?|hparams?|hyperparameters|args?|user_attrs)[./_]", re.IGNORECASE)
_STEPS = frozenset(
    [
        "step",
        "steps",
        "epoch",
        "epochs",
        "iteration",
        "iterations",
        "iter",
        "iters",
        "update",
        "updates",
        "docs",
        "tokens",
        "samples",
        "batch",
        "batches",
        "checkpoint",
    ]
)
_RUNS = frozenset(["run", "id", "uid", "uuid", "hash", "name", "trial", "experiment", "job", "config"])


@dataclass(frozen=True)
class _Column:
    """A column that varies.

    Attributes:
        texts: its cells.
        values: as numbers, NaN where blank or not finite; None if some cell is no number.
        rates: of the same rows.
    """

    name: str
    texts: Sequence[str]
    values: Array | None
    rates: Array

    @property
    def own(self) -> bool:
        """Whether every run has its own value."""
        return len(set(self.texts)) == len(self.texts)

    def identifies(self, prefix: str | None) -> bool:
        """Whether it names runs: by its name, by numbers that count the rows, or by texts too many to be choices."""
        if not self.own or (prefix is not None and self.name.startswith(prefix)):
            return False
        called = bool((_IDENTIFIERS | _TIMES) & set(words_of(self.name)))
        if self.values is None:
            return called or len(self.texts) >= _MANY or all(re.search("[0-9]", text) for text in self.texts)
        integral = bool((self.values == np.round(self.values)).all())
        counted = len(self.texts) >= _MANY and bool((np.abs(np.diff(self.values)) == 1).all())
        return integral and (called or counted)

    def measured(self, prefix: str | None) -> bool:
        """Whether it was measured: most runs have their own number in it, and its name says so.

        Args:
            prefix: what the names of settings begin with, if the rate's does: ``params_``.
        """
        distinct = 2 * len(set(self.texts)) > len(self.texts)
        words = set(words_of(self.name))
        setting = bool(words & _SETTINGS) or (prefix is not None and self.name.startswith(prefix))
        if setting or not distinct:
            return False
        if self.values is None:
            return bool(words & _TIMES)
        called = bool(words & _MEASURED) or _RESULTS.match(self.name) is not None
        return called or (prefix is not None and not _CONFIGURED.match(self.name))

    def moves(self) -> bool:
        """Whether the rate determines it, as far as runs can say.

        Either every rate has several runs that agree; or it is a power of the rate (``min_lr`` as a tenth of the peak, another
        constant over it); or it rises or falls strictly over at least six rates. With a rate for each run, any other column would
        agree too.
        """
        by_rate: dict[float, set[str]] = {}
        for rate, text in zip(self.rates.tolist(), self.texts, strict=True):
            by_rate.setdefault(rate, set()).add(text)
        if max(map(len, by_rate.values())) > 1:
            return False
        if min(Counter(self.rates.tolist()).values()) > 1:
            return True
        if self.values is None or np.isnan(self.values).any():
            return False
        rates, first = np.unique(self.rates, return_index=True)
        values = self.values[first]
        if _is_proportional(rates, values):
            return True
        rises = np.diff(values)
        return len(rates) >= _MANY and bool((rises > 0).all() or (rises < 0).all())


def _is_proportional(rates: Array, values: Array) -> bool:
    if not (values > 0.0).all():
        return False
    return any(np.ptp(np.log(values) - power * np.log(rates)) < _ROUNDED for power in (1.0, -1.0, 0.5, -0.5, 2.0, -2.0))


def unmixed(table: Table, rates: Array, cells: Cells, request: Request) -> list[str]:
    """Sentences about columns that vary without harm; every other one that varies inside a group is an error.

    A column is harmless inside a group if it names the runs, if it was measured, if the learning rate determines it, or if somebody
    said so.

    Raises:
        InputError: another column varies inside a group.
    """
    # What a tracker's states mean has been settled: those that stand here are of runs with a result.
    named = {*request.told, *(name for name, _ in request.diverged), *state_columns(table)} - set(request.ignore)
    prefix = _CONFIGURED.match(request.rate)
    kinds: dict[str, list[str]] = {"own": [], "measured": [], "moving": [], "ignored": [], "between": []}
    mixed = {}
    for name, texts in table.columns.items():
        if name in named or len(set(texts)) == 1:
            continue
        varying = _varying(texts, cells)
        if varying is None:
            kinds["between"].append(name)
        elif name in request.ignore:
            kinds["ignored"].append(name)
        elif kind := _kind(_Column(name, texts, _values(texts), rates), prefix and prefix[0]):
            kinds[kind].append(name)
        else:
            mixed[name] = (varying, _in_group(texts, cells[varying]))
    if mixed:
        raise InputError(_refusal(table, mixed))
    sentences = {
        "between": "Differs between groups too, so that it may be what makes their difference",
        "own": "Not looked at, since every run has its own value",
        "measured": "Not looked at, since it reads like something measured",
        "moving": f"Moves with {request.rate}, and cannot be told apart from it",
        "ignored": "Varies inside groups and was declared not to matter",
    }
    return [f"{words}: {', '.join(kinds[kind])}." for kind, words in sentences.items() if kinds[kind]]


def _varying(texts: Sequence[str], cells: Cells) -> str | None:
    """The first group inside which a column varies."""
    for label, group in cells.items():
        if len({texts[row] for rows in group.values() for row in rows}) > 1:
            return label
    return None


def _kind(column: _Column, prefix: str | None) -> str | None:
    if column.identifies(prefix):
        return "own"
    if column.moves():
        return "moving"
    return "measured" if column.measured(prefix) else None


def _values(texts: Sequence[str]) -> Array | None:
    values = [number(text) for text in texts]
    return None if None in values else np.array(values, dtype=np.float64)


def _in_group(texts: Sequence[str], group: Mapping[float, list[int]]) -> Counter[str]:
    """How often each value of a column occurs in a group."""
    return Counter(texts[row] for rows in group.values() for row in rows)


def _refusal(table: Table, mixed: Mapping[str, tuple[str, Counter[str]]]) -> str:
    parts = []
    for name, (label, values) in mixed.items():
        shown = shortened([text or "(empty)" for text in sorted(values, key=order)], 4)
        parts.append(f"{name} ({shown} in «{label}»)")
    seeds = next((name for name in mixed if "seed" in name.lower()), None)
    if seeds is not None:
        parts.append(f"if {seeds} is the seed, say --seed {seeds}")
    name, (_, values) = next(iter(mixed.items()))
    value = next((text for text, _ in values.most_common() if text), "VALUE")
    steps = _by_step(table, list(mixed))
    ignored = " ".join(f"--ignore {column}" for column in mixed)
    return (
        f"{table.source}: {steps}runs of one group differ in {'; '.join(parts)}. For each column say which to keep (--where {name}={value}), "
        f"split by it (--by {name}), or that it does not matter ({ignored})"
    )


def _by_step(table: Table, mixed: Sequence[str]) -> str:
    """A proposal, where a row seems to be a step of a run: a step's name, and another column that names the run."""
    for step in (name for name in mixed if _STEPS & set(words_of(name))):
        values = _values(table.columns[step])
        if values is None:
            continue
        for run in (name for name in table.columns if name != step and _RUNS & set(words_of(name))):
            names = table.columns[run]
            pairs = set(zip(names, values.tolist(), strict=True))
            if len(pairs) == len(names) >= 2 * len(set(names)):
                return f"if a row is a step and not a run, say --run {run} --step {step}, and a run counts with its last row. Otherwise: "
    return ""
