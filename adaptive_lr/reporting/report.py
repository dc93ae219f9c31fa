"""The report: a self-contained HTML page, pages of the controllers, the same numbers as JSON, and the figures as files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from markupsafe import Markup
from matplotlib.figure import Figure

from adaptive_lr import drawing
from adaptive_lr.errors import AdaptiveLRError, OutputError
from adaptive_lr.files import make_folder
from adaptive_lr.reporting import (
    figures,
    horizon_figures,
    horizon_prose,
    prose,
    rate_figures,
    rate_prose,
    recorded_figures,
    recorded_prose,
    search_figures,
    search_prose,
    tail_figures,
    tail_prose,
)
from adaptive_lr.reporting.kept import FORMAT, kept_numbers
from adaptive_lr.reporting.pages import page_environment, replace_page

KINDS = ("grid_resolution", "recorded", "exponent_search", "tail_exponents", "any_rate", "horizons")
"""Of experiments that a page can be made for."""


def write_report(
    experiments: Sequence[Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path
) -> Path:
    """Write ``index.html``, ``controllers/``, ``report.json`` and ``figures/`` from analysed experiments.

    Experiments that are in ``report.json`` already stay in the report, unless they are among those that are given.

    Args:
        experiments: what their ``analyse`` returned.
        provenance: where the trials come from; shown on the page, not part of the numbers.
        folder: made if it does not exist.

    Returns:
        The path of the page. An `OutputError` says what cannot be written, or cannot be shown.
    """
    make_folder(folder)
    shown = kept_numbers(folder) | {numbers["name"]: dict(numbers) for numbers in experiments}
    shown = {name: shown[name] for name in sorted(shown)}
    text = json.dumps({"format": FORMAT, "experiments": shown}, indent=1, allow_nan=False) + "\n"
    pages = _pages(shown, provenance, folder)
    replace_page(folder / "report.json", text)
    for path, page in pages.items():
        make_folder((folder / path).parent)
        replace_page(folder / path, page)
    return folder / "index.html"


def _pages(
    experiments: Mapping[str, Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path
) -> dict[str, str]:
    """All pages by their paths; the figures are written."""
    environment = _environment()
    drawn, pages = {}, {}
    for name, experiment in experiments.items():
        with _explained(name, folder):
            drawn[name] = _drawn(experiment, folder / "figures")
            for label in experiment.get("traces", {}):
                page = _controller_page(environment, experiment, label, provenance)
                pages[page_of(experiment, label)] = page
            # rendered alone first, so that it is known which one cannot be shown
            template = environment.get_template("report.html.j2")
            template.render(experiments=[experiment], figures=drawn, provenance=provenance)
    page = environment.get_template("report.html.j2").render(
        experiments=list(experiments.values()), figures=drawn, provenance=provenance
    )
    return {**pages, "index.html": page}


@contextlib.contextmanager
def _explained(name: str, folder: Path) -> Iterator[None]:
    """Say of which experiment the numbers do not fit the page, because somebody changed them or another version wrote them."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, TemplateError) as error:
        if isinstance(error, AdaptiveLRError):
            refusal: AdaptiveLRError = error
        else:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = f"delete it from {folder / 'report.json'} and run it again"
            refusal = OutputError(f"the numbers of {name} cannot be shown ({reason}): {remedy}")
        raise refusal from error


def page_of(experiment: Mapping[str, Any], label: str) -> str:
    """The path of a controller's page, from that of the report; labels that differ have pages that differ."""
    slugs = [_slug(controller) for controller in experiment["traces"]]
    index = list(experiment["traces"]).index(label)
    before = slugs[:index].count(slugs[index])
    return f"controllers/{experiment['name']}-{slugs[index]}{f'--{before + 1}' if before else ''}.html"


def _slug(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label.lower())[:100]


def _environment() -> Environment:
    environment = page_environment(
        prose=prose,
        headline=prose.headline,
        study_answer=prose.study_answer,
        study_title=prose.study_title,
        regret=prose.regret,
        verdict=prose.verdict,
        metric_title=figures.metric_title,
        cheapest=_cheapest,
        members=_members,
        horizons=horizon_prose,
        rates=rate_prose,
        tails=tail_prose,
        searches=search_prose,
        recorded=recorded_prose,
        page_of=page_of,
    )
    environment.filters |= {"percent": prose.percent, "number": prose.number, "whole_percent": prose.whole_percent}
    return environment


def _controller_page(
    environment: Environment, experiment: Mapping[str, Any], label: str, provenance: Sequence[Mapping[str, Any]]
) -> str:
    plots = {name: rate_figures.trace(experiment, label, name) for name in experiment["traces"][label]}
    return environment.get_template("controller.html.j2").render(
        experiment=experiment,
        label=label,
        about=experiment["contestants"][label],
        figures={name: Markup(drawing.as_svg(figure, f"{label}-{name}")) for name, figure in plots.items()},  # noqa: S704
        provenance=provenance,
    )


def _members(experiment: Mapping[str, Any], group: str) -> int:
    """How many schedules a group has."""
    rows = next(iter(experiment["studies"].values()))["schedules"].values()
    return sum(row["group"] == group for row in rows)


def _cheapest(study: Mapping[str, Any]) -> str:
    """The schedule with the least cost at one learning rate a decade."""
    rows = study["schedules"]
    costs: dict[str, float] = {
        label: float(row["resolution"]["10"]["cost_mean"]["value"]) for label, row in rows.items()
    }
    return min(costs, key=costs.__getitem__)


def _drawn(experiment: Mapping[str, Any], folder: Path) -> dict[str, Markup]:
    """The experiment's figures as inline SVG, by study and ``overview``; also written as PNG and SVG.

    Raises:
        ValueError: there is no page for its kind.
    """
    studies, plots = experiment["studies"], dict[str, Figure]()
    if experiment["kind"] not in KINDS:
        raise ValueError(f"unknown kind {experiment['kind']!r}")
    if experiment["kind"] == "grid_resolution":
        plots["overview"] = figures.overview_figure(studies)
        plots |= {name: figures.study_figure(study) for name, study in studies.items()}
    elif experiment["kind"] == "recorded":
        plots |= {name: recorded_figures.study(study) for name, study in studies.items()}
    elif experiment["kind"] == "exponent_search":
        plots["overview"] = search_figures.overview(experiment)
    elif experiment["kind"] == "tail_exponents":
        plots["overview"] = tail_figures.overview(experiment)
        plots |= {name: tail_figures.study(study) for name, study in studies.items()}
    elif experiment["kind"] == "horizons":
        plots |= {"overview": horizon_figures.overview(experiment)} if studies else {}
        plots |= {name: horizon_figures.study(experiment, study) for name, study in studies.items()}
    else:
        plots["overview"] = rate_figures.overview(experiment)
    inline = {}
    for name, figure in plots.items():
        markup = drawing.save_both(figure, folder, f"{experiment['name']}-{name}")
        inline[name] = Markup(markup)  # noqa: S704  # written by matplotlib just now
    return inline
