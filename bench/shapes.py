"""The sizes that are measured: layers of MNIST networks, of CIFAR ResNets and of ResNet-50."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """A square 2-D convolution: n images of c channels to o channels."""

    n: int
    c: int
    o: int
    size: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def x(self) -> Shape:
        return self.n, self.c, self.size, self.size

    @property
    def w(self) -> Shape:
        return self.o, self.c // self.groups, self.window, self.window

    @property
    def y(self) -> Shape:
        out = _out(self)
        return self.n, self.o, out, out

    def __str__(self) -> str:
        return f"N{self.n} {self.c}->{self.o} {_window(self)}" + (f" g{self.groups}" if self.groups > 1 else "")


@dataclass(frozen=True)
class Pool:
    """Square 2-D pooling of n images of c channels."""

    n: int
    c: int
    size: int
    window: int
    stride: int
    padding: int = 0

    @property
    def x(self) -> Shape:
        return self.n, self.c, self.size, self.size

    @property
    def y(self) -> Shape:
        out = _out(self)
        return self.n, self.c, out, out

    def __str__(self) -> str:
        return f"N{self.n} C{self.c} {_window(self)}"


@dataclass(frozen=True)
class Images:
    """n images of c channels, and which of several functions is applied to them, where there is a choice."""

    n: int
    c: int
    size: int
    function: str = ""

    @property
    def x(self) -> Shape:
        return self.n, self.c, self.size, self.size

    def __str__(self) -> str:
        return f"{self.function} N{self.n} C{self.c} {self.size}x{self.size}".lstrip()


@dataclass(frozen=True)
class Rows:
    """A matrix of n rows and c columns, and which of several functions is applied to it, where there is a choice."""

    n: int
    c: int
    function: str = ""

    @property
    def x(self) -> Shape:
        return self.n, self.c

    def __str__(self) -> str:
        return f"{self.function} N{self.n} C{self.c}".lstrip()


@dataclass(frozen=True)
class Flat:
    """A run of elements."""

    size: int

    @property
    def x(self) -> Shape:
        return (self.size,)

    def __str__(self) -> str:
        return f"{self.size:,} elements".replace(",", " ")


@dataclass(frozen=True)
class Step:
    """A training step of a network: convolutions, a pool, linear layers, with ReLU between all layers."""

    model: str
    n: int
    sizes: tuple[int, ...]  # what goes into the first linear layer, and what comes out of each
    convs: tuple[Conv, ...] = ()
    pool: Pool | None = None
    dropout: bool = False  # of what goes into each linear layer

    @property
    def x(self) -> Shape:
        return self.n, 1, 28, 28

    @property
    def linears(self) -> list[tuple[int, int]]:
        return list(itertools.pairwise(self.sizes))

    @property
    def activations(self) -> list[Shape]:
        return [layer.y for layer in self.convs] + [(self.n, size) for size in self.sizes[1:-1]]

    @property
    def parameters(self) -> int:
        weights = [(math.prod(layer.w), layer.o) for layer in self.convs]
        weights += [(inputs * outputs, outputs) for inputs, outputs in self.linears]
        return sum(map(sum, weights))

    def __str__(self) -> str:
        return f"models.{self.model} N{self.n}"


def _out(shape: Conv | Pool) -> int:
    return (shape.size + 2 * shape.padding - shape.window) // shape.stride + 1


def _window(shape: Conv | Pool) -> str:
    text = f"{shape.size}x{shape.size} {shape.window}x{shape.window}"
    if shape.stride > 1:
        text += f" s{shape.stride}"
    return text + (f" p{shape.padding}" if shape.padding else "")


MNIST_CONVS = (Conv(64, 1, 32, 28, 3), Conv(64, 32, 64, 26, 3))
CIFAR_CONVS = (Conv(64, 64, 64, 16, 3, padding=1), Conv(64, 128, 128, 8, 3, padding=1))
RESNET50_CONVS = (
    Conv(32, 3, 64, 224, 7, stride=2, padding=3),
    Conv(32, 64, 64, 56, 3, padding=1),
    Conv(32, 256, 128, 56, 1),
    Conv(32, 256, 512, 56, 1, stride=2),
)
POOLS = (Pool(64, 64, 24, 2, 2), Pool(64, 32, 32, 2, 2), Pool(8, 64, 112, 3, 2, padding=1))
AVERAGE_POOLS = (Pool(64, 32, 32, 2, 2), Pool(32, 2048, 7, 7, 7))
ACTIVATIONS = tuple(Images(64, 64, 24, name) for name in ("relu", "leaky_relu", "elu", "sigmoid", "tanh"))
NORMS = (Images(64, 64, 16), Images(32, 64, 56))
SOFTMAXES = tuple(Rows(rows, 1000, name) for name in ("softmax", "log_softmax") for rows in (128, 4096))
DROPOUTS = (Images(64, 64, 12, "dropout"), Images(64, 64, 12, "dropout2d"))  # of PyTorch's MNIST example
LOGITS = (Rows(64, 10), Rows(128, 1000), Rows(4096, 1000))
LOSSES = tuple(Rows(4096, 256, name) for name in ("l1_loss", "mse_loss", "binary_cross_entropy_with_logits"))
PARAMETERS = (Flat(1_199_882), Flat(25_557_032))  # models.CNN, ResNet-50
MLP = Step("MLP", 64, (784, 512, 256, 10))
CNN = Step("CNN", 64, (9216, 128, 10), MNIST_CONVS, Pool(64, 64, 24, 2, 2), dropout=True)

# For the emulator, which proves that a benchmark runs on kernels, not how fast.
TINY_CONV, TINY_POOL = Conv(2, 3, 5, 7, 3, stride=2, padding=1), Pool(2, 3, 6, 2, 2)
TINY_ACTIVATION, TINY_DROPOUT, TINY_NORM = Images(2, 3, 5, "relu"), Images(2, 3, 5, "dropout"), Images(2, 3, 5)
TINY_SOFTMAX = Rows(3, 5, "softmax")
TINY_LOGITS, TINY_LOSS, TINY_PARAMETERS = Rows(3, 5), Rows(3, 5, "mse_loss"), Flat(300)
TINY_CNN = Step("TinyCNN", 2, (200, 10), (Conv(2, 1, 4, 28, 3, stride=2), Conv(2, 4, 8, 13, 3)), Pool(2, 8, 11, 2, 2))
