"""``adaptive-lr fit-law``, ``predict-loss`` and ``design-schedule``: laws of loss curves, from runs that you have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out, printable
from adaptive_lr.cli.grids import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adaptive_lr.analysis.stats import Array
    from adaptive_lr.meta.law_curves import Columns, Curve
    from adaptive_lr.meta.law_design import Design
    from adaptive_lr.meta.law_fit import LawFit, Prediction

Law = Annotated[Path, typer.Argument(help="A fitted law, as `adaptive-lr fit-law` writes it.")]
Step = Annotated[str, typer.Option("--step", help="Column of the step: updates, not epochs.")]
Rate = Annotated[str, typer.Option("--lr", help="Column of the learning rate at that step.")]
Loss = Annotated[str, typer.Option("--loss", help="Column of the loss.")]
Named = Annotated[
    str | None, typer.Option("--curve", help="Column that names the run of a row, if a file holds several.")
]
Warmup = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Steps of a linear warm-up from 0, where the rows begin after it; 0 if there was none. It counts in the law.",
    ),
]
Peak = Annotated[float | None, typer.Option(help="The largest learning rate; that of the fitted curves by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]


def fit_law(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recorded curves, a row for every logged step: .csv, .tsv, .json or .jsonl, also with .gz."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file that the fitted law is written to.")] = Path(
        "law.json"
    ),
    law: Annotated[
        str, typer.Option(help="multi_power (Luo et al. 2025) or annealing (Tissue et al. 2024).")
    ] = "multi_power",
    step: Step = "step",
    lr: Rate = "lr",
    loss: Loss = "loss",
    curve: Named = None,
    warmup: Warmup = None,
    starts: Annotated[int, typer.Option(min=1, max=1000, help="Places that the search begins at.")] = 8,
    replicates: Annotated[
        int, typer.Option(min=20, max=10_000, help="Fits to resampled residuals, for intervals.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of starts and resampling.")] = 0,
    json_out: Json = False,
) -> None:
    """Fit a law that says the loss at every step from the learning rates alone, to curves of one model and one peak rate.

    Two or three short runs with different schedules do: one with a constant rate, one that drops to a lower rate, a cosine.

    Example: [bold]adaptive-lr fit-law cosine.csv constant.csv drop.csv --warmup 2000 -o law.json[/bold]
    """
    with clear_errors():
        from adaptive_lr.errors import InputError
        from adaptive_lr.meta.law_curves import read_curves
        from adaptive_lr.meta.law_file import save_law, to_document
        from adaptive_lr.meta.law_fit import fit_law as fitted
        from adaptive_lr.meta.laws import LAWS

        kinds = {kind.kind: kind for kind in LAWS}
        if law not in kinds:
            raise InputError(f"--law is {' or '.join(kinds)}, got {law!r}")
        with err.status("reading curves"):
            curves, sources = read_curves(files, _columns(step, lr, loss, curve), warmup)
        with _bar("fits") as report:
            fit = fitted(curves, kinds[law], starts=starts, replicates=replicates, seed=seed, report=report)
        save_law(fit, sources, output)
        if json_out:
            _print_json(to_document(fit, sources))
        else:
            _show_fit(fit, curves)
        (err if json_out else out).print(f"wrote {escape(printable(str(output)))}", soft_wrap=True)


def predict_loss(
    law: Law,
    schedule: Annotated[
        list[str] | None,
        typer.Argument(
            help="Schedules as for `adaptive-lr plot`: names, each followed by its fields, as in: wsd cooldown=0.2 warmup=2000 cosine warmup=2000."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Or a table of step and rate; if it has losses too, they are compared with the prediction."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=10, max=5_000_000, help="The number of updates T of the schedules.")
    ] = None,
    peak: Peak = None,
    step: Step = "step",
    lr: Rate = "lr",
    loss: Loss = "loss",
    warmup: Warmup = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png or .svg for the curves, or a .csv for their numbers.")
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw the curves in the terminal.")] = False,
    json_out: Json = False,
) -> None:
    """Predict the loss curve of a schedule under a fitted law, with 95 % intervals.

    Example: [bold]adaptive-lr predict-loss law.json wsd cooldown=0.2 warmup=2000 cosine warmup=2000 --steps 24000[/bold]

    Held-out run: [bold]adaptive-lr predict-loss law.json --table other.csv --warmup 2000[/bold]
    """
    with clear_errors():
        from adaptive_lr.errors import InputError
        from adaptive_lr.meta.law_file import load_law

        fit = load_law(law).fit
        if (table is None) == (not schedule):
            raise InputError(
                "say which schedule: a name such as cosine with --steps, or a table of steps and rates with --table"
            )
        recorded: Curve | None = None
        if table is not None:
            paths, recorded = _paths_of_table(table, _columns(step, lr, loss, None), warmup)
        else:
            if warmup is not None:
                raise InputError("--warmup goes with --table; a schedule has its own: write warmup=2000 after its name")
            paths = _paths_of_schedules(schedule or [], steps, peak or fit.peak)
        predictions = {name: _predicted(fit, rates, end) for name, (rates, end) in paths.items()}
        cautions = list(dict.fromkeys(note for rates, end in paths.values() for note in fit.cautions(rates, end)))
        _show_prediction(fit, predictions, recorded, cautions, json_out)
        if terminal:
            _draw(predictions)
        if output is not None:
            _write(predictions, recorded, output)
            (err if json_out else out).print(f"wrote {escape(printable(str(output)))}", soft_wrap=True)


def design_schedule(
    law: Law,
    steps: Annotated[int, typer.Option(min=20, max=5_000_000, help="The number of updates T.")],
    warmup: Annotated[int, typer.Option(min=0, help="Steps of the linear warm-up from 0.")],
    peak: Peak = None,
    floor: Annotated[float, typer.Option(help="The least multiplier; 0.1 ends at a tenth of the peak.")] = 0.0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file that the schedule is written to, as JSON.")
    ] = Path("schedule.json"),
    json_out: Json = False,
) -> None:
    """Find the schedule with the least final loss under a fitted law, and say how much lower that is than the usual schedules'.

    The rate rises in the warm-up, and falls or stays from then on. The file goes into [bold]adaptive_lr.from_json[/bold].

    Example: [bold]adaptive-lr design-schedule law.json --steps 24000 --warmup 2000 --floor 0.1[/bold]
    """
    with clear_errors():
        from adaptive_lr.files import make_folder, replace_file
        from adaptive_lr.meta.law_design import design
        from adaptive_lr.meta.law_file import load_law
        from adaptive_lr.serialise import to_json

        fit = load_law(law).fit
        with _bar("searches") as report:
            result = design(fit, steps=steps, warmup=warmup, peak=peak, floor=floor, report=report)
        make_folder(output.parent)
        replace_file(output, (to_json(result.schedule) + "\n").encode())
        _show_design(result, json_out)
        (err if json_out else out).print(f"wrote {escape(printable(str(output)))}", soft_wrap=True)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal.

    Yields:
        What takes the number that is done, and that of all.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _columns(step: str, lr: str, loss: str, curve: str | None) -> Columns:
    from adaptive_lr.meta.law_curves import Columns

    return Columns(step=step, rate=lr, loss=loss, curve=curve)


def _print_json(numbers: object) -> None:
    import json

    typer.echo(json.dumps(numbers, indent=1, allow_nan=False))


def _show_fit(fit: LawFit, curves: Sequence[Curve]) -> None:
    grid = Grid(f"The {fit.law.title}", "parameter", ("value", "95 % interval"))
    for name, value in fit.law.parameters().items():
        low, high = fit.interval(name)
        grid.rows.append((name, (f"{value:.4g}", f"{low:.4g} to {high:.4g}")))
    grid.print()
    agreement = fit.in_sample
    out.print(
        f"On its own {fit.rows} rows of {len(curves)} curves: mean error {agreement.mae:.2g}, R2 {agreement.r2:.5f}, worst {100 * agreement.worst:.2g} % of the loss; "
        f"losses from {fit.losses[0]:.4g} to {fit.losses[1]:.4g}.",
        soft_wrap=True,
    )
    _notes(fit.notes)


def _notes(notes: Sequence[str]) -> None:
    for note in notes:
        out.print(f"[dim]- {escape(note)}[/dim]", soft_wrap=True)


def _paths_of_table(
    path: Path, columns: Columns, warmup: int | None
) -> tuple[dict[str, tuple[Array, int]], Curve | None]:
    """The rates of a table and the end of its warm-up, and the whole curve if there are losses."""
    from adaptive_lr.analysis.table_files import read_table
    from adaptive_lr.meta.law_curves import read_curves, read_path

    if columns.loss not in read_table(path).columns:
        rates, end = read_path(path, columns, warmup)
        return {path.name: (rates, end)}, None
    (curve,), _ = read_curves([path], columns, warmup)
    return {curve.name: (curve.rates, curve.warmup)}, curve


def _paths_of_schedules(words: Sequence[str], steps: int | None, peak: float) -> dict[str, tuple[Array, int]]:
    from adaptive_lr.errors import InputError
    from adaptive_lr.meta.law_curves import end_of_warmup
    from adaptive_lr.meta.law_design import rates_of
    from adaptive_lr.schedules.parse import parse_schedules

    if steps is None:
        raise InputError("a schedule needs --steps, the number of updates")
    paths = {}
    for name, schedule in parse_schedules(words).items():
        rates = rates_of(schedule, steps, peak)
        paths[name] = (rates, end_of_warmup(name, rates))
    return paths


def _predicted(fit: LawFit, rates: Array, warmup: int) -> Prediction:
    import numpy as np

    from adaptive_lr.meta.law_design import steps_shown

    first = max(warmup, int(np.flatnonzero(rates)[0]))
    return fit.predict(rates, steps_shown(len(rates) - 1, first))


def _compared(fit: LawFit, curve: Curve) -> dict[str, float]:
    from dataclasses import asdict

    from adaptive_lr.meta.law_fit import scores

    predicted = fit.predict(curve.rates, curve.steps)
    inside = ((curve.losses >= predicted.low) & (curve.losses <= predicted.high)).mean()
    return asdict(scores(curve.losses, predicted.losses)) | {"inside": float(inside), "rows": float(len(curve.steps))}


def _show_prediction(
    fit: LawFit, predictions: dict[str, Prediction], curve: Curve | None, cautions: Sequence[str], json_out: bool
) -> None:
    agreement = None if curve is None else _compared(fit, curve)
    if json_out:
        rows: dict[str, Any] = {
            name: {"steps": p.steps.tolist(), "loss": p.losses.tolist(), "low": p.low.tolist(), "high": p.high.tolist()}
            for name, p in predictions.items()
        }
        _print_json({"predictions": rows, "against": agreement, "cautions": list(cautions)})
        return
    grid = Grid(f"Predicted by the {fit.law.title}", "schedule", ("steps", "final loss", "95 % interval"))
    for name, p in predictions.items():
        grid.rows.append((name, (str(p.steps[-1]), f"{p.losses[-1]:.4f}", f"{p.low[-1]:.4f} to {p.high[-1]:.4f}")))
    grid.print()
    if agreement is not None:
        out.print(
            f"Against {agreement['rows']:.0f} recorded rows: mean error {agreement['mae']:.2g}, R2 {agreement['r2']:.4f}, "
            f"worst {100 * agreement['worst']:.2g} % of the loss; {100 * agreement['inside']:.0f} % of them lie inside of their intervals.",
            soft_wrap=True,
        )
    _notes(cautions)


def _draw(predictions: dict[str, Prediction]) -> None:
    from adaptive_lr.reporting.law_figures import draw_losses

    steps = next(iter(predictions.values())).steps
    rows = {name: prediction.losses for name, prediction in predictions.items() if len(prediction.steps) == len(steps)}
    out.print(draw_losses(steps, rows, out.width), highlight=False, markup=False)


def _write(predictions: dict[str, Prediction], curve: Curve | None, output: Path) -> None:
    if output.suffix.lower() == ".csv":
        from adaptive_lr.files import make_folder, replace_file

        lines = ["schedule,step,loss,low,high"]
        for name, p in predictions.items():
            label = '"' + name.replace('"', '""') + '"'
            rows = zip(p.steps.tolist(), p.losses.tolist(), p.low.tolist(), p.high.tolist(), strict=True)
            lines += [f"{label},{step},{loss!r},{low!r},{high!r}" for step, loss, low, high in rows]
        make_folder(output.parent)
        replace_file(output, ("\n".join(lines) + "\n").encode())
        return
    from adaptive_lr.drawing import save
    from adaptive_lr.reporting.law_figures import loss_figure

    bands = {name: (p.steps, p.losses, p.low, p.high) for name, p in predictions.items()}
    recorded = {} if curve is None else {"recorded": (curve.steps, curve.losses)}
    save(loss_figure(bands, recorded), output)


def _show_design(result: Design, json_out: bool) -> None:
    if json_out:
        from adaptive_lr.serialise import to_dict

        rivals = {
            rival.name: {"loss": rival.loss, "excess": list(rival.excess), "schedule": to_dict(rival.schedule)["spec"]}
            for rival in result.rivals
        }
        numbers = {
            "loss": list(result.loss),
            "rivals": rivals,
            "shape": result.shape,
            "cautions": list(result.cautions),
        }
        _print_json(numbers | {"schedule": to_dict(result.schedule)})
        return
    grid = Grid("Final loss under the law", "schedule", ("loss", "above the design", "95 % interval"))
    grid.rows.append(("design", (f"{result.loss[0]:.4f}", "", "")))
    for rival in result.rivals:
        value, low, high = rival.excess
        grid.rows.append((_label(rival), (f"{rival.loss:.4f}", f"{value:.4f}", f"{low:.4f} to {high:.4f}")))
    grid.print()
    out.print(f"The design {result.shape}.", soft_wrap=True)
    _notes(result.cautions)


def _label(rival: Any) -> str:
    then = getattr(rival.schedule, "then", rival.schedule)
    return f"{rival.name}, cooldown {then.cooldown:g}" if rival.name.startswith("WSD") else str(rival.name)
