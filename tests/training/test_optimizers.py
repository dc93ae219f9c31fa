import pytest
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.training import OPTIMIZERS, SGD, AbstractOptimizer, AdamW, Clipped, Muon, Peer, ProjectedSGD
from adaptive_lr.training.optimizers import FlatState

TRIALS, STEPS = 5, 50
SHAPES = ((3, 2), (4,), (2, 2, 2))
SIZE = 18

RULES: list[AbstractOptimizer] = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.5, weight_decay=0.01),
    AdamW(),
    AdamW(weight_decay=0.0),
    AdamW(beta1=0.0, beta2=0.9, weight_decay=0.3),
    AdamW(beta1=0.95, beta2=0.95, epsilon=1e-3),
    AdamW(beta1=0.5, beta2=0.0, epsilon=1.0, weight_decay=0.0),
    ProjectedSGD(radius=1.0),
    ProjectedSGD(radius=3.0),
    SGD(momentum=0.9, nesterov="on"),
    SGD(momentum=0.9, nesterov="on", weight_decay=0.1, decayed="matrices"),
    SGD(weight_decay=0.3, decayed="matrices"),
    AdamW(beta2=0.95, weight_decay=0.3, decayed="matrices"),
    Clipped(then=SGD(), norm=0.5),
    Clipped(then=SGD(momentum=0.9, weight_decay=0.1), norm=2.0),
    Clipped(then=AdamW(weight_decay=0.3), norm=0.1),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


class Quadratics:
    """Half (x - c)' H (x - c) with a random H and c for every trial, and a rate for every trial and step."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=source, dtype=torch.float64)

        roots = normal(TRIALS, SIZE, SIZE) / SIZE**0.5
        self.curvature = roots @ roots.transpose(1, 2)
        self.centre = normal(TRIALS, SIZE)
        self.start = [normal(TRIALS, *shape) for shape in SHAPES]
        self.rates = 0.1 * torch.rand(STEPS, TRIALS, generator=source, dtype=torch.float64)

    def gradients(self, parameters: list[Tensor], trials: Tensor) -> list[Tensor]:
        """Gradients of the parameters, stacked, of the trials."""
        x = torch.cat([one.flatten(1) for one in parameters], 1) - self.centre[trials]
        flat = torch.einsum("bij,bj->bi", self.curvature[trials], x)
        parts = flat.split([one[0].numel() for one in parameters], 1)
        return [part.reshape(one.shape) for part, one in zip(parts, parameters, strict=True)]


def literal(rule: AbstractOptimizer, problem: Quadratics, trial: int, steps: int = STEPS) -> list[Tensor]:
    """Where the optimizer of `torch.optim` takes one trial."""
    parameters = [one[trial].clone().requires_grad_() for one in problem.start]
    optimizer = rule.literal(parameters, 123.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = float(problem.rates[step, trial])
        found = problem.gradients([one.detach()[None] for one in parameters], torch.tensor([trial]))
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient[0].clone()
        rule.clip(parameters)
        optimizer.step()
    return [one.detach() for one in parameters]


def stacked(rule: AbstractOptimizer, problem: Quadratics, falls: dict[int, list[int]]) -> list[Tensor]:
    """Where the trials are; before step s the trials ``falls[s]`` are frozen, after a gradient that was not finite."""
    state, frozen = FlatState(problem.start), torch.zeros(TRIALS, dtype=torch.bool)
    update, rates = rule.stacked(state), problem.rates.clone()
    for step in range(STEPS):
        for target, gradient in zip(
            state.gradients, problem.gradients(state.parameters, torch.arange(TRIALS)), strict=True
        ):
            target.copy_(gradient)
            target[falls.get(step + 1, [])] = torch.nan
        update.step(rates[step])
        if fallen := falls.get(step + 1):
            frozen[fallen] = True
            rates[:, frozen] = 0.0
            state.clear(state.flat, frozen)
            update.clear(frozen)
    return state.parameters


def test_every_optimizer_is_tested() -> None:
    assert {type(rule) for rule in RULES} == {*OPTIMIZERS} - {Muon, Peer}


@pytest.mark.sampled(3)
@every_rule
@pytest.mark.parametrize(
    "falls", [{}, {20: [1, 3]}, {1: [0], 2: [4], 49: [2]}], ids=["all go on", "two fall", "one by one"]
)
def test_stacked_optimizer_equals_that_of_torch(rule: AbstractOptimizer, falls: dict[int, list[int]]) -> None:
    problem = Quadratics()
    parameters = stacked(rule, problem, falls)
    fallen = {trial for together in falls.values() for trial in together}
    for trial in range(TRIALS):
        for found, start, expected in zip(parameters, problem.start, literal(rule, problem, trial), strict=True):
            if trial in fallen:
                assert not found[trial].any()
            else:
                torch.testing.assert_close(found[trial], expected, rtol=0, atol=1e-12)
                assert (found[trial] - start[trial]).abs().max() > 1e-3


@every_rule
def test_stacked_optimizer_leaves_its_input_alone(rule: AbstractOptimizer) -> None:
    problem, untouched = Quadratics(), Quadratics()
    stacked(rule, problem, {})
    assert all(torch.equal(one, other) for one, other in zip(problem.start, untouched.start, strict=True))


def test_clipping_leaves_the_gradients_for_those_who_read_them() -> None:
    problem = Quadratics()
    state = FlatState(problem.start)
    state.flat_gradient.copy_(state.flat)
    before, gradients = state.flat_gradient.clone(), state.gradients
    Clipped(then=SGD(momentum=0.9), norm=0.1).stacked(state).step(torch.ones(TRIALS, dtype=torch.float64))
    assert torch.equal(state.flat_gradient, before)
    assert state.gradients is gradients
    moved = [start - parameter for start, parameter in zip(problem.start, state.parameters, strict=True)]
    lengths = torch.stack([part.flatten(1).square().sum(1) for part in moved]).sum(0).sqrt()
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("then", [Clipped(then=SGD()), Peer(name="prodigy")], ids=repr)
def test_what_cannot_be_clipped_is_refused(then: AbstractOptimizer) -> None:
    with pytest.raises(
        SpecError, match=r"Clipped\.then must be an optimizer that is not clipped and sets no rate, got "
    ):
        Clipped(then=then)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(SpecError, match=r"SGD\.nesterov must be 'off' where momentum is 0"):
        SGD(nesterov="on")


@pytest.mark.parametrize("rule", [SGD(momentum=0.9), AdamW(weight_decay=0.0)], ids=repr)
def test_zero_gradients_move_nothing_at_first(rule: AbstractOptimizer) -> None:
    state = FlatState(Quadratics().start)
    before = state.flat.clone()
    rule.stacked(state).step(torch.ones(TRIALS, dtype=torch.float64))
    assert torch.equal(state.flat, before)


def test_a_trial_with_nan_gradients_changes_no_other() -> None:
    for rule in RULES:
        problem = Quadratics()
        expected = stacked(rule, problem, {})
        problem.curvature[2] = torch.nan
        found = stacked(rule, problem, {})
        others = torch.tensor([0, 1, 3, 4])
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one[others], other[others])
            assert one[2].isnan().all()


def test_flat_state_holds_all_parameters_and_gradients_in_one_buffer() -> None:
    start = Quadratics().start
    state = FlatState(start)
    assert state.flat.numel() == state.flat_gradient.numel() == TRIALS * SIZE
    for one, gradient, original in zip(state.parameters, state.gradients, start, strict=True):
        assert torch.equal(one, original)
        assert one.is_contiguous()
        assert gradient.shape == one.shape
    state.flat.fill_(3.0)
    state.flat_gradient.fill_(4.0)
    assert all((one == 3.0).all() for one in state.parameters)
    assert all((one == 4.0).all() for one in state.gradients)


def test_clearing_touches_the_given_trials_alone() -> None:
    start, fallen = Quadratics().start, torch.tensor([False, True, False, False, True])
    state = FlatState(start)
    state.clear(state.flat, fallen)
    for part, original in zip(state.parameters, start, strict=True):
        assert not part[fallen].any()
        assert torch.equal(part[~fallen], original[~fallen])


@pytest.mark.parametrize(
    ("rule", "field"),
    [(SGD, "momentum"), (SGD, "weight_decay"), (AdamW, "beta1"), (AdamW, "beta2"), (AdamW, "epsilon")],
)
def test_an_optimizer_that_torch_would_refuse_is_refused(rule: type[AbstractOptimizer], field: str) -> None:
    with pytest.raises(SpecError, match=rf"{rule.__name__}\.{field} must lie in .*, got -1"):
        rule(**{field: -1.0})


def rescued(rule: AbstractOptimizer, dtype: torch.dtype, trials: list[int]) -> list[Tensor]:
    """Where the trials are when some of them were put back to their start, in every step that is a multiple of 7."""
    problem = Quadratics()
    state = FlatState([one.to(dtype) for one in problem.start])
    update, back = rule.stacked(state), torch.zeros(TRIALS, dtype=torch.bool)
    back[trials] = True
    counts, start = update.counts(), state.flat.clone()
    for step in range(STEPS):
        found = problem.gradients([one.double() for one in state.parameters], torch.arange(TRIALS))
        for target, gradient in zip(state.gradients, found, strict=True):
            target.copy_(gradient)
        update.step(problem.rates[step].to(dtype))
        if step % 7 == 0:
            for one, begin in zip(state.parameters, state.views(start), strict=True):
                one[back] = begin[back]
            update.clear(back)
            update.restore_counts(back, counts)
    return state.parameters


@every_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_trial_that_is_put_back_changes_no_bit_of_another(rule: AbstractOptimizer, dtype: torch.dtype) -> None:
    others = torch.tensor([0, 2, 4])
    for one, other in zip(rescued(rule, dtype, []), rescued(rule, dtype, [1, 3]), strict=True):
        assert torch.equal(one[others], other[others])
        assert not torch.equal(one[1], other[1])
