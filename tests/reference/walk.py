"""What the literal loops of the controllers walk on."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass
class Walk:
    """SGD with momentum on noisy least squares, its data fixed: where it stands, and what it could look at."""

    inputs: Vector
    targets: Vector
    base_lr: float
    momentum: float
    schedule: Callable[[float], float]
    probe: Vector
    theta: Vector = field(init=False)
    velocity: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.theta, self.velocity = np.zeros(self.inputs.shape[2]), np.zeros(self.inputs.shape[2])

    @property
    def steps(self) -> int:
        return len(self.inputs)

    def m(self, t: int) -> float:
        return self.schedule(t / self.steps)

    def loss(self, t: int, theta: Vector) -> float:
        return float(np.mean((self.inputs[t] @ theta - self.targets[t]) ** 2) / 2)

    def gradient(self, t: int, theta: Vector, examples: slice = slice(None)) -> Vector:
        x, y = self.inputs[t][examples], self.targets[t][examples]
        found: Vector = x.T @ (x @ theta - y) / len(y)
        return found

    def curvature(self, t: int) -> Vector:
        found: Vector = self.inputs[t].T @ (self.inputs[t] @ self.probe) / len(self.inputs[t])
        return found

    def look(self, t: int) -> tuple[float, Vector, Vector]:
        """f, g and D; the velocity is updated."""
        g = self.gradient(t, self.theta)
        self.velocity = self.momentum * self.velocity + g
        return self.loss(t, self.theta), g, self.base_lr * self.velocity


def dot(a: Vector, b: Vector) -> float:
    return float(a @ b)


def cos(a: Vector, b: Vector) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))
