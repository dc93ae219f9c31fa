"""Recurrent networks on symbols."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adaptive_lr.errors import SpecError
from adaptive_lr.tasks.modular import dropped

_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
_RANGE = 0.1
"""Of the initial embedding and output weights, as in PyTorch's example; large rates are stable with it."""


class RecurrentNetwork(nn.Module):
    """An embedding, recurrent layers and a linear layer: outputs ``[n, length, symbols]`` for symbol numbers ``[n, length]``.

    Args:
        cell: ``gru`` or ``lstm``.
        symbols: how many there are.
        width: of the embedding and of every layer.
        layers: how many.
        dropout: share of what comes into every layer, and out of the last, that is dropped in training.
    """

    def __init__(self, cell: str, symbols: int, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(symbols, width)
        self.layers = nn.ModuleList(_CELLS[cell](width, width, batch_first=True) for _ in range(layers))
        self.head = nn.Linear(width, symbols)
        for weight in (self.embedding.weight, self.head.weight):
            nn.init.uniform_(weight, -_RANGE, _RANGE)
        nn.init.zeros_(self.head.bias)
        self.carried: Tensor | None = None

    def carry(self, batch: int) -> None:
        """In training, begin every minibatch, of ``batch`` windows, in the state that the one before ended in; a buffer holds it."""
        states = len(self.layers) * (2 if isinstance(self.layers[0], nn.LSTM) else 1)
        del self.carried
        self.register_buffer("carried", torch.zeros(states, 1, batch, self.head.in_features))

    def forward(self, symbols: Tensor, uniform: Tensor | None = None) -> Tensor:
        """See the class; in training with ``uniform`` numbers ``[n, layers + 1, length, width]`` for the dropout."""
        values, carries = self.embedding(symbols), self.training and self.carried is not None
        begin = self._begin(len(symbols)) if carries else []
        ended: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            values = self._dropped(values, uniform, index)
            if isinstance(layer, nn.LSTM):
                start = (begin[2 * index], begin[2 * index + 1]) if carries else None
                values, state = layer(values, start)
                ended += state
            else:
                values, last = layer(values, begin[index] if carries else None)
                ended.append(last)
        if carries and self.carried is not None:
            self.carried.copy_(torch.stack(ended).detach())
        outputs: Tensor = self.head(self._dropped(values, uniform, len(self.layers)))
        return outputs

    def _begin(self, count: int) -> list[Tensor]:
        assert self.carried is not None
        if count != self.carried.shape[2]:
            raise SpecError(
                f"a minibatch of {count} windows cannot go on from the state of {self.carried.shape[2]}: with a state that is carried,"
                " minibatches cannot be halved, as controllers do that read the gradient noise"
            )
        return list(self.carried.clone().unbind())  # a copy, since the buffer is written to before the backward pass

    def _dropped(self, values: Tensor, uniform: Tensor | None, index: int) -> Tensor:
        return values if uniform is None else dropped(values, uniform[:, index], self.dropout)
