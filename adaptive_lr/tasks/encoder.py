"""An encoder of texts, as BERT is one, whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

PADDING = 0
"""The number of the piece that fills a text up to the length of the others."""

_EPSILON = 1e-12


class Encoder(nn.Module):
    """Embeddings ``[n, width]`` of texts, numbers of pieces ``[n, length]``: attention and perceptrons, each with a norm behind it, then the mean.

    Devlin et al. 2019, arXiv:1810.04805, without dropout; the mean is over what is no padding (Reimers & Gurevych 2019,
    arXiv:1908.10084).

    Args:
        pieces: how many there are.
        positions: the longest input.
        layers: how many.
        width: of the embedding.
        heads: of the attention.
    """

    def __init__(self, pieces: int, positions: int, *, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.pieces = nn.Embedding(pieces, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.kind = nn.Parameter(torch.empty(width))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        for parameter in (self.pieces.weight, self.positions, self.kind):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, numbers: Tensor) -> Tensor:
        """See the class."""
        present = numbers != PADDING
        stream = self.norm(self.pieces(numbers) + self.positions[: numbers.shape[1]] + self.kind)
        for layer in self.layers:
            stream = layer(stream, present)
        weights = present.unsqueeze(2).to(stream.dtype)
        mean: Tensor = (stream * weights).sum(1) / weights.sum(1)
        return mean


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project, self.after_attention = nn.Linear(width, width), nn.LayerNorm(width, eps=_EPSILON)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.after_perceptron = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, stream: Tensor, present: Tensor) -> Tensor:
        count, length, width = stream.shape

        def heads(layer: nn.Module) -> Tensor:
            split: Tensor = layer(stream).view(count, length, self.heads, width // self.heads).transpose(1, 2)
            return split

        mixed = functional.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value), attn_mask=present[:, None, None, :]
        )
        stream = self.after_attention(stream + self.project(mixed.transpose(1, 2).reshape(count, length, width)))
        made: Tensor = self.after_perceptron(stream + self.down(functional.gelu(self.up(stream))))
        return made


_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "project": "attention.output.dense",
    "after_attention": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "after_perceptron": "output.LayerNorm",
}


def from_bert(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The state of an `Encoder` from BERT's tensors by their published names; the first ``layers``, and no pooler.

    All texts are of BERT's kind 0.
    """
    state = {
        "pieces.weight": weights["embeddings.word_embeddings.weight"],
        "positions": weights["embeddings.position_embeddings.weight"],
        "kind": weights["embeddings.token_type_embeddings.weight"][0],
    }
    for part in ("weight", "bias"):
        state[f"norm.{part}"] = weights[f"embeddings.LayerNorm.{part}"]
        for layer in range(layers):
            for name, published in _NAMES.items():
                state[f"layers.{layer}.{name}.{part}"] = weights[f"encoder.layer.{layer}.{published}.{part}"]
    return state
