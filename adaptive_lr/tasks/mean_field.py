"""Modules whose outputs depend on noise that is given to them, and that say how far their posterior is from the prior."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_START = -3.0
"""Initial log deviation of every weight, beside the prior's."""


class MeanField(nn.Module):
    """A linear layer whose weights are independent normal variables; the sums, not the weights, are drawn.

    Given x, the output is normal with mean x.mu + b and variance x^2.sigma^2 + sigma_b^2 (the local reparameterisation of Kingma et
    al. 2015, arXiv:1506.02557): every example has a draw of its own. The prior is normal with deviation 1/sqrt(fan-in), of biases 1.
    """

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.scale = fan_in**-0.5
        self.mean = nn.Parameter(self.scale * torch.randn(fan_out, fan_in))
        self.bias_mean = nn.Parameter(torch.zeros(fan_out))
        self.log_deviation = nn.Parameter(torch.full((fan_out, fan_in), _START))
        self.bias_log_deviation = nn.Parameter(torch.full((fan_out,), _START))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Outputs ``[…, fan_out]`` for inputs ``[…, fan_in]`` and standard normal numbers ``[…, fan_out]``."""
        mean = functional.linear(x, self.mean, self.bias_mean)
        spread = self.scale * self.log_deviation.exp()
        variance = functional.linear(x.square(), spread.square(), (2.0 * self.bias_log_deviation).exp())
        return mean + variance.sqrt() * noise

    def divergence(self) -> Tensor:
        """KL(q || p), a scalar."""
        weights = _divergence(self.mean / self.scale, self.log_deviation)
        return weights + _divergence(self.bias_mean, self.bias_log_deviation)


class BayesianPerceptron(nn.Module):
    """Mean-field layers with tanh between them; outputs ``[n, draws, outputs + 1]`` for ``[n, d]`` and noise ``[n, draws, units]``.

    Args:
        sizes: widths from the inputs to the outputs; units are all but the inputs.
        examples: by how many the divergence is divided, which stands in the last column.
        learns_noise: whether the log deviation of the data's noise is a parameter, which stands in the column before.
    """

    def __init__(self, sizes: tuple[int, ...], examples: int, *, learns_noise: bool) -> None:
        super().__init__()
        self.sizes, self.examples = sizes, examples
        self.layers = nn.ModuleList(MeanField(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes))
        self.log_noise = nn.Parameter(torch.zeros(1)) if learns_noise else None

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """See the class."""
        values = x.unsqueeze(-2).expand(*noise.shape[:-1], x.shape[-1])
        divergences = []
        for index, (layer, part) in enumerate(zip(self.layers, noise.split(self.sizes[1:], -1), strict=True)):
            assert isinstance(layer, MeanField)
            values = layer(values.tanh() if index else values, part)
            divergences.append(layer.divergence())
        columns = [values]
        if self.log_noise is not None:
            columns.append(self.log_noise.expand(*noise.shape[:-1], 1))
        share = torch.stack(divergences).sum() / self.examples
        return torch.cat([*columns, share.expand(*noise.shape[:-1], 1)], -1)


class Autoencoder(nn.Module):
    """Logits of the pixels, and KL(q(z | x) || p(z)) in the last column: ``[n, draws, pixels + 1]``, noise ``[n, draws, latents]``."""

    def __init__(self, pixels: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latents))
        self.decoder = nn.Sequential(nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """See the class."""
        mean, log_deviation = self.encoder(images).unsqueeze(-2).chunk(2, -1)
        logits = self.decoder(mean + log_deviation.exp() * noise)
        divergence = 0.5 * ((2.0 * log_deviation).exp() + mean.square() - 1.0) - log_deviation
        share = divergence.sum(-1, keepdim=True).expand(*noise.shape[:-1], 1)
        return torch.cat([logits, share], -1)


def _divergence(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """KL of a normal from the standard one, summed."""
    return (0.5 * ((2.0 * log_deviation).exp() + mean.square() - 1.0) - log_deviation).sum()
