"""Every op's Cases: small odd shapes, so that swapped axes show. `launches` fixes what a GPU would be asked to do."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case


def _relu(torch, x, **attrs):
    return torch.relu(x)


def _conv(torch, x, w, b, **attrs):
    return getattr(torch.nn.functional, f"conv{x.ndim - 2}d")(x, w, b, **attrs)


def _pool(torch, x, **attrs):
    return getattr(torch.nn.functional, f"max_pool{x.ndim - 2}d")(x, **attrs)


def conv_case(op, x, w, b=True, dense=(), bias_passes=1, splits=1, id="", **attrs):
    """Return a convolution's case. Arrays named in `dense` (of x, w, y) lie channels-last without a copy."""
    copies = {"copy_strided": 3 - len(dense)}
    sums = {"sum_axes": 1} if splits > 1 else {}
    return Case(
        op,
        {"x": x, "w": w, "b": w[:1] if b else None},
        {"conv_forward": 1, **copies},
        {
            "x": {"conv_backward_input": 1, **copies},
            "w": {"conv_backward_weight": 1, **copies, **sums},
            **({"b": {"sum_axes": bias_passes, "copy_strided": 1}} if b else {}),
        },
        attrs,
        torch=_conv,
        id=id,
    )


def pool_case(op, x, id="", **attrs):
    launches = {"max_pool_forward": 1, "copy_strided": 2}
    return Case(op, {"x": x}, launches, {"x": {"max_pool_backward": 1, "copy_strided": 2}}, attrs, torch=_pool, id=id)


def labels(rows, classes):
    return {"target": lambda rng: rng.integers(0, classes, rows)}


def chunks(*rows):
    return {"chunks": lambda rng: np.array(rows, np.int64)}


CASES = [
    Case(ops.relu, {"x": (2, 3, 5)}, {"relu_forward": 1}, {"x": {"relu_backward": 1}}, torch=_relu),
    Case(ops.relu, {"x": (700,)}, {"relu_forward": 1}, {"x": {"relu_backward": 1}}, torch=_relu),
    Case(
        ops.add,
        {"x": (2, 3, 4, 5), "y": (3, 1, 1)},
        {"add_forward": 1},
        {"x": {}, "y": {"sum_axes": 1}},
        torch=lambda torch, x, y: x + y,
    ),
    Case(
        ops.add,
        {"x": (1, 7), "y": (4, 1, 1)},
        {"add_forward": 1},
        {"x": {"sum_axes": 1}, "y": {"sum_axes": 1}},
        torch=lambda torch, x, y: x + y,
        id="both-broadcast",
    ),
    Case(
        ops.sum_to_size,
        {"x": (2, 3, 4, 5)},
        {"sum_axes": 1},
        attrs={"size": (3, 1, 5)},
        torch=lambda torch, x, size: x.sum_to_size(size),
    ),
    Case(
        ops.sum_to_size,
        {"x": (2100, 3)},
        {"sum_axes": 2},
        attrs={"size": (1, 3)},
        torch=lambda torch, x, size: x.sum_to_size(size),
        id="two-passes",
    ),
    Case(
        ops.reshape,
        {"x": (2, 3, 4)},
        {},
        {"x": {}},
        attrs={"shape": (4, -1)},
        torch=lambda torch, x, shape: x.reshape(shape),
    ),
    Case(
        ops.linear,
        {"x": (7, 5), "w": (6, 5), "b": (6,)},
        {"gemm": 1},
        {"x": {"gemm": 1}, "w": {"gemm": 1}, "b": {"sum_axes": 1}},
        torch=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
    ),
    Case(
        ops.linear,
        {"x": (2, 35, 19), "w": (67, 19), "b": None},
        {"gemm": 1},
        {"x": {"gemm": 1}, "w": {"gemm": 1}},
        torch=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
        id="ragged-tiles",
    ),
    conv_case(ops.conv2d, (2, 3, 7, 6), (5, 3, 3, 2)),
    conv_case(
        ops.conv2d,
        (2, 4, 7, 8),
        (6, 2, 3, 2),
        id="all",
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        groups=2,
    ),
    conv_case(ops.conv2d, (1, 3, 5, 5), (3, 1, 3, 3), b=False, dense="w", id="depthwise", padding=1, groups=3),
    conv_case(ops.conv2d, (2, 5, 4, 6), (7, 5, 1, 1), dense="w", id="1x1"),
    conv_case(ops.conv2d, (2, 3, 24, 24), (70, 3, 2, 2), id="ragged-tiles", splits=3, bias_passes=2),
    conv_case(ops.conv1d, (3, 4, 11), (6, 2, 3), stride=2, padding=1, groups=2),
    conv_case(ops.conv3d, (2, 2, 4, 5, 6), (3, 2, 2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2)),
    pool_case(ops.max_pool2d, (2, 3, 6, 7), kernel_size=2),
    pool_case(ops.max_pool2d, (2, 3, 7, 8), id="overlapping", kernel_size=3, stride=(2, 1), padding=1),
    pool_case(ops.max_pool2d, (1, 2, 8, 9), id="dilated", kernel_size=(2, 3), stride=2, dilation=(2, 1)),
    pool_case(ops.max_pool2d, (1, 2, 7, 5), id="ceil", kernel_size=2, ceil_mode=True),
    pool_case(ops.max_pool2d, (1, 2, 20, 18), id="wide", kernel_size=17, stride=1),
    pool_case(ops.max_pool1d, (2, 3, 9), kernel_size=3, stride=2, padding=1),
    pool_case(ops.max_pool3d, (2, 2, 4, 5, 6), kernel_size=(2, 2, 3)),
    Case(
        ops.cross_entropy,
        {"x": (6, 10)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        integers=labels(6, 10),
        torch=lambda torch, x, target: torch.nn.functional.cross_entropy(x, target),
    ),
    Case(
        ops.cross_entropy,
        {"x": (5, 70)},
        {"cross_entropy_forward": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "none"},
        labels(5, 70),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="none",
    ),
    Case(
        ops.cross_entropy,
        {"x": (3, 2)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "sum"},
        labels(3, 2),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="sum",
    ),
    Case(
        ops.sgd_step,
        {"param": (40,), "grad": (40,), "momentum_buffer": (40,), "lr": (1,)},
        {"sgd_step": 1},
        attrs={"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        integers=chunks((0, 7, 0), (10, 20, 1)),
        id="momentum",
    ),
    Case(
        ops.sgd_step,
        {"param": (300,), "grad": (300,), "momentum_buffer": (300,), "lr": (1,)},
        {"sgd_step": 1},
        attrs={"momentum": 0.9, "nesterov": True, "maximize": True},
        integers=chunks((0, 290, 0)),
        id="nesterov",
    ),
    Case(
        ops.sgd_step,
        {"param": (9,), "grad": (9,), "momentum_buffer": None, "lr": (1,)},
        {"sgd_step": 1},
        integers=chunks((2, 5, 0)),
        id="plain",
    ),
]
