import numpy as np
import pytest
import torch

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import Eigencurve
from adaptive_lr.tasks import RidgeRegression
from adaptive_lr.tasks.ridge import problem

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = RidgeRegression(examples=60, dimension=9, rank=7, exponent=1.2, ridge=0.02)


def test_the_data_have_the_spectrum_that_is_said() -> None:
    for task in (TASK, RidgeRegression()):
        inputs = problem(task).inputs.numpy()
        hessian = inputs.T @ inputs / task.examples + task.ridge * np.eye(task.dimension)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian), task.spectrum(), rtol=1e-10, atol=1e-13)


def test_the_defaults_are_the_figures_of_a4a() -> None:
    task, spectrum = RidgeRegression(), np.array(RidgeRegression().spectrum())
    assert spectrum[-1] / spectrum[0] == pytest.approx(6274, rel=1e-3)
    assert 2.0 * spectrum[-1] == pytest.approx(12.55, rel=2e-3)  # of the mean square, twice ours
    assert problem(task).inputs.square().sum(1).mean().item() == pytest.approx(13.9, abs=0.3)
    assert problem(task).targets.square().mean().item() == pytest.approx(1.0, abs=0.05)
    made = problem(task)
    residual = (made.inputs @ made.optimum - made.targets[:, 0]).square().mean()
    assert (residual + task.ridge * made.optimum.square().sum()).item() == pytest.approx(0.452, abs=0.02)


def test_the_excess_is_the_objective_less_that_of_an_independent_solver() -> None:
    made, ridge = problem(TASK), TASK.ridge
    x, y = made.inputs.numpy(), made.targets.numpy()[:, 0]
    stacked = np.vstack([x, np.sqrt(ridge * len(x)) * np.eye(9)])
    best = np.linalg.lstsq(stacked, np.concatenate([y, np.zeros(9)]), rcond=None)[0]

    def objective(w: np.ndarray) -> float:
        return float(0.5 * np.square(x @ w - y).mean() + 0.5 * ridge * np.square(w).sum())

    points = np.random.default_rng(0).standard_normal((6, 9))
    excess = TASK.evaluate({"0.weight": torch.from_numpy(points)[:, None]}, final=True)["excess"].numpy()
    np.testing.assert_allclose(excess, [objective(w) - objective(best) for w in points], rtol=1e-11)
    at_best = TASK.evaluate({"0.weight": torch.from_numpy(best)[None, None]}, final=True)["excess"].item()
    assert 0.0 <= at_best < 1e-25


def test_an_epoch_sees_every_example_once() -> None:
    inputs = torch.cat([x for x, _ in TASK.minibatches(0, 60, torch.float64)])
    assert torch.equal(inputs.sort(0).values, problem(TASK).inputs.sort(0).values)


def test_the_spectrum_is_what_eigencurve_takes() -> None:
    schedule = Eigencurve(eigenvalues=RidgeRegression().spectrum())
    assert schedule.at(0, 4781) == 1.0
    assert 0.0 < schedule.at(4781, 4781) < 0.1


def test_all_seeds_have_the_same_problem_and_other_orders() -> None:
    first, second = (next(iter(TASK.minibatches(seed, 1, torch.float64)))[0] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert problem(TASK) is problem(TASK)


@pytest.mark.parametrize(("field", "value", "most"), [("rank", 10, 9), ("batch", 61, 60)])
def test_what_is_larger_than_the_data_is_refused(field: str, value: int, most: int) -> None:
    with pytest.raises(SpecError, match=rf"RidgeRegression\.{field} must be at most {most}, got {value}"):
        RidgeRegression(**{"examples": 60, "dimension": 9, "rank": 7, field: value})
