"""Laws of loss curves as plain loops."""

from collections.abc import Sequence


def multi_power(
    rates: Sequence[float],
    step: int,
    *,
    L0: float,
    A: float,
    alpha: float,
    B: float,
    C: float,
    beta: float,
    gamma: float,
) -> float:
    drop = 0.0
    for k in range(1, step + 1):
        if rates[k - 1] == rates[k]:
            continue
        progress = sum(rates[k : step + 1])
        drop += (rates[k - 1] - rates[k]) * (1.0 - (1.0 + C * rates[k] ** -gamma * progress) ** -beta)
    loss: float = L0 + A * sum(rates[: step + 1]) ** -alpha - B * drop
    return loss


def annealing(
    rates: Sequence[float], step: int, *, L0: float, A: float, alpha: float, C: float, forgetting: float
) -> float:
    area = 0.0
    for i in range(1, step + 1):
        for k in range(1, i + 1):
            area += (rates[k - 1] - rates[k]) * (1.0 - forgetting) ** (i - k)
    loss: float = L0 + A * sum(rates[: step + 1]) ** -alpha - C * area
    return loss
