"""Write docs/schedules.md with its pictures, and docs/controllers.md, from the classes themselves: ``python docs/make_gallery.py``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path

from readable import escaped

from adaptive_lr import (
    CONTROLLERS,
    SCHEDULES,
    AbstractController,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Linear,
    SpecError,
)
from adaptive_lr.controllers import Signal
from adaptive_lr.drawing import save
from adaptive_lr.reporting.schedule_figures import schedules_figure
from adaptive_lr.schedules.parse import parse_schedules
from adaptive_lr.spec import Spec, encode

DOCS = Path(__file__).parent
STEPS = 1000

SHOWN: dict[str, Sequence[str]] = {
    "damped_cosine": ("", "exponent=0.5", "exponent=2", "k=0.5", "k=2", "floor=0.1"),
    "polynomial": ("power=1", "power=2", "power=4"),
    "step": ("", "milestones=0.3,0.6,0.9 factor=0.5"),
    "exponential": ("rate=3", "rate=5"),
    "inverse_sqrt": ("fraction=0.01", "fraction=0.1"),
    "wsd": ("", "shape=linear cooldown=0.4", "shape=cosine cooldown=0.4", "shape=exponential cooldown=0.4 floor=0.01"),
    "constant": ("", "factor=0.3 until=0.2"),
    "staircase": ("fraction=0.25 factor=0.5", "fraction=0.1 factor=0.8"),
    "cyclic": ("up=0.1 low=0.1", "up=0.1 low=0.1 mode=triangular2", "up=0.1 low=0.1 mode=exp_range"),
    "one_cycle": ("", "anneal=linear", "phases=three"),
    "trapezoid": ("up=0.1 down=0.3",),
    "eigencurve": ("eigenvalues=1,2,4,8,16,32", "eigenvalues=1,10,100,1000"),
    "points": ("u=0,0.2,0.6,1 m=0.2,1,0.5,0", "u=0,0.2,0.6,1 m=0.2,1,0.5,0 interpolation=previous"),
    "additive_k_decay": ("k=2 sign=plus", "k=2 sign=minus"),
    "chebyshev": ("levels=3",),
}
"""Fields of what is drawn, by kind, as on the command line; the default of the others is drawn."""


def composed() -> dict[str, Sequence[AbstractSchedule]]:
    """Examples of the schedules that are made of others."""
    from adaptive_lr import Plateau, Product, Restarts, Scaled, Sequence, Step, Warmup

    return {
        "warmup": (Warmup(fraction=0.1, then=DampedCosine()), Warmup(fraction=0.2, start=0.25, then=Linear())),
        "sequence": (Sequence(schedules=(Constant(), Linear(floor=0.5), DampedCosine()), fractions=(0.3, 0.5)),),
        "restarts": (
            Restarts(then=DampedCosine(), fraction=0.25),
            Restarts(then=DampedCosine(), steps=143, mult=2, decay=0.6),
        ),
        "product": (Product(schedules=(DampedCosine(), Step())),),
        "scaled": (Scaled(then=DampedCosine(), factor=0.5),),
        "plateau": (Plateau(damping=0.1),),
    }


def examples(schedule_class: type[AbstractSchedule]) -> dict[str, AbstractSchedule]:
    """What to draw of a class; its default if nothing else is said."""
    kind = schedule_class.kind
    if kind in composed():
        return {repr(schedule): schedule for schedule in composed()[kind]}
    curves: dict[str, AbstractSchedule] = {}
    for fields in SHOWN.get(kind, ("",)):
        try:
            curves |= {repr(schedule): schedule for schedule in parse_schedules([kind, *fields.split()]).values()}
        except SpecError as error:
            raise SystemExit(f"say in SHOWN what to draw of {kind}: {error}") from None
    return curves


def entry(schedule_class: type[AbstractSchedule]) -> str:
    """The section of one class: formula, text, fields, picture."""
    kind, drawn = schedule_class.kind, examples(schedule_class)
    save(schedules_figure(drawn, STEPS), DOCS / "figures" / "schedules" / f"{kind}.png")
    fields = ", ".join(name for name in encode(next(iter(drawn.values()))) if name != "kind") or "none"
    picture = f"![{schedule_class.__name__}](figures/schedules/{kind}.png)"
    return "\n\n".join([described(schedule_class), f"Kind `{kind}`; fields: {fields}.", picture])


def controller_entry(controller_class: type[AbstractController]) -> str:
    """The section of one controller: formula, rule, what it asks to see, fields with their defaults."""
    default = controller_class()
    asks = ", ".join(f"`{signal.name}`" for signal in Signal if signal in controller_class.needs) or "nothing"
    fields = ", ".join(
        f"`{name}={shown(value)}`" for name, value in encode(default).items() if not isinstance(value, dict)
    )
    extra = 100.0 * default.extra_steps(STEPS) / STEPS
    facts = f"Asks to see {asks}; {extra:.1f} % more work in {STEPS} steps. Fields: {fields}."
    marked = f'<!-- evidence: controller("{controller_class.__name__}") -->\n<!-- end -->'
    return "\n\n".join([described(controller_class), facts, marked])


def shown(value: object) -> str:
    """A field's default; of many numbers only how many they are."""
    return f"({len(value)} numbers)" if isinstance(value, list | tuple) and len(value) > 4 else str(value)


def described(kind: type[Spec]) -> str:
    """The name, the formula and the text of a class, from its docstring."""
    formula, _, text = (inspect.getdoc(kind) or "").partition("\n\n")
    parts = (
        f"## {kind.__name__}",
        f"`{' '.join(formula.replace('``', '').replace('`', '').split())}`",
        escaped(text.split(">>>")[0].strip()),
    )
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Write the pages."""
    warnings.simplefilter("ignore")  # additive k-decay says that it is clipped, and is meant to be shown so
    head = (
        "# All schedules\n\nGenerated from the classes by `make gallery`; m is the multiplier of the base rate, u = t/T the progress. "
        "A schedule stands for itself in `ScheduledLR`, in a trial, in JSON and on the command line.\n"
    )
    (DOCS / "schedules.md").write_text("\n\n".join([head, *map(entry, SCHEDULES)]) + "\n", encoding="utf-8")
    head = (
        "# All controllers\n\nGenerated from the classes by `make gallery`; m(u) is the schedule's multiplier at progress u, eta_t the multiplier of "
        "the base rate at step t, f the minibatch's loss, g its gradient, D the optimizer's direction. `ControlledLR` puts one into a training loop: see "
        "[any learning rate](tutorials/controllers.md).\n"
    )
    sections = [head, *map(controller_entry, CONTROLLERS)]
    (DOCS / "controllers.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
