import pytest
import torch

from adaptive_lr.schedules.elementwise import power, ratio, reached, whole_periods


@pytest.mark.parametrize("period", [1 / 3, 0.1, 0.7, 1e-3, 1.0, 3.0])
def test_whole_periods_are_counted_as_whole_numbers(period: float) -> None:
    ends = torch.tensor([[j * period for j in range(200) if j * period <= 1.0]], dtype=torch.float64)
    count = list(range(ends.shape[1]))
    assert whole_periods(ends, period).tolist() == [count]
    before = (ends - 1e-9)[:, 1:]
    assert whole_periods(before, period).tolist() == [count[:-1]]


def test_boundary_is_reached_to_rounding_and_no_earlier() -> None:
    u = torch.tensor([[0.3 - 1e-9, 0.3 - 1e-15, 0.3, 0.4]], dtype=torch.float64)
    assert reached(u, 0.1 + 0.2).tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("exponent", [0.25, 1.0, 3.0, 64.0])
def test_power_is_that_of_torch_to_the_bit(exponent: float) -> None:
    base = torch.linspace(0.0, 1.0, 1001, dtype=torch.float64).reshape(1, -1)
    column = torch.tensor([[exponent]], dtype=torch.float64)
    assert torch.equal(power(base, column), base**column)


def test_power_has_a_finite_slope_where_the_base_is_zero() -> None:
    base = torch.tensor([[0.0, 0.25]], dtype=torch.float64, requires_grad=True)
    exponent = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    power(base, exponent).sum().backward()
    assert base.grad is not None
    assert exponent.grad is not None
    assert base.grad.tolist() == [[0.0, 1.0]]
    assert exponent.grad.isfinite().all()


def test_ratio_lies_between_zero_and_one_for_any_denominator() -> None:
    numerator = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 2.0]], dtype=torch.float64)
    assert ratio(numerator, 1.0).tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]
    assert ratio(numerator, 0.0).tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]
