"""Networks for MNIST: images (N, 1, 28, 28) to logits (N, 10)."""

from __future__ import annotations

from gpunet import nn
from gpunet.nn import functional as F
from gpunet.tensor import Tensor

__all__ = ["CNN", "MLP", "LeNet5", "TinyCNN"]


class CNN(nn.Module):
    """The network of PyTorch's MNIST example: two convolutions and two linear layers, with dropout
    before each of the latter.

    1,199,882 parameters. State dict keys: conv1, conv2, fc1, fc2. Returns logits, for CrossEntropyLoss.

    Example:
        >>> sum(parameter.numel() for parameter in CNN().parameters())
        1199882
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = F.relu(self.conv1(x))
        x = self.dropout1(F.max_pool2d(F.relu(self.conv2(x)), 2))
        x = self.dropout2(F.relu(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc2(x)
        return logits


class MLP(nn.Sequential):
    """A multilayer perceptron: 784-512-256-10 with ReLU.

    Example:
        >>> sum(parameter.numel() for parameter in MLP().parameters())
        535818
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        )


class LeNet5(nn.Sequential):
    """LeNet-5: two convolutions with tanh and average pooling, then 120, 84 and 10 units.

    The network of the paper as it is trained today: plain average pooling, every map sees every map, linear outputs
    instead of distances to drawn digits. Images get two pixels of padding instead of being 32 x 32.

    Source: LeCun et al. 1998.

    Example:
        >>> sum(parameter.numel() for parameter in LeNet5().parameters())
        61706
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        )


class TinyCNN(nn.Module):
    """A convolutional network small enough for the emulator: 4 and 8 channels, one linear layer.

    Example:
        >>> sum(parameter.numel() for parameter in TinyCNN().parameters())
        2346
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, stride=2)
        self.conv2 = nn.Conv2d(4, 8, 3)
        self.fc = nn.Linear(200, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        logits: Tensor = self.fc(x.flatten(1))
        return logits
