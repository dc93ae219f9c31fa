"""How often intervals cover, and how often identical schedules are told apart: simulated trials through the code of the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adaptive_lr.analysis import any_rate, baselines, exponents, horizons, limits, paired, summary
from adaptive_lr.analysis.paired import ALPHA
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.simulated import INITIAL, WORLDS, Basin, World
from adaptive_lr.analysis.stats import Array

COUNTS = (3, 4, 5, 6, 8, 10, 20)
"""Numbers of repetitions."""

COVERAGE, DIFFER = 0.93, 0.06
"""The aims: how often an interval covers at least, and how often identical schedules differ at most."""

STUDIES = 9
"""So many studies are one experiment, whose verdicts are a family."""

FAMILY = "any verdict of an experiment"

Tests = list[dict[str, Any]]


def _silent(done: int) -> None:
    pass


@dataclass
class Tally:
    """What came out of the repeats of one case.

    Attributes:
        intervals: value, low and high of each repeat by the name of the interval, in the scale that it is made in.
        clear: of each repeat, whether a test of identical things has p of at most 0.05, without a correction, by its name.
        family: of each experiment, whether any of its corrected verdicts says that identical things differ.
    """

    intervals: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    clear: dict[str, list[bool]] = field(default_factory=dict)
    family: list[bool] = field(default_factory=list)

    def interval(self, name: str, estimate: Mapping[str, Any], scale: Callable[[float], float] = float) -> None:
        """Count an interval; ``scale`` takes it to where it is symmetrical."""
        value, low, high = (float(scale(estimate[key])) for key in ("value", "low", "high"))
        self.intervals.setdefault(name, []).append((value, low, high))

    def test(self, name: str, test: Mapping[str, Any]) -> None:
        """Count a test of identical things."""
        self.clear.setdefault(name, []).append(bool(test["p"] <= ALPHA))


GROUPS = {
    "cosine": "damped cosine",
    "cosine^2": "damped cosine",
    "constant": "fixed",
    "step a": "stepwise",
    "step b": "stepwise",
}
"""Five schedules, which are identical where the rate of wrong verdicts is measured."""

OTHERS = {"cosine": Basin(), "constant": Basin(depth=0.06, centre=-2.1, left=0.6, right=1.1)}
"""Schedules that differ: the second needs a lower rate, is worse and depends more on it."""


def grids(tally: Tally, world: World, count: int, source: np.random.Generator) -> None:
    """Grids of learning rates: the intervals of a study."""
    groups = {label: GROUPS[label] for label in OTHERS}
    numbers = summary.summarise(world.sweeps(OTHERS, count, source), groups, "cosine", judged="damped cosine")
    level, above = (np.log, np.log1p) if world.optimum_known else (float, float)
    row, tests = numbers["schedules"]["constant"], numbers["answer"]["comparisons"][0]["tests"]
    cell = row["resolution"]["10"]
    tally.interval("loss at one rate a decade", cell["loss"], level)
    tally.interval("tuned loss", row["best"], level)
    tally.interval("cost", cell["cost_mean"], above)
    tally.interval("regret, own unit", cell["regret_own"], above)
    tally.interval("difference in loss", tests["ends"], above)
    tally.interval("difference in regret", tests["depends"], above)
    if cell["lost"] is None:
        tally.interval("slope above the best rate", row["slope"])
    else:
        tally.interval("lost share", cell["lost"])
        tally.interval("regret, reference's unit", cell["regret_mean"])
        tally.interval("worst regret, reference's unit", cell["regret_worst"])
        tally.interval("sensitivity", row["sensitivity"])


def same_grids(tally: Tally, world: World, count: int, source: np.random.Generator) -> Tests:
    """Grids of learning rates: the verdicts on identical schedules, alone and as groups."""
    sweeps = world.sweeps(dict.fromkeys(GROUPS, Basin()), count, source)
    tests = []
    for comparison in summary.answer(sweeps, GROUPS, "cosine", ("damped cosine", None))["comparisons"]:
        for name in summary.TESTS:
            tests.append(comparison["tests"][name])
            if comparison["damped"] == "damped cosine":
                tally.test(f"{name}, group against {comparison['against']}", tests[-1])
            elif comparison["against"] == "fixed":
                tally.test(f"{name}, one schedule", tests[-1])
    return tests


def runs(tally: Tally, world: World, count: int, source: np.random.Generator) -> None:
    """Horizons: the metric at a chosen rate and with one rate a decade, and the difference to the reference."""
    cell = horizons.Cell(steps=10, warmup=0.0, sweeps=world.sweeps(OTHERS, count, source))
    numbers = horizons.summarise([cell], "cosine")
    for comparison in numbers["comparisons"]:
        tally.interval(f"difference, {comparison['measure']}", comparison)
    for measure in (*horizons.MEASURES, "cost"):
        tally.interval(measure, numbers["cells"][0]["schedules"]["constant"][measure])


def same_runs(tally: Tally, world: World, count: int, source: np.random.Generator) -> Tests:
    """Horizons: the verdicts on identical schedules."""
    sweeps = world.sweeps(dict.fromkeys(("cosine", "a", "b"), Basin()), count, source)
    tests = horizons.comparisons([horizons.Cell(steps=10, warmup=0.0, sweeps=sweeps)], "cosine")
    for test in tests:
        tally.test(test["measure"], test)
        test["words"] = ("lower", "higher")
    return tests


def starts(tally: Tally, world: World, count: int, source: np.random.Generator) -> None:
    """Starting rates: best, mean, worst and spread against the oracle."""
    basins = {"cosine": Basin(), "flat": limits.FLAT}
    row = any_rate.summarise(
        world.starts(basins, count, source), dict.fromkeys(basins, "g"), "cosine", dict.fromkeys(basins, False)
    )["contestants"]["flat"]
    for key in ("best", "mean", "worst", "spread"):
        if world.optimum_known:
            tally.interval(key, row[key], np.log)
        else:
            tally.interval(f"lost share, {key}", row["lost"][key])
    if not world.optimum_known:
        tally.interval("worst start less oracle", row["difference"]["worst"])


SEEN = 5
"""Seeds that a simulated search sees, besides those of the repetitions."""

USUAL = ("cosine", "linear")
"""The baselines of a simulated search."""


def searched(world: World, basins: dict[str, Basin], count: int, source: np.random.Generator) -> Tests:
    """The winner of a search over all but the baselines, chosen on seeds of its own, against the best baseline by every measure."""
    curves = dict(zip(basins, world.losses(list(basins.values()), SEEN, source).mean(1), strict=True))
    worth = {label: baselines.expected(curve, world.per_decade) for label, curve in curves.items()}
    winner = min((label for label in basins if label not in USUAL), key=lambda label: worth[label][baselines.TUNED])
    return baselines.compare(world.sweeps(basins, count, source), winner, USUAL, worth)


def shapes(tally: Tally, world: World, count: int, source: np.random.Generator) -> None:
    """A search with one shape to find, against the one of two baselines that is near: the rows of its verdict."""
    basins = {"cosine": Basin(), "linear": Basin(depth=0.3), "tuned": Basin(depth=-0.04, left=0.3)}
    for row in searched(world, basins, count, source):
        tally.interval(row["measure"], row, np.log1p if world.optimum_known else float)


def same_shapes(tally: Tally, world: World, count: int, source: np.random.Generator) -> Tests:
    """A search among identical shapes, whose winner is held against identical baselines."""
    tests = searched(world, dict.fromkeys((*USUAL, "a", "b", "c", "d"), Basin()), count, source)
    for test in tests:
        tally.test(test["measure"], test)
        test["words"] = baselines.WORDS[:2]
    return tests


def tails(tally: Tally, world: World, count: int, source: np.random.Generator) -> None:
    """Slopes above the best rate."""
    basins = {f"{index}": Basin(centre=-3.0, right=0.03 + 0.02 * index) for index in range(4)}
    sweeps = replace(world, decades=6).sweeps(basins, count, source)
    row = exponents.summarise(sweeps, {label: 1.0 + int(label) for label in basins})["schedules"]["2"]
    if row["slope"] is not None:  # where a repetition chose a rate so high that nothing is left to fit
        tally.interval("slope", row["slope"])
    tally.interval("excess at the best rate", row["best"], np.log)


def same_starts(tally: Tally, world: World, count: int, source: np.random.Generator) -> Tests:
    """Starting rates: the verdicts on three contestants of which none is within the limit, nor beyond it, since they lie at it on average."""
    tests = limits.close_at_the_limit(world, count, source)
    for test in tests:
        tally.test("close and forgotten, at the limit of close", test)
        test["words"] = ("within", "beyond")
    return tests


def same_tails(tally: Tally, world: World, count: int, source: np.random.Generator) -> Tests:
    """Ends of schedules: the verdict on slopes that are neither ordered nor loose, since their correlation lies at the limit on average."""
    tests = limits.ordered_at_the_limit(world, count, source)
    for test in tests:
        tally.test("order, at the limit of ordered", test)
        test["words"] = ("loose", "ordered")
    return tests


Different = Callable[[Tally, World, int, np.random.Generator], None]
Same = Callable[[Tally, World, int, np.random.Generator], Tests]

KINDS: dict[str, tuple[Different, Same]] = {
    "grids of rates": (grids, same_grids),
    "horizons": (runs, same_runs),
    "starting rates": (starts, same_starts),
    "searches": (shapes, same_shapes),
    "ends of schedules": (tails, same_tails),
}
"""The kinds of experiments: what measures their intervals, and what their verdicts on identical schedules or on things at the limit of a verdict."""


def applies(kind: str, world: World) -> bool:
    """Whether a kind of experiment is tried in a world.

    Horizons count in differences, slopes need a known optimum, and the worlds with few rates a decade are those of horizons.
    """
    if kind == "horizons":
        return not world.optimum_known
    return world.per_decade % 6 == 0 and (world.optimum_known or kind != "ends of schedules")


def tallies(
    kind: str,
    world: World,
    count: int,
    repeats: tuple[int, int],
    *,
    seed: int = 0,
    advance: Callable[[int], None] = _silent,
) -> Tally:
    """Repeat a kind of experiment.

    Args:
        kind: a key of ``KINDS``.
        world: how losses come about.
        count: repetitions of each study.
        repeats: studies of different schedules, for intervals, and of identical ones, of which each nine are one experiment.
        seed: of the simulation.
        advance: is told how many are done.
    """
    tally, source = Tally(), np.random.default_rng([seed, count])
    different, same = KINDS[kind]
    for _ in range(repeats[0]):
        different(tally, world, count, source)
        advance(1)
    family: Tests = []
    for repeat in range(repeats[1]):
        family += [test | {"at_boundary": False} for test in same(tally, world, count, source)]
        if repeat % STUDIES == STUDIES - 1:
            paired.judge(family)
            tally.family.append(any(test["verdict"] != paired.UNCLEAR for test in family))
            family = []
        advance(1)
    return tally


WAYS = ("pairs of seeds", "the next seed chooses", "all other seeds choose", "two seeds choose once")
"""How seeds can choose and report: the one that is used, and those that were not taken."""


def arranged(way: str, losses: Array, count: int) -> tuple[Array, Array]:
    """What chooses and what reports, ``[schedules, R, L]`` each, of losses ``[schedules, at least 2 R, L]``.

    Args:
        way: one of ``WAYS``.
        losses: of every seed.
        count: R.
    """
    report, rest = losses[:, :count], losses[:, count:]
    if way == "pairs of seeds":
        return rest[:, :count], report
    if way == "the next seed chooses":
        return np.roll(report, -1, axis=1), report
    if way == "all other seeds choose":
        return (report.sum(1, keepdims=True) - report) / (count - 1), report
    return np.broadcast_to(rest[:, :2].mean(1, keepdims=True), report.shape), report


def told_apart(way: str, world: World, count: int, repeats: int, *, seed: int = 0) -> dict[str, float]:
    """How often two identical schedules differ, by their losses at one rate a decade and by their regrets, under a way of choosing.

    Args:
        way: one of ``WAYS``.
        world: how losses come about.
        count: repetitions.
        repeats: pairs of schedules.
        seed: of the simulation.
    """
    source, clear = np.random.default_rng([seed, count]), []
    for _ in range(repeats):
        sweeps = [
            Sweep.clipped(
                rates=world.rates,
                selection=selection,
                report=report,
                initial=(INITIAL, INITIAL),
                optimum=None,
                per_decade=world.per_decade,
            )
            for selection, report in zip(
                *arranged(way, world.losses([Basin(), Basin()], 2 * count, source), count), strict=True
            )
        ]
        (coarse, regret), (other, other_regret) = (
            (sweep.coarse(10.0), sweep.coarse(10.0) - sweep.fine()) for sweep in sweeps
        )
        tests = (paired.gap(other, coarse, ratio=False), paired.gap(other_regret, regret, ratio=False))
        clear.append([test["p"] <= ALPHA for test in tests])
    return dict(zip(("losses", "regrets"), np.mean(clear, axis=0).tolist(), strict=True))


def covered(tallied: Mapping[int, Tally]) -> dict[str, dict[int, float]]:
    """How often each interval covers, by its name and the number of repetitions.

    The truth is what the mean estimates: the expectation of one repetition, from all repeats of all numbers of repetitions.
    """
    names = dict.fromkeys(name for tally in tallied.values() for name in tally.intervals)
    result: dict[str, dict[int, float]] = {}
    for name in names:
        rows = {count: np.array(tally.intervals[name]) for count, tally in tallied.items() if name in tally.intervals}
        weights = np.array([count * len(row) for count, row in rows.items()], dtype=np.float64)
        truth = float(np.average([row[:, 0].mean() for row in rows.values()], weights=weights))
        result[name] = {count: _share((row[:, 1] <= truth) & (truth <= row[:, 2])) for count, row in rows.items()}
    return result


def differ(tallied: Mapping[int, Tally]) -> dict[str, dict[int, float]]:
    """How often identical things differ, by the test and the number of repetitions: each test alone, and any of a family."""
    names = dict.fromkeys(name for tally in tallied.values() for name in tally.clear)
    result = {name: {count: _share(tally.clear[name]) for count, tally in tallied.items()} for name in names}
    if any(tally.family for tally in tallied.values()):
        result[FAMILY] = {count: _share(tally.family) for count, tally in tallied.items()}
    return result


def _share(flags: Any) -> float:
    return float(np.mean(np.asarray(flags, dtype=np.float64)))


def cases() -> Iterator[tuple[str, str]]:
    """All pairs of a kind and a world.

    Yields:
        Keys of ``KINDS`` and ``WORLDS``.
    """
    for kind in KINDS:
        for name, world in WORLDS.items():
            if applies(kind, world):
                yield kind, name
