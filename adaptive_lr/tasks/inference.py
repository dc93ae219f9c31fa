"""Variational inference: mean-field Bayesian models and a variational autoencoder; the loss is -ELBO per datum, in nats."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptive_lr.spec import choice, number, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.base import generator
from adaptive_lr.tasks.mean_field import Autoencoder, BayesianPerceptron
from adaptive_lr.tasks.modular import AbstractModular, Examples

DRAWS = 16
"""Draws from the posterior for every datum that is evaluated, the same ones for all trials."""


@spec
class AbstractInference(AbstractModular):
    """-ELBO per datum: E_q[-log p(y | x, w)] + KL(q || p) / n, with one draw for every example of a minibatch.

    Outputs are ``[n, draws, parts]``, in the last column the datum's share of the KL divergence. The noise is reparameterised and
    comes from the seed's own generator. In evaluation there are ``DRAWS`` draws a datum; ``loss`` is then -ELBO per datum, of the
    same n, and ``predictive`` is -log of the mean of p(y | x, w) over them.
    """

    batch: int = number("[1, inf)", default=32, integer=True)
    metric: str = choice(("loss", "predictive"), default="loss")

    @property
    def batch_size(self) -> int:
        """See the base class."""
        return self.batch

    @property
    @abstractmethod
    def draws(self) -> int:
        """Standard normal numbers that a draw takes."""

    @abstractmethod
    def surprise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """-log p(y | x, w), ``[…, n, draws]``, from outputs ``[…, n, draws, parts]`` without the last column."""

    def noise(self, count: int, source: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Standard normal numbers, ``[count, 1, draws]``."""
        return (torch.randn(count, 1, self.draws, generator=source, dtype=torch.float64).to(dtype),)

    def fixed_noise(self, split: str, count: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The same for ``DRAWS`` draws."""
        return (_fixed_noise(split, count, self.draws, dtype),)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return self.surprise(outputs[..., :-1], targets).mean() + outputs[..., -1].mean()

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """See the class."""
        surprise = self.surprise(outputs[..., :-1], targets)
        predictive = math.log(surprise.shape[-1]) - (-surprise).logsumexp(-1)
        return {"loss": surprise.mean(-1) + outputs[..., -1].mean(-1), "predictive": predictive}


@spec
class BayesianLogistic(AbstractInference):
    """Logistic regression with a mean-field normal posterior over weights and bias; the prior is a standard normal one."""

    kind = "bayesian_logistic"
    dataset: str = choice(("breast_cancer", "spam"), default="breast_cancer")

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, Bayesian logistic regression"

    @property
    def draws(self) -> int:
        """One, of the logit."""
        return 1

    def module(self) -> nn.Module:
        """A mean-field layer."""
        train = data.load(self.dataset).train
        return BayesianPerceptron((train.inputs.shape[1], 1), len(train.targets), learns_noise=False)

    def surprise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of a class 0 or 1, given the logit."""
        return functional.softplus(-(2.0 * targets - 1.0).unsqueeze(-1) * outputs[..., 0])

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class."""
        part = getattr(data.load(self.dataset), split)
        return Examples(part.inputs.to(dtype), part.targets)


@spec
class BayesianNetwork(AbstractInference):
    """A tanh network with one hidden layer and mean-field normal posteriors, for regression with noise of unknown variance.

    Weights have standard normal priors divided by the root of the fan-in; the deviation of the noise is a parameter. Targets are
    standardised, so that a loss of 1.42 nats is what knowing nothing costs.
    """

    kind = "bayesian_network"
    dataset: str = choice(("diabetes", "concrete"), default="diabetes")
    hidden: int = number("[1, inf)", default=32, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, Bayesian network"

    @property
    def draws(self) -> int:
        """One for every unit."""
        return self.hidden + 1

    def module(self) -> nn.Module:
        """Two mean-field layers."""
        train = data.load(self.dataset).train
        return BayesianPerceptron((train.inputs.shape[1], self.hidden, 1), len(train.targets), learns_noise=True)

    def surprise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of a real number, given mean and log deviation."""
        mean, log_deviation = outputs.unbind(-1)
        scaled = (targets.unsqueeze(-1) - mean) * (-log_deviation).exp()
        return 0.5 * scaled.square() + log_deviation + 0.5 * math.log(2.0 * math.pi)

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """See the base class."""
        dataset = data.load(self.dataset)
        part, known = getattr(dataset, split), dataset.train.targets
        return Examples(part.inputs.to(dtype), ((part.targets - known.mean()) / known.std()).to(dtype))


@spec
class VariationalAutoencoder(AbstractInference):
    """A perceptron to ``latents`` normal variables and one back, ReLU, with a Bernoulli likelihood of every pixel's intensity.

    Kingma & Welling 2014, arXiv:1312.6114. ``predictive`` is not the likelihood of a datum: its draws are from q(z | x).
    """

    kind = "variational_autoencoder"
    dataset: str = choice(("digits", "fashion_mnist"), default="digits")
    hidden: int = number("[1, inf)", default=128, integer=True)
    latents: int = number("[1, inf)", default=8, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{data.find(self.dataset).title}, variational autoencoder"

    @property
    def draws(self) -> int:
        """One for every latent variable."""
        return self.latents

    def module(self) -> nn.Module:
        """Encoder and decoder."""
        return Autoencoder(intensities(self.dataset, "train").shape[1], self.hidden, self.latents)

    def surprise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of all pixels, given their logits."""
        pixels = targets.unsqueeze(-2)
        return (functional.softplus(outputs) - pixels * outputs).sum(-1)

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """Images are the inputs and the targets."""
        images = intensities(self.dataset, split).to(dtype)
        return Examples(images, images)


@lru_cache(maxsize=16)
def _fixed_noise(split: str, count: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(count, DRAWS, width, generator=generator(0, split), dtype=torch.float64).to(dtype)


@lru_cache
def intensities(name: str, split: str) -> Tensor:
    """Pixels between 0 and 1, ``[n, pixels]``, float64; of larger images the means of 2x2 pixels."""
    if name == "digits":
        digits: Tensor = getattr(data.load(name, standardised=False), split).inputs
        return digits
    part: Tensor = getattr(data.load(name), split).inputs.to(torch.float64) / 255.0
    return functional.avg_pool2d(part, 2).flatten(1)
