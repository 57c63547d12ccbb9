"""Cases of convolution."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from gpunet.ops.tensor_cores import TILES, force
from tests.harness.case import Case, Special, assert_close


def conv_case(op, x, w, b=True, dense=(), bias_passes=1, splits=1, tensor=False, id="", **attrs):
    """Return a convolution's case. Arrays named in `dense` (of x, w, y) lie channels-last without a copy; `tensor` says
    that tensor cores make all three products.
    """
    copies = {"copy_strided": 3 - len(dense)}
    sums = {"sum_splits" if tensor else "sum_axes": 1} if splits > 1 else {}
    transposed = "transpose" in op.__name__
    prefix = "tensor_conv" if tensor else "conv"
    to_outputs, to_inputs = (f"{prefix}_forward", f"{prefix}_backward_input")[:: -1 if transposed else 1]
    outputs = w[1] * attrs.get("groups", 1) if transposed else w[0]
    if tensor:
        attrs["allow_tf32"] = True
    return Case(
        op,
        {"x": x, "w": w, "b": (outputs,) if b else None},
        {to_outputs: 1, **copies},
        {
            "x": {to_inputs: 1, **copies},
            "w": {f"{prefix}_backward_weight": 1, **copies, **sums},
            **({"b": {"sum_axes": bias_passes, "copy_strided": 1}} if b else {}),
        },
        attrs,
        torch=lambda torch, x, w, b, allow_tf32=None, **attrs: getattr(torch.nn.functional, op.__name__)(
            x, w, b, **attrs
        ),
        id=id,
    )


CASES = [
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
    conv_case(ops.conv_transpose2d, (2, 3, 5, 4), (3, 5, 3, 2)),
    conv_case(
        ops.conv_transpose2d,
        (2, 4, 4, 5),
        (4, 3, 3, 2),
        id="all",
        stride=(2, 3),
        padding=(1, 2),
        output_padding=(1, 2),
        groups=2,
        dilation=(2, 1),
    ),
    conv_case(ops.conv_transpose2d, (2, 3, 13, 12), (3, 70, 2, 2), id="ragged-tiles", bias_passes=2, stride=2),
    conv_case(ops.conv_transpose1d, (3, 4, 6), (4, 3, 3), b=False, stride=2, padding=1, groups=2),
    conv_case(
        ops.conv_transpose3d, (2, 2, 3, 4, 3), (2, 3, 2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2)
    ),
    conv_case(ops.conv2d, (2, 8, 5, 6), (12, 8, 3, 2), tensor=True, id="tensor"),
    conv_case(
        ops.conv2d,
        (2, 24, 7, 8),
        (16, 12, 3, 4),
        tensor=True,
        id="tensor-all",
        stride=(2, 3),
        padding=(1, 2),
        dilation=(1, 2),
        groups=2,
    ),
    conv_case(ops.conv2d, (1, 36, 9, 9), (68, 36, 2, 2), tensor=True, b=False, id="tensor-ragged-tiles"),
    conv_case(ops.conv2d, (3, 8, 14, 13), (8, 8, 1, 1), tensor=True, dense="w", splits=5, id="tensor-1x1", stride=1),
    conv_case(ops.conv2d, (2, 4, 5, 5), (4, 4, 1, 1), tensor=True, dense="w", id="tensor-1x1-strided", stride=3),
    conv_case(
        ops.conv3d,
        (2, 4, 4, 5, 6),
        (8, 4, 2, 3, 2),
        tensor=True,
        id="tensor",
        stride=(1, 2, 1),
        padding=(1, 0, 1),
        dilation=(1, 1, 2),
    ),
    conv_case(ops.conv1d, (3, 8, 11), (8, 4, 3), tensor=True, id="tensor", stride=2, padding=1, groups=2),
    conv_case(
        ops.conv_transpose2d,
        (2, 8, 4, 5),
        (8, 4, 3, 2),
        tensor=True,
        id="tensor-all",
        stride=(2, 3),
        padding=(1, 2),
        output_padding=(1, 2),
        groups=2,
        dilation=(2, 1),
    ),
]


def infinity_goes_only_where_its_windows_are(be):
    """All other numbers are positive: where a kernel reads too much and takes it times 0, infinity becomes NaN.

    Pixels: in the middle; the last, beyond which taps and pixels of a tile end; the second one of the second split of a
    weight's gradient, in the midst of a slice of a tile.
    """
    side = 23
    w, gy = np.ones((2, 3, 3, 3), np.float32), np.ones((1, 2, side, side), np.float32)
    for pixel in ((5, 6), (side - 1, side - 1), divmod(-(-side * side // 2) + 1, side)):
        x, gy_infinite = np.ones((1, 3, side, side), np.float32), gy.copy()
        x[0, 0][pixel] = gy_infinite[0, 0][pixel] = np.inf
        calls = (
            (ops.conv2d, (x, w)),
            (ops.conv2d_weight, (x, w.shape, gy)),
            (ops.conv2d_input, (x.shape, w, gy_infinite)),
        )
        for op, args in calls:
            expected = op(*args, padding=1)
            found = be.to_numpy(op(*(be.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args), padding=1))
            assert np.isinf(expected).any() and not np.isnan(expected).any()
            assert np.array_equal(found, expected), (op.__name__, pixel)


def every_tile_makes_every_product(be):
    """More than one tile and slice along each axis, all of them ragged; weight gradients alone and in splits."""
    rng = np.random.default_rng(5)
    x, w = (np.round(rng.standard_normal(shape), 1) for shape in ((1, 36, 13, 12), (132, 36, 2, 2)))
    gy = np.round(rng.standard_normal((1, 132, 12, 11)), 1)
    expected = ops.conv2d(x, w), *ops.conv2d.grad(gy, x, w, needs=("x", "w"))
    absolute = ops.conv2d(abs(x), abs(w)), *ops.conv2d.grad(abs(gy), abs(x), abs(w), needs=("x", "w"))
    device = [be.from_numpy(array.astype(np.float32)) for array in (x, w, gy)]
    for tile in TILES:
        for splits in (1, 2):
            with force(tile, splits):
                y = ops.conv2d(*device[:2], allow_tf32=True)
                gradients = ops.conv2d.grad(device[2], *device[:2], needs=("x", "w"), allow_tf32=True)
            for name, got, want, scale in zip("yxw", (y, *gradients), expected, absolute, strict=True):
                assert_close(be.to_numpy(got), want, scale.max(), f"{name} {tile} {splits}", tf32=True)


TENSOR_KERNELS = ("tensor_conv_forward", "tensor_conv_backward_input", "tensor_conv_backward_weight", "sum_splits")
SPECIALS = [
    Special(("conv_forward", "conv_backward_input", "conv_backward_weight"), infinity_goes_only_where_its_windows_are),
    Special(TENSOR_KERNELS, every_tile_makes_every_product),
]
