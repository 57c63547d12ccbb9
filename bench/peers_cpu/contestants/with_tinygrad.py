"""tinygrad: TinyJit over a whole step, kernels made by its C compiler on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tinygrad
from tinygrad import Tensor, TinyJit
from tinygrad.nn import optim

from bench.peers_cpu import networks
from bench.peers_cpu.workloads import ADAM, SGD, Weights, Workload


class Layers:
    """Layers over tensors by name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: Tensor(array).realize() for name, array in weights.items()}
        self.statistics = [tensor for name, tensor in self.weights.items() if ".running_" in name]
        for tensor in self.statistics:
            tensor.is_param_(False)
        self.training = False

    def linear(self, name: str, x: Any) -> Any:
        return x.linear(self.weights[f"{name}.weight"].T, self.weights[f"{name}.bias"])

    def conv(self, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        return x.conv2d(
            self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), stride=stride, padding=padding
        )

    def norm(self, name: str, x: Any) -> Any:
        mean, var = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if not self.training:
            return x.batchnorm(weight, bias, mean, (var + 1e-5).rsqrt())
        count = x.numel() // x.shape[1]
        now = x.mean((0, 2, 3))
        spread = (x - now.detach().reshape(1, -1, 1, 1)).square().mean((0, 2, 3))
        mean.assign(0.9 * mean + 0.1 * now.detach())
        var.assign(0.9 * var + 0.1 * spread.detach() * (count / (count - 1)))
        return x.batchnorm(weight, bias, now, (spread + 1e-5).rsqrt())

    def relu(self, x: Any) -> Any:
        return x.relu()

    def max_pool(self, x: Any) -> Any:
        return x.max_pool2d(2)

    def average(self, x: Any) -> Any:
        return x.mean((2, 3))

    def flatten(self, x: Any) -> Any:
        return x.flatten(1)


class TinyGrad:
    """A network and its optimizer, jitted."""

    def __init__(self, workload: Workload, weights: Weights) -> None:
        layers = Layers(weights)
        if workload.optimizer:
            layers.training = True
            parameters = [tensor for name, tensor in layers.weights.items() if ".running_" not in name]
            adam = workload.optimizer == "Adam"
            optimizer = optim.Adam(parameters, **ADAM) if adam else optim.SGD(parameters, **SGD)

        def train(x: Any, y: Any) -> Any:
            with tinygrad.Context(TRAINING=1):
                optimizer.zero_grad()
                loss = networks.forward(workload.network, layers, x).sparse_categorical_crossentropy(y).backward()
                return loss.realize(*optimizer.schedule_step(), *layers.statistics)

        self._train: Any = TinyJit(train)
        self._predict: Any = TinyJit(lambda x: networks.forward(workload.network, layers, x).realize())

    def put(self, array: npt.NDArray[Any]) -> Any:
        return Tensor(array.astype(np.int32) if array.dtype == np.int64 else array).realize()

    def step(self, x: Any, y: Any) -> float:
        return float(self._train(x, y).item())

    def predict(self, x: Any) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._predict(x).numpy()
        return logits

    def kernels(self) -> str:
        return f"{tinygrad.Device.DEFAULT}, clang"


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> TinyGrad:
    """Return the contestant; tinygrad takes the number of threads from NUM_CPU_THREADS."""
    return TinyGrad(workload, weights)
