"""Classification of real data: softmax regression with a known optimum, and a multilayer perceptron."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import choice, number, numbers, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.base import (
    AbstractTask,
    GradientFunction,
    LossFunction,
    Minibatch,
    Objective,
    Parameters,
    generator,
)
from adaptive_lr.tasks.data import Split
from adaptive_lr.tasks.losses import CrossEntropy
from adaptive_lr.tasks.network import (
    StackedNetwork,
    fully_connected,
    linear_objective,
    network_objective,
    uniform_parameters,
)

FEATURES = ("digits", "breast_cancer", "mnist1d", "fashion_mnist", "spam", "letter", "satellite", "shuttle")
"""What can be classified; all but the first three are fetched when they are first used."""

_TITLES = {"digits": "digits", "breast_cancer": "breast cancer", "mnist1d": "MNIST-1D"}


@lru_cache
def features(name: str) -> data.Dataset:
    """A set with inputs ``[n, d]``: features standardised one by one, float64; of images all pixels alike, float32."""
    dataset = data.load(name)
    if dataset.train.inputs.dtype != torch.uint8:
        return dataset
    train = dataset.train.inputs.to(torch.float32)
    mean, deviation = train.mean(), train.std()

    def standardised(part: Split) -> Split:
        return Split(part.inputs.to(torch.float32).sub_(mean).div_(deviation).flatten(1), part.targets)

    return data.Dataset(standardised(dataset.train), standardised(dataset.validation), standardised(dataset.test))


def title(name: str) -> str:
    """What a set is called in figures."""
    return _TITLES.get(name) or data.find(name).title


@spec
class AbstractConnected(AbstractTask):
    """A fully connected network with cross-entropy on vectors of features; epochs in a fresh random order."""

    batch: int = number("[1, inf)", default=50, integer=True)

    @abstractmethod
    def splits(self) -> data.Dataset:
        """The examples: inputs ``[n, d]`` and class numbers ``[n]``."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the inputs to the classes."""
        dataset = self.splits()
        return (dataset.train.inputs.shape[1], *self.hidden_sizes, dataset.classes)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return ()

    @property
    def activation_name(self) -> str:
        """A key of ``ACTIVATIONS``."""
        return "relu"

    def module(self) -> nn.Module:
        """Linear layers with biases."""
        return fully_connected(self.sizes, self.activation_name, bias=True)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets)

    def _network(self) -> StackedNetwork:
        return StackedNetwork(self.sizes, self.activation_name, loss=CrossEntropy(), bias=True, penalty=self.penalty)

    def gradient_function(self) -> GradientFunction:
        """The hand-written backward pass of `StackedNetwork`."""
        return self._network().losses_and_gradients

    def shared_objective(self) -> Objective:
        """One matrix product a layer, for all trials where there is one layer."""
        if self.hidden_sizes:
            return network_objective(self.activation_name, CrossEntropy(), penalty=self.penalty)
        return linear_objective(CrossEntropy(), bias=True, penalty=self.penalty)

    def loss_function(self) -> LossFunction:
        """The forward pass of `StackedNetwork`."""
        return self._network().losses

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Epochs without replacement; the incomplete minibatch at the end of an epoch is left out."""
        train, orders = self.splits().train, self._orders(seed)
        inputs = train.inputs.to(dtype)
        return ((inputs[rows], train.targets[rows]) for rows in itertools.islice(orders, steps))

    def blocks(
        self, seed: int, steps: int, dtype: torch.dtype, ends: Sequence[int], begin: int = 0
    ) -> Iterator[Minibatch]:
        """See the base class; with one look at the data for all of a block.

        Yields:
            Inputs ``[k, n, d]`` and targets ``[k, n]``.
        """
        train, rows = self.splits().train, itertools.islice(self._orders(seed), begin, None)
        inputs = train.inputs.to(dtype)
        for first, end in itertools.pairwise((begin, *ends)):
            index = torch.stack(list(itertools.islice(rows, end - first)))
            yield inputs[index], train.targets[index]

    def _orders(self, seed: int) -> Iterator[Tensor]:
        """Which examples are in the minibatches, ``[n]`` each, without end.

        Raises:
            SpecError: a minibatch is larger than the data set.
        """
        count, shuffle = len(self.splits().train.targets), generator(seed, "order")
        per_epoch = count // self.batch
        if per_epoch == 0:
            raise SpecError(f"{type(self).__name__}.batch must be at most {count}, got {self.batch}")
        epochs = (torch.randperm(count, generator=shuffle)[: per_epoch * self.batch] for _ in itertools.count())
        return itertools.chain.from_iterable(order.view(per_epoch, self.batch) for order in epochs)

    def metrics_on(self, split: str, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{split}_loss`` (without the penalty) and ``{split}_error``, each ``[B]``, float64."""
        part: Split = getattr(self.splits(), split)
        values = list(parameters.values())
        inputs, network, count = part.inputs.to(values[0].dtype), self._network(), len(part.targets)
        loss = torch.zeros(values[0].shape[0], dtype=torch.float64)
        error = torch.zeros_like(loss)
        for rows in torch.arange(count).split(256):
            outputs, targets = network.outputs(values, inputs[rows].unsqueeze(0))[0], part.targets[rows]
            index = targets.expand(len(loss), len(rows)).unsqueeze(-1)
            loss -= outputs.log_softmax(-1).gather(2, index).sum((1, 2))
            error += (outputs.argmax(-1) != targets).sum(1)
        # argmax of NaN is a class like any other: an error rate only counts where the loss is finite.
        error = torch.where(loss.isfinite(), error, torch.nan)
        return {f"{split}_loss": loss / count, f"{split}_error": error / count}


@spec
class AbstractClassification(AbstractConnected):
    """Such a network on one of the data sets."""

    dataset: str = choice(FEATURES, default="digits")

    def splits(self) -> data.Dataset:
        """See the base class."""
        return features(self.dataset)


@spec
class SoftmaxRegression(AbstractClassification):
    """A linear classifier with penalty lambda/2 ||parameters||^2, lambda = 1/n: strictly convex, f* known to 1e-12.

    The metric is the excess of the full training objective over f*. Training starts at zero.
    """

    kind = "softmax_regression"
    selection_metric = "excess"
    report_metric = "excess"
    batch: int = number("[1, inf)", default=10, integer=True)

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{title(self.dataset)}, softmax regression"

    @property
    def penalty(self) -> float:
        """1/n for n training examples."""
        return 1.0 / len(features(self.dataset).train.targets)

    @property
    def optimum(self) -> float | None:
        """The least excess."""
        return 0.0

    def initial(self, seed: int) -> Parameters:
        """Zero, for every seed."""
        inputs, classes = self.sizes
        weight = torch.zeros(classes, inputs, dtype=torch.float64)
        return {"0.weight": weight, "0.bias": torch.zeros(classes, dtype=torch.float64)}

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """The excess, and at the end the errors on the other splits."""
        exact = {name: value.detach().to(torch.float64) for name, value in parameters.items()}
        squares = torch.stack([parameter.flatten(1).square().sum(1) for parameter in exact.values()]).sum(0)
        objective = self.metrics_on("train", exact)["train_loss"] + 0.5 * self.penalty * squares
        metrics = {"excess": objective - _least_objective(self)}
        if final:
            metrics |= self.metrics_on("validation", exact) | self.metrics_on("test", exact)
        return metrics

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """The excess."""
        exact = [value.to(torch.float64) for value in state.values()]
        train = self.splits().train
        losses: Tensor = self.shared_objective()(exact, [], train.inputs.to(torch.float64), train.targets)[0]
        return losses - _least_objective(self)


@lru_cache
def _least_objective(task: SoftmaxRegression) -> float:
    """f* by L-BFGS in float64, from below."""
    from scipy.optimize import minimize  # a third of a second to import

    train, network = features(task.dataset).train, task._network()
    inputs, targets = train.inputs.unsqueeze(0), train.targets.unsqueeze(0)
    start = task.initial(0)
    shapes = [value.shape for value in start.values()]

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        sections = torch.from_numpy(flat).split([shape.numel() for shape in shapes])
        stacked = [section.reshape(1, *shape) for section, shape in zip(sections, shapes, strict=True)]
        gradients = [torch.empty_like(parameter) for parameter in stacked]
        losses = network.losses_and_gradients(stacked, inputs, targets, gradients)
        return losses.item(), torch.cat([gradient.flatten() for gradient in gradients]).numpy()

    minimum = minimize(
        value_and_gradient,
        np.zeros(sum(shape.numel() for shape in shapes)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 50},
    )
    # f(x) - f* <= |gradient|^2 / (2 lambda) bounds what is missing; it is subtracted, so that no excess is negative.
    return float(minimum.fun) - float(np.square(minimum.jac).sum()) / (2.0 * task.penalty)


@spec
class AbstractPerceptron(AbstractConnected):
    """A multilayer perceptron with PyTorch's usual initialisation; selected on validation, reported on test data."""

    hidden: tuple[int, ...] = numbers("[1, inf)", default=(48, 48), integer=True)
    activation: str = choice(("relu", "tanh"), default="relu")
    metric: str = choice(("loss", "error"), default="loss")

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """See the base class."""
        return self.hidden

    @property
    def activation_name(self) -> str:
        """See the base class."""
        return self.activation

    @property
    def selection_metric(self) -> str:
        """The loss or the error rate on the validation data."""
        return f"validation_{self.metric}"

    @property
    def report_metric(self) -> str:
        """The loss or the error rate on the test data."""
        return f"test_{self.metric}"

    def initial(self, seed: int) -> Parameters:
        """Weights and biases uniform in ±1/sqrt(fan-in), from a generator of their own."""
        return uniform_parameters(self.sizes, generator(seed, "initial"))

    def evaluate(self, parameters: Mapping[str, Tensor], *, final: bool) -> dict[str, Tensor]:
        """Loss and error; of all splits at the end, of the validation data before."""
        splits = ("train", "validation", "test") if final else ("validation",)
        metrics: dict[str, Tensor] = {}
        for split in splits:
            metrics |= self.metrics_on(split, parameters)
        return metrics

    def final_loss(self, state: Mapping[str, Tensor]) -> Tensor:
        """The loss on the validation data; an error rate has no derivative."""
        if self.metric != "loss":
            return super().final_loss({name: value.detach() for name, value in state.items()})
        parameters, held_out = list(state.values()), self.splits().validation
        inputs = held_out.inputs.to(parameters[0].dtype)
        return self.shared_objective()(parameters, [], inputs, held_out.targets)[0].to(torch.float64)


@spec
class Perceptron(AbstractPerceptron, AbstractClassification):
    """A multilayer perceptron on one of the data sets."""

    kind = "perceptron"

    @property
    def label(self) -> str:
        """See the base class."""
        return f"{title(self.dataset)}, perceptron"
