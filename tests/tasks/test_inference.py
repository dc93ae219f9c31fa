import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from adaptive_lr.tasks import BayesianLogistic, BayesianNetwork, VariationalAutoencoder
from adaptive_lr.tasks.inference import DRAWS, AbstractInference
from adaptive_lr.tasks.mean_field import MeanField

TASKS: list[AbstractInference] = [
    BayesianLogistic(),
    BayesianNetwork(hidden=5),
    VariationalAutoencoder(hidden=6, latents=3),
]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)


def layer() -> MeanField:
    torch.manual_seed(0)
    made = MeanField(4, 3).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return made


def test_sums_are_distributed_as_if_every_weight_were_drawn() -> None:
    made, x = layer(), torch.tensor([0.7, -1.1, 0.4, 2.0]).double()
    source = torch.Generator().manual_seed(1)
    count = 200_000
    weights = made.mean + made.scale * made.log_deviation.exp() * torch.randn(count, 3, 4, generator=source).double()
    biases = made.bias_mean + made.bias_log_deviation.exp() * torch.randn(count, 3, generator=source).double()
    drawn = weights @ x + biases
    sums = made(x.expand(count, 4), torch.randn(count, 3, generator=source).double())
    torch.testing.assert_close(sums.mean(0), drawn.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(sums.std(0), drawn.std(0), rtol=0.02, atol=0)


def test_divergence_is_that_of_the_distributions() -> None:
    made = layer()
    weights = kl_divergence(Normal(made.mean, made.scale * made.log_deviation.exp()), Normal(0.0, made.scale)).sum()
    biases = kl_divergence(Normal(made.bias_mean, made.bias_log_deviation.exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(made.divergence(), weights + biases)


def outputs(task: AbstractInference) -> tuple[nn.Module, tuple[Tensor, Tensor], Tensor, Tensor]:
    inputs, targets = next(iter(task.minibatches(2, 1, torch.float64)))
    assert isinstance(inputs, tuple)
    module = task.built().double()
    module.load_state_dict(task.initial(2))
    return module, (inputs[0], inputs[1]), module(*inputs), targets


def test_the_loss_of_logistic_regression_is_minus_the_bound() -> None:
    task = BayesianLogistic()
    module, (x, noise), made, targets = outputs(task)
    first = next(part for part in module.modules() if isinstance(part, MeanField))
    logits = first(x, noise[:, 0])[:, 0]
    surprise = -Bernoulli(logits=logits).log_prob(targets.double()).mean()
    torch.testing.assert_close(task.loss(made, targets), surprise + first.divergence() / 341)


def test_the_loss_of_a_network_is_minus_the_bound() -> None:
    task = BayesianNetwork(hidden=5)
    module, (x, noise), made, targets = outputs(task)
    first, second = (part for part in module.modules() if isinstance(part, MeanField))
    mean = second(first(x, noise[:, 0, :5]).tanh(), noise[:, 0, 5:])[:, 0]
    surprise = -Normal(mean, 1.0).log_prob(targets).mean()  # the log deviation begins at 0
    torch.testing.assert_close(task.loss(made, targets), surprise + (first.divergence() + second.divergence()) / 265)


def test_knowing_nothing_about_standardised_targets_costs_what_it_says() -> None:
    targets = BayesianNetwork().examples("train", torch.float64).targets
    nothing = torch.zeros(len(targets), 1, 2, dtype=torch.float64)
    assert BayesianNetwork().surprise(nothing, targets).mean().item() == pytest.approx(1.42, abs=0.005)


def test_the_loss_of_an_autoencoder_is_minus_the_bound() -> None:
    task = VariationalAutoencoder(hidden=6, latents=3)
    module, (x, noise), made, targets = outputs(task)
    assert torch.equal(x, targets)
    mean, log_deviation = module.get_submodule("encoder")(x).chunk(2, -1)
    logits = module.get_submodule("decoder")(mean + log_deviation.exp() * noise[:, 0])
    surprise = -(x * nn.functional.logsigmoid(logits) + (1.0 - x) * nn.functional.logsigmoid(-logits)).sum(1)
    divergence = kl_divergence(Normal(mean, log_deviation.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(task.loss(made, targets), (surprise + divergence).mean())
    assert 0.0 <= float(x.min()) < float(x.max()) <= 1.0


@every_task
def test_noise_is_drawn_anew_for_every_minibatch_and_fixed_in_evaluation(task: AbstractInference) -> None:
    (first, _), (second, _) = task.minibatches(4, 2, torch.float64)
    assert not torch.equal(first[1], second[1])
    assert first[1].shape == (task.batch, 1, task.draws)
    fixed = task.fixed_noise("test", 50, torch.float64)[0]
    assert fixed.shape == (50, DRAWS, task.draws)
    assert torch.equal(fixed, task.fixed_noise("test", 50, torch.float64)[0])
    assert fixed.std().item() == pytest.approx(1.0, abs=0.1)


@every_task
def test_the_mean_prediction_is_never_worse_than_the_mean_of_the_predictions(task: AbstractInference) -> None:
    state = {name: value[None] for name, value in task.initial(1).items()}
    metrics = task.evaluate(state, final=True)
    for split in ("train", "validation", "test"):
        assert (
            metrics[f"{split}_predictive"] <= metrics[f"{split}_loss"]
        )  # by Jensen's inequality; the loss has the divergence too


def test_predictive_is_minus_the_logarithm_of_the_mean_probability() -> None:
    logits = torch.tensor([[[0.3], [1.2], [-0.4]]], dtype=torch.float64)  # one datum, three draws
    made = torch.cat([logits, torch.full_like(logits, 0.5)], -1)[None]
    scores = BayesianLogistic().scores(made, torch.tensor([1]))
    probability = logits.sigmoid().mean().item()
    assert scores["predictive"].item() == pytest.approx(-math.log(probability), rel=1e-12)
    assert scores["loss"].item() == pytest.approx(-logits.sigmoid().log().mean().item() + 0.5, rel=1e-12)
