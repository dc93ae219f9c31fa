"""Sentences made of the numbers of an experiment on horizons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MEASURES = {
    "tuned": "At a rate that was chosen on the fine grid",
    "coarse": "With only one rate a decade tried",
}
"""What the measures are called at the beginning of a sentence."""


def title(study: Mapping[str, Any]) -> str:
    """The task, with a capital.

    >>> title({"label": "digits, convolutional network"})
    'Digits, convolutional network'
    """
    label = str(study["label"])
    return f"{label[:1].upper()}{label[1:]}"


def horizon(factor: float) -> str:
    """A multiple of T.

    >>> horizon(0.25), horizon(1.0), horizon(4.0), horizon(0.3)
    ('T/4', 'T', '4T', '0.3T')
    """
    if factor == 1.0:
        return "T"
    return f"T/{1.0 / factor:g}" if factor < 1.0 and (1.0 / factor).is_integer() else f"{factor:g}T"


def warmup(share: float) -> str:
    """The length of a warm-up.

    >>> warmup(0.0), warmup(0.05)
    ('no warm-up', '5\u00a0% warm-up')
    """
    return f"{100.0 * share:g}\u00a0% warm-up" if share else "no warm-up"


def unit(study: Mapping[str, Any]) -> str:
    """What a difference is counted in: points of an error rate, nats of a loss."""
    return "points" if _is_error(study) else "nats"


def metric(study: Mapping[str, Any]) -> str:
    """The reported metric with its unit."""
    return f"{str(study['metric']).replace('_', ' ')}, {'%' if _is_error(study) else 'nats'}"


def scaled(study: Mapping[str, Any]) -> float:
    """By how much a number is multiplied before it is shown."""
    return 100.0 if _is_error(study) else 1.0


def value(study: Mapping[str, Any], number: float) -> str:
    """A metric, in nats or per cent.

    >>> value({"metric": "test_loss", "initial": 5.5}, 2.34567), value({"metric": "test_error", "initial": 0.9}, 0.1234)
    ('2.346', '12.3')
    """
    return f"{scaled(study) * number:.{_digits(study)}f}".replace("-", "−")


def difference(study: Mapping[str, Any], estimate: Mapping[str, Any]) -> str:
    """A difference with its sign and interval."""
    mean, low, high = (
        f"{scaled(study) * estimate[key]:+.{_digits(study)}f}".replace("-", "−") for key in ("value", "low", "high")
    )
    return f"{mean}\u00a0[{low},\u00a0{high}]"


def comparison(study: Mapping[str, Any], cell: Mapping[str, Any], label: str, measure: str) -> Mapping[str, Any] | None:
    """A schedule against the reference in a cell; None for the reference itself."""
    for row in study["comparisons"]:
        setting = (row["of"], row["steps"], row["warmup"], row["schedule"], row["measure"])
        if setting == ("schedule", cell["steps"], cell["warmup"], label, measure):
            return dict(row)
    return None


def warmups(study: Mapping[str, Any]) -> list[float]:
    """The lengths of warm-up that a workload was run with, ascending."""
    return sorted({float(cell["warmup"]) for cell in study["cells"]})


def cells(study: Mapping[str, Any], share: float) -> list[Mapping[str, Any]]:
    """The cells of a workload with one length of warm-up, by ascending horizon."""
    return sorted((cell for cell in study["cells"] if cell["warmup"] == share), key=lambda cell: int(cell["steps"]))


def lowest(cell: Mapping[str, Any], measure: str) -> str:
    """The schedule with the lowest mean in a cell."""
    rows: Mapping[str, Any] = cell["schedules"]
    return min(rows, key=lambda label: float(rows[label][measure]["value"]))


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all workloads."""
    if not experiment["studies"]:
        return ["None of the workloads could be run here."]
    return [
        *_lowest(experiment),
        *(_verdicts(experiment, measure) for measure in MEASURES),
        _turns(experiment),
        _warmups(experiment),
        *_edges(experiment),
    ]


def study_answer(experiment: Mapping[str, Any], study: Mapping[str, Any]) -> list[str]:
    """The answer for one workload: the lowest of each cell, and what one rate a decade costs."""
    sentences = []
    for share in warmups(study):
        parts = []
        for factor, cell in zip(experiment["factors"], cells(study, share), strict=True):
            best = lowest(cell, "tuned")
            number = value(study, cell["schedules"][best]["tuned"]["value"])
            parts.append(f"{best} at {horizon(factor)} ({number})")
        sentences.append(f"With {warmup(share)} the lowest {metric(study)}, is that of {_listed(parts)}.")
    costs = {
        label: [cell["schedules"][label]["cost"]["value"] for cell in study["cells"]]
        for label in study["cells"][0]["schedules"]
    }
    parts = [
        f"{label} {value(study, sum(row) / len(row))}"
        for label, row in sorted(costs.items(), key=lambda item: sum(item[1]))
    ]
    sentences.append(
        f"One rate a decade instead of {study['per_decade']} costs, in {unit(study)}, mean over horizons and warm-ups: {_listed(parts)}."
    )
    return sentences


def _lowest(experiment: Mapping[str, Any]) -> Iterator[str]:
    """Who is lowest most often, at each horizon.

    Yields:
        A sentence.
    """
    settings = [cells(study, share) for study in experiment["studies"].values() for share in warmups(study)]
    parts = []
    for index, factor in enumerate(experiment["factors"]):
        counts = Counter(lowest(setting[index], "tuned") for setting in settings)
        parts.append(f"{horizon(factor)}: {', '.join(f'{label} {count}' for label, count in counts.most_common())}")
    yield (
        f"Which schedule ends lowest at its chosen rate, counted over {len(settings)} settings (a workload with one length of warm-up; "
        f"means, whether clear or not): {'; '.join(parts)}."
    )


def _verdicts(experiment: Mapping[str, Any], measure: str) -> str:
    rows = experiment["tally"][measure]["schedule"]
    clear = {label: _count(experiment, rows[label]) for label in experiment["schedules"] if label in rows}
    lead = f"{MEASURES[measure]}, against the {experiment['reference']} of the same horizon and warm-up"
    parts = [f"{label} is {text}" for label, text in clear.items() if text]
    if not parts:
        return f"{lead}, no difference is clear."
    others = [label for label, text in clear.items() if not text]
    rest = f" Of {_listed(others)} no difference is clear." if others else ""
    return f"{lead}: {'; '.join(parts)}.{rest}"


def _count(experiment: Mapping[str, Any], counts: Sequence[Mapping[str, int]]) -> str:
    """How often clear differences fell, and at which horizons; nothing if there are none."""
    total, parts = sum(sum(count.values()) for count in counts), []
    for verdict in ("lower", "higher"):
        where = [
            f"{count[verdict]} at {horizon(factor)}"
            for factor, count in zip(experiment["factors"], counts, strict=True)
            if verdict in count
        ]
        if where:
            number = sum(count.get(verdict, 0) for count in counts)
            parts.append(f"clearly {verdict} in {number} of {total} ({_listed(where)})")
    return " and ".join(parts)


def _turns(experiment: Mapping[str, Any]) -> str:
    """Where the order of a schedule and the reference turns round between horizons."""
    clear = [
        f"{row['schedule']} ({title(study)}, {warmup(row['warmup'])}: lower at {_listed(map(str, row['lower']))}, higher at "
        f"{_listed(map(str, row['higher']))} steps)"
        for study in experiment["studies"].values()
        for row in study["reversals"]
    ]
    if clear:
        return f"The order turns round between horizons, clearly at both, for {'; '.join(clear)}."
    turned, total = _signs(experiment)
    return (
        f"No schedule is clearly lower than the {experiment['reference']} at one horizon and clearly higher at another; the mean "
        f"difference changes its sign between horizons in {turned} of {total} cases."
    )


def _signs(experiment: Mapping[str, Any]) -> tuple[int, int]:
    """In how many cases, of a workload, a warm-up and a schedule, the mean difference has both signs; and of how many."""
    signs: dict[tuple[str, str, float], set[bool]] = {}
    for name, study in experiment["studies"].items():
        for row in study["comparisons"]:
            if row["of"] == "schedule" and row["measure"] == "tuned":
                signs.setdefault((name, row["schedule"], row["warmup"]), set()).add(row["value"] < 0.0)
    return sum(len(row) == 2 for row in signs.values()), len(signs)


def _warmups(experiment: Mapping[str, Any]) -> str:
    texts = []
    for measure, lead in (("tuned", "at its chosen rate"), ("coarse", "with one rate a decade")):
        for counts in experiment["tally"][measure].get("warmup", {}).values():
            texts.append(f"{lead} {_count(experiment, counts) or 'no difference is clear'}")
    if not texts:
        return "Warm-ups were not compared."
    return f"With a warm-up, against itself without, the {experiment['reference']} is: {'; '.join(texts)}."


def _edges(experiment: Mapping[str, Any]) -> Iterator[str]:
    """How many best rates lie at the edge.

    Yields:
        A sentence, if there are any.
    """
    rows = [
        row["at_boundary"]
        for study in experiment["studies"].values()
        for cell in study["cells"]
        for row in cell["schedules"].values()
    ]
    if any(rows):
        yield (
            f"{sum(rows)} of {len(rows)} best rates lie at the edge of their window, where a better one may lie outside: differences that "
            "involve them are not judged."
        )


def _listed(parts: Any) -> str:
    """Words with commas, and an «and» before the last."""
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _is_error(study: Mapping[str, Any]) -> bool:
    return str(study["metric"]).endswith("error")


def _digits(study: Mapping[str, Any]) -> int:
    if _is_error(study):
        return 1
    return 4 if study["initial"] < 2.0 else 3 if study["initial"] < 20.0 else 2
