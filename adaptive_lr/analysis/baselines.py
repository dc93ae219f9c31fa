"""Is what a search found better than the best of the usual schedules, at the tuned rate and on grids of each resolution?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import RATIOS, Sweep
from adaptive_lr.analysis.stats import TINY, Array

TUNED = "tuned"
"""The loss at the best rate of the fine grid."""

ANY_GRID = "any grid"
"""The expected loss on a grid of a random ratio, one of `RATIOS`, that begins at a random place."""

MEASURES = (TUNED, *RATIOS, ANY_GRID)

WORDS = ("better", "worse", "not better")
"""What a winner is called against the best baseline: clearly below it, clearly above it, and neither."""


def costs(sweep: Sweep) -> dict[str, Array]:
    """What whoever tunes ends with, by measure and repetition, ``[R]`` each: losses above the optimum where that is known.

    With a grid of ratio r the mean over all places where it may begin; ``any grid`` is the mean of those over the four ratios. In each
    repetition one seed chooses the rates and the other one reports.

    Args:
        sweep: of at least two decades, with 6 rates a decade or a multiple.
    """
    grids = {label: sweep.coarse(ratio) for label, ratio in RATIOS.items()}
    return {TUNED: sweep.fine(), **grids, ANY_GRID: np.mean(list(grids.values()), axis=0)}


def expected(losses: Array, per_decade: int) -> dict[str, float]:
    """The least of the losses by measure: of the fine grid, and expected of grids of each ratio and of a random one.

    E_o min of the losses at the rates o, o + s, o + 2 s, …, with s the step of a ratio in rates of the fine grid and the offset o any
    of 0 … s - 1; ``any grid`` is the mean of that over the ratios.

    Args:
        losses: mean losses on the fine grid, ``[L]``, over at least two decades.
        per_decade: rates a decade, a multiple of 6.

    >>> {measure: round(loss, 4) for measure, loss in expected(np.r_[np.ones(6), 0.0, np.ones(6)], 6).items()}
    {'tuned': 0.0, '10^(1/3)': 0.5, '10^(1/2)': 0.6667, '10': 0.8333, '100': 0.9167, 'any grid': 0.7292}
    """
    means = {}
    for label, ratio in RATIOS.items():
        stride = round(per_decade * np.log10(ratio))
        means[label] = float(np.mean([losses[offset::stride].min() for offset in range(stride)]))
    return {TUNED: float(losses.min()), **means, ANY_GRID: float(np.mean(list(means.values())))}


def cut_off(sweep: Sweep, measure: str) -> bool:
    """Whether some grid of a measure may have no rate near the best one: it lies within half a step of an end of the window.

    >>> sweep = Sweep.clipped(
    ...     rates=10.0 ** (np.arange(13) / 6),
    ...     selection=np.r_[np.ones(3), 0.5, np.ones(9)][None],
    ...     report=np.ones((1, 13)),
    ...     initial=(2.0, 2.0),
    ...     optimum=None,
    ...     per_decade=6,
    ... )
    >>> [measure for measure in MEASURES if cut_off(sweep, measure)]
    ['100', 'any grid']
    """
    if measure == TUNED:
        return sweep.at_boundary
    return sweep.cut_off(max(RATIOS.values()) if measure == ANY_GRID else RATIOS[measure])


def against_best(
    mine: Array, baselines: Mapping[str, Array], seen: Mapping[str, float], *, ratio: bool
) -> dict[str, Any]:
    """A winner's losses against those of the best of several baselines, paired by repetition: a test for `paired.judge`.

    To be called better, the winner must be better than each of the baselines: p is the largest of all (an intersection-union test, which needs
    no correction for their number; Berger 1982, Technometrics 24), and the one that is hardest to beat is named. To be called worse, it
    must be worse than the baseline that was best on the seeds of the search, which is then named: the best of several on the reported
    seeds has luck of its own there, and equal schedules would be called worse.

    Args:
        mine: the winner's losses, ``[R]``.
        baselines: theirs by label, ``[R]`` each.
        seen: their losses on the seeds that the search sees, by label.
        ratio: whether losses are compared by their ratio, see `Sweep.is_ratio`.

    Returns:
        ``baseline``, the test as `paired.gap` has it, ``ratio`` of the losses with its interval, and ``words``.

    >>> losses = {"cosine": np.array([2.0, 2.2, 2.1]), "linear": np.array([9.0, 9.0, 9.5])}
    >>> row = against_best(np.ones(3), losses, {"cosine": 2.0, "linear": 9.0}, ratio=True)
    >>> row["baseline"], round(row["ratio"]["value"], 3), row["n"]
    ('cosine', 0.477, 3)
    """
    tests = {label: paired.gap(mine, theirs, ratio=ratio) for label, theirs in baselines.items()}
    hardest = max(tests, key=lambda label: float(tests[label]["value"]))
    usual = min(seen, key=lambda label: seen[label])
    if tests[hardest]["value"] < 0.0:
        label, p = hardest, max(test["p"] for test in tests.values())
    elif tests[usual]["value"] > 0.0:
        label, p = usual, tests[usual]["p"]
    else:
        label, p = hardest, 1.0
    shown = in_ratio(mine, baselines[label], ratio=ratio)
    return {"baseline": label, **tests[label], "p": p, "ratio": shown, "words": WORDS}


def in_ratio(mine: Array, theirs: Array, *, ratio: bool) -> dict[str, float]:
    """Losses over others, paired by repetition, ``[R]`` each: the geometric mean, or the ratio of means, with an interval."""
    return paired.geometric(mine / np.maximum(theirs, TINY)) if ratio else paired.share(mine, theirs)


def compare(
    sweeps: Mapping[str, Sweep],
    winner: str,
    baselines: Sequence[str],
    seen: Mapping[str, Mapping[str, float]],
    measures: Sequence[str] = MEASURES,
) -> list[dict[str, Any]]:
    """A row for each measure as `against_best` has it, with ``measure`` and ``at_boundary``, for `paired.judge`.

    Args:
        sweeps: by label, on the same rates and repetitions.
        winner: its label.
        baselines: their labels.
        seen: the losses of the baselines on the seeds that the search sees, by label and measure.
        measures: of ``MEASURES``.
    """
    reported = {label: costs(sweeps[label]) for label in (winner, *baselines)}
    rows = []
    for measure in measures:
        row = against_best(
            reported[winner][measure],
            {label: reported[label][measure] for label in baselines},
            {label: seen[label][measure] for label in baselines},
            ratio=sweeps[winner].is_ratio,
        )
        edge = any(cut_off(sweeps[label], measure) for label in (winner, row["baseline"]))
        rows.append({"measure": measure, **row, "at_boundary": edge})
    return rows
