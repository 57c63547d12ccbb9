"""Cases of convolution."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops import conv_halo, conv_slabs
from gpunet.ops.choices import Choice, force
from gpunet.ops.choices_table import TILED
from tests.harness.case import Case, Special, assert_close

KERNELS = {  # forward, input gradient, weight gradient
    "plain": ("conv_forward", "conv_backward_input", "conv_backward_weight"),
    "direct": ("direct_forward", "conv_backward_input", "direct_backward_weight"),
    "depthwise": ("depthwise_forward", "depthwise_backward_input", "depthwise_backward_weight"),
    "tensor": ("tiled_conv_forward", "tiled_conv_backward_input", "tiled_conv_backward_weight"),
    "fma": ("tiled_conv_forward", "tiled_conv_backward_input", "tiled_conv_backward_weight"),
    "halo": ("halo_conv_forward", "halo_conv_backward_input", "tiled_conv_backward_weight"),
}


def conv_case(op, x, w, b=True, by="plain", dense=(), bias_passes=1, splits=1, id="", **attrs):
    """Return a convolution's case, made `by` one kind of kernels.

    Arrays named in `dense` (of x, w, y) lie channels-last without a copy. With an activation, there is no gradient.
    """
    tensor, tiled = by in ("tensor", "halo"), by in ("tensor", "halo", "fma")
    copies = {"copy_strided": 3 - len(dense)}
    sums = {"sum_splits" if tiled else "sum_axes": 1} if splits > 1 or by in ("direct", "depthwise") else {}
    transposed = "transpose" in op.__name__
    forward, backward_input, backward_weight = KERNELS[by]
    to_outputs, to_inputs = (backward_input, forward) if transposed else (forward, backward_input)
    outputs = w[1] * attrs.get("groups", 1) if transposed else w[0]
    if tensor:
        attrs["allow_tf32"] = True
    relu = {"relu_forward": 1} if "activation" in attrs and by in ("plain", "depthwise") else {}
    return Case(
        op,
        {"x": x, "w": w, "b": (outputs,) if b else None},
        {to_outputs: 1, **copies, **relu},
        {}
        if "activation" in attrs
        else {
            "x": {to_inputs: 1, **copies},
            "w": {backward_weight: 1, **copies, **sums},
            **({"b": {"sum_axes": bias_passes, **({} if "y" in dense else {"copy_strided": 1})}} if b else {}),
        },
        attrs,
        torch=lambda torch, x, w, b, allow_tf32=None, activation="clone", **attrs: getattr(torch, activation)(
            getattr(torch.nn.functional, op.__name__)(x, w, b, **attrs)
        ),
        id=id,
    )


PLAIN_CASES = [
    conv_case(ops.conv2d, (2, 5, 7, 6), (5, 5, 3, 2)),
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
    conv_case(ops.conv2d, (2, 5, 4, 6), (7, 5, 1, 1), dense="w", id="1x1"),
    conv_case(ops.conv2d, (2, 5, 24, 24), (70, 5, 2, 2), id="ragged-tiles", splits=3, bias_passes=2),
    conv_case(ops.conv1d, (3, 4, 11), (6, 2, 3), stride=2, padding=1, groups=2),
    conv_case(ops.conv3d, (2, 5, 4, 5, 6), (3, 5, 2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2)),
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
        ops.conv_transpose3d, (2, 2, 3, 4, 3), (2, 5, 2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2)
    ),
]

DIRECT_CASES = [
    conv_case(ops.conv2d, (2, 3, 7, 6), (5, 3, 3, 2), by="direct", id="direct"),
    conv_case(ops.conv2d, (2, 1, 9, 9), (8, 1, 3, 3), by="direct", dense="xw", id="direct-one-channel", padding=1),
    conv_case(
        ops.conv2d,
        (2, 2, 9, 7),
        (70, 2, 3, 2),
        by="direct",
        id="direct-all",
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
    ),
    conv_case(ops.conv2d, (1, 4, 1, 30), (118, 4, 1, 26), by="direct", id="direct-long", padding=(0, 2)),
    conv_case(ops.conv2d, (2, 2, 15, 20), (9, 2, 2, 2), by="direct", id="direct-slabs"),
    conv_case(ops.conv1d, (3, 4, 19), (1, 4, 5), by="direct", dense="y", id="direct", stride=2, padding=2),
    conv_case(
        ops.conv3d,
        (2, 2, 4, 5, 6),
        (3, 2, 2, 3, 2),
        by="direct",
        id="direct",
        stride=(1, 2, 1),
        padding=(1, 0, 1),
        dilation=(2, 1, 2),
    ),
    conv_case(ops.conv2d, (2, 4, 5, 6), (7, 4, 1, 1), b=False, by="direct", dense="w", id="direct-1x1"),
]

DEPTHWISE_CASES = [
    conv_case(ops.conv2d, (1, 3, 5, 5), (3, 1, 3, 3), by="depthwise", dense="w", id="depthwise", padding=1, groups=3),
    conv_case(
        ops.conv2d,
        (2, 8, 9, 7),
        (8, 1, 3, 2),
        by="depthwise",
        dense="w",
        id="depthwise-all",
        stride=(2, 3),
        padding=(1, 2),
        dilation=(1, 2),
        groups=8,
    ),
    conv_case(
        ops.conv2d,
        (2, 3, 8, 7),
        (9, 1, 3, 4),
        by="depthwise",
        dense="w",
        id="depthwise-multiplier",
        padding=2,
        groups=3,
    ),
    conv_case(
        ops.conv2d, (1, 72, 4, 5), (72, 1, 2, 2), b=False, by="depthwise", dense="w", id="depthwise-wide", groups=72
    ),
    conv_case(ops.conv2d, (1, 36, 4, 5), (36, 1, 2, 2), by="depthwise", dense="w", id="depthwise-ragged", groups=36),
    conv_case(ops.conv2d, (1, 35, 4, 5), (35, 1, 2, 3), by="depthwise", dense="w", id="depthwise-narrow", groups=35),
    conv_case(ops.conv2d, (2, 2, 14, 13), (2, 1, 2, 2), by="depthwise", dense="w", id="depthwise-slabs", groups=2),
    conv_case(
        ops.conv1d, (3, 5, 19), (10, 1, 11), by="depthwise", dense="w", id="depthwise", stride=2, padding=5, groups=5
    ),
    conv_case(
        ops.conv3d,
        (2, 4, 4, 5, 6),
        (4, 1, 2, 3, 2),
        by="depthwise",
        dense="w",
        id="depthwise",
        stride=(1, 2, 1),
        padding=(1, 0, 1),
        dilation=(1, 1, 2),
        groups=4,
    ),
    conv_case(
        ops.conv_transpose2d,
        (2, 6, 4, 5),
        (6, 1, 3, 2),
        by="depthwise",
        dense="w",
        id="depthwise",
        stride=(2, 3),
        padding=(1, 2),
        output_padding=(1, 2),
        groups=6,
        dilation=(2, 1),
    ),
]

TILED_CASES = [
    conv_case(ops.conv2d, (2, 8, 5, 6), (12, 8, 3, 2), by="fma", id="fma", padding=1),
    conv_case(ops.conv2d, (1, 36, 9, 9), (68, 36, 2, 2), by="fma", b=False, id="fma-ragged-tiles"),
    conv_case(ops.conv_transpose1d, (2, 8, 7), (8, 4, 3), by="fma", id="fma", stride=2, groups=2),
    conv_case(ops.conv2d, (2, 16, 17, 6), (12, 16, 3, 2), by="halo", id="halo"),
    conv_case(
        ops.conv2d,
        (2, 16, 11, 21),
        (24, 8, 2, 3),
        by="halo",
        id="halo-all",
        padding=(2, 1),
        dilation=(3, 2),
        groups=2,
        splits=2,
    ),
    conv_case(ops.conv3d, (1, 8, 3, 4, 5), (8, 8, 1, 2, 3), by="halo", b=False, id="halo", padding=(0, 1, 1)),
    conv_case(ops.conv2d, (1, 16, 5, 6), (16, 16, 3, 2), by="tensor", id="tensor", stride=2),
    conv_case(
        ops.conv2d,
        (2, 24, 7, 8),
        (16, 12, 3, 4),
        by="tensor",
        id="tensor-all",
        stride=(2, 3),
        padding=(1, 2),
        dilation=(1, 2),
        groups=2,
    ),
    conv_case(ops.conv2d, (1, 36, 9, 9), (60, 36, 2, 2), by="halo", b=False, id="halo-ragged-tiles"),
    conv_case(ops.conv2d, (1, 36, 17, 17), (68, 36, 2, 2), by="tensor", b=False, id="tensor-ragged-tiles", stride=2),
    conv_case(ops.conv2d, (3, 8, 14, 13), (8, 8, 1, 1), by="tensor", dense="w", splits=5, id="tensor-1x1", stride=1),
    conv_case(
        ops.conv3d,
        (2, 8, 3, 5, 5),
        (4, 8, 1, 1, 1),
        by="tensor",
        dense="w",
        id="tensor-1x1-strided",
        stride=(2, 3, 6),
    ),
    conv_case(
        ops.conv3d,
        (2, 8, 4, 5, 6),
        (12, 8, 2, 3, 2),
        by="tensor",
        id="tensor",
        stride=(1, 2, 1),
        padding=(1, 0, 1),
        dilation=(1, 1, 2),
    ),
    conv_case(ops.conv1d, (3, 8, 11), (8, 4, 3), by="tensor", id="tensor", stride=2, padding=1, groups=2),
    conv_case(
        ops.conv_transpose2d,
        (2, 8, 4, 5),
        (8, 4, 3, 2),
        by="tensor",
        id="tensor-all",
        stride=(2, 3),
        padding=(1, 2),
        output_padding=(1, 2),
        groups=2,
        dilation=(2, 1),
    ),
]

RELU_CASES = [
    conv_case(ops.conv2d, *shapes, by=by, id=f"{by}-relu", activation="relu", **attrs)
    for by, shapes, attrs in (
        ("plain", ((2, 5, 7, 6), (5, 5, 3, 2)), {"stride": 2}),
        ("direct", ((2, 3, 7, 6), (5, 3, 3, 2)), {}),
        ("depthwise", ((2, 5, 6, 7), (5, 1, 3, 3)), {"groups": 5, "dense": "w"}),
        ("fma", ((1, 16, 5, 6), (16, 16, 3, 2)), {}),
        ("tensor", ((1, 16, 5, 6), (16, 16, 3, 2)), {"stride": 2}),
        ("halo", ((1, 8, 6, 7), (8, 8, 3, 3)), {}),
    )
]

CASES = [*PLAIN_CASES, *DIRECT_CASES, *DEPTHWISE_CASES, *TILED_CASES, *RELU_CASES]


def infinity_goes_only_where_its_windows_are(be):
    """All other numbers are positive: where a kernel reads too much and takes it times 0, infinity becomes NaN.

    Pixels: in the middle; the last, beyond which taps and pixels of a tile end; the second one of the second split of a
    weight's gradient, in the midst of a slice of a tile.
    """
    side, tf32 = 23, {"allow_tf32": True}
    for outputs, channels, attrs in (
        (2, 5, {}),
        (2, 3, {}),
        (6, 1, {"groups": 6}),
        (8, 8, tf32),
        (8, 12, {**tf32, "stride": 2}),
    ):
        attrs = {"padding": 1, **attrs}
        x_ones = np.ones((1, channels * attrs.get("groups", 1), side, side), np.float32)
        w = np.ones((outputs, channels, 3, 3), np.float32)
        gy = np.ones(ops.conv2d(x_ones, w, **attrs).shape, np.float32)
        for pixel in ((5, 6), (side - 1, side - 1), divmod(-(-side * side // 2) + 1, side)):
            x, gy_infinite = x_ones.copy(), gy.copy()
            x[0, 0][pixel] = gy_infinite[0, 0].flat[-1 if pixel[0] == side - 1 else 40] = np.inf
            calls = (
                (ops.conv2d, (x, w)),
                (ops.conv2d_weight, (x, w.shape, gy)),
                (ops.conv2d_input, (x.shape, w, gy_infinite)),
            )
            for op, args in calls:
                expected = op(*args, **attrs)
                found = be.to_numpy(op(*(be.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args), **attrs))
                assert np.isinf(expected).any() and not np.isnan(expected).any()
                assert np.array_equal(found, expected), (op.__name__, channels, attrs, pixel)


def blocks_go_round_their_slabs(be):
    """With one block for all pixels, its threads take several strips, or pixels, each."""
    rng = np.random.default_rng(7)
    for x_shape, w_shape, attrs in (
        ((1, 1, 23, 41), (20, 1, 3, 3), {}),
        ((1, 2, 45, 20), (9, 2, 2, 2), {"stride": (2, 1)}),
        ((2, 12, 17, 23), (12, 1, 3, 3), {"groups": 12}),
        ((1, 3, 45, 19), (6, 1, 4, 3), {"groups": 3, "stride": (2, 1)}),
    ):
        x, w, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in (x_shape, w_shape, w_shape[:1]))
        y = ops.conv2d(x, w, b, padding=(1, 2), **attrs)
        gy = rng.integers(-3, 4, y.shape).astype(np.float32)
        expected = (y, *ops.conv2d.grad(gy, x, w, padding=(1, 2), **attrs))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conv_slabs, "_WANTED_BLOCKS", 1)
            x, w, b, gy = map(be.from_numpy, (x, w, b, gy))
            found = (
                ops.conv2d(x, w, b, padding=(1, 2), **attrs),
                *ops.conv2d.grad(gy, x, w, padding=(1, 2), **attrs),
            )
        for name, got, want in zip(("y", "gx", "gw", "gb"), found, expected, strict=True):
            assert np.array_equal(be.to_numpy(got), want), (name, x_shape)  # sums of small integers are exact


def check_every_tile(be, kernel, products, channels, outputs, splits=0, **attrs):
    """Compare products (of y, x, w) with the CPU, for every tile: several tiles and slices along each axis, ragged."""
    rng = np.random.default_rng(5)
    x, w = (np.round(rng.standard_normal(shape), 1) for shape in ((1, channels, 10, 18), (outputs, channels, 2, 2)))
    attrs = {"padding": 1, **attrs}
    gy = np.round(rng.standard_normal(ops.conv2d(x, w, **attrs).shape), 1)

    def make(product, x, w, gy, **attrs):
        return ops.conv2d(x, w, **attrs) if product == "y" else ops.conv2d.grad(gy, x, w, needs=(product,), **attrs)

    device = [be.from_numpy(array.astype(np.float32)) for array in (x, w, gy)]
    for product in products:
        expected = make(product, x, w, gy, **attrs)
        magnitude = make(product, abs(x), abs(w), abs(gy), **attrs).max()
        for tile in TILED[kernel]:
            with force(Choice(kernel, tile, splits=splits)):
                got = be.to_numpy(make(product, *device, allow_tf32=kernel != "fma", **attrs))
            assert_close(got, expected, magnitude, f"{product} {tile}", tf32=kernel != "fma")


def every_tile_of_tensor_cores(be):
    check_every_tile(be, "tensor", "yxw", 36, 132, stride=2)
    check_every_tile(be, "tensor", "w", 36, 132, splits=2)


def every_tile_by_multiply_adds(be):
    check_every_tile(be, "fma", "yxw", 36, 132, stride=2)
    check_every_tile(be, "fma", "w", 36, 132, splits=2)


def every_tile_with_a_halo(be):
    """A block makes all tiles, one after the other; what is read are few channels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_halo, "MULTIPROCESSORS", 1)
        check_every_tile(be, "halo", "y", 36, 132)
        check_every_tile(be, "halo", "x", 132, 36)


def pooled_in_the_same_pass(be):
    """Sums of integers are exact: of small ones often equal, of larger ones in 16 bits equal once they are rounded."""
    rng = np.random.default_rng(8)
    for dtype, tile, most in zip((np.float32, np.float16, np.float32), TILED["halo"], (1, 12, 1), strict=True):
        for x_shape, w_shape, attrs in (
            ((2, 8, 7, 6), (8, 8, 3, 3), {"padding": 1}),
            ((1, 8, 19, 37), (36, 8, 2, 2), {}),
            ((2, 16, 10, 5), (24, 8, 3, 2), {"groups": 2, "dilation": (2, 1)}),
        ):
            shapes = (x_shape, w_shape, w_shape[:1])
            x, w, b = (rng.integers(-most, most + 1, shape).astype(dtype) for shape in shapes)
            x[0, 0, 4, 3] = np.nan
            for activation, bias in ((None, b), ("relu", b), (None, None)):
                how = {**attrs, "allow_tf32": True, "activation": activation}
                expected = ops.conv2d_max_pool2d(x, w, bias, **how)
                device = [array if array is None else be.from_numpy(array) for array in (x, w, bias)]
                before = be.launched["halo_conv_max_pool"]
                with force(Choice("halo", tile)):
                    found = ops.conv2d_max_pool2d(*device, **how)
                assert be.launched["halo_conv_max_pool"] == before + 1
                for got, want in zip(found, expected, strict=True):
                    assert np.array_equal(be.to_numpy(got), want, equal_nan=want.dtype == dtype), (x_shape, how)


SPECIALS = [
    Special(tuple({name for names in KERNELS.values() for name in names}), infinity_goes_only_where_its_windows_are),
    Special((*KERNELS["direct"], *KERNELS["depthwise"]), blocks_go_round_their_slabs),
    Special((*KERNELS["tensor"], "sum_splits"), every_tile_of_tensor_cores),
    Special((*KERNELS["fma"], "sum_splits"), every_tile_by_multiply_adds),
    Special(KERNELS["halo"][:2], every_tile_with_a_halo),
    Special(("halo_conv_max_pool",), pooled_in_the_same_pass),
]
