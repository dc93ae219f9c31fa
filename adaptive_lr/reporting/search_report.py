"""The report of a hyperparameter search: a self-contained HTML page, the same numbers as JSON, and the figures as files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from adaptive_lr import drawing
from adaptive_lr.errors import OutputError, RunError
from adaptive_lr.reporting import found_figures, found_prose
from adaptive_lr.reporting.pages import page_environment, replace_page
from adaptive_lr.search import SearchResult, TrialRecord

FORMAT = 1
"""Version of the layout of ``search.json``."""

ROWS = 20
"""So many trials are in the table, and on the front."""

LEAST = 12
"""So many complete trials make a surface."""


def write_search_report(found: SearchResult, folder: Path, *, title: str, verdict: str | None = None) -> Path:
    """Write ``index.html``, ``search.json`` and ``figures/`` from what a search found.

    The page needs nothing from outside. In the JSON, numbers that it has no word for are the texts ``nan``, ``inf`` and
    ``-inf``, which ``float`` reads.

    Args:
        found: what a search returned; trials that failed or are not finite are counted, and left out of the figures.
        folder: made if it does not exist.
        title: of the page.
        verdict: what a comparison on seeds that the search did not see came to.

    Returns:
        The path of the page. An `OutputError` says that the folder is the one that the search is kept in.
    """
    refuse_directory(folder, found.directory)
    ranked, best = _ranked(found), _front(found)
    shares, reasons = _importances(found)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _numbers(found, best, shares) | {"title": title, "verdict": verdict}
    replace_page(folder / "search.json", json.dumps(_plain(numbers), indent=1, allow_nan=False) + "\n")
    plots, skipped = _plots(found, best, shares)
    page = (
        page_environment(say=found_prose)
        .get_template("search_report.html.j2")
        .render(
            title=title,
            result=found,
            answers=found_prose.answers(found, ranked, best, verdict),
            best=best,
            ranked=ranked,
            rows=ROWS,
            most=found_figures.PANELS,
            failed=[trial for trial in found.trials if trial.state == "failed"],
            figures=_drawn(plots, folder / "figures"),
            reasons=reasons | skipped,
            left_out=_left_out(found),
            commands=found_prose.again(found),
            version=version("adaptive-lr"),
        )
    )
    replace_page(folder / "index.html", page)
    return folder / "index.html"


def refuse_directory(folder: Path, directory: Path) -> None:
    """Refuse to write a report over the files of the search itself.

    Raises:
        OutputError: that is where it would go.
    """
    if folder.resolve() == directory.resolve():
        raise OutputError(
            f"the search is kept in {folder}: give the report a folder of its own, say {folder / 'report'}"
        )


def _ranked(result: SearchResult) -> list[TrialRecord]:
    """The complete trials with values that can be compared, by their first objective, the best first."""
    sign = 1.0 if result.directions[0] == "minimize" else -1.0
    return sorted(result.comparable(), key=lambda trial: sign * trial.values[0])


def _front(result: SearchResult) -> list[TrialRecord]:
    """The trials of the front by their first objective; NaN is beaten by nothing, so it must not take part."""
    ranked = _ranked(result)
    return ranked[:1] if len(result.directions) == 1 else replace(result, trials=tuple(ranked)).pareto()


def _importances(result: SearchResult) -> tuple[list[dict[str, float]], dict[str, str]]:
    """The importance of every name for each objective; where there is none, the reason by the name of the figure."""
    shares: list[dict[str, float]] = []
    reasons = {}
    for objective in range(len(result.directions)):
        try:
            shares.append(result.importance(objective))
        except RunError as error:
            shares.append({})
            reasons[f"importance-{objective + 1}"] = f"{str(error)[:1].upper()}{str(error)[1:]}."
    return shares, reasons


def _plots(
    result: SearchResult, best: Sequence[TrialRecord], shares: Sequence[Mapping[str, float]]
) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures by name, and why there are no others."""
    plots, reasons = dict[str, Figure](), dict[str, str]()
    if len(result.directions) > 1 and (drawn := found_figures.front(result, best)) is not None:
        plots["front"] = drawn
    for objective, share in enumerate(shares):
        names = sorted(result.space.axes, key=lambda name: -share.get(name, 0.0))
        numeric = [name for name in names if not result.space.axes[name].choices]
        complete = len(found_figures.drawable(result, objective))
        number = objective + 1
        plots[f"history-{number}"] = found_figures.history(result, objective)
        if complete:
            plots[f"slices-{number}"] = found_figures.slices(result, objective, names[: found_figures.PANELS])
        if share:
            plots[f"importance-{number}"] = found_figures.importance(dict(share))
        if complete < LEAST:
            reasons[f"contour-{number}"] = (
                f"A surface needs {LEAST} complete trials with finite values, there are {complete}."
            )
        elif len(numeric) < 2:
            reasons[f"contour-{number}"] = "A surface needs two names with numbers."
        else:
            plots[f"contour-{number}"] = found_figures.contour(result, objective, (numeric[0], numeric[1]))
    return plots, reasons


def _drawn(plots: Mapping[str, Figure], folder: Path) -> dict[str, Markup]:
    """The figures as inline SVG; also written as PNG and SVG."""
    inline = {}
    for name, figure in plots.items():
        inline[name] = Markup(drawing.save_both(figure, folder, name))  # noqa: S704  # written by matplotlib just now
    return inline


def _left_out(result: SearchResult) -> int:
    """How many complete trials have a value that is not drawn."""
    complete = [trial.number for trial in result.trials if trial.state == "complete"]
    for objective in range(len(result.directions)):
        shown = {trial.number for trial in found_figures.drawable(result, objective)}
        complete = [number for number in complete if number in shown]
    return sum(trial.state == "complete" for trial in result.trials) - len(complete)


def _numbers(
    result: SearchResult, best: Sequence[TrialRecord], shares: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "directions": result.directions,
        "counts": {
            state: sum(trial.state == state for trial in result.trials) for state in ("complete", "pruned", "failed")
        },
        "best": [trial.number for trial in best],
        "history": result.history() if len(result.directions) == 1 else None,
        "importance": shares,
        "space": result.space.encoded(),
        "directory": str(result.directory),
        "storage": result.storage,
        "notes": result.notes,
        "trials": [asdict(trial) for trial in result.trials],
    }


def _plain(value: Any) -> Any:
    """The same for JSON, which has no word for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
