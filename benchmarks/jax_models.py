"""The models and updates of this package, written for JAX: losses of one trial, from parameters by their names in the module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptive_lr.tasks import AbstractTask, ByteTransformer, ConvolutionalNetwork, Perceptron, StreamingLogistic
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Clipped

try:
    import jax
    import jax.numpy as jnp
except ImportError:  # a row then says so
    jax = jnp = None

Tree = Mapping[str, Any]
LossOf = Callable[[Tree, Any, Any], Any]

EPSILON = 1e-5
"""Of torch's layer normalisation."""


def losses(task: AbstractTask) -> dict[str, LossOf]:
    """Ways of writing the task's loss in JAX, by name; the fastest is compared.

    Raises:
        TypeError: the task is not written for JAX.
    """
    if isinstance(task, Perceptron):
        return {"": _perceptron}
    if isinstance(task, StreamingLogistic):
        return {"": _logistic}
    if isinstance(task, ConvolutionalNetwork):
        return {"lax.conv": _network_with(_convolution), "three products": _network_with(_shifted_products)}
    if isinstance(task, ByteTransformer):
        return {"": lambda parameters, x, y: _transformer(parameters, x, y, task.layers, task.heads)}
    raise TypeError(f"{type(task).__name__} is not written for JAX: add its loss here")


def _cross_entropy(outputs: Any, targets: Any) -> Any:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs, axis=-1), targets[..., None], axis=-1)
    return -chosen.mean()


def _perceptron(parameters: Tree, inputs: Any, targets: Any) -> Any:
    values = inputs
    for index in range(0, len(parameters), 2):
        values = (jax.nn.relu(values) if index else values) @ parameters[f"{index}.weight"].T
        values = values + parameters[f"{index}.bias"]
    return _cross_entropy(values, targets)


def _logistic(parameters: Tree, inputs: Any, targets: Any) -> Any:
    return jax.nn.softplus(-targets * (inputs @ parameters["0.weight"].T)).mean()


def _network_with(convolution: Callable[[Any, Any], Any]) -> LossOf:
    """The convolutional network without normalisation: images ``[n, 1, pixels]``, pooled by 2 above four pixels."""

    def loss(parameters: Tree, images: Any, targets: Any) -> Any:
        values = images
        layers = [
            name.removesuffix(".weight") for name in parameters if name.startswith("features") and "weight" in name
        ]
        for name in layers:
            values = convolution(values, parameters[f"{name}.weight"]) + parameters[f"{name}.bias"][:, None]
            values = jax.nn.relu(values)
            if (width := values.shape[-1]) > 4:
                values = values[..., : width // 2 * 2]
                values = jnp.maximum(values[..., ::2], values[..., 1::2])
        flat = values.reshape(len(values), -1)
        return _cross_entropy(flat @ parameters["head.weight"].T + parameters["head.bias"], targets)

    return loss


def _convolution(values: Any, weight: Any) -> Any:
    return jax.lax.conv_general_dilated(values, weight, (1,), ((1, 1),), dimension_numbers=("NCH", "OIH", "NCH"))


def _shifted_products(values: Any, weight: Any) -> Any:
    width = values.shape[-1]
    padded = jnp.pad(values, ((0, 0), (0, 0), (1, 1)))
    shifted = jnp.concatenate([padded[..., shift : shift + width] for shift in range(3)], axis=1)
    return jnp.einsum("ok,nkw->now", weight.transpose(0, 2, 1).reshape(len(weight), -1), shifted)


def _normalised(values: Any, parameters: Tree, name: str) -> Any:
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
    return scaled * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def _linear(values: Any, parameters: Tree, name: str) -> Any:
    return values @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]


def _transformer(parameters: Tree, symbols: Any, targets: Any, layers: int, heads: int) -> Any:
    stream = parameters["embedding.weight"][symbols] + parameters["positions"][: symbols.shape[1]]
    for block in (f"blocks.{index}" for index in range(layers)):
        attended = _attention(_normalised(stream, parameters, f"{block}.before_attention"), parameters, block, heads)
        stream = stream + _linear(attended, parameters, f"{block}.project")
        raised = _linear(_normalised(stream, parameters, f"{block}.before_perceptron"), parameters, f"{block}.up")
        stream = stream + _linear(jax.nn.gelu(raised, approximate=False), parameters, f"{block}.down")
    return _cross_entropy(_normalised(stream, parameters, "norm") @ parameters["embedding.weight"].T, targets)


def _attention(values: Any, parameters: Tree, block: str, heads: int) -> Any:
    count, length, width = values.shape
    parts = _linear(values, parameters, f"{block}.attend").reshape(count, length, 3, heads, width // heads)
    query, key, value = parts.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / (width // heads) ** 0.5
    causal = jnp.tril(jnp.ones((length, length), dtype=bool))
    mixed = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(count, length, width)


Update = Callable[[Tree, Tree, Any, Any], tuple[Tree, Any]]
"""New parameters and state from parameters, gradients, state and rate."""


def update_of(rule: AbstractOptimizer) -> tuple[Callable[[Tree], Any], Update]:
    """The first state of an optimizer, from parameters, and its update.

    Raises:
        TypeError: the optimizer is not written for JAX.
    """
    if isinstance(rule, SGD) and not rule.weight_decay and rule.nesterov == "off":
        return _sgd(rule.momentum)
    if isinstance(rule, AdamW) and rule.decayed == "matrices":
        return _adamw(rule)
    if isinstance(rule, Clipped):
        start, then = update_of(rule.then)

        def clipped(parameters: Tree, gradients: Tree, state: Any, rate: Any) -> tuple[Tree, Any]:
            norm = jnp.sqrt(sum((gradient * gradient).sum() for gradient in gradients.values()))
            factor = jnp.minimum(1.0, rule.norm / (norm + 1e-6))
            return then(parameters, {name: factor * value for name, value in gradients.items()}, state, rate)

        return start, clipped
    raise TypeError(f"{rule!r} is not written for JAX: add its update here")


def _sgd(momentum: float) -> tuple[Callable[[Tree], Any], Update]:
    def update(parameters: Tree, gradients: Tree, state: Any, rate: Any) -> tuple[Tree, Any]:
        if momentum:
            state = gradients = {name: momentum * state[name] + gradients[name] for name in gradients}
        return {name: value - rate * gradients[name] for name, value in parameters.items()}, state

    return (lambda parameters: jax.tree.map(jnp.zeros_like, parameters) if momentum else ()), update


def _adamw(rule: AdamW) -> tuple[Callable[[Tree], Any], Update]:
    def start(parameters: Tree) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return zeros, zeros, jnp.zeros((), jnp.float32)

    def update(parameters: Tree, gradients: Tree, state: Any, rate: Any) -> tuple[Tree, Any]:
        means, squares, count = state[0], state[1], state[2] + 1.0
        means = {name: rule.beta1 * means[name] + (1.0 - rule.beta1) * gradients[name] for name in gradients}
        squares = {name: rule.beta2 * squares[name] + (1.0 - rule.beta2) * gradients[name] ** 2 for name in gradients}
        first, second = 1.0 - rule.beta1**count, jnp.sqrt(1.0 - rule.beta2**count)

        def moved(name: str, value: Any) -> Any:
            kept = value * (1.0 - rate * rule.weight_decay) if value.ndim > 1 else value
            return kept - rate / first * means[name] / (jnp.sqrt(squares[name]) / second + rule.epsilon)

        return {name: moved(name, value) for name, value in parameters.items()}, (means, squares, count)

    return start, update
