"""Metrics at an average of the iterates, for optimizers whose package leaves the averaging to the training loop."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import nn
from torch.optim import Optimizer


class Averager(Protocol):
    """What `dog.PolynomialDecayAverager` offers."""

    base_model: nn.Module
    averaged_model: nn.Module

    def step(self) -> None:
        """Take the present parameters into the average."""


class IterateAverage:
    """x-bar_t = (1 - w_t) x-bar_{t-1} + w_t x_t, w_t = (1 + gamma)/(t + gamma), after every step of an optimizer; the package's own averager.

    Shamir & Zhang 2013, arXiv:1212.1824. What modules remember, such as running means, is not averaged: it is that of the iterates.
    """

    def __init__(self, averager: Averager) -> None:
        self._averager = averager
        self._iterate: list[torch.Tensor] | None = None

    @classmethod
    def of(cls, optimizer: Optimizer, averager: Averager) -> None:
        """Average the parameters after every step of an optimizer from here on."""
        _AVERAGES[optimizer] = cls(averager)
        optimizer.register_step_post_hook(lambda *_: averager.step())

    @staticmethod
    def find(optimizer: Optimizer) -> IterateAverage:
        """What `of` made for the optimizer."""
        return _AVERAGES[optimizer]

    @torch.no_grad()
    def enter(self) -> None:
        """Put the average where the parameters are; again, nothing."""
        if self._iterate is None:
            self._iterate = [parameter.clone() for parameter in self._averager.base_model.parameters()]
            self._write(self._averager.averaged_model.parameters())

    @torch.no_grad()
    def leave(self) -> None:
        """Put the iterate back, to the last bit."""
        if self._iterate is not None:
            self._write(self._iterate)
            self._iterate = None

    def _write(self, values: Iterable[torch.Tensor]) -> None:
        for parameter, value in zip(self._averager.base_model.parameters(), values, strict=True):
            parameter.copy_(value)


_AVERAGES: weakref.WeakKeyDictionary[Optimizer, IterateAverage] = weakref.WeakKeyDictionary()
