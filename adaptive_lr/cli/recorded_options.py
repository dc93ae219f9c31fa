"""Options that say which recorded runs to read, shared by ``robustness`` and ``advise``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptive_lr.cli.common import err

if TYPE_CHECKING:
    from adaptive_lr.analysis.recorded import Request
    from adaptive_lr.analysis.run_steps import Steps
    from adaptive_lr.analysis.tables import Table

Rate = Annotated[str, typer.Option("--lr", help="Column of the learning rate: one number a run, the peak.")]
Loss = Annotated[
    str,
    typer.Option("--loss", help="Column of the loss, or of a metric with --direction; for event files a scalar's tag."),
]
Direction = Annotated[
    str | None, typer.Option(help="minimize a loss, or maximize a metric of which more is better (accuracy).")
]
By = Annotated[list[str] | None, typer.Option("--by", help="Column that makes groups; may be given again.")]
Seed = Annotated[str | None, typer.Option("--seed", help="Column of the seed.")]
Where = Annotated[list[str] | None, typer.Option("--where", help="Only runs with column=value; may be given again.")]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", help="Column that may vary inside a group; may be given again.")
]
Diverged = Annotated[
    list[str] | None,
    typer.Option(
        "--diverged",
        help="Runs with column=value diverged, as State=crashed; may be given again. NaN and inf always count, a blank loss never does.",
    ),
]
Run = Annotated[str | None, typer.Option("--run", help="Column of the run, if a row is a step and not a run.")]
Step = Annotated[str | None, typer.Option("--step", help="Column of the step, to order rows by; with --run.")]
Reduce = Annotated[
    str,
    typer.Option(
        "--reduce", help="The loss of a run: its last, or the min (max) over steps; with --run or event files."
    ),
]
LeastStep = Annotated[
    float | None, typer.Option(help="Leave out runs that ended before this step; with --step or event files.")
]
Initial = Annotated[float | None, typer.Option(help="The loss before training; what ends worse counts as diverged.")]
Optimum = Annotated[float | None, typer.Option(help="The best possible loss, if it is known.")]
Window = Annotated[
    str | None,
    typer.Option(help="Lowest and highest rate to look at, as in 1e-4:3e-3; leaves out runs without a rate."),
]
MostGroups = Annotated[int, typer.Option(min=1, help="Refuse more groups than this.")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was given on the command line, as it was given."""

    rate: str
    loss: str
    direction: str | None = None
    by: Sequence[str] | None = None
    seed: str | None = None
    where: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    diverged: Sequence[str] | None = None
    run: str | None = None
    step: str | None = None
    reduce: str = "last"
    least_step: float | None = None
    initial: float | None = None
    optimum: float | None = None
    window: str | None = None
    most_groups: int = 1000

    def request(self) -> Request:
        """What the options ask for; an `InputError` names an option that is not of its form."""
        from adaptive_lr.analysis.direction import checked_direction
        from adaptive_lr.analysis.recorded import Request

        return Request(
            rate=self.rate,
            loss=self.loss,
            direction=checked_direction(self.direction),
            by=tuple(self.by or ()),
            seed=self.seed,
            where=_pairs("--where", self.where),
            ignore=tuple(self.ignore or ()),
            diverged=_pairs("--diverged", self.diverged),
            initial=_finite("--initial-loss", self.initial),
            optimum=_finite("--optimum", self.optimum),
            window=_window(self.window),
            most_groups=self.most_groups,
        )

    def steps(self, source: Path) -> Steps:
        """What becomes of the rows, or of the events, of a run.

        Raises:
            InputError: an option does not go with the others, or with the source.
        """
        from adaptive_lr.analysis.run_steps import Steps
        from adaptive_lr.errors import InputError

        events = source.is_dir()
        options = {"--step": self.step is not None, "--reduce": self.reduce != "last"}
        if alone := [
            name
            for name, there in options.items()
            if there and self.run is None and not (events and name == "--reduce")
        ]:
            raise InputError(f"{alone[0]} needs --run, the column of the run")
        if self.least_step is not None and self.step is None and not events:
            raise InputError("--least-step needs --run and --step, the columns of the run and the step")
        if events and self.run is not None:
            raise InputError("--run is for tables with a row a step; in event files a run is a folder")
        steps = Steps(
            run=self.run, step=self.step, reduce=self.reduce, least_step=_finite("--least-step", self.least_step)
        )
        steps.check(maximise=self.direction == "maximize")
        return steps

    def read(self, source: Path, request: Request) -> tuple[Table, list[str]]:
        """The table of a source, one row a run, and what was done to get it; an `InputError` says what is wrong with it."""
        from adaptive_lr.analysis.run_steps import one_row_a_run
        from adaptive_lr.analysis.table_files import read_table

        steps = self.steps(source)
        with err.status("reading runs"):
            if source.is_dir():
                from adaptive_lr.reporting.events import read_events

                return read_events(source, tag=request.loss, steps=steps)
            table = read_table(source)
            return (
                (table, [])
                if steps.run is None
                else one_row_a_run(table, rate=request.rate, loss=request.loss, steps=steps)
            )

    def words(self) -> list[str]:
        """The same options again, for a shell; what has its default is left out."""
        several = (("--by", self.by), ("--where", self.where), ("--ignore", self.ignore), ("--diverged", self.diverged))
        single = (
            ("--direction", self.direction),
            ("--seed", self.seed),
            ("--run", self.run),
            ("--step", self.step),
            ("--reduce", None if self.reduce == "last" else self.reduce),
            ("--least-step", self.least_step),
            ("--initial-loss", self.initial),
            ("--optimum", self.optimum),
            ("--window", self.window),
            ("--most-groups", None if self.most_groups == 1000 else self.most_groups),
        )
        words = [*option("--lr", self.rate), *option("--loss", self.loss)]
        for name, values in several:
            words += [word for value in values or () for word in option(name, value)]
        return words + [word for name, value in single if value is not None for word in option(name, value)]


def option(name: str, value: str | float) -> list[str]:
    """An option as words of a command, numbers to the last digit; in one word where the value looks like an option."""
    text = value if isinstance(value, str) else repr(value)
    return [f"{name}={text}"] if text.startswith("-") else [name, text]


def _pairs(name: str, texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    from adaptive_lr.errors import InputError

    pairs = []
    for text in texts or ():
        column, sign, value = text.partition("=")
        if not sign or not column:
            raise InputError(f"{name} takes column=value, got {text!r}")
        pairs.append((column, value))
    return tuple(pairs)


def _finite(name: str, value: float | None) -> float | None:
    from adaptive_lr.analysis.tables import LARGEST
    from adaptive_lr.errors import InputError

    if value is not None and not abs(value) <= LARGEST:
        size = "finite number" if not math.isfinite(value) else f"number of at most {LARGEST:g}"
        raise InputError(f"{name} must be a {size}, got {value!r}")
    return value


def _window(text: str | None) -> tuple[float, float] | None:
    from adaptive_lr.errors import InputError

    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--window takes two rates, as in 1e-4:3e-3, got {text!r}") from None
    if not 0.0 < low < high:
        raise InputError(f"--window needs 0 < lowest < highest, got {text!r}")
    if high == math.inf:
        raise InputError(f"--window needs two finite rates, got {text!r}")
    return low, high


def ratios_of(requested: Sequence[float] | None) -> Sequence[float]:
    """The ratios asked for, in order; the usual ones if none is. An `InputError` names one of which there is no grid."""
    from adaptive_lr.analysis.recorded_summary import check_ratios
    from adaptive_lr.analysis.recorded_sweep import RATIOS

    ratios = sorted(set(requested)) if requested else RATIOS
    check_ratios(ratios)
    return ratios


def checked_tolerance(tolerance: float) -> float:
    """A tolerance itself.

    Raises:
        InputError: it is none.
    """
    from adaptive_lr.errors import InputError

    if not 0.0 < tolerance <= 1e6:
        most = " and at most 1e6" if tolerance > 1e6 else ""
        raise InputError(f"--tolerance must be above 0{most}, got {tolerance!r}")
    return tolerance
