"""A decoder-only transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_DEVIATION = 0.02
"""Of the initial weights; those that write to the residual stream are smaller by the root of their number."""


class Transformer(nn.Module):
    """Outputs ``[n, length, symbols]`` for symbol numbers ``[n, length]``; position t sees those up to t.

    Args:
        symbols: how many there are.
        context: the longest input.
        layers: blocks of attention and of a perceptron four times as wide.
        width: of the residual stream.
        heads: of the attention.
    """

    def __init__(self, symbols: int, context: int, *, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                narrow = name.endswith(("project.weight", "down.weight"))
                nn.init.normal_(parameter, std=_DEVIATION / (2 * layers) ** 0.5 if narrow else _DEVIATION)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, symbols: Tensor) -> Tensor:
        """See the class."""
        stream = self.embedding(symbols) + self.positions[: symbols.shape[1]]
        for block in self.blocks:
            stream = block(stream)
        return functional.linear(self.norm(stream), self.embedding.weight)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, stream: Tensor) -> Tensor:
        count, length, width = stream.shape
        parts = self.attend(self.before_attention(stream)).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.project(mixed.transpose(1, 2).reshape(count, length, width))
        perceptron: Tensor = self.down(functional.gelu(self.up(self.before_perceptron(stream))))
        return stream + perceptron
