"""The report: one self-contained HTML page, the same numbers as JSON, and the figures as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from adaptive_lr.reporting import figures, prose

FORMAT = 1
"""Version of the layout of ``report.json``."""


def write_report(
    experiments: Sequence[Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path
) -> Path:
    """Write ``index.html``, ``report.json`` and ``figures/`` from analysed experiments.

    Args:
        experiments: what `adaptive_lr.experiment.analyse` returned.
        provenance: where the trials come from; shown on the page, not part of the numbers.
        folder: made if it does not exist.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"format": FORMAT, "experiments": {one["name"]: one for one in experiments}}
    _replace(folder / "report.json", json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n")
    drawn = {one["name"]: _draw(one, folder / "figures") for one in experiments}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": prose.percent, "number": prose.number, "whole": prose.whole}
    template = environment.from_string(
        files("adaptive_lr.reporting").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        experiments=experiments,
        figures=drawn,
        provenance=provenance,
        headline=prose.headline,
        study_answer=prose.study_answer,
        study_title=prose.study_title,
        regret=prose.regret,
        verdict=prose.verdict,
        metric_title=figures.metric_title,
        cheapest=_cheapest,
        members=_members,
    )
    _replace(folder / "index.html", page)
    return folder / "index.html"


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


def _draw(experiment: Mapping[str, Any], folder: Path) -> dict[str, Markup]:
    """The experiment's figures as inline SVG, by study and ``overview``; also written as PNG and SVG."""
    studies = experiment["studies"]
    plots = {"overview": figures.overview_figure(studies)}
    plots |= {name: figures.study_figure(study) for name, study in studies.items()}
    inline = {}
    for name, figure in plots.items():
        stem = f"{experiment['name']}-{name}"
        figures.save(figure, folder / f"{stem}.png")
        figures.save(figure, folder / f"{stem}.svg")
        text = (folder / f"{stem}.svg").read_text(encoding="utf-8")
        inline[name] = Markup(text[text.index("<svg") :])  # noqa: S704  # written by matplotlib just now
    return inline


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
