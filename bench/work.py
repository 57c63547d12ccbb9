"""How much work there is at least: floating-point operations, and bytes that must move to and from memory.

A multiplication, an addition, a comparison, a division, and a function such as exp, log, tanh or a square root count as
one operation each. Bytes are the least traffic: each input is read once and each output written once, however often a
program really touches them. Rates made from these numbers are therefore what a caller gets, not what the hardware did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bench.shapes import Conv, Flat, Images, Pool, Rows, Shape, Step

INDEX_BYTES = 8  # class indices are int64
WINNER_BYTES = 1  # max pooling keeps one byte per output for its gradient

Direction = Literal["forward", "input gradient", "weight gradient"]
Pass = Literal["forward", "gradient"]
PASSES: tuple[Pass, ...] = ("forward", "gradient")
DIRECTIONS: tuple[Direction, ...] = ("forward", "input gradient", "weight gradient")


@dataclass(frozen=True)
class Work:
    """Operations and bytes of one call; work of parts adds up."""

    flops: int
    bytes: int

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)


def conv(shape: Conv, direction: Direction, itemsize: int = 4) -> Work:
    """Count one direction of a convolution with bias.

    All three make the same products: a multiplication and an addition per output and tap, exact for the forward
    direction, where the bias is the first addend. Taps that lie in the padding count, as everywhere. Each direction
    moves x, w and y, or their gradients, once; the forward one also the bias.
    """
    taps = shape.c // shape.groups * shape.window**2
    elements = math.prod(shape.x) + math.prod(shape.w) + math.prod(shape.y)
    bias = shape.o if direction == "forward" else 0
    return Work(2 * math.prod(shape.y) * taps, (elements + bias) * itemsize)


def conv_max_pool(shape: Conv, itemsize: int = 4) -> Work:
    """Count a convolution with bias, ReLU and max pooling over 2 x 2 pixels, whose output alone is written."""
    made, pooled = math.prod(shape.y), math.prod((*shape.y[:2], *(size // 2 for size in shape.y[2:])))
    whole = conv(shape, "forward", itemsize)
    moved = whole.bytes - made * itemsize + pooled * (itemsize + WINNER_BYTES)
    return Work(whole.flops + made + 3 * pooled, moved)


def linear(n: int, inputs: int, outputs: int, direction: Direction, itemsize: int = 4) -> Work:
    """Count one direction of a linear layer: a convolution whose image is one pixel."""
    return conv(Conv(n, inputs, outputs, 1, 1), direction, itemsize)


# Operations per element, forward and gradient: leaky_relu compares and multiplies; elu compares, takes exp, subtracts
# and multiplies, its gradient compares, takes exp and multiplies twice; sigmoid negates, takes exp, adds and divides,
# its gradient is gy * (1 - y) * y; tanh is one, its gradient gy * (1 - y * y).
_ACTIVATIONS = {"relu": (1, 1), "leaky_relu": (2, 2), "elu": (4, 4), "sigmoid": (4, 3), "tanh": (1, 3)}


def activation(name: str, shape: Shape, which: Pass, itemsize: int = 4) -> Work:
    """Count an activation; forward reads x and writes y, the gradient reads gy and x or y and writes gx."""
    elements = math.prod(shape)
    per_element = _ACTIVATIONS[name][which == "gradient"]
    return Work(per_element * elements, (2 if which == "forward" else 3) * elements * itemsize)


def softmax(shape: Rows, which: Pass, itemsize: int = 4) -> Work:
    """Count softmax or log_softmax of rows of c.

    Forward, both: c - 1 comparisons, c subtractions, c exponentials, c - 1 additions; then c divisions, or a logarithm
    and c subtractions. Gradient: y * (gy - sum(gy * y)), or gy - exp(y) * sum(gy): 4c - 1.
    """
    forward = 5 * shape.c - (2 if shape.function == "softmax" else 1)
    per_row, arrays = (forward, 2) if which == "forward" else (4 * shape.c - 1, 3)
    return Work(shape.n * per_row, arrays * shape.n * shape.c * itemsize)


def dropout(shape: Shape, itemsize: int = 4) -> Work:
    """Count forward or gradient: a comparison and a multiplication per element; making random bits is not counted."""
    elements = math.prod(shape)
    return Work(2 * elements, 2 * elements * itemsize)


def batch_norm(shape: Images, which: Pass, itemsize: int = 4, streamed: bool = False) -> Work:
    """Count training, per element: what is per channel is left out.

    Forward: 1 for the mean, 3 for the variance, a multiplication and an addition; reads x, writes y. Gradient: 2 for
    the normalised x, 1 and 2 for the sums over gy and over gy times that, 4 for gx; reads gy and x, writes gx.

    All sums come before the first result; so arrays that no cache holds are read twice, which counts if `streamed`.
    """
    elements = math.prod(shape.x)
    per_element, reads = {"forward": (6, 1), "gradient": (9, 2)}[which]
    arrays = reads * (2 if streamed else 1) + 1
    return Work(per_element * elements, arrays * elements * itemsize)


def max_pool(shape: Pool, which: Pass, itemsize: int = 4) -> Work:
    """Count taps - 1 comparisons per output, or one addition per output; x, y and the winners move once."""
    outputs = math.prod(shape.y)
    flops = outputs * (shape.window**2 - 1 if which == "forward" else 1)
    return Work(flops, (math.prod(shape.x) + outputs) * itemsize + outputs * WINNER_BYTES)


def avg_pool(shape: Pool, which: Pass, itemsize: int = 4) -> Work:
    """Count taps - 1 additions and a multiplication per output, or one multiplication per output; x and y move once."""
    outputs = math.prod(shape.y)
    flops = outputs * (shape.window**2 if which == "forward" else 1)
    return Work(flops, (math.prod(shape.x) + outputs) * itemsize)


def cross_entropy(shape: Rows, itemsize: int = 4) -> Work:
    """Count the mean loss of n rows and the gradient of their logits, in one.

    The loss of a row: c - 1 comparisons, c subtractions, c exponentials, c - 1 additions, a logarithm, an addition
    and a subtraction. The mean: n - 1 additions and a multiplication. The gradient of a row: c subtractions, c
    exponentials, a subtraction where the target is, c multiplications. Logits and indices are read; gradient and mean
    are written.
    """
    n, c = shape.n, shape.c
    return Work(n * (4 * c + 1) + n + n * (3 * c + 1), 2 * n * c * itemsize + n * INDEX_BYTES + itemsize)


def cross_entropy_pass(shape: Rows, which: Pass, itemsize: int = 4) -> Work:
    """Count the mean loss alone, or the gradient alone, which reads the logits anew (see `cross_entropy`)."""
    n, c = shape.n, shape.c
    flops, arrays = (n * (4 * c + 1) + n, 1) if which == "forward" else (n * (3 * c + 1), 2)
    return Work(flops, arrays * n * c * itemsize + n * INDEX_BYTES + (itemsize if which == "forward" else 0))


def add(x: Shape, y: Shape, itemsize: int = 4) -> Work:
    """Count z = x + y, where y broadcasts to the shape of x."""
    return Work(math.prod(x), (2 * math.prod(x) + math.prod(y)) * itemsize)


def total(x: Shape, sums: int, itemsize: int = 4) -> Work:
    """Count the additions and the traffic of summing x into some sums."""
    return Work(math.prod(x) - sums, (math.prod(x) + sums) * itemsize)


def copy(shape: Shape, itemsize: int = 4) -> Work:
    """Count a copy: x is read, y written."""
    return Work(0, 2 * math.prod(shape) * itemsize)


# Operations per element, loss and gradient together: x - target, then |d|, the sum, its sign and a product; d * d, the
# sum and a product; max(x, 0) - x*target + log1p(exp(-|x|)) and the sum, then (1 / (1 + exp(-x)) - target) * scale.
_LOSSES = {"l1_loss": 5, "mse_loss": 4, "binary_cross_entropy_with_logits": 15}


def loss(shape: Rows, itemsize: int = 4) -> Work:
    """Count the mean of an elementwise loss and its gradient by x: x and target are read, gx and the mean written."""
    elements = shape.n * shape.c
    return Work(_LOSSES[shape.function] * elements, (3 * elements + 1) * itemsize)


def sgd(shape: Flat, itemsize: int = 4) -> Work:
    """Count m = momentum*m + g; p = p - lr*m. Reads p, g and m; writes p and m."""
    return Work(4 * shape.size, 5 * shape.size * itemsize)


def adam(shape: Flat, itemsize: int = 4) -> Work:
    """Count m = m + (1-b1)*(g-m) (3), v = b2*v + (1-b2)*g*g (4) and p = p - step*m / (sqrt(v)/c + eps) (6).

    Reads p, g, m and v; writes p, m and v.
    """
    return Work(13 * shape.size, 7 * shape.size * itemsize)


def norm(shape: Flat, itemsize: int = 4) -> Work:
    """Count the square root of a sum of squares; x is read."""
    return Work(2 * shape.size, shape.size * itemsize)


def scale(shape: Flat, itemsize: int = 4) -> Work:
    """Count x = factor * x, in place."""
    return Work(shape.size, 2 * shape.size * itemsize)


def train_step(step: Step) -> Work:
    """Add up a training step of the MLP or the CNN: forward, loss, all gradients, SGD with momentum.

    The sums that make the gradients of biases are left out (under 1 %). The gradient of the images is not needed.
    """
    total = cross_entropy(Rows(step.n, step.sizes[-1])) + sgd(Flat(step.parameters))
    for i, layer in enumerate(step.convs):
        for direction in DIRECTIONS if i else ("forward", "weight gradient"):
            total += conv(layer, direction)
    for i, (inputs, outputs) in enumerate(step.linears):
        for direction in DIRECTIONS if i or step.convs else ("forward", "weight gradient"):
            total += linear(step.n, inputs, outputs, direction)
    for which in PASSES:
        for shape in step.activations:
            total += activation("relu", shape, which)
        if step.pool:
            total += max_pool(step.pool, which)
        for inputs, _ in step.linears if step.dropout else ():
            total += dropout((step.n, inputs))
    return total
