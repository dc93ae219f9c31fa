"""Options that say which recorded runs to read, shared by ``robustness`` and ``advise``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from adaptive_lr.analysis.request import MOST_GROUPS, TOLERANCE
from adaptive_lr.cli.common import err

if TYPE_CHECKING:
    from adaptive_lr.analysis.recorded import Request
    from adaptive_lr.analysis.run_steps import Steps
    from adaptive_lr.analysis.tables import Table


def _option(name: str, text: str) -> Any:
    return typer.Option(name, help=text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was given on the command line, as it was given. This is the only place where these options are declared.

    Without the columns of the rate and the loss there is no `request`.
    """

    rate: Annotated[str | None, _option("--lr", "Column of the learning rate: one number a run, the peak.")]
    loss: Annotated[
        str | None,
        _option("--loss", "Column of the loss, or of a metric with --direction; for event files a scalar's tag."),
    ]
    direction: Annotated[
        str | None,
        _option("--direction", "minimize a loss, or maximize a metric of which more is better (accuracy)."),
    ] = None
    by: Annotated[list[str] | None, _option("--by", "Column that makes groups; may be given again.")] = None
    seed: Annotated[str | None, _option("--seed", "Column of the seed.")] = None
    where: Annotated[list[str] | None, _option("--where", "Only runs with column=value; may be given again.")] = None
    ignore: Annotated[
        list[str] | None, _option("--ignore", "Column that may vary inside a group; may be given again.")
    ] = None
    diverged: Annotated[
        list[str] | None,
        _option(
            "--diverged",
            "Runs with column=value diverged, as State=crashed; may be given again. NaN and inf always count, a blank loss never does.",
        ),
    ] = None
    run: Annotated[str | None, _option("--run", "Column of the run, if a row is a step and not a run.")] = None
    step: Annotated[str | None, _option("--step", "Column of the step, to order rows by; with --run.")] = None
    reduce: Annotated[
        str, _option("--reduce", "The loss of a run: its last, or the min (max) over steps; with --run or event files.")
    ] = "last"
    least_step: Annotated[
        float | None,
        _option("--least-step", "Leave out runs that ended before this step; with --step or event files."),
    ] = None
    initial: Annotated[
        float | None, _option("--initial-loss", "The loss before training; what ends worse counts as diverged.")
    ] = None
    optimum: Annotated[float | None, _option("--optimum", "The best possible loss, if it is known.")] = None
    window: Annotated[
        str | None,
        _option("--window", "Lowest and highest rate to look at, as in 1e-4:3e-3; leaves out runs without a rate."),
    ] = None
    ratios: Annotated[list[float] | None, _option("--ratio", "A grid resolution to ask for; may be given again.")] = (
        None
    )
    tolerance: Annotated[
        float, _option("--tolerance", "The basin: losses worse than the best by at most this share of it.")
    ] = TOLERANCE
    deviation: Annotated[
        str | None,
        _option("--deviation", "Column of the standard deviation over seeds, if a row is a mean; with --repeats."),
    ] = None
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="How many runs a row is the mean of; with --deviation.")
    ] = 1
    most_groups: Annotated[int, typer.Option("--most-groups", min=1, help="Refuse more groups than this.")] = (
        MOST_GROUPS
    )

    def request(self) -> Request:
        """What the options ask for.

        Raises:
            InputError: there is no column of the rate or of the loss, or an option is not of its form; the line names it.
        """
        from adaptive_lr.analysis.direction import checked_direction
        from adaptive_lr.analysis.recorded import Request
        from adaptive_lr.errors import InputError

        if self.rate is None or self.loss is None:
            raise InputError("--runs needs --lr and --loss, the columns of the learning rate and the loss")
        return Request(
            rate=self.rate,
            loss=self.loss,
            direction=checked_direction(self.direction),
            by=tuple(self.by or ()),
            seed=self.seed,
            where=pairs("--where", self.where),
            ignore=tuple(self.ignore or ()),
            diverged=pairs("--diverged", self.diverged),
            initial=_finite("--initial-loss", self.initial),
            optimum=_finite("--optimum", self.optimum),
            window=_window(self.window),
            most_groups=self.most_groups,
            deviation=self.deviation,
            repeats=self.repeats,
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
                else one_row_a_run(table, rate=request.rate, loss=request.loss, steps=steps, beside=request.beside)
            )

    def given(self) -> dict[str, Any]:
        """The value of every option that does not have its default, by the option's name."""
        values = {field: getattr(self, field.name) for field in fields(self)}
        return {_name(field.name): value for field, value in values.items() if value not in (field.default, None, [])}

    def words(self) -> list[str]:
        """The same options again, for a shell; what has its default is left out."""
        words: list[str] = []
        for name, value in self.given().items():
            words += [word for part in (value if isinstance(value, list) else [value]) for word in option(name, part)]
        return words

    def refuse_without_runs(self) -> None:
        """To be called where there are no runs to which the options could apply.

        Raises:
            InputError: there are such options.
        """
        from adaptive_lr.errors import InputError

        if names := list(self.given()):
            verb = "says" if len(names) == 1 else "say"
            raise InputError(f"{', '.join(names)} {verb} how to read --runs, which is not given")


_DECLARED = get_type_hints(Options, include_extras=True)


def _name(field: str) -> str:
    (declared,) = _DECLARED[field].__metadata__
    return str(declared.default)  # where Typer has the first of an option's names


def reading_runs(**changed: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of `Options` in place of its parameter ``options``.

    Args:
        changed: what else a field is declared as in this command, where it may be left out; None if it has no such option.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        taken = [field for field in fields(Options) if changed.get(field.name, field) is not None]
        options = [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=None
                if field.name in changed
                else Parameter.empty
                if field.default is MISSING
                else field.default,
                annotation=changed.get(field.name, _DECLARED[field.name]),
            )
            for field in taken
        ]

        @wraps(function)
        def command(**values: Any) -> None:
            function(options=Options(**{field.name: values.pop(field.name) for field in taken}), **values)

        own = signature(function, eval_str=True).parameters.values()
        command.__signature__ = Signature(  # type: ignore[attr-defined]  # which Typer reads
            [
                option
                for each in own
                for option in (options if each.name == "options" else [each.replace(kind=Parameter.KEYWORD_ONLY)])
            ]
        )
        return command

    return decorate


def option(name: str, value: str | float) -> list[str]:
    """An option as words of a command, numbers to the last digit; in one word where the value looks like an option."""
    text = value if isinstance(value, str) else repr(value)
    return [f"{name}={text}"] if text.startswith("-") else [name, text]


def pairs(name: str, texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """What an option that takes ``column=value`` was given.

    Raises:
        InputError: it is not of that form; the line names the option.
    """
    from adaptive_lr.errors import InputError

    parts = []
    for text in texts or ():
        column, sign, value = text.partition("=")
        if not sign or not column:
            raise InputError(f"{name} takes column=value, got {text!r}")
        parts.append((column, value))
    return tuple(parts)


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
