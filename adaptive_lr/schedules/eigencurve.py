"""The schedule that a quadratic's spectrum asks for."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps
from adaptive_lr.schedules.elementwise import column
from adaptive_lr.spec import Range, Scalar, number, numbers, spec


@spec
class Eigencurve(AbstractSchedule):
    """m(u) = 1 / (1 + T/kappa (beta^i (u - u_i) + sum_{j<i} beta^j (u_{j+1} - u_j))) for u_i <= u < u_{i+1}.

    Pan, Ye & Zhang 2022, arXiv:2110.14109, Algorithm 1: with mu the least eigenvalue and kappa the greatest over mu, s_i is the density
    of the eigenvalues in [mu beta^i, mu beta^(i+1)), and stage i takes the part sqrt(s_i) / sum_j sqrt(s_j) of the run. Relative to
    the first rate; lengths of stages are not rounded to whole updates. ``densities`` belong to ``eigenvalues`` one to one, and are
    equal if none are given. One eigenvalue gives 1/(1 + t).

    >>> [round(Eigencurve(eigenvalues=(1, 2, 4)).at(step, 3), 12) for step in range(4)]
    [1.0, 0.8, 0.571428571429, 0.363636363636]
    """

    kind = "eigencurve"
    eigenvalues: tuple[Scalar, ...] = numbers("[1e-100, 1e100]")
    densities: tuple[Scalar, ...] = numbers("[1e-100, 1e100]", default=())
    beta: Scalar = number("(1, 64]", default=2.0, search=Range(1.1, 8.0, log=True))
    total_steps: int | None = number("[1, 1e15]", default=None, integer=True, optional=True)

    def check(self) -> None:
        """At least one eigenvalue, and a density for each or for none.

        Raises:
            SpecError: there are none, or another number of densities.
        """
        if not self.eigenvalues:
            raise SpecError("Eigencurve.eigenvalues must not be empty")
        if self.densities and len(self.densities) != len(self.eigenvalues):
            raise SpecError(
                f"Eigencurve needs as many densities as eigenvalues or none, got {len(self.densities)} and "
                f"{len(self.eigenvalues)}"
            )

    def resolve(self, total_steps: int) -> Eigencurve:
        """With the number of updates, on which the curve depends."""
        checked_steps(total_steps)
        return self if self.total_steps is not None else replace(self, total_steps=total_steps)

    def multiplier(self, u: Tensor) -> Tensor:
        """See the class.

        Raises:
            SpecError: the number of updates is not known.
        """
        if self.total_steps is None:
            raise SpecError("Eigencurve counts updates: use at(step, total_steps) or resolve(total_steps)")
        ratios, stages, lengths = self._stages()
        slopes = column(self.beta) ** stages
        ends = lengths.cumsum(dim=1)
        passed = torch.zeros_like(u)
        for index in range(ratios.shape[1]):
            length, slope = lengths[:, index : index + 1], slopes[:, index : index + 1]
            start = ends[:, index : index + 1] - length
            passed = passed + slope * torch.minimum((u - start).clamp(min=0.0), length)
        return 1.0 / (1.0 + column(self.total_steps) / ratios[:, -1:] * passed)

    def _stages(self) -> tuple[Tensor, Tensor, Tensor]:
        """For every eigenvalue, ascending, ``[B, n]``: its ratio to the least, its stage, and that stage's part of the run.

        The part stands at the first eigenvalue of a stage; at the others it is 0.
        """
        eigenvalues = torch.cat(torch.broadcast_tensors(*map(column, self.eigenvalues)), dim=1)
        densities = torch.ones_like(eigenvalues)
        if self.densities:
            densities = torch.cat(torch.broadcast_tensors(*map(column, self.densities)), dim=1).expand_as(eigenvalues)
        eigenvalues, order = eigenvalues.sort(dim=1)
        # Only shares count, and a sum of shares cannot overflow.
        densities = densities.gather(1, order) / densities.max(dim=1, keepdim=True).values
        ratios, beta = eigenvalues / eigenvalues[:, :1], column(self.beta)
        # The logarithm is a guess, and comparisons decide on which side of a boundary an eigenvalue lies.
        stages = (ratios.detach().log() / beta.detach().log()).floor()
        near = ratios.detach() * (1.0 + 1e-12)
        stages = stages + (beta ** (stages + 1.0) <= near).double() - (beta**stages > near).double()
        same = (stages.unsqueeze(2) == stages.unsqueeze(1)).double()
        first = torch.cat([torch.ones_like(stages[:, :1]), (stages.diff(dim=1) > 0).double()], dim=1)
        roots = first * (same @ densities.unsqueeze(2)).squeeze(2).sqrt()
        return ratios, stages, roots / roots.sum(dim=1, keepdim=True)
