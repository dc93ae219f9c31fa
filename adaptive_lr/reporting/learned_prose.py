"""Sentences made of the numbers of learned damping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]


def headline(experiment: Numbers) -> list[str]:
    """Which learned damping beat which rival beyond its interval, and when learning pays."""
    learned = experiment["learned"]
    better = [test for test in learned["comparisons"] if test["verdict"] == "better"]
    worse = [test for test in learned["comparisons"] if test["verdict"] == "worse"]
    families = learned["comparisons"][0]["n"] if learned["comparisons"] else 0
    sentences = [
        f"On {families} {'family' if families == 1 else 'families'} that nothing was learned on, {len(better)} of {len(learned['comparisons'])} comparisons of learned damping with a rival come out better, {len(worse)} worse: "
        f"{_listed(better, 'better')}; {_listed(worse, 'worse')}."
    ]
    label = experiment["judged"]
    mine = learned["losses"][label]
    rivals = {test["theirs"] for test in learned["comparisons"]}
    others = ", ".join(
        f"{name} {row['mean']:.1f} and {row['worst']:.1f}" for name, row in learned["losses"].items() if name in rivals
    )
    sentences.append(
        f"{label} loses {mine['mean']:.1f} tolerances at the mean start and {mine['worst']:.1f} at the worst; {others}. A tolerance is what counts as close to the oracle: a lost share of "
        f"0.05, or 1.2 times its excess; no trial counts for more than 20."
    )
    steps = max((run["steps"] for run in learned["runs"].values()), default=0.0)
    if learned["saved"] > 0.0 and steps:
        sentences.append(
            f"Against a grid of one rate a decade a controller saves {learned['saved']:.3g} training steps on a task of this size: learning for {steps:.2g} steps is repaid after "
            f"{steps / learned['saved']:.0f} such tasks, if what it loses against the tuned cosine does not matter."
        )
    return sentences


def _listed(tests: list[Numbers], word: str) -> str:
    pairs: dict[str, list[str]] = {}
    for test in tests:
        pairs.setdefault(test["mine"], []).append(test["theirs"])
    named = "; ".join(f"{mine} than {' and '.join(theirs)}" for mine, theirs in pairs.items())
    return f"{word}: {named}" if named else f"none {word}"


def difference(test: Numbers) -> str:
    """A difference with its interval, by what it was judged."""
    return f"{test['value']:+.2f}\u00a0[{test['low']:+.2f},\u00a0{test['high']:+.2f}]"


def reason(test: Numbers) -> str:
    """The corrected p, and of how many families where a verdict cannot be made of so few."""
    p = float(test["adjusted"])
    return f"p {'< 0.0001' if p < 1e-4 else f'= {p:.2g}'}, n = {test['n']}"


def readings(experiment: Numbers) -> str:
    """What the shipped policy reads most: the largest weights, times what a reading of 1 does."""
    weights = sorted(experiment["learned"]["policy"]["weights"].items(), key=lambda item: -abs(item[1]))
    return ", ".join(f"{name} ({value:+.2f})" for name, value in weights[:6])
