"""Convolutions and matrix products beside PyTorch, which calls cuDNN and cuBLAS."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from bench import work
from bench.gpu.rig import PRECISIONS, Rig
from bench.gpu.rows import FEW_CHANNELS, FIRST_LAYER, MANY_CHANNELS, PRODUCT, SMALL_BATCH, Goal, Match, Row
from bench.shapes import Conv, Rows
from bench.work import DIRECTIONS, Direction
from gpunet import ops
from gpunet.backend import CHANNELS_LAST

CONVS = (
    # the first layers of MNIST, CIFAR and ImageNet networks
    Conv(64, 1, 32, 28, 3),
    Conv(1024, 1, 32, 28, 3),
    Conv(128, 3, 64, 32, 3, padding=1),
    Conv(32, 3, 64, 224, 7, stride=2, padding=3),
    # few channels
    Conv(64, 32, 64, 26, 3),
    Conv(1024, 32, 64, 26, 3),
    Conv(128, 64, 64, 32, 3, padding=1),
    Conv(32, 64, 64, 56, 3, padding=1),
    # many channels
    Conv(128, 128, 128, 16, 3, padding=1),
    Conv(32, 256, 256, 14, 3, padding=1),
    Conv(32, 512, 512, 7, 3, padding=1),
    # 1x1, strided, depthwise
    Conv(32, 64, 256, 56, 1),
    Conv(32, 256, 128, 56, 1),
    Conv(32, 128, 128, 56, 3, stride=2, padding=1),
    Conv(32, 256, 512, 56, 1, stride=2),
    Conv(32, 144, 144, 56, 3, padding=1, groups=144),
)
POOLED = (Conv(1024, 32, 64, 26, 3), Conv(128, 64, 64, 32, 3, padding=1))
TOY_CONVS = (Conv(1, 3, 8, 6, 3, padding=1), Conv(1, 16, 16, 5, 3, stride=2, padding=1), Conv(1, 4, 4, 5, 3, groups=4))
SQUARES = (1024, 2048, 4096)
LINEARS = ((64, 784, 512), (64, 9216, 128), (64, 128, 10))  # batch, inputs, outputs
TOY_LINEARS = ((4, 24, 10),)
BATCHES = ((96, 512, 64, 512), (96, 512, 512, 64))  # matrices, M, K, N: the two products of an attention layer
TOY_BATCHES = ((3, 8, 16, 12),)


def rows(toy: bool = False) -> Iterator[Row]:
    """Yield all convolutions and products, or some at toy sizes."""
    for shape in TOY_CONVS if toy else CONVS:
        for precision in PRECISIONS:
            yield from _conv_rows(shape, precision)
    for shape in (Conv(1, 16, 16, 5, 3, padding=1),) if toy else POOLED:
        for precision in PRECISIONS:
            yield _pooled_row(shape, precision)
    for size in (16,) if toy else SQUARES:
        for precision in PRECISIONS:
            yield from _linear_rows("gemm", (size, size, size), precision, PRODUCT)
    for sizes in TOY_LINEARS if toy else LINEARS:
        for precision in PRECISIONS:
            yield from _linear_rows("linear", sizes, precision, SMALL_BATCH)
    for batch in TOY_BATCHES if toy else BATCHES:
        for precision in PRECISIONS:
            yield _batch_row(batch, precision)


def _goal(shape: Conv, precision: str) -> Goal | None:
    """Return what a convolution is judged by; None where nothing was promised."""
    if shape.groups > 1:
        return None
    if shape.c <= 4:
        return FIRST_LAYER
    if min(shape.c, shape.o) >= 128:
        return MANY_CHANNELS
    few = max(shape.c, shape.o) <= 64 and shape.window == 3
    return FEW_CHANNELS if few and precision in ("tf32", "bf16") else None


def _conv_rows(shape: Conv, precision: str) -> Iterator[Row]:
    itemsize = 2 if precision in ("bf16", "fp16") else 4
    for direction in DIRECTIONS:
        if shape.c <= 4 and shape.groups == 1 and direction == "input gradient":
            continue  # nobody asks for the gradient of the images
        counted = work.conv(shape, direction, itemsize)
        setup = functools.partial(_conv, shape=shape, direction=direction, precision=precision)
        yield Row("conv", f"conv2d {direction}", str(shape), precision, counted, _goal(shape, precision), setup)


def _conv(rig: Rig, shape: Conv, direction: Direction, precision: str) -> Match:
    """Set up a convolution: gpunet on channels-last memory, PyTorch on both formats."""
    torch, tf32 = rig.torch, precision == "tf32"
    rig.allow_tf32(tf32)
    x, w, gy, b = (
        rig.normal(size, precision, seed) for seed, size in enumerate((shape.x, shape.w, shape.y, (shape.o,)))
    )
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    calls = {"gpunet": _our_conv(rig, shape, direction, tf32, x, w, gy, b)}
    for name, memory in formats.items():
        a, v, g = (tensor.contiguous(memory_format=memory) for tensor in (x, w, gy))
        calls[f"torch {name}"] = _torch_conv(torch, shape, direction, a, v, g, b)

    def expected() -> tuple[Any, float]:
        wide = [tensor.double() for tensor in (x, w, gy, b)]
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
            exact = _torch_conv(torch, shape, direction, *wide)()
            positive = [tensor.abs() for tensor in wide]
            return exact, float(_torch_conv(torch, shape, direction, *positive)().max())

    return Match(calls, expected)


def _pooled_row(shape: Conv, precision: str) -> Row:
    counted = work.conv_max_pool(shape, 2 if precision in ("bf16", "fp16") else 4)
    setup = functools.partial(_pooled, shape=shape, precision=precision)
    return Row("conv", "conv2d, ReLU, max_pool2d", str(shape), precision, counted, None, setup)


def _pooled(rig: Rig, shape: Conv, precision: str) -> Match:
    """Set up a convolution with ReLU and max pooling: one call here, three in PyTorch."""
    torch, tf32, last = rig.torch, precision == "tf32", rig.torch.channels_last
    rig.allow_tf32(tf32)
    tensors = [rig.normal(size, precision, seed) for seed, size in enumerate((shape.x, shape.w, (shape.o,)))]
    x, w, b = (rig.array(t.contiguous(memory_format=last) if t.ndim == 4 else t) for t in tensors)

    def ours() -> Any:
        settings: dict[str, Any] = {"stride": shape.stride, "padding": shape.padding, "layout": CHANNELS_LAST}
        return ops.conv2d_max_pool2d(x, w, b, **settings, allow_tf32=tf32, activation="relu")[0]

    def theirs(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.max_pool2d(torch.conv2d(x, w, b, shape.stride, shape.padding).relu_(), 2)

    calls = {"gpunet": ours, "torch contiguous": lambda: theirs(*tensors)}
    images, filters = (tensor.contiguous(memory_format=last) for tensor in tensors[:2])
    calls["torch channels_last"] = lambda: theirs(images, filters, tensors[2])

    def expected() -> tuple[Any, float]:
        wide = [tensor.double() for tensor in tensors]
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
            return theirs(*wide), float(theirs(*(tensor.abs() for tensor in wide)).max())

    return Match(calls, expected)


def _our_conv(
    rig: Rig, shape: Conv, direction: Direction, tf32: bool, x: Any, w: Any, gy: Any, b: Any
) -> Callable[[], Any]:
    last = rig.torch.channels_last
    x, w, gy = (rig.array(tensor.contiguous(memory_format=last)) for tensor in (x, w, gy))
    settings: dict[str, Any] = {
        "stride": shape.stride,
        "padding": shape.padding,
        "groups": shape.groups,
        "allow_tf32": tf32,
    }
    if direction == "forward":
        return functools.partial(ops.conv2d, x, w, rig.array(b), layout=CHANNELS_LAST, **settings)
    needs = ("x",) if direction == "input gradient" else ("w",)
    return functools.partial(ops.conv2d.grad, gy, x, w, needs=needs, **settings)


def _torch_conv(torch: Any, shape: Conv, direction: Direction, x: Any, w: Any, gy: Any, b: Any) -> Callable[[], Any]:
    stride, padding = [shape.stride] * 2, [shape.padding] * 2
    if direction == "forward":
        return functools.partial(torch.conv2d, x, w, b, stride, padding, 1, shape.groups)
    which = 0 if direction == "input gradient" else 1
    wanted = [which == 0, which == 1, False]
    settings = (None, stride, padding, [1, 1], False, [0, 0], shape.groups, wanted)
    return lambda: torch.ops.aten.convolution_backward(gy, x, w, *settings)[which]


def _linear_rows(op: str, sizes: tuple[int, int, int], precision: str, goal: Goal) -> Iterator[Row]:
    itemsize = 2 if precision in ("bf16", "fp16") else 4
    n, inputs, outputs = sizes
    name = f"{n}x{inputs}x{outputs}" if op == "gemm" else f"{Rows(n, inputs)} -> {outputs}"
    for direction in DIRECTIONS:
        counted = work.linear(n, inputs, outputs, direction, itemsize)
        setup = functools.partial(_linear, sizes=sizes, direction=direction, precision=precision)
        yield Row("gemm", f"{op} {direction}", name, precision, counted, goal, setup)


def _linear(rig: Rig, sizes: tuple[int, int, int], direction: Direction, precision: str) -> Match:
    """Set up a linear layer, or one of its gradients: products of matrices that lie along the depth, or not."""
    torch, tf32 = rig.torch, precision == "tf32"
    rig.allow_tf32(tf32)
    n, inputs, outputs = sizes
    shapes = ((n, inputs), (outputs, inputs), (n, outputs), (outputs,))
    tensors = [rig.normal(size, precision, seed) for seed, size in enumerate(shapes)]
    x, w, gy, b = (rig.array(tensor) for tensor in tensors)
    calls: dict[str, Callable[[], Any]] = {}
    if direction == "forward":
        calls["gpunet"] = lambda: ops.linear(x, w, b, allow_tf32=tf32)
    else:
        needs = ("x",) if direction == "input gradient" else ("w",)
        calls["gpunet"] = lambda: ops.linear.grad(gy, x, w, needs=needs, allow_tf32=tf32)
    calls["torch"] = _torch_linear(torch, direction, *tensors)
    if direction == "forward":  # the same product from a weight that lies the other way
        other = tensors[1].t().contiguous()
        calls["torch addmm"] = lambda: torch.addmm(tensors[3], tensors[0], other)

    def expected() -> tuple[Any, float]:
        wide = [tensor.double() for tensor in tensors]
        exact = _torch_linear(torch, direction, *wide)()
        positive = [tensor.abs() for tensor in wide]
        return exact, float(_torch_linear(torch, direction, *positive)().max())

    return Match(calls, expected)


def _torch_linear(torch: Any, direction: Direction, x: Any, w: Any, gy: Any, b: Any) -> Callable[[], Any]:
    if direction == "forward":
        return functools.partial(torch.nn.functional.linear, x, w, b)
    if direction == "input gradient":
        return functools.partial(torch.matmul, gy, w)
    return functools.partial(torch.matmul, gy.t(), x)


def _batch_row(sizes: tuple[int, int, int, int], precision: str) -> Row:
    count, m, k, n = sizes
    itemsize = 2 if precision in ("bf16", "fp16") else 4
    counted = work.Work(2 * count * m * k * n, count * (m * k + k * n + m * n) * itemsize)
    setup = functools.partial(_batch, sizes=sizes, precision=precision)
    return Row("gemm", "matmul of batches", "x".join(map(str, sizes)), precision, counted, None, setup)


def _batch(rig: Rig, sizes: tuple[int, int, int, int], precision: str) -> Match:
    """Set up products of as many pairs of matrices."""
    torch, tf32 = rig.torch, precision == "tf32"
    rig.allow_tf32(tf32)
    count, m, k, n = sizes
    a, b = (rig.normal(size, precision, seed) for seed, size in enumerate(((count, m, k), (count, k, n))))
    left, right = rig.array(a), rig.array(b)
    calls = {
        "gpunet": lambda: ops.matmul(left, right, allow_tf32=tf32),
        "torch": lambda: torch.bmm(a, b),
    }

    def expected() -> tuple[Any, float]:
        x, y = a.double(), b.double()
        return torch.bmm(x, y), float(torch.bmm(x.abs(), y.abs()).max())

    return Match(calls, expected)
