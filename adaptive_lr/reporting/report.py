"""The report: a self-contained HTML page, pages of the controllers, the same numbers as JSON, and the figures as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure

from adaptive_lr import drawing
from adaptive_lr.reporting import (
    figures,
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
from adaptive_lr.reporting.pages import page_environment, replace_page

FORMAT = 2
"""Version of the layout of ``report.json``."""


def write_report(
    experiments: Sequence[Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path
) -> Path:
    """Write ``index.html``, ``controllers/``, ``report.json`` and ``figures/`` from analysed experiments.

    Args:
        experiments: what their ``analyse`` returned.
        provenance: where the trials come from; shown on the page, not part of the numbers.
        folder: made if it does not exist.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"format": FORMAT, "experiments": {one["name"]: one for one in experiments}}
    replace_page(folder / "report.json", json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n")
    drawn = {one["name"]: _drawn(one, folder / "figures") for one in experiments}
    environment = _environment()
    page = environment.get_template("report.html.j2").render(
        experiments=experiments, figures=drawn, provenance=provenance
    )
    replace_page(folder / "index.html", page)
    for experiment in experiments:
        for label in experiment.get("traces", {}):
            _write_controller(environment, experiment, label, provenance, folder)
    return folder / "index.html"


def page_of(experiment: Mapping[str, Any], label: str) -> str:
    """The path of a controller's page, from that of the report."""
    slug = "".join(c if c.isalnum() else "-" for c in label.lower())
    return f"controllers/{experiment['name']}-{slug}.html"


def _environment() -> Environment:
    environment = page_environment(
        headline=prose.headline,
        study_answer=prose.study_answer,
        study_title=prose.study_title,
        regret=prose.regret,
        verdict=prose.verdict,
        metric_title=figures.metric_title,
        cheapest=_cheapest,
        members=_members,
        rates=rate_prose,
        tails=tail_prose,
        searches=search_prose,
        recorded=recorded_prose,
        page_of=page_of,
    )
    environment.filters |= {"percent": prose.percent, "number": prose.number, "whole": prose.whole}
    return environment


def _write_controller(
    environment: Environment,
    experiment: Mapping[str, Any],
    label: str,
    provenance: Sequence[Mapping[str, Any]],
    folder: Path,
) -> None:
    plots = {name: rate_figures.trace(experiment, label, name) for name in experiment["traces"][label]}
    page = environment.get_template("controller.html.j2").render(
        experiment=experiment,
        label=label,
        about=experiment["contestants"][label],
        figures={name: Markup(drawing.as_svg(figure, f"{label}-{name}")) for name, figure in plots.items()},  # noqa: S704
        provenance=provenance,
    )
    path = folder / page_of(experiment, label)
    path.parent.mkdir(exist_ok=True)
    replace_page(path, page)


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
    """The experiment's figures as inline SVG, by study and ``overview``; also written as PNG and SVG."""
    studies, plots = experiment["studies"], dict[str, Figure]()
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
    else:
        plots["overview"] = rate_figures.overview(experiment)
    inline = {}
    for name, figure in plots.items():
        stem = f"{experiment['name']}-{name}"
        drawing.save(figure, folder / f"{stem}.png")
        drawing.save(figure, folder / f"{stem}.svg")
        text = (folder / f"{stem}.svg").read_text(encoding="utf-8")
        inline[name] = Markup(text[text.index("<svg") :])  # noqa: S704  # written by matplotlib just now
    return inline
