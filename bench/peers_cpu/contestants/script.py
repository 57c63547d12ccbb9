"""The training script of gpunet and of PyTorch: one text runs both, since gpunet has PyTorch's names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.peers_cpu.workloads import ADAM, BLOCKS, CLASSES, SGD, Weights, Workload


def network(lib: Any, name: str) -> Any:
    """Return the network of a name, with weights of its own."""
    nn, F = lib.nn, lib.nn.functional
    Module: Any = nn.Module

    class MLP(Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    class CNN(Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
            self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            x = F.relu(self.conv1(x))
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return self.fc2(F.relu(self.fc1(x.flatten(1))))

    class Block(Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride > 1:
                conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
                self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            y = F.relu(self.norm1(self.conv1(x)))
            return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    class ResNet(Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
            self.blocks = nn.Sequential(*(Block(*block) for block in BLOCKS))
            self.fc = nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.blocks(F.relu(self.norm(self.conv(x))))
            return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))

    return {"mlp": MLP, "cnn": CNN, "resnet": ResNet}[name]()


class Script(ABC):
    """A network and its optimizer, in gpunet or in PyTorch."""

    def __init__(self, lib: Any, workload: Workload, weights: Weights) -> None:
        self.lib, self.model = lib, network(lib, workload.network)
        given = {name: lib.tensor(array) for name, array in weights.items()}
        self.model.load_state_dict({**self.model.state_dict(), **given})
        self.model.train(workload.training)
        if workload.optimizer:
            settings = SGD if workload.optimizer == "SGD" else ADAM
            self.optimizer = getattr(lib.optim, workload.optimizer)(self.model.parameters(), **settings)

    @abstractmethod
    def right(self, logits: Any, y: Any) -> int:
        """Count the right predictions of a batch."""

    @abstractmethod
    def kernels(self) -> str:
        """Say which vector instructions run."""

    def put(self, array: npt.NDArray[Any]) -> Any:
        return self.lib.from_numpy(array)

    def step(self, x: Any, y: Any) -> float:
        self.optimizer.zero_grad()
        loss = self.lib.nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        value: float = loss.item()
        return value

    def predict(self, x: Any) -> npt.NDArray[np.float32]:
        with self.lib.no_grad():
            logits: npt.NDArray[np.float32] = self.model(x).numpy()
        return logits
