"""DeZero, the library of the book "Deep Learning from Scratch 3", on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.peers_cpu import networks
from bench.peers_cpu.workloads import ADAM, SGD, Weights, Workload

vars(np)["int"] = int  # DeZero 0.0.13 needs it to be imported; NumPy 1.24 took it away

import dezero  # noqa: E402
import dezero.functions as F  # noqa: E402


class Layers(dezero.Layer):  # type: ignore[misc]
    """Layers over parameters by name; those without a gradient are running statistics."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.has = set(weights)
        for name, array in weights.items():
            setattr(self, name, dezero.Parameter(array.T.copy() if array.ndim == 2 else array.copy()))

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name) if name in self.has else None

    def linear(self, name: str, x: Any) -> Any:
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def conv(self, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        return F.conv2d(x, self[f"{name}.weight"], self[f"{name}.bias"], stride, padding)

    def norm(self, name: str, x: Any) -> Any:
        mean, var = self[f"{name}.running_mean"].data, self[f"{name}.running_var"].data
        return F.batch_nrom(x, self[f"{name}.weight"], self[f"{name}.bias"], mean, var, eps=1e-5)

    def relu(self, x: Any) -> Any:
        return F.relu(x)

    def max_pool(self, x: Any) -> Any:
        return F.pooling(x, 2, 2)

    def average(self, x: Any) -> Any:
        return F.flatten(F.average_pooling(x, x.shape[2]))

    def flatten(self, x: Any) -> Any:
        return F.flatten(x)


class DeZero:
    """A network and its optimizer."""

    def __init__(self, workload: Workload, weights: Weights) -> None:
        self.network, self.layers = workload.network, Layers(weights)
        adam = workload.optimizer == "Adam"
        optimizer = dezero.optimizers.Adam(alpha=ADAM["lr"]) if adam else dezero.optimizers.MomentumSGD(**SGD)
        self.optimizer = optimizer.setup(self.layers)

    def put(self, array: npt.NDArray[Any]) -> Any:
        return array

    def step(self, x: Any, y: Any) -> float:
        loss = F.softmax_cross_entropy(networks.forward(self.network, self.layers, x), y)
        self.layers.cleargrads()
        loss.backward()
        self.optimizer.update()
        return float(loss.data)

    def predict(self, x: Any) -> npt.NDArray[np.float32]:
        with dezero.test_mode(), dezero.no_grad():
            logits: npt.NDArray[np.float32] = networks.forward(self.network, self.layers, x).data
        return logits

    def kernels(self) -> str:
        return "NumPy's BLAS"


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> DeZero:
    """Return the contestant; NumPy's BLAS takes the number of threads from OPENBLAS_NUM_THREADS."""
    return DeZero(workload, weights)
