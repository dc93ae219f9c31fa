import importlib.util
import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adaptive_lr.tasks import (
    TASKS,
    AbstractTask,
    Perceptron,
    SectionClassifier,
    SoftmaxRegression,
    StreamingLeastSquares,
    TokenTransformer,
)
from adaptive_lr.tasks.base import GradientFunction, Minibatch, as_tuple, on_each
from adaptive_lr.tasks.base import stacked as together
from adaptive_lr.tasks.classification import AbstractClassification
from adaptive_lr.tasks.data import DATASETS, load
from adaptive_lr.training.paused import stacked_buffers
from tests.reference.tasks import (
    CASES,
    CLASSIFICATION,
    PERCEPTRONS,
    SOFTMAX,
    softmax_optimum,
)

pytestmark = pytest.mark.usefixtures("one_thread")

every_task = pytest.mark.parametrize("task", [case.task for case in CASES.values()], ids=list(CASES))


BATCHED = {name: case.task for name, case in CASES.items() if case.task.batched}
every_batched_task = pytest.mark.parametrize("task", BATCHED.values(), ids=list(BATCHED))


every_classification = pytest.mark.parametrize("task", CLASSIFICATION.values(), ids=list(CLASSIFICATION))


every_perceptron = pytest.mark.parametrize("task", PERCEPTRONS.values(), ids=list(PERCEPTRONS))


every_softmax = pytest.mark.parametrize("task", SOFTMAX.values(), ids=list(SOFTMAX))


every_dataset = pytest.mark.parametrize("name", DATASETS)


SIZES = {"digits": (1078, 359, 360), "breast_cancer": (341, 114, 114), "mnist1d": (3200, 800, 1000)}


def random_parameters(task: AbstractTask, count: int) -> list[Tensor]:
    """``count`` random points around the initial parameters, stacked."""
    source = torch.Generator().manual_seed(7)
    return [
        value + 0.3 * torch.randn(count, *value.shape, generator=source, dtype=torch.float64)
        for value in task.initial(3).values()
    ]


def first_minibatch(task: AbstractTask, dtype: torch.dtype = torch.float64, seed: int = 5) -> Minibatch:
    return next(iter(task.minibatches(seed, 1, dtype)))


def of_seeds(task: AbstractTask, dtype: torch.dtype, seeds: Sequence[int]) -> Minibatch:
    """The first minibatch of each seed."""
    return together([first_minibatch(task, dtype, seed) for seed in seeds])


def equal(minibatch: Minibatch, other: Minibatch) -> bool:
    pairs = zip((*as_tuple(minibatch[0]), minibatch[1]), (*as_tuple(other[0]), other[1]), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def rounded(minibatch: Minibatch) -> Minibatch:
    def single(part: Tensor) -> Tensor:
        return part.float() if part.is_floating_point() else part

    return on_each(single, minibatch[0]), single(minibatch[1])


def random_buffers(task: AbstractTask, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Positive, other ones in every row; of whole numbers the initial ones."""
    dtype, trials, source = parameters[0].dtype, len(parameters[0]), torch.Generator().manual_seed(8)
    return [
        buffer + torch.rand(buffer.shape, generator=source, dtype=dtype) if buffer.is_floating_point() else buffer
        for buffer in stacked_buffers(task, dtype, trials).values()
    ]


def state_of(task: AbstractTask, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    names = [*task.initial(0), *task.initial_buffers()]
    return dict(zip(names, [*parameters, *random_buffers(task, parameters)], strict=True))


def at_start(task: AbstractTask) -> dict[str, Tensor]:
    """One trial before training."""
    return {name: value[None] for name, value in (task.initial(0) | task.initial_buffers()).items()}


def losses_and_gradients(
    task: AbstractTask, parameters: list[Tensor], seeds: Sequence[int] = (5,), function: GradientFunction | None = None
) -> list[Tensor]:
    """Losses, gradients, and the buffers afterwards."""
    inputs, targets = of_seeds(task, parameters[0].dtype, seeds)
    gradients = [torch.full_like(one, torch.nan) for one in parameters]
    buffers = random_buffers(task, parameters)
    losses = (function or task.gradient_function())(parameters, inputs, targets, gradients, buffers)
    return [losses, *gradients, *buffers]


def autograd(task: AbstractTask, parameters: list[Tensor], row: int, seed: int = 5) -> list[Tensor]:
    module = task.built().to(parameters[0].dtype)
    module.load_state_dict({name: value[row] for name, value in state_of(task, parameters).items()})
    inputs, targets = first_minibatch(task, parameters[0].dtype, seed)
    loss = task.loss(module(*as_tuple(inputs)), targets)
    for parameter in module.parameters():
        loss = loss + 0.5 * task.penalty * parameter.square().sum()
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return [loss.detach(), *gradients, *(module.get_buffer(name) for name in task.initial_buffers())]


def global_states() -> tuple[bytes, str, str]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002  # what must stay as it is
    return torch.get_rng_state().numpy().tobytes(), repr(numpy_state), repr(random.getstate())


def test_every_task_is_tested() -> None:
    of_their_own: set[type[AbstractTask]] = {SectionClassifier}  # whose model is fetched: test_sections
    if importlib.util.find_spec("tokenizers") is None:
        of_their_own.add(TokenTransformer)
    assert {type(case.task) for case in CASES.values()} | of_their_own == set(TASKS)


every_number_of_minibatches = pytest.mark.parametrize("seeds", [(5,), (5, 2), (1, 2, 3, 4)], ids=len)


@every_batched_task
@every_number_of_minibatches
def test_gradient_function_equals_the_default_one(task: AbstractTask, seeds: tuple[int, ...]) -> None:
    parameters = random_parameters(task, 3 * len(seeds))
    default = losses_and_gradients(task, parameters, seeds, AbstractTask.gradient_function(task))
    for found, expected in zip(losses_and_gradients(task, parameters, seeds), default, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@every_batched_task
@every_number_of_minibatches
def test_loss_functions_give_the_losses_of_the_gradient_function(task: AbstractTask, seeds: tuple[int, ...]) -> None:
    parameters = random_parameters(task, 2 * len(seeds))
    inputs, targets = of_seeds(task, torch.float64, seeds)
    expected = losses_and_gradients(task, parameters, seeds)[0]
    buffers = random_buffers(task, parameters)
    for function in (task.loss_function(), AbstractTask.loss_function(task)):
        torch.testing.assert_close(function(parameters, inputs, targets, buffers), expected, rtol=0, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(buffers, random_buffers(task, parameters), strict=True))


@every_batched_task
@every_number_of_minibatches
def test_gradient_function_equals_autograd_of_the_module(task: AbstractTask, seeds: tuple[int, ...]) -> None:
    parameters = random_parameters(task, 3 * len(seeds))
    found = losses_and_gradients(task, parameters, seeds)
    for row in range(3 * len(seeds)):
        for value, expected in zip(found, autograd(task, parameters, row, seeds[row // 3]), strict=True):
            torch.testing.assert_close(value[row], expected, rtol=0, atol=1e-12)


@every_batched_task
def test_gradient_function_in_single_precision_equals_autograd(task: AbstractTask) -> None:
    parameters = [one.float() for one in random_parameters(task, 2)]
    found = losses_and_gradients(task, parameters)
    for value, expected in zip(found, autograd(task, parameters, 1), strict=True):
        assert value.dtype == expected.dtype
        torch.testing.assert_close(value[1], expected, rtol=1e-5, atol=1e-5)


@every_batched_task
def test_gradient_of_a_row_does_not_depend_on_its_place(task: AbstractTask) -> None:
    parameters, order = random_parameters(task, 5), torch.tensor([3, 0, 4, 2, 1])
    found = losses_and_gradients(task, parameters)[: 1 + len(parameters)]
    permuted = losses_and_gradients(task, [one[order] for one in parameters])
    for value, expected in zip(permuted, found, strict=False):  # buffers are other ones in every row
        torch.testing.assert_close(value, expected[order], rtol=0, atol=1e-12)


@every_batched_task
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e300])
def test_gradient_of_a_row_does_not_depend_on_the_other_rows(task: AbstractTask, poison: float) -> None:
    parameters, others = random_parameters(task, 4), torch.tensor([0, 2, 3])
    found = losses_and_gradients(task, parameters)
    for one in parameters:
        one[1] = poison
    poisoned = losses_and_gradients(task, parameters)
    for value, expected in zip(poisoned, found, strict=True):
        assert torch.equal(value[others], expected[others])


@every_task
def test_metrics_of_a_row_do_not_depend_on_the_other_rows(task: AbstractTask) -> None:
    others, parameters = torch.tensor([0, 2, 3]), random_parameters(task, 4)
    found = task.evaluate(state_of(task, parameters), final=True)
    for one in parameters:
        one[1] = torch.nan
    poisoned = task.evaluate(state_of(task, parameters), final=True)
    for name, value in poisoned.items():
        assert torch.equal(value[others], found[name][others])
        assert value[1].isnan()


@every_task
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_seed_gives_the_same_minibatches(task: AbstractTask, dtype: torch.dtype) -> None:
    first, second = (list(task.minibatches(11, 12, dtype)) for _ in range(2))
    assert len(first) == 12
    for minibatch, same in zip(first, second, strict=True):
        assert {part.dtype for part in as_tuple(minibatch[0]) if part.is_floating_point()} <= {dtype}
        assert equal(minibatch, same)


@every_task
def test_other_seeds_give_other_minibatches(task: AbstractTask) -> None:
    firsts = [next(iter(task.minibatches(seed, 1, torch.float64)))[0] for seed in range(5)]
    for inputs, others in itertools.combinations(firsts, 2):
        assert not any(torch.equal(a, b) for a, b in zip(as_tuple(inputs), as_tuple(others), strict=True))


@every_task
@pytest.mark.parametrize(("short", "long"), [(1, 70), (30, 520), (500, 501)])
def test_a_longer_run_starts_with_the_minibatches_of_a_shorter_one(task: AbstractTask, short: int, long: int) -> None:
    shorter, longer = (list(task.minibatches(4, steps, torch.float32)) for steps in (short, long))
    assert (len(shorter), len(longer)) == (short, long)
    assert all(equal(minibatch, same) for minibatch, same in zip(shorter, longer, strict=False))


@every_task
def test_single_precision_minibatches_are_the_rounded_double_ones(task: AbstractTask) -> None:
    double, single = (next(iter(task.minibatches(4, 1, dtype))) for dtype in (torch.float64, torch.float32))
    assert equal(rounded(double), single)


@every_dataset
def test_loading_leaves_the_global_generators_alone(name: str) -> None:
    before = global_states()
    DATASETS[name]()
    assert global_states() == before


@every_task
def test_starting_points_and_minibatches_leave_the_global_generators_alone(task: AbstractTask) -> None:
    before = global_states()
    task.initial(9)
    list(task.minibatches(9, 30, torch.float32))
    if task.batched:
        losses_and_gradients(task, random_parameters(task, 2))
    assert global_states() == before


@every_task
def test_starting_points_and_minibatches_ignore_the_global_seed(task: AbstractTask) -> None:
    initial, minibatch = task.initial(9), next(iter(task.minibatches(9, 1, torch.float64)))
    state = torch.get_rng_state()
    torch.manual_seed(int(state[0]) + 1)
    again, same = task.initial(9), next(iter(task.minibatches(9, 1, torch.float64)))
    torch.set_rng_state(state)
    assert all(torch.equal(initial[name], again[name]) for name in initial)
    assert equal(minibatch, same)


@every_task
def test_starting_point_fits_the_module_and_is_fixed_by_the_seed(task: AbstractTask) -> None:
    first, second = task.initial(2), task.initial(2)
    assert list(first) == [name for name, _ in task.built().named_parameters()]
    for name, parameter in task.built().named_parameters():
        assert first[name].shape == parameter.shape
        assert first[name].dtype == torch.float64
        assert torch.equal(first[name], second[name])


@every_perceptron
def test_perceptrons_start_as_pytorch_initialises_linear_layers(task: Perceptron) -> None:
    assert not torch.equal(task.initial(2)["0.weight"], task.initial(3)["0.weight"])
    initial, scaled = task.initial(2), []
    for layer, fan_in in zip((0, 2, 4), task.sizes[:-1], strict=True):
        scaled += [initial[f"{layer}.{name}"].flatten() * fan_in**0.5 for name in ("weight", "bias")]
    assert all(one.abs().max() <= 1.0 for one in scaled)
    assert torch.cat(scaled).std().item() == pytest.approx(3**-0.5, rel=0.05)


@every_task
def test_selection_and_report_metrics_exist(task: AbstractTask) -> None:
    parameters = at_start(task)
    final, during = task.evaluate(parameters, final=True), task.evaluate(parameters, final=False)
    assert {task.selection_metric, task.report_metric} <= set(final)
    assert task.selection_metric in during
    assert set(during) <= set(final)
    for name, value in during.items():
        assert torch.equal(value, final[name])
    for value in final.values():
        assert value.shape == (1,)
        assert value.dtype == torch.float64
        assert value.isfinite()


@every_task
def test_test_data_is_not_looked_at_during_training(task: AbstractTask) -> None:
    parameters = at_start(task)
    assert not any(name.startswith("test") for name in task.evaluate(parameters, final=False))
    assert not task.selection_metric.startswith("test")


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_a_perceptron_is_selected_on_validation_and_reported_on_test_data(metric: str) -> None:
    task = Perceptron(metric=metric)
    assert (task.selection_metric, task.report_metric) == (f"validation_{metric}", f"test_{metric}")
    parameters = {name: value.unsqueeze(0) for name, value in task.initial(0).items()}
    assert task.selection_metric in task.evaluate(parameters, final=False)
    assert task.report_metric in task.evaluate(parameters, final=True)


@every_classification
def test_losses_and_errors_equal_those_of_the_module(task: AbstractClassification) -> None:
    parameters = random_parameters(task, 3)
    stacked = dict(zip(task.initial(0), parameters, strict=True))
    module = task.module().double()
    for split in ("train", "validation", "test"):
        found, part = task.metrics_on(split, stacked), getattr(load(task.dataset), split)
        for row in range(3):
            module.load_state_dict({name: value[row] for name, value in stacked.items()})
            with torch.no_grad():
                outputs = module(part.inputs)
            loss = functional.cross_entropy(outputs, part.targets)
            torch.testing.assert_close(found[f"{split}_loss"][row], loss, rtol=1e-12, atol=0)
            wrong = int((outputs.argmax(1) != part.targets).sum())
            assert found[f"{split}_error"][row].item() == pytest.approx(wrong / len(part.targets), rel=0, abs=1e-12)


@every_softmax
def test_least_objective_equals_that_of_an_independent_solver(task: SoftmaxRegression) -> None:
    optimum = softmax_optimum(task.dataset)
    excess = task.evaluate(optimum, final=False)["excess"].item()
    # Not negative: f* is not above the solver's value. Below 1e-10: it is not below it either, as the gradient shows.
    assert 0.0 <= excess < 1e-10
    train = load(task.dataset).train
    gradients = [torch.empty_like(one) for one in optimum.values()]
    task.gradient_function()(list(optimum.values()), train.inputs[None], train.targets[None], gradients)
    assert max(one.abs().max().item() for one in gradients) < 1e-9


@every_softmax
def test_softmax_excess_is_not_negative_near_the_optimum_and_grows_away_from_it(task: SoftmaxRegression) -> None:
    optimum = softmax_optimum(task.dataset)
    source, scales = torch.Generator().manual_seed(0), torch.logspace(-9, 0, 30, dtype=torch.float64)
    near = {
        name: value
        + torch.randn(30, *value.shape[1:], generator=source, dtype=torch.float64)
        * scales.view(-1, *[1] * (value.dim() - 1))
        for name, value in optimum.items()
    }
    excess = task.evaluate(near, final=False)["excess"]
    assert (excess >= 0.0).all()
    assert (excess[10:].diff() > 0.0).all()
    assert excess[-1] > 0.01


@every_softmax
def test_softmax_excess_contains_the_penalty_of_weights_and_biases(task: SoftmaxRegression) -> None:
    assert task.penalty == 1.0 / SIZES[task.dataset][0]
    zero = {name: value[None] for name, value in task.initial(0).items()}
    # The same bias for every class changes the penalty alone.
    shifted = zero | {"0.bias": zero["0.bias"] + 3.0}
    classes = zero["0.bias"].shape[1]
    difference = task.evaluate(shifted, final=False)["excess"] - task.evaluate(zero, final=False)["excess"]
    assert difference.item() == pytest.approx(0.5 * task.penalty * 9.0 * classes, rel=1e-12)


def test_a_task_may_do_without_a_gradient_function_of_its_own() -> None:
    task = StreamingLeastSquares(dimension=3)
    own = task.gradient_function()
    default = AbstractTask.gradient_function(task)
    inputs, targets = of_seeds(task, torch.float64, (5,))
    parameters = random_parameters(task, 2)
    gradients = [torch.zeros_like(one) for one in parameters], [torch.zeros_like(one) for one in parameters]
    losses = own(parameters, inputs, targets, gradients[0]), default(parameters, inputs, targets, gradients[1])
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-13)
    assert all(value.any() for value in gradients[1])
