"""The report: a self-contained HTML page, pages of the controllers, the same numbers as JSON, and the figures as files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from markupsafe import Markup

from adaptive_lr.errors import AdaptiveLRError, OutputError
from adaptive_lr.files import make_folder
from adaptive_lr.reporting import (
    figures,
    horizon_figures,
    horizon_prose,
    learned_figures,
    learned_prose,
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
from adaptive_lr.reporting.drawn import Drawing, draw_all
from adaptive_lr.reporting.kept import FORMAT, kept_numbers
from adaptive_lr.reporting.pages import page_environment, replace_page

KINDS = ("grid_resolution", "recorded", "exponent_search", "tail_exponents", "any_rate", "horizons")
"""Of experiments that a page can be made for."""


def write_report(
    experiments: Sequence[Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path, *, workers: int = 1
) -> Path:
    """Write ``index.html``, ``controllers/``, ``report.json`` and ``figures/`` from analysed experiments.

    Experiments that are in ``report.json`` already stay in the report, unless they are among those that are given. A figure is
    drawn again only if its numbers or what draws it have changed.

    Args:
        experiments: what their ``analyse`` returned.
        provenance: where the trials come from; shown on the page, not part of the numbers.
        folder: made if it does not exist.
        workers: processes that draw.

    Returns:
        The path of the page. An `OutputError` says what cannot be written, or cannot be shown.
    """
    make_folder(folder)
    shown = kept_numbers(folder) | {numbers["name"]: dict(numbers) for numbers in experiments}
    shown = {name: shown[name] for name in sorted(shown)}
    text = json.dumps({"format": FORMAT, "experiments": shown}, indent=1, allow_nan=False) + "\n"
    pages = _pages(shown, provenance, folder, workers)
    replace_page(folder / "report.json", text)
    for path, page in pages.items():
        make_folder((folder / path).parent)
        replace_page(folder / path, page)
    return folder / "index.html"


def _pages(
    experiments: Mapping[str, Mapping[str, Any]], provenance: Sequence[Mapping[str, Any]], folder: Path, workers: int
) -> dict[str, str]:
    """All pages by their paths; the figures are written."""
    environment = _environment()
    drawings: dict[tuple[str, ...], Drawing] = {}
    for name, experiment in experiments.items():
        with _explained(name, folder):
            drawings |= {(name, *figure): drawing for figure, drawing in _drawings(experiment).items()}
    drawn = dict(zip(drawings, draw_all(list(drawings.values()), folder, workers=workers), strict=True))
    inline: dict[str, dict[str, Markup]] = {}
    pages: dict[str, str] = {}
    for name, experiment in experiments.items():
        with _explained(name, folder):
            figures = {key[1:]: _markup(result) for key, result in drawn.items() if key[0] == name}
            inline[name] = {key[0]: markup for key, markup in figures.items() if len(key) == 1}
            for label in experiment.get("traces", {}):
                traces = {key[1]: markup for key, markup in figures.items() if len(key) == 2 and key[0] == label}
                page = _controller_page(environment, experiment, label, traces, provenance)
                pages[page_of(experiment, label)] = page
            # rendered alone first, so that it is known which one cannot be shown
            template = environment.get_template("report.html.j2")
            template.render(experiments=[experiment], figures=inline, provenance=provenance)
    page = environment.get_template("report.html.j2").render(
        experiments=list(experiments.values()), figures=inline, provenance=provenance
    )
    return {**pages, "index.html": page}


def _markup(result: str | Exception) -> Markup:
    if isinstance(result, Exception):
        raise result
    return Markup(result)  # noqa: S704  # written by matplotlib, and as it wrote it


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
        learnt=learned_prose,
        tails=tail_prose,
        searches=search_prose,
        recorded=recorded_prose,
        page_of=page_of,
    )
    environment.filters |= {"percent": prose.percent, "number": prose.number, "whole_percent": prose.whole_percent}
    return environment


def _controller_page(
    environment: Environment,
    experiment: Mapping[str, Any],
    label: str,
    traces: Mapping[str, Markup],
    provenance: Sequence[Mapping[str, Any]],
) -> str:
    return environment.get_template("controller.html.j2").render(
        experiment=experiment,
        label=label,
        about=experiment["contestants"][label],
        figures=traces,
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


def _drawings(experiment: Mapping[str, Any]) -> dict[tuple[str, ...], Drawing]:
    """The experiment's figures by study and ``overview``, and those of its controllers' pages by controller and study."""
    drawings: dict[tuple[str, ...], Drawing] = {}
    for figure, (draw, *numbers) in _figures(experiment).items():
        name = f"{experiment['name']}-{figure}"
        drawings[figure,] = Drawing(draw, tuple(numbers), f"figures/{name}", name)
    for label, studies in experiment.get("traces", {}).items():
        page = page_of(experiment, label).removeprefix("controllers/").removesuffix(".html")
        for number, (study, starts) in enumerate(studies.items(), 1):
            path = f"controllers/figures/{page}-{number}-{_slug(study)}"
            shown = (starts, _oracle(experiment, study))
            drawings[label, study] = Drawing(rate_figures.trace, shown, path, f"{label}-{study}", words=True)
    return drawings


def _figures(experiment: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The functions that draw the experiment's figures and what they are given, by study and ``overview``.

    Raises:
        ValueError: there is no page for its kind.
    """
    kind, studies = experiment["kind"], experiment["studies"]
    each: dict[str, tuple[Any, ...]]
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    if kind == "grid_resolution":
        each = {name: (figures.study_figure, study) for name, study in studies.items()}
        return {"overview": (figures.overview_figure, studies), **each}
    if kind == "recorded":
        return {name: (recorded_figures.study, study) for name, study in studies.items()}
    if kind == "exponent_search":
        return {"overview": (search_figures.overview, experiment)}
    if kind == "tail_exponents":
        each = {name: (tail_figures.study, study) for name, study in studies.items()}
        return {"overview": (tail_figures.overview, experiment), **each}
    if kind == "horizons":
        overview = {"overview": (horizon_figures.overview, experiment)} if studies else {}
        about = {key: experiment[key] for key in ("factors", "schedules")} if studies else {}
        return overview | {name: (horizon_figures.study, about, study) for name, study in studies.items()}
    shown = {key: experiment[key] for key in experiment if key not in ("traces", "learned")}
    learned = experiment.get("learned", {})
    more: dict[str, tuple[Any, ...]] = {}
    if learned:
        more = {
            "learning": (learned_figures.learning, learned["runs"]),
            "responses": (learned_figures.responses, learned["policy"]),
        }
    return {"overview": (rate_figures.overview, shown), **more}


def _oracle(experiment: Mapping[str, Any], study: str) -> dict[str, float] | None:
    """Rate and steps of the cosine in a study, if the reference is one."""
    if experiment["contestants"][experiment["reference"]]["schedule"] != "DampedCosine()":
        return None
    numbers = experiment["studies"][study]
    return {"rate": numbers["oracle"]["rate"], "steps": numbers["steps"]}
