"""The networks for libraries without PyTorch's modules, over layers that know their weights by name."""

from __future__ import annotations

from typing import Any, Protocol

from bench.peers_cpu.workloads import BLOCKS


class Layers(Protocol):
    """What a library must offer. Convolutions and linear layers add their bias, where they have one."""

    def linear(self, name: str, x: Any) -> Any: ...

    def conv(self, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any: ...

    def norm(self, name: str, x: Any) -> Any:
        """Batch norm, which in training updates its running statistics."""

    def relu(self, x: Any) -> Any: ...

    def max_pool(self, x: Any) -> Any:
        """Pool 2 x 2 pixels."""

    def average(self, x: Any) -> Any:
        """Return the mean over all pixels, (N, C)."""

    def flatten(self, x: Any) -> Any: ...


def forward(network: str, layers: Layers, x: Any) -> Any:
    """Return the logits of a batch."""
    conv, norm, relu = layers.conv, layers.norm, layers.relu
    if network == "mlp":
        return layers.linear("fc3", relu(layers.linear("fc2", relu(layers.linear("fc1", x)))))
    if network == "cnn":
        x = layers.max_pool(relu(conv("conv2", relu(conv("conv1", x)))))
        return layers.linear("fc2", relu(layers.linear("fc1", layers.flatten(x))))
    x = relu(norm("norm", conv("conv", x, padding=1)))
    for index, (_, _, stride) in enumerate(BLOCKS):
        block = f"blocks.{index}"
        y = relu(norm(f"{block}.norm1", conv(f"{block}.conv1", x, stride, 1)))
        y = norm(f"{block}.norm2", conv(f"{block}.conv2", y, padding=1))
        shortcut = x if stride == 1 else norm(f"{block}.shortcut.1", conv(f"{block}.shortcut.0", x, stride))
        x = relu(y + shortcut)
    return layers.linear("fc", layers.average(x))
