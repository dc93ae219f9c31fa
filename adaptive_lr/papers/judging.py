"""Claims, measured by the paper's ``reproduce.py`` and judged here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from adaptive_lr.errors import AdaptiveLRError, InputError, in_a_line
from adaptive_lr.papers.declaration import Claim, Criterion, Paper
from adaptive_lr.trials.scripts import load_script

CLOSE = 0.01
"""By what share of itself the number of a claim that is not reproduced may move before that is a change."""


@dataclass(frozen=True)
class Measured:
    """A number with a 95 % interval over ``n`` independent measurements; what a measure with chance in it returns.

    The whole interval must lie where the claim says.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.n}"


class State(StrEnum):
    """What came of judging a claim."""

    GREEN = "green"
    """The measurement comes to the declared verdict."""
    RED = "red"
    """It comes to another."""
    SKIPPED = "skipped"
    """What it reads is not here."""
    BROKEN = "broken"
    """It cannot be measured."""


@dataclass(frozen=True)
class Judgement:
    """A claim, judged.

    Attributes:
        paper: the name of its folder.
        claim: what was judged; None if the paper cannot be read.
        state: see `State`.
        outcome: what the measurement comes to, one of ``VERDICTS``, or nothing.
        measured: a number or a `Measured`, or None.
        seconds: of the processor.
        message: one line with paper and claim, unless it is green.
    """

    paper: str
    claim: Claim | None
    state: State
    outcome: str = ""
    measured: float | Measured | None = None
    seconds: float = 0.0
    message: str = ""


def judge(claim: Claim, measured: float | Measured) -> str:
    """What a measurement comes to: one of ``VERDICTS``, or ``changed`` where it is neither what the paper nor what its folder says.

    >>> claim = Claim(id="peak", source="Eq. 1", statement="The peak is 2.", criterion=Criterion("close", (2.0,), 0.01),
    ...     tier="fast", verdict="not reproduced", why="it is not", measured=3.0)
    >>> [judge(claim, value) for value in (2.01, 3.02, 4.0)]
    ['reproduced', 'not reproduced', 'changed']
    """
    low, high = (measured.low, measured.high) if isinstance(measured, Measured) else (measured, measured)
    if claim.criterion.holds(low, high):
        return "reproduced"
    if claim.part is not None and claim.part.holds(low, high):
        return "in part"
    value = measured.value if isinstance(measured, Measured) else measured
    if claim.measured is not None and not Criterion("close", (claim.measured,), CLOSE).holds(value, value):
        return "changed"
    return "not reproduced"


def judge_paper(
    paper: Paper,
    *,
    fast: bool = False,
    recorded: Path | None = None,
    results: Path = Path("results"),
    started: Callable[[Claim], None] = lambda claim: None,
) -> Iterator[Judgement]:
    """Every claim of a paper, judged in order; what cannot be measured is told in its judgement and ends nothing.

    Args:
        paper: as `load_paper` has it; its ``reproduce.py`` is executed.
        fast: only the fast claims.
        recorded: the folder that folders of recorded runs lie in.
        results: the folder for the store of finished trials.
        started: called with each claim before it is measured.

    Yields:
        A judgement a claim.
    """
    claims = [claim for claim in paper.claims if claim.tier == "fast" or not fast]
    try:
        module = load_script(paper.folder / "reproduce.py")
    except AdaptiveLRError as error:
        for claim in claims:
            yield _untold(paper, claim, State.BROKEN, str(error))
        return
    for claim in claims:
        started(claim)
        yield _judged(paper, claim, module, recorded, results)


def _judged(paper: Paper, claim: Claim, module: ModuleType, recorded: Path | None, results: Path) -> Judgement:
    measure = getattr(module, claim.measure, None)
    if not callable(measure):
        return _untold(
            paper, claim, State.BROKEN, f"reproduce.py has no function {claim.measure}, which is to measure it"
        )
    places: list[Path] = []
    if claim.data:
        if recorded is None or not (recorded / claim.data).is_dir():
            return _untold(paper, claim, State.SKIPPED, _absent(claim.data, recorded))
        places.append(recorded / claim.data)
    if claim.trains:
        places.append(results)
    began = time.process_time()
    try:
        measured = _checked(claim, measure(*places))
    except AdaptiveLRError as error:
        return _untold(paper, claim, State.BROKEN, str(error))
    except Exception as error:
        return _untold(paper, claim, State.BROKEN, f"its measure raised {in_a_line(error)}")
    seconds = time.process_time() - began
    outcome = judge(claim, measured)
    if outcome == claim.verdict:
        return Judgement(paper.name, claim, State.GREEN, outcome, measured, seconds)
    shown = measured if isinstance(measured, Measured) else f"{measured:.6g}"
    reason = f"measured {shown}, expected {claim.criterion}: {outcome}, but declared {claim.verdict}"
    if outcome == "changed":
        reason = (
            f"measured {shown}, which is neither the expected {claim.criterion} nor the declared {claim.measured:.6g}"
        )
    return Judgement(paper.name, claim, State.RED, outcome, measured, seconds, _line(paper, claim, reason))


def _checked(claim: Claim, measured: Any) -> float | Measured:
    """What a measure returned.

    Raises:
        InputError: it is no number, not finite, or from fewer measurements than were decided on.
    """
    if isinstance(measured, Measured):
        numbers: tuple[Any, ...] = (measured.low, measured.value, measured.high)
    else:
        numbers = (measured,)
    if not all(isinstance(number, Real) and not isinstance(number, bool) for number in numbers):
        raise InputError(f"its measure must return a number or a Measured, got {type(measured).__name__}")
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"its measure returned {measured}, which is not finite")
    if list(numbers) != sorted(numbers):
        raise InputError(f"its interval must hold its value, got {measured}")
    if claim.n is not None and (not isinstance(measured, Measured) or measured.n != claim.n):
        count = measured.n if isinstance(measured, Measured) else "none"
        raise InputError(f"n = {claim.n} measurements were decided on, its measure says {count}")
    return measured if isinstance(measured, Measured) else float(measured)


def _absent(data: str, recorded: Path | None) -> str:
    where = "no folder of recorded runs is named" if recorded is None else f"{recorded / data} is absent"
    return f"it reads {data}, and {where}: say --recorded or set ADAPTIVE_LR_RECORDED to the folder that {data} lies in"


def _untold(paper: Paper, claim: Claim, state: State, reason: str) -> Judgement:
    return Judgement(paper.name, claim, state, message=_line(paper, claim, reason))


def _line(paper: Paper, claim: Claim, reason: str) -> str:
    return " ".join(f"{paper.name}: {claim.id}: {reason}".split())
