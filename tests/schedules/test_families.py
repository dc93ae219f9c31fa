import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CyclicLR, ExponentialLR, OneCycleLR, StepLR

from adaptive_lr import (
    REX,
    SCHEDULES,
    WSD,
    AdditiveKDecay,
    Chebyshev,
    ClippedScheduleWarning,
    Constant,
    Cyclic,
    DampedCosine,
    Eigencurve,
    ElasticStep,
    Exponential,
    ExponentialCosine,
    InverseTime,
    Linear,
    OneCycle,
    Points,
    Polynomial,
    SpecError,
    Staircase,
    Step,
    Tanh,
    Trapezoid,
    Warmup,
    decode,
    encode,
    table,
)
from tests.schedules.test_schedules import assert_close, closed_form, curve, rates


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as caught:
        make()
    return str(caught.value)


def test_constant_without_a_first_phase_is_one_throughout() -> None:
    for schedule in (Constant(), Constant(factor=0.5), Constant(until=0.5), Constant(factor=0.5, steps=0)):
        assert curve(schedule, 9).tolist() == [1.0] * 10


@pytest.mark.parametrize("total_iters", [0, 1, 7, 99, 100, 200])
def test_first_phase_of_constant_is_torch_constant(total_iters: int) -> None:
    expected = closed_form(lambda optimizer: ConstantLR(optimizer, factor=0.3, total_iters=total_iters), 100)
    assert_close(curve(Constant(factor=0.3, steps=total_iters), 100), expected, atol=1e-15)


@pytest.mark.parametrize("step_size", [1, 3, 10, 33, 100, 101, 500])
def test_staircase_is_torch_step(step_size: int) -> None:
    expected = closed_form(lambda optimizer: StepLR(optimizer, step_size, gamma=0.7), 100)
    assert_close(curve(Staircase(steps=step_size, factor=0.7), 100), expected, atol=1e-15)


def test_stairs_begin_at_the_exact_step_whatever_the_horizon_and_the_warmup() -> None:
    for total_steps in range(1, 240):
        for length in (1, 2, 3, 7, 49):
            exact = [0.5 ** (step // length) for step in range(total_steps + 1)]
            assert curve(Staircase(steps=length, factor=0.5), total_steps).tolist() == exact
            warmed = curve(Warmup(steps=5, then=Staircase(steps=length, factor=0.5)), total_steps + 5)
            assert warmed[5:].tolist() == exact


def test_stairs_as_a_fraction_begin_where_a_tenth_of_the_run_has_gone() -> None:
    multipliers = curve(Staircase(fraction=0.1, factor=0.5), 1000)
    assert multipliers.tolist() == [0.5 ** (step // 100) for step in range(1001)]


def test_staircase_with_a_stair_of_half_the_run_is_step() -> None:
    assert torch.equal(curve(Staircase(fraction=0.25), 64), curve(Step(milestones=(0.25, 0.5, 0.75, 1)), 64))


@pytest.mark.parametrize("k", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.5])
def test_polynomial_with_k_is_that_of_timm(k: float, power: float) -> None:
    T, floor = 100, 0.1
    expected = [floor + (1 - floor) * (1 - t**k / T**k) ** power for t in range(T + 1)]
    assert_close(curve(Polynomial(power=power, k=k, floor=floor), T), expected, atol=1e-8 if power < 1 else 1e-14)


def test_k_of_one_changes_no_bit() -> None:
    u = torch.arange(1001, dtype=torch.float64).reshape(1, -1) / 1000
    for power in (0.3, 1.0, 2.0, 7.5):
        exponent = torch.tensor([[power]], dtype=torch.float64)
        assert torch.equal(curve(Polynomial(power=power), 1000), ((1.0 - u) ** exponent)[0])
        assert torch.equal(curve(Exponential(rate=power), 1000), (-exponent * u).exp()[0])


def test_exponential_with_k_is_the_substituted_decay() -> None:
    expected = [math.exp(-3 * (t / 50) ** 2) for t in range(51)]
    assert_close(curve(Exponential(rate=3, k=2), 50), expected, atol=1e-15)


@pytest.mark.parametrize("rate", [0.0, 1.0, 9.0])
def test_inverse_time_is_that_of_tensorflow(rate: float) -> None:
    decay_rate, decay_steps = rate, 100
    expected = [1 / (1 + decay_rate * step / decay_steps) for step in range(101)]
    assert_close(curve(InverseTime(rate=rate), 100), expected, atol=1e-15)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize(("up", "down"), [(5, None), (3, 8), (1, 1), (200, 4)])
def test_cyclic_is_that_of_torch(mode: str, up: int, down: int | None) -> None:
    def make(optimizer: Optimizer) -> CyclicLR:
        shape = {"mode": mode, "gamma": 0.97, "cycle_momentum": False}
        return CyclicLR(optimizer, 0.2, 1.0, up, down, **shape)  # type: ignore[arg-type]

    expected = rates(make, 100)
    a_cycle = 0.97 ** (up + (up if down is None else down))
    schedule = Cyclic(up_steps=up, down_steps=down, low=0.2, mode=mode, gamma=a_cycle)
    assert_close(curve(schedule, 100), expected, atol=1e-12)
    assert curve(schedule, 100)[0].item() == 0.2


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("phases", ["two", "three"])
@pytest.mark.parametrize(("total_steps", "pct_start"), [(101, 0.3), (50, 0.5), (21, 0.1), (10, 0.45)])
def test_one_cycle_is_that_of_torch_with_its_own_count_of_steps(
    anneal: str, phases: str, total_steps: int, pct_start: float
) -> None:
    expected = rates(
        lambda optimizer: OneCycleLR(
            optimizer,
            1.0,
            total_steps=total_steps + 1,  # one more than it has updates: `rates` steps once after the last
            pct_start=pct_start,
            anneal_strategy=anneal,  # type: ignore[arg-type]
            div_factor=10,
            final_div_factor=100,
            three_phase=phases == "three",
            cycle_momentum=False,
        ),
        total_steps - 1,
    )
    updates = total_steps + 1
    up = (pct_start * updates - 1) / (updates - 1)
    schedule = OneCycle(up=up, anneal=anneal, start=0.1, end=0.001, phases=phases)
    assert_close(curve(schedule, updates - 1)[:total_steps], expected, atol=1e-14)


@pytest.mark.parametrize("phases", ["two", "three"])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle_is_finite_for_every_legal_up_and_horizon(phases: str, anneal: str) -> None:
    for up in (0.0, 5e-324, 1e-300, 0.1, 0.5, 1 - 1e-16, 1.0):
        if phases == "two" or up <= 0.5:
            for total_steps in (1, 2, 3, 10):
                multipliers = curve(OneCycle(up=up, anneal=anneal, phases=phases), total_steps)
                assert multipliers.isfinite().all()
                assert 0.0 <= multipliers.min() <= multipliers.max() <= 1.0


def test_one_cycle_reaches_start_peak_and_end_exactly() -> None:
    two = curve(OneCycle(up=0.25, start=0.3, end=0.1), 8)
    assert two[[0, 2, 8]].tolist() == [0.3, 1.0, 0.1]
    three = curve(OneCycle(up=0.25, start=0.3, end=0.1, phases="three"), 8)
    assert three[[0, 2, 4, 8]].tolist() == [0.3, 1.0, 0.3, 0.1]


def test_trapezoid_without_a_rise_is_warmup_stable_decay() -> None:
    expected = curve(WSD(cooldown=0.4, shape="linear", floor=0.1), 50)
    assert_close(curve(Trapezoid(up=0, down=0.4, floor=0.1), 50), expected.tolist(), atol=1e-15)


def test_trapezoid_is_warmup_before_warmup_stable_decay() -> None:
    warmed = Warmup(steps=20, then=WSD(cooldown=0.5, shape="linear"))
    assert_close(curve(Trapezoid(up_steps=20, down_steps=40), 100), curve(warmed, 100).tolist(), atol=1e-15)


def test_trapezoid_longer_than_the_run_is_refused() -> None:
    assert refused(lambda: Trapezoid(up=0.7, down=0.4)) == (
        "Trapezoid.up and down must sum to at most 1, got 0.7 and 0.4"
    )
    assert refused(lambda: Trapezoid(up_steps=11, down=0).at(0, 10)) == (
        "Trapezoid.up_steps must be at most total_steps=10, got 11"
    )
    assert "must sum to at most 1" in refused(lambda: Trapezoid(up_steps=6, down_steps=5).at(0, 10))


@pytest.mark.parametrize("floor", [1e-3, 0.1, 1.0])
def test_exponential_cooldown_is_that_of_haegele(floor: float) -> None:
    multipliers = curve(WSD(cooldown=0.5, shape="exponential", floor=floor), 40)
    assert_close(multipliers, [1.0] * 20 + [floor ** (step / 20) for step in range(21)], atol=1e-15)
    assert multipliers[-1].item() == floor


def test_exponential_cooldown_over_the_whole_run_is_torch_exponential() -> None:
    expected = closed_form(lambda optimizer: ExponentialLR(optimizer, gamma=0.01 ** (1 / 100)), 100)
    assert_close(curve(WSD(cooldown=1, shape="exponential", floor=0.01), 100), expected, atol=1e-14)


def test_exponential_cooldown_needs_a_floor() -> None:
    message = "WSD.floor must be above 0 with the shape exponential, got 0.0"
    assert refused(lambda: WSD(shape="exponential")) == message


def test_rex_is_its_formula_and_linear_without_a_bend() -> None:
    expected = [(1 - t / 64) / (0.5 + 0.5 * (1 - t / 64)) for t in range(65)]
    assert_close(curve(REX(), 64), expected, atol=1e-15)
    assert torch.equal(curve(REX(bend=0, floor=0.1), 64), curve(Linear(floor=0.1), 64))


def test_tanh_is_that_of_timm_between_the_same_ends() -> None:
    timm = [0.5 * (1 - math.tanh(-7 * (1 - t / 100) + 3 * t / 100)) for t in range(101)]
    expected = [(one - timm[-1]) / (timm[0] - timm[-1]) for one in timm]
    assert_close(curve(Tanh(), 100), expected, atol=1e-15)
    assert max(abs(a - b) for a, b in zip(timm, expected, strict=True)) < 0.0025


@pytest.mark.parametrize("schedule", [Tanh(low=-20, high=20), Tanh(low=0, high=1e-6), Tanh(low=-1e-3, high=1e-300)])
def test_tanh_is_exact_at_both_ends_and_never_rises(schedule: Tanh) -> None:
    multipliers = curve(schedule, 1000)
    assert multipliers[0].item() == 1.0
    assert multipliers[-1].item() == 0.0
    assert (multipliers.diff() <= 0.0).all()


def test_exponential_cosine_with_no_rate_is_the_cosine() -> None:
    assert torch.equal(curve(ExponentialCosine(rate=0), 100), curve(DampedCosine(), 100))


def test_exponential_cosine_is_a_product() -> None:
    expected = curve(Exponential(rate=2), 100) * curve(DampedCosine(), 100)
    assert_close(curve(ExponentialCosine(rate=2), 100), expected.tolist(), atol=1e-15)


@pytest.mark.parametrize("sign", ["plus", "minus"])
def test_additive_k_decay_without_decay_is_the_cosine(sign: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = AdditiveKDecay(k=1, sign=sign)
    assert_close(curve(schedule, 100), curve(DampedCosine(), 100).tolist(), atol=1e-15)


@pytest.mark.parametrize(
    ("k", "sign", "where"),
    [(2, "plus", "negative"), (2, "minus", "peak"), (0.5, "plus", "peak"), (0.5, "minus", "negative")],
)
def test_additive_k_decay_says_where_it_is_cut_off(k: float, sign: str, where: str) -> None:
    with pytest.warns(ClippedScheduleWarning, match=where) as caught:
        schedule = AdditiveKDecay(k=k, sign=sign)
    assert caught[0].filename == __file__
    multipliers = curve(schedule, 1000)
    slope = 1 if sign == "plus" else -1
    u = torch.arange(1001, dtype=torch.float64) / 1000
    printed = 0.5 * (1 + (math.pi * u).cos()) + slope * (u**k - u)
    assert (printed.min() < -1e-9) == (where == "negative")
    assert (printed.max() > 1 + 1e-9) == (where == "peak")
    assert_close(multipliers, printed.clamp(0, 1).tolist(), atol=1e-15)


def test_additive_k_decay_warns_once_and_not_when_it_is_stacked() -> None:
    with pytest.warns(ClippedScheduleWarning):
        schedule = AdditiveKDecay(k=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table([schedule, schedule], 10)


def test_elastic_step_halves_at_shrinking_intervals() -> None:
    multipliers = curve(ElasticStep(ratio=0.5, factor=0.5, drops=3), 16)
    assert multipliers.tolist() == [1.0] * 8 + [0.5] * 4 + [0.25] * 2 + [0.125] * 3
    assert curve(ElasticStep(drops=0), 5).tolist() == [1.0] * 6


def test_elastic_steps_of_different_depth_stand_in_one_batch() -> None:
    schedules = [ElasticStep(drops=0), ElasticStep(drops=7, ratio=0.6), ElasticStep(drops=2)]
    assert torch.equal(table(schedules, 50), torch.stack([curve(one, 50) for one in schedules]))


def test_eigencurve_of_one_eigenvalue_is_inverse_time() -> None:
    assert_close(curve(Eigencurve(eigenvalues=(7,)), 50), curve(InverseTime(rate=50), 50).tolist(), atol=1e-15)
    assert torch.equal(curve(Eigencurve(eigenvalues=(7,)), 50), curve(Eigencurve(eigenvalues=(7, 7, 7)), 50))


def test_eigenvalue_on_a_boundary_belongs_to_the_stage_above() -> None:
    # 1, 2 and 4 are three stages of a third of the run; 1.99 and 3.99 would lie in the first and the second.
    three, two = Eigencurve(eigenvalues=(1, 2, 4)), Eigencurve(eigenvalues=(1, 2, 3.99))
    slopes = [1 / 4, 2 / 4, 4 / 4]
    inverse = [1 + sum(slope * min(max(t - 10 * i, 0), 10) for i, slope in enumerate(slopes)) for t in range(31)]
    assert_close(curve(three, 30), [1 / one for one in inverse], atol=1e-15)
    assert curve(two, 30)[-1] > curve(three, 30)[-1]


def test_scale_and_order_of_eigenvalues_and_scale_of_densities_do_not_matter() -> None:
    one = Eigencurve(eigenvalues=(1, 3, 10), densities=(1, 2, 3))
    other = Eigencurve(eigenvalues=(100, 10, 30), densities=(9, 3, 6))
    assert_close(curve(one, 40), curve(other, 40).tolist(), atol=1e-15)
    equal = Eigencurve(eigenvalues=(1, 3, 10), densities=(5, 5, 5))
    assert torch.equal(curve(equal, 40), curve(Eigencurve(eigenvalues=(1, 3, 10)), 40))


def test_eigencurve_stays_finite_for_any_spectrum() -> None:
    wild = Eigencurve(eigenvalues=(1e-100, 1, 1e100), densities=(1e-100, 1e100, 1), beta=1.000005)
    multipliers = curve(wild, 20)
    assert multipliers.isfinite().all()
    assert (multipliers.diff() <= 0.0).all()


def test_eigencurves_and_chebyshevs_of_different_length_stand_in_one_batch() -> None:
    for one in (Eigencurve(eigenvalues=(1, 5)), Chebyshev(levels=2)):
        longer = one.with_leaves({"levels": 5}) if isinstance(one, Chebyshev) else one
        schedules = [Warmup(steps=steps, then=then) for steps, then in ((0, one), (5, longer), (13, one))]
        assert torch.equal(table(schedules, 40), torch.stack([curve(each, 40) for each in schedules]))
        assert_close(curve(schedules[2], 40)[13:], curve(one, 27).tolist(), atol=1e-14)


def test_schedules_that_count_updates_need_the_horizon() -> None:
    for schedule in (Eigencurve(eigenvalues=(1, 2)), Chebyshev()):
        assert "counts updates: use at(step, total_steps) or resolve(total_steps)" in refused(lambda s=schedule: s(0.5))  # type: ignore[misc]
        resolved = schedule.resolve(10)
        assert resolved.resolve(20) == resolved
        assert decode(encode(resolved), SCHEDULES) == resolved


def test_chebyshev_takes_its_steps_in_fractal_order() -> None:
    nodes = [1 / (5.5 - 4.5 * math.cos((i - 0.5) * math.pi / 8)) for i in range(1, 9)]
    order = [1, 8, 4, 5, 2, 7, 3, 6]
    expected = [nodes[i - 1] / nodes[0] for i in order]
    multipliers = curve(Chebyshev(condition=10, levels=3), 16)
    assert_close(multipliers, [*expected, *expected, expected[-1]], atol=1e-15)


def test_chebyshev_steps_solve_a_quadratic_faster_than_any_constant_rate() -> None:
    curvatures = torch.linspace(1.0, 100.0, 200, dtype=torch.float64)
    T = 64
    multipliers = curve(Chebyshev(condition=100, levels=6), T)[:T]
    largest = 1 / (50.5 - 49.5 * math.cos(0.5 * math.pi / T))
    residual = torch.ones_like(curvatures)
    for rate in multipliers * largest:
        residual = residual * (1.0 - rate * curvatures)
    # 1/T_64(101/99), where T_64 is the Chebyshev polynomial, against ((kappa - 1)/(kappa + 1))^64.
    assert residual.abs().max().item() == pytest.approx(1 / math.cosh(T * math.acosh(101 / 99)), rel=1e-6)
    assert residual.abs().max() < 1e-4 * (99 / 101) ** T


def test_points_are_met_and_hold_outside() -> None:
    schedule = Points(u=(0.25, 0.5, 0.75), m=(0.3, 1, 0.1))
    assert_close(curve(schedule, 8), [0.3, 0.3, 0.3, 0.65, 1.0, 0.55, 0.1, 0.1, 0.1], atol=1e-15)
    previous = Points(u=(0.25, 0.5, 0.75), m=(0.3, 1, 0.1), interpolation="previous")
    assert curve(previous, 8).tolist() == [0.3, 0.3, 0.3, 0.3, 1.0, 1.0, 0.1, 0.1, 0.1]
    assert curve(Points(u=(0.5,), m=(0.5,)), 4).tolist() == [0.5] * 5


def test_points_reproduce_any_table_on_its_own_grid() -> None:
    source = curve(DampedCosine(exponent=2), 50)
    schedule = Points(u=tuple(step / 50 for step in range(51)), m=tuple(source.tolist()))
    assert torch.equal(curve(schedule, 50), source)


def test_points_after_a_warmup_jump_at_the_exact_step() -> None:
    then = Points(u=(0, 0.5, 0.75), m=(1, 0.5, 0.25), interpolation="previous")
    for rest in range(4, 201, 4):
        after = curve(Warmup(steps=5, then=then), 5 + rest)[5:].tolist()
        assert after == [1.0] * (rest // 2) + [0.5] * (rest // 4) + [0.25] * (rest // 4 + 1), rest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Points(u=(), m=()), "Points needs as many u as m, at least one, got 0 and 0"),
        (lambda: Points(u=(0, 1), m=(1,)), "Points needs as many u as m, at least one, got 2 and 1"),
        (lambda: Points(u=(0.5, 0.5), m=(1, 0)), "Points.u must ascend, got (0.5, 0.5)"),
        (lambda: Eigencurve(eigenvalues=()), "Eigencurve.eigenvalues must not be empty"),
        (
            lambda: Eigencurve(eigenvalues=(1, 2), densities=(1,)),
            "Eigencurve needs as many densities as eigenvalues or none, got 1 and 2",
        ),
        (lambda: Constant(until=0.1, steps=5), "Constant needs at most one of until and steps"),
        (lambda: Staircase(), "Staircase needs exactly one of fraction and steps"),
        (lambda: Cyclic(up=0.1, up_steps=5), "Cyclic needs exactly one of up and up_steps"),
        (lambda: Cyclic(up=0.1, down=0.1, down_steps=5), "Cyclic needs at most one of down and down_steps"),
        (lambda: Trapezoid(up=0.1), "Trapezoid needs exactly one of down and down_steps"),
        (lambda: OneCycle(up=0.6, phases="three"), "OneCycle.up must be at most 0.5 with three phases, got 0.6"),
        (
            lambda: Cyclic(up=0.1, down_steps=5)(0.5),
            "Cyclic is given in steps: use at(step, total_steps) or resolve(…)",
        ),
        (lambda: Staircase(steps=5)(0.5), "Staircase is given in steps: use at(step, total_steps) or resolve(…)"),
        (lambda: Constant(steps=5)(0.5), "Constant is given in steps: use at(step, total_steps) or resolve(…)"),
    ],
)
def test_bad_combination_is_refused_in_one_line(make: Callable[[], object], message: str) -> None:
    assert refused(make) == message.replace("…", "total_steps")
