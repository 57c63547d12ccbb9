"""JAX: the whole step is one jitted function; images are channels-last, as in its own libraries."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from bench.peers_cpu import networks
from bench.peers_cpu.workloads import ADAM, SGD, Weights, Workload

jax.config.update("jax_platforms", "cpu")

State = dict[str, Any]


class Layers:
    """Layers over weights and running statistics by name; new statistics are kept for whoever runs the step."""

    def __init__(self, weights: State, statistics: State, training: bool) -> None:
        self.weights, self.statistics, self.training = weights, dict(statistics), training

    def linear(self, name: str, x: Any) -> Any:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def conv(self, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        kernel, pads = self.weights[f"{name}.weight"], ((padding, padding),) * 2
        y = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def norm(self, name: str, x: Any) -> Any:
        mean, var = self.statistics[f"{name}.running_mean"], self.statistics[f"{name}.running_var"]
        if self.training:
            count = x.size // x.shape[-1]
            now = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.statistics[f"{name}.running_mean"] = 0.9 * mean + 0.1 * now[0]
            self.statistics[f"{name}.running_var"] = 0.9 * var + 0.1 * now[1] * (count / (count - 1))
            mean, var = now
        scale = self.weights[f"{name}.weight"] * jax.lax.rsqrt(var + 1e-5)
        return (x - mean) * scale + self.weights[f"{name}.bias"]

    def relu(self, x: Any) -> Any:
        return jax.nn.relu(x)

    def max_pool(self, x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def average(self, x: Any) -> Any:
        return x.mean((1, 2))

    def flatten(self, x: Any) -> Any:
        return x.reshape(len(x), -1)


def _turned(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a weight of PyTorch's as JAX wants it: inputs before outputs, images channels-last."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.shape == (128, 9216):  # behind the images of the CNN
        array = array.reshape(128, 64, 12, 12).transpose(0, 2, 3, 1).reshape(128, 9216)
    return array.T


def _sgd(weights: State, velocity: State, gradients: State) -> tuple[State, State]:
    velocity = jax.tree.map(lambda v, g: SGD["momentum"] * v + g, velocity, gradients)
    return jax.tree.map(lambda w, v: w - SGD["lr"] * v, weights, velocity), velocity


def _adam(weights: State, moments: State, gradients: State) -> tuple[State, State]:
    step = moments["step"] + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments["first"], gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments["second"], gradients)
    rate, root = ADAM["lr"] / (1 - 0.9**step), jnp.sqrt(1 - 0.999**step)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), weights, first, second)
    return weights, {"first": first, "second": second, "step": step}


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3, 4))
def _train(network: str, adam: bool, weights: State, statistics: State, moments: State, x: Any, y: Any) -> Any:
    def loss(weights: State) -> tuple[Any, State]:
        layers = Layers(weights, statistics, training=True)
        logits = networks.forward(network, layers, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), layers.statistics

    (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
    weights, moments = (_adam if adam else _sgd)(weights, moments, gradients)
    return weights, statistics, moments, value


@functools.partial(jax.jit, static_argnums=0)
def _predict(network: str, weights: State, statistics: State, x: Any) -> Any:
    return networks.forward(network, Layers(weights, statistics, training=False), x)


class Jax:
    """The state of a network between jitted steps."""

    def __init__(self, workload: Workload, weights: Weights) -> None:
        self.network, self.adam = workload.network, workload.optimizer == "Adam"
        turned = {name: jnp.asarray(_turned(name, array)) for name, array in weights.items()}
        self.statistics = {name: array for name, array in turned.items() if ".running_" in name}
        self.weights = {name: array for name, array in turned.items() if ".running_" not in name}
        zeros = functools.partial(jax.tree.map, jnp.zeros_like, self.weights)
        self.moments: State = {"first": zeros(), "second": zeros(), "step": 0} if self.adam else zeros()

    def put(self, array: npt.NDArray[Any]) -> Any:
        return jnp.asarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)

    def step(self, x: Any, y: Any) -> float:
        state = self.weights, self.statistics, self.moments
        self.weights, self.statistics, self.moments, value = _train(self.network, self.adam, *state, x, y)
        return float(value)

    def predict(self, x: Any) -> npt.NDArray[np.float32]:
        return np.asarray(_predict(self.network, self.weights, self.statistics, x))

    def kernels(self) -> str:
        return "XLA"


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> Jax:
    """Return the contestant; XLA takes the number of threads from NPROC."""
    return Jax(workload, weights)
