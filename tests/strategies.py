"""Examples of the families after the classics, and strategies for schedules whose fields depend on each other."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from adaptive_lr import (
    REX,
    WSD,
    AbstractSchedule,
    AdditiveKDecay,
    Chebyshev,
    Constant,
    Cyclic,
    Eigencurve,
    ElasticStep,
    ExponentialCosine,
    GridAware,
    InverseTime,
    OneCycle,
    Points,
    Staircase,
    Tanh,
    Trapezoid,
)

Schedules = st.SearchStrategy[AbstractSchedule]

FAMILY_EXAMPLES: dict[type[AbstractSchedule], AbstractSchedule] = {
    InverseTime: InverseTime(rate=4),
    Staircase: Staircase(steps=3, factor=0.5),
    ElasticStep: ElasticStep(ratio=0.6, factor=0.5, drops=3),
    REX: REX(floor=0.05),
    Tanh: Tanh(floor=0.1),
    ExponentialCosine: ExponentialCosine(rate=2, floor=0.05),
    AdditiveKDecay: AdditiveKDecay(floor=0.1),
    Eigencurve: Eigencurve(eigenvalues=(0.5, 3, 3.5, 20), densities=(1, 2, 3, 4)),
    Chebyshev: Chebyshev(condition=10, levels=2),
    GridAware: GridAware(ratio=30),
    Cyclic: Cyclic(up_steps=2, down_steps=3, low=0.25, mode="triangular2"),
    OneCycle: OneCycle(up=0.25, start=0.1, end=0.01, phases="three"),
    Trapezoid: Trapezoid(up=0.2, down=0.5, floor=0.1),
    Points: Points(u=(0.1, 0.4, 0.9), m=(0.5, 1, 0.125)),
}

UNITS = st.floats(0.0, 1.0, allow_subnormal=False)
POSITIVE = st.floats(2.0**-10, 1.0)
STEPS = st.integers(1, 20)
THOUSANDTHS = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
EIGENVALUES = st.integers(1, 5000).map(lambda thousandths: thousandths / 1000)


def either(fraction: str, steps: str, fractions: st.SearchStrategy[float]) -> st.SearchStrategy[dict[str, Any]]:
    """A duration as a fraction of the run or in steps."""
    as_fraction = fractions.map(lambda value: {fraction: value})
    return as_fraction | STEPS.map(lambda value: {steps: value})


@st.composite
def constants(draw: st.DrawFn) -> Constant:
    return Constant(factor=draw(POSITIVE), **draw(either("until", "steps", UNITS)))


@st.composite
def warmup_stable_decays(draw: st.DrawFn) -> WSD:
    shape = draw(st.sampled_from(("linear", "sqrt", "cosine", "exponential")))
    floor = draw(POSITIVE if shape == "exponential" else UNITS)
    return WSD(cooldown=draw(st.floats(0.05, 1.0)), shape=shape, floor=floor)


@st.composite
def cyclics(draw: st.DrawFn) -> Cyclic:
    up, down = draw(either("up", "up_steps", POSITIVE)), draw(either("down", "down_steps", POSITIVE) | st.just({}))
    mode = draw(st.sampled_from(("triangular", "triangular2", "exp_range")))
    return Cyclic(**up, **down, low=draw(UNITS), mode=mode, gamma=draw(POSITIVE))


@st.composite
def one_cycles(draw: st.DrawFn) -> OneCycle:
    phases = draw(st.sampled_from(("two", "three")))
    up = draw(UNITS) * (0.5 if phases == "three" else 1.0)
    anneal = draw(st.sampled_from(("cos", "linear")))
    return OneCycle(up=up, anneal=anneal, start=draw(UNITS), end=draw(UNITS), phases=phases)


@st.composite
def trapezoids(draw: st.DrawFn) -> Trapezoid:
    if draw(st.booleans()):
        return Trapezoid(up=0.0, down_steps=1, floor=draw(UNITS))
    return Trapezoid(up=draw(UNITS) / 2, down=draw(UNITS) / 2, floor=draw(UNITS))


@st.composite
def tables_of_points(draw: st.DrawFn) -> Points:
    places = sorted(draw(st.lists(THOUSANDTHS, min_size=1, max_size=5, unique=True)))
    values = [draw(UNITS) for _ in places]
    return Points(u=tuple(places), m=tuple(values), interpolation=draw(st.sampled_from(("linear", "previous"))))


@st.composite
def eigencurves(draw: st.DrawFn) -> Eigencurve:
    eigenvalues = draw(st.lists(EIGENVALUES, min_size=1, max_size=5))
    densities = [draw(EIGENVALUES) for _ in eigenvalues] if draw(st.booleans()) else []
    return Eigencurve(eigenvalues=tuple(eigenvalues), densities=tuple(densities), beta=draw(st.floats(1.1, 8.0)))


@st.composite
def chebyshevs(draw: st.DrawFn) -> Chebyshev:
    return Chebyshev(condition=draw(st.floats(1.0, 1000.0)), levels=draw(st.integers(0, 8)))


DEPENDENT: dict[type[AbstractSchedule], Callable[[], Schedules]] = {
    Constant: constants,
    WSD: warmup_stable_decays,
    Cyclic: cyclics,
    OneCycle: one_cycles,
    Trapezoid: trapezoids,
    Points: tables_of_points,
    Eigencurve: eigencurves,
    Chebyshev: chebyshevs,
}
"""Strategies for simple schedules whose fields depend on each other."""

JUMPS: tuple[type[AbstractSchedule], ...] = (Staircase, ElasticStep, Constant, Points, Chebyshev, GridAware)
"""Schedules that jump, and so may fall on either side of a step when a warm-up ends between two."""


def first_multiplier(schedule: AbstractSchedule) -> float:
    """The multiplier of the first update for the families that need not begin at the peak, 1 for all others."""
    match schedule:
        case Constant(steps=None):
            return float(schedule.factor) if schedule.until > 1e-12 else 1.0
        case Constant():
            return float(schedule.factor)
        case Cyclic():
            return float(schedule.low)
        case OneCycle(up=up, phases=phases):
            return float(schedule.start) if up or phases == "three" else 1.0
        case Trapezoid(up=up, up_steps=up_steps):
            return 0.0 if up or up_steps else 1.0
        case Points():
            return float(schedule.m[0])
    return 1.0
