"""What users see when shapes, dtypes or labels are wrong: whole messages, once per kind of mistake."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.errors import DTypeError, ShapeError


def f32(*shape):
    return np.zeros(shape, np.float32)


def u8(*shape):
    return np.zeros(shape, np.uint8)


def i64(*shape):
    return np.zeros(shape, np.int64)


def test_a_channel_mismatch_shows_everything():
    with pytest.raises(ShapeError) as error:
        ops.conv2d(f32(8, 3, 32, 32), f32(16, 4, 3, 3))
    assert str(error.value).splitlines() == [
        "conv2d: the input's channels do not match the weight.",
        "  x  (N=8, C=3, H=32, W=32) float32 cpu",
        "  w  (O=16, C/groups=4, KH=3, KW=3) float32 cpu",
        "  expected C = C/groups * groups, got 3 and 4 * 1",
        "  hint: build nn.Conv2d(in_channels=3, ...), or move the channel axis of x to 1",
    ]


MISTAKES = [
    (
        lambda: ops.linear(np.zeros((2, 3)), f32(4, 3), f32(4)),
        DTypeError,
        r'different dtypes(.|\n)*hint: x\.astype\("float32"\), of a Tensor x\.to\(dtype="float32"\)',
    ),
    (lambda: ops.mse_loss(f32(2), np.zeros(2)), DTypeError, r'hint: target\.astype\("float32"\)'),
    (lambda: ops.cat(f32(2), f32(2), np.zeros(2)), DTypeError, r'hint: x2\.astype\("float32"\)'),
    (lambda: ops.sum(np.arange(3)), DTypeError, r'hint: x\.astype\("float32"\), of a Tensor x\.to\('),
    (lambda: ops.cat(), DTypeError, r"cat: there is no array\n  expected one or more"),
    (
        lambda: ops.relu(np.arange(3)),
        DTypeError,
        r"relu: x has a dtype without(.|\n)*expected float16, bfloat16, float32 or float64, got int64",
    ),
    (lambda: ops.relu(np.zeros(3, bool)), DTypeError, "expected float16, bfloat16, float32 or float64, got bool"),
    (lambda: ops.add(f32(2, 3), f32(4)), ShapeError, r"add: the shapes do not broadcast\.\n  x  \(2, 3\)"),
    (lambda: ops.add(f32(2), np.zeros(2)), DTypeError, "add: the inputs have different dtypes"),
    (lambda: ops.sum_to_size(f32(2, 3), (2,)), ShapeError, r"expected a size that broadcasts to \(2, 3\), got \(2,\)"),
    (lambda: ops.conv2d(f32(3, 8, 8), f32(4, 3, 3, 3)), ShapeError, r"wrong number of axes(.|\n)*x\[None\]"),
    (lambda: ops.conv2d(f32(1, 3, 2, 8), f32(4, 3, 3, 3)), ShapeError, "the window is larger than the padded input"),
    (lambda: ops.conv2d(f32(1, 4, 8, 8), f32(3, 2, 3, 3), groups=2), ShapeError, r"groups does not divide(.|\n)*got 2"),
    (lambda: ops.conv2d(f32(1, 3, 8, 8), f32(4, 3, 3, 3), f32(3)), ShapeError, "the bias does not match"),
    (lambda: ops.conv2d(f32(1, 3, 8, 8), f32(4, 3, 3, 3), stride=0), ShapeError, "stride is out of range(.|\n)*got 0"),
    (
        lambda: ops.conv2d(f32(1, 3, 8, 8), f32(4, 3, 3, 3), padding="same"),
        ShapeError,
        "padding is out of(.|\n)*'same'",
    ),
    (lambda: ops.conv2d(f32(1, 3, 8, 8), f32(4, 3, 3, 3), dilation=(1, 2, 3)), ShapeError, "dilation is out of range"),
    (
        lambda: ops.conv2d(f32(1, 3, 8, 8), np.zeros((4, 3, 3, 3))),
        DTypeError,
        "conv2d: the inputs have different dtypes",
    ),
    (
        lambda: ops.conv2d.grad(f32(1, 4, 5, 5), f32(1, 3, 8, 8), f32(4, 3, 3, 3)),
        ShapeError,
        r"gy does not fit the forward call\.(.|\n)*expected shape \(1, 4, 6, 6\), got \(1, 4, 5, 5\)",
    ),
    (
        lambda: ops.conv2d.grad(f32(1, 4, 6, 6), f32(1, 3, 8, 8), f32(4, 3, 3, 3), needs=["y"]),
        ValueError,
        r"no gradient for \['y'\]",
    ),
    (
        lambda: ops.conv_transpose2d(f32(1, 3, 4, 4), f32(4, 3, 3, 3)),
        ShapeError,
        r"the input's channels do not match the weight(.|\n)*w  \(C=4, O/groups=3, KH=3, KW=3\)(.|\n)*got 3 and 4",
    ),
    (lambda: ops.conv_transpose2d(f32(3, 4, 4), f32(3, 3, 3, 3)), ShapeError, r"wrong number of axes(.|\n)*x\[None\]"),
    (lambda: ops.conv_transpose1d(f32(1, 3, 4), f32(3, 3, 3), groups=2), ShapeError, r"input channels(.|\n)*C, got 2"),
    (
        lambda: ops.conv_transpose1d(f32(1, 2, 4), f32(2, 3, 3), f32(3), groups=2),
        ShapeError,
        r"expected \(O,\) = \(6,\)",
    ),
    (
        lambda: ops.conv_transpose1d(f32(1, 2, 4), f32(2, 3, 3), stride=2, output_padding=2),
        ShapeError,
        r"output_padding is out of range(.|\n)*got \(2,\) and stride=\(2,\), dilation=\(1,\)",
    ),
    (
        lambda: ops.conv_transpose1d(f32(1, 2, 4), f32(2, 3, 3), padding=3),
        ShapeError,
        "nothing is left inside the padding(.|\n)*use less padding",
    ),
    (lambda: ops.linear(f32(2, 3), f32(4, 5)), ShapeError, r"expected x \(\.\.\., D\) and w \(O, D\), got D=3"),
    (lambda: ops.linear(f32(2, 5), f32(4, 5), f32(5)), ShapeError, "linear: the bias does not match"),
    (
        lambda: ops.embedding(f32(4), i64(2)),
        ShapeError,
        r"the weight is no matrix(.|\n)*\(V, D\), got 1 axes",
    ),
    (
        lambda: ops.embedding(f32(4, 2), f32(2)),
        DTypeError,
        r"the indices have a wrong dtype(.|\n)*int64, got float32(.|\n)*hint: indices\.astype\(\"int64\"\)",
    ),
    (
        lambda: ops.normalize_images(f32(2, 3, 4), i64(2), 0, 1),
        DTypeError,
        "images has a wrong(.|\n)*got float32",
    ),
    (lambda: ops.normalize_images(u8(2, 3, 4), f32(2), 0, 1), DTypeError, "index has a wrong dtype(.|\n)*got float32"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), 0, 1, np.int32), DTypeError, "float32 or float64, got int32"),
    (lambda: ops.normalize_images(u8(2), i64(2), 0, 1), ShapeError, r"wrong shape(.|\n)*hint: images\[:, None\]"),
    (lambda: ops.normalize_images(u8(2, 65, 4), i64(2), 0, 1), ShapeError, r"images \(M, C, \.\.\.\) with C <= 64"),
    (lambda: ops.normalize_images(u8(2, 3, 4), i64(2, 1), 0, 1), ShapeError, r"and index \(N,\)"),
    (
        lambda: ops.normalize_images(u8(2, 3), i64(2), [0, 1], 1),
        ShapeError,
        r"mean does not(.|\n)*C = 3 .* got 2",
    ),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), 0, [1] * 4), ShapeError, "std does not match the channels"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), 0, [1, 0, 1]), ValueError, r"std must not be 0, got \(1\.0, 0\.0"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), "a", 1), TypeError, "mean must be a number or a sequence of numb"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), 0, None), TypeError, "std must be a number (.|\n)*got None"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2), 0, 1, layout="NHWC"), ValueError, "layout must be .*NHWC"),
    (lambda: ops.normalize_images(u8(2, 3), i64(2) + 2, 0, 1), IndexError, r"0 <= index < M = 2, got 2 to 2"),
    (
        lambda: ops.normalize_images(u8(2, 3), i64(2) - 1, 0, 1),
        IndexError,
        "normalize_images: an index is out of range",
    ),
    (lambda: ops.embedding(i64(4, 2), i64(2)), DTypeError, "embedding: weight has a dtype without"),
    (lambda: ops.embedding(f32(4, 2), i64(2) + 4), IndexError, r"an index is out(.|\n)*0 <= index < V = 4, got 4 to 4"),
    (lambda: ops.embedding(f32(4, 2), np.array([2, -1])), IndexError, "embedding: an index is out(.|\n)*got -1 to 2"),
    (lambda: ops.embedding(f32(0, 2), i64(1)), IndexError, "0 <= index < V = 0"),
    (lambda: ops.embedding(f32(4, 2), i64(2), 4), ValueError, r"no row padding_idx\.\n  expected -4 to 3, got 4"),
    (lambda: ops.embedding(f32(4, 2), i64(2), -5), ValueError, "no row padding_idx"),
    (lambda: ops.embedding(f32(4, 2), i64(2), 1.0), TypeError, "padding_idx must be an int, got 1.0"),
    (
        lambda: ops.embedding.grad(f32(3, 2), i64(2), input_size=(4, 2)),
        ShapeError,
        r"embedding: gy does not fit(.|\n)*expected shape \(2, 2\), got \(3, 2\)",
    ),
    (lambda: ops.embedding.grad(f32(2, 2), i64(2) + 4, input_size=(4, 2)), IndexError, "embedding: an index is out"),
    (lambda: ops.embedding.grad(f32(2, 2), i64(2)), TypeError, "missing keyword argument 'input_size'"),
    (
        lambda: ops.matmul(f32(2, 3), f32(4, 5)),
        ShapeError,
        r"matmul: the operands do not fit\.\n  a  \(M=2, K=3\)(.|\n)*b  \(K=4, N=5\)(.|\n)*got K=3 and K=4",
    ),
    (lambda: ops.matmul(f32(2, 3), f32(2)), ShapeError, "got K=3 and K=2"),
    (lambda: ops.matmul(f32(2), f32(3, 2, 4, 5)), ShapeError, "got K=2 and K=4"),
    (lambda: ops.matmul(f32(2, 4, 3), f32(3, 3, 5)), ShapeError, "matmul: the batches do not broadcast"),
    (lambda: ops.matmul(f32(), f32(3)), ShapeError, "an operand has no axes(.|\n)*hint: ops.mul"),
    (lambda: ops.matmul(f32(3), f32()), ShapeError, "an operand has no axes"),
    (lambda: ops.matmul(f32(2, 3), np.zeros((3, 2))), DTypeError, "matmul: the inputs have different dtypes"),
    (lambda: ops.matmul(i64(2, 3), i64(3, 2)), DTypeError, "matmul: a has a dtype without(.|\n)*got int64"),
    (
        lambda: ops.matmul.grad(f32(2, 4), f32(2, 3), f32(3, 5)),
        ShapeError,
        r"gy does not fit the forward call\.(.|\n)*expected shape \(2, 5\), got \(2, 4\)",
    ),
    (lambda: ops.max_pool2d(f32(1, 1, 4, 4), 0), ShapeError, "a window size is out of range(.|\n)*kernel_size=0"),
    (lambda: ops.max_pool2d(f32(1, 1, 4, 4), (2.5, 2)), ShapeError, r"a window size is out of range(.|\n)*\(2\.5, 2\)"),
    (lambda: ops.max_pool2d(f32(1, 1, 4, 4), 5), ShapeError, "use a smaller kernel_size"),
    (lambda: ops.max_pool2d(f32(1, 1, 4, 4), 2, padding=2), ShapeError, "padding is larger than half of the window"),
    (lambda: ops.max_pool2d(f32(1, 4, 4), 2), ShapeError, r"expected 4 axes, got 3(.|\n)*x\[None\]"),
    (
        lambda: ops.softmax(f32(2, 3), 2),
        IndexError,
        r"softmax: there is no such axis(.|\n)*-2 <= dim < 2, got 2",
    ),
    (lambda: ops.softmax(f32(2, 3), None), TypeError, "softmax: dim must be an int, got None"),
    (
        lambda: ops.mse_loss(f32(8, 1), f32(8)),
        ShapeError,
        r"mse_loss: x and the target have different shapes\.(.|\n)*losses do not broadcast(.|\n)*x\.reshape\(target",
    ),
    (lambda: ops.l1_loss(f32(3), np.zeros(3)), DTypeError, "l1_loss: the inputs have different dtypes"),
    (lambda: ops.l1_loss(f32(3), f32(3), "avg"), ValueError, 'l1_loss: reduction must be "mean", "sum" or "none"'),
    (
        lambda: ops.binary_cross_entropy_with_logits(f32(2, 3), f32(2, 3), pos_weight=f32(2)),
        ShapeError,
        r"a weight does not broadcast to the logits\.(.|\n)*pos_weight  \(2\)",
    ),
    (lambda: ops.max_pool2d([[1.0]], 2), DTypeError, r"builtins\.list is not an array"),
    (lambda: ops.max_pool1d(f32(1, 1, 0), 2), ShapeError, "max_pool1d: x has no pixels"),
    (lambda: ops.max_pool2d(np.zeros((1, 1, 4, 4), int), 2), DTypeError, "max_pool2d: x has a dtype without"),
    (
        lambda: ops.avg_pool2d(f32(1, 1, 4, 4), 3, padding=2),
        ShapeError,
        r"avg_pool2d: padding is larger than half(.|\n)*got \(2, 2\) and \(3, 3\)",
    ),
    (lambda: ops.avg_pool2d(f32(1, 1, 4, 4), (2, 3, 4)), ShapeError, r"a window size(.|\n)*kernel_size=\(2, 3, 4\)"),
    (lambda: ops.avg_pool1d(f32(1, 1, 4), 5), ShapeError, "avg_pool1d: the window is larger than the padded input"),
    (lambda: ops.avg_pool1d(f32(1, 1, 4), 2, divisor_override=0), ValueError, "an int other than 0, got 0"),
    (lambda: ops.adaptive_avg_pool2d(f32(1, 1, 4, 4), (2, 0)), ShapeError, r"output_size is out(.|\n)*got \(2, 0\)"),
    (lambda: ops.adaptive_avg_pool1d(f32(1, 1, 4), 2.0), ShapeError, r"output_size is out of range(.|\n)*got 2\.0"),
    (lambda: ops.adaptive_avg_pool1d(f32(1, 1, 4), "2"), ShapeError, "output_size is out of range(.|\n)*got '2'"),
    (
        lambda: ops.max_unpool1d(f32(1, 1, 2), np.zeros((1, 1, 2), np.int64), 2, output_size=4),
        ShapeError,
        "the output size is out of range(.|\n)*1 ints, got 4",
    ),
    (lambda: ops.adaptive_max_pool2d(f32(1, 1, 4, 4), (2,)), ShapeError, "an int, None or 2 of them"),
    (
        lambda: ops.max_unpool1d(f32(1, 1, 2), np.array([[[0, 4]]]), 2),
        IndexError,
        r"max_unpool1d: an index is out of range\.\n  expected 0 <= index < 4 pixels, got 0 to 4",
    ),
    (lambda: ops.max_unpool1d(f32(1, 1, 2), np.array([[[-1, 0]]]), 2), IndexError, "got -1 to 0"),
    (lambda: ops.max_unpool1d.grad(f32(1, 1, 4), np.array([[[4, 0]]]), kernel_size=2), IndexError, "got 0 to 4"),
    (
        lambda: ops.max_unpool2d(f32(1, 1, 2, 2), np.zeros((1, 1, 2, 3), np.int64), 2),
        ShapeError,
        r"x and indices have different shapes(.|\n)*indices  \(N=1, C=1, H=2, W=3\) int64",
    ),
    (lambda: ops.max_unpool1d(f32(1, 1, 2), np.zeros((1, 1, 2), int)[0], 2), ShapeError, "have different shapes"),
    (
        lambda: ops.max_unpool1d(f32(1, 1, 2), np.zeros((1, 1, 2), np.int32), 2),
        DTypeError,
        r'expected int64, got int32(.|\n)*astype\("int64"\)',
    ),
    (
        lambda: ops.max_unpool1d(f32(1, 1, 2), np.zeros((1, 1, 2), np.int64), 2, output_size=(6,)),
        ShapeError,
        r"the output size is out of range(.|\n)*less than stride=\(2,\) away from \(4,\), got \(6,\)",
    ),
    (
        lambda: ops.max_unpool2d(f32(1, 1, 2, 2), np.zeros((1, 1, 2, 2), np.int64), 2, output_size=(4,)),
        ShapeError,
        "expected 2 sizes >= 1",
    ),
    (lambda: ops.max_unpool1d(f32(1, 1, 1), np.zeros((1, 1, 1), np.int64), 2, 1, 1), ShapeError, r"got \(0,\)"),
    (
        lambda: ops.max_unpool2d.grad(f32(1, 1, 4), np.zeros((1, 1, 2), np.int64), kernel_size=2),
        ShapeError,
        "indices has the wrong number of axes",
    ),
    (lambda: ops.adaptive_max_pool2d(f32(1, 4, 4), 2), ShapeError, r"expected 4 axes, got 3(.|\n)*x\[None\]"),
    (
        lambda: ops.adaptive_avg_pool1d(np.broadcast_to(f32(1, 1, 1), (1, 1, 2**17)), 2**15 + 1),
        ShapeError,
        r"an axis is too long for windows of different sizes(.|\n)*got \[\(131072, 32769\)\]",
    ),
    (lambda: ops.cross_entropy(f32(2, 3), np.array([0, 3])), IndexError, "expected 0 <= target < C = 3, got 0 to 3"),
    (lambda: ops.cross_entropy(f32(2, 3), np.array([-1, 0])), IndexError, "got -1 to 0"),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros(2, np.uint8)),
        DTypeError,
        r'expected int64, got uint8(.|\n)*astype\("int64"\)',
    ),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros((2, 3), np.int64)),
        ShapeError,
        r"one class index per row; as probabilities: target\.astype",
    ),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros((2, 3))),
        DTypeError,
        "cross_entropy: the inputs have different dtypes",
    ),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros(2, np.int64), f32(2)),
        ShapeError,
        r"the weight does not match(.|\n)*weight  \(C=2\)(.|\n)*expected weight \(C,\) with C = 3",
    ),
    (lambda: ops.cross_entropy(f32(2, 3), f32(2, 3), ignore_index=1), ValueError, "must be negative with prob"),
    (lambda: ops.cross_entropy(f32(2, 3), f32(2, 3), label_smoothing=1.5), ValueError, r"in \[0, 1\], got 1\.5"),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros(3, np.int64)),
        ShapeError,
        r"expected x \(N, C, \.\.\.\) with class indices \(N",
    ),
    (lambda: ops.cross_entropy(f32(2, 3), np.zeros(2, np.int64), reduction="avg"), ValueError, "reduction must be"),
    (
        lambda: ops.sgd_step(f32(3), f32(4), None, i64(1), i64(0, 3), f32(1)),
        ShapeError,
        r"sgd_step: the buffers do not match(.|\n)*expected param, grad, momentum_buffer \(size,\), steps",
    ),
    (
        lambda: ops.adam_step(f32(3), f32(3), f32(3), f32(3), f32(4), i64(1), i64(0, 3), f32(1)),
        ShapeError,
        r"adam_step: the buffers do not match(.|\n)*max_exp_avg_sq  \(4\) float32",
    ),
    (
        lambda: ops.adam_step(f32(3), f32(3), f32(3), np.zeros(3), None, i64(1), i64(0, 3), f32(1)),
        DTypeError,
        "exp_avg_sq has the wrong dtype(.|\n)*expected float32, got float64",
    ),
    (
        lambda: ops.adam_step(f32(3), f32(3), f32(3), f32(3), None, f32(1), i64(0, 3), f32(1)),
        DTypeError,
        "steps has the wrong dtype(.|\n)*expected int64, got float32",
    ),
    (lambda: ops.conv2d(f32(1, 3, 8, 8), f32(3, 3, 3, 3), layout="NHWC"), ValueError, "layout must(.|\n)*'NHWC'"),
    (lambda: ops.max_pool2d(f32(1, 3, 8, 8), 2, layout="nchw"), ValueError, "layout must be(.|\n)*got 'nchw'"),
    (lambda: ops.conv2d([[1.0]], f32(4, 3, 3, 3)), DTypeError, r"builtins\.list is not an array"),
    *(
        (call, DTypeError, r"builtins\.list is not an array")
        for call in (
            lambda: ops.add(f32(2), [1.0, 2.0]),
            lambda: ops.sum([1.0, 2.0], 0),
            lambda: ops.reshape([1.0, 2.0], (2, 1)),
            lambda: ops.flatten([1.0, 2.0]),
            lambda: ops.permute([1.0, 2.0], (0,)),
            lambda: ops.getitem([1.0, 2.0], 0),
            lambda: ops.cast([1.0, 2.0], "float32"),
            lambda: ops.cat([f32(2), f32(2)]),
        )
    ),
    (
        lambda: ops.linear(f32(2, 3), None),
        DTypeError,
        r"linear: w is None\.\n  x  \(N=2, D=3\) float32 cpu\n  expected an arr",
    ),
    (lambda: ops.conv1d(None, f32(1, 1, 1)), DTypeError, "conv1d: x is None"),
    (lambda: ops.mse_loss(f32(2), None), DTypeError, "mse_loss: target is None"),
    (lambda: ops.cross_entropy(f32(2, 3), None), DTypeError, "cross_entropy: target is None"),
    (lambda: ops.cat(f32(2), None), DTypeError, "cat: x1 is None"),
    (lambda: ops.sgd_step(f32(3), f32(3), None, None, i64(0, 3), f32(1)), DTypeError, "sgd_step: steps is None"),
    (lambda: ops.max_pool2d(f32(1, 1, 4, 4), None), ShapeError, "a window size is out of range(.|\n)*kernel_size=None"),
    (lambda: ops.avg_pool2d(f32(1, 1, 4, 4), 2, padding=None), ShapeError, "out of range(.|\n)*padding=None"),
    *(
        (
            lambda beta=beta: ops.adam_step(*[f32(3)] * 4, None, i64(1), i64(0, 3), f32(1), **{beta: 1.0}),
            ValueError,
            rf"adam_step: {beta} must be >= 0 and < 1, got 1\.0",
        )
        for beta in ("beta1", "beta2")
    ),
    (lambda: ops.mul(f32(2), 1j), DTypeError, r"builtins\.complex is not an array"),
    (lambda: ops.cat(f32(2), f32(2), dim=0.5), TypeError, r"cat: dim must be an int, got 0\.5"),
    (lambda: ops.sum(f32(2), 1.0), TypeError, r"sum: dim must be an int, got 1\.0"),
    (lambda: ops.mean(f32(2), (0, None)), TypeError, r"mean: dim must be a tuple of ints, got \(0, None\)"),
    (lambda: ops.permute(f32(2), 0), TypeError, "permute: dims must be a tuple of ints, got 0"),
    (lambda: ops.reshape(f32(2), (2.0, 1)), TypeError, r"reshape: shape must be a tuple of ints, got \(2\.0, 1\)"),
    (lambda: ops.reshape(f32(2), 2), TypeError, "reshape: shape must be a tuple of ints, got 2"),
    (lambda: ops.flatten(f32(2), 0, 0.5), TypeError, r"flatten: end_dim must be an int, got 0\.5"),
    (lambda: ops.sum_to_size(f32(2), 1), TypeError, "sum_to_size: size must be a tuple of ints, got 1"),
    (lambda: ops.conv1d(f32(1, 2, 3), f32(2, 1, 1), groups=2.0), TypeError, r"conv1d: groups must be an int, got 2\.0"),
    (lambda: ops.conv_transpose1d(f32(1, 2, 3), f32(2, 1, 1), groups="2"), TypeError, "groups must be an int, got '2'"),
    (
        lambda: ops.avg_pool1d(f32(1, 2, 3), 1, divisor_override=1.5),
        TypeError,
        r"divisor_override must be an int, got 1\.5",
    ),
    (
        lambda: ops.cross_entropy(f32(2, 3), np.zeros(2, np.int64), ignore_index=0.5),
        TypeError,
        r"cross_entropy: ignore_index must be an int, got 0\.5",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_gets_one_clear_error(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def on(be, array):
    return be.from_numpy(np.asarray(array))


WRONG_GRADIENTS = [
    (
        lambda be: ops.mse_loss.grad(on(be, f32(3)), on(be, f32(3)), on(be, f32(3))),
        ShapeError,
        r"gy does not fit the forward call(.|\n)*expected shape \(\), got \(3,\)",
    ),
    (lambda be: ops.relu.grad(on(be, f32(3)), on(be, f32(5))), ShapeError, r"gy does not fit(.|\n)*\(5,\), got \(3,\)"),
    (lambda be: ops.relu.grad(on(be, np.zeros(5)), on(be, f32(5))), DTypeError, "expected float32, got float64"),
    (lambda be: ops.linear.grad(on(be, f32(2, 3)), on(be, f32(2, 5)), on(be, f32(4, 5))), ShapeError, r"\(2, 4\), got"),
    (
        lambda be: ops.max_pool2d.grad(
            on(be, f32(1, 1, 2, 2)),
            on(be, np.zeros((1, 1, 2, 2), np.uint8)),
            kernel_size=2,
            input_size=(1, 1, 8, 8),
        ),
        ShapeError,
        r"winner does not fit the forward call(.|\n)*expected shape \(1, 1, 4, 4\), got \(1, 1, 2, 2\)",
    ),
    (
        lambda be: ops.max_pool2d.grad(
            on(be, f32(1, 1, 2, 2)), on(be, np.zeros((1, 1, 2, 2), np.int64)), kernel_size=2, input_size=(1, 1, 4, 4)
        ),
        DTypeError,
        "expected uint8, got int64",
    ),
    (
        lambda be: ops.adaptive_avg_pool2d.grad(on(be, f32(1, 1, 2, 3)), output_size=2, input_size=(1, 1, 4, 4)),
        ShapeError,
        r"gy does not fit the forward call(.|\n)*expected shape \(1, 1, 2, 2\), got \(1, 1, 2, 3\)",
    ),
    (
        lambda be: ops.avg_pool2d.grad(on(be, f32(1, 1, 2, 2)), kernel_size=2),
        TypeError,
        "avg_pool2d.grad: missing keyword",
    ),
    *(
        (call, TypeError, rf"{name}\.grad: missing keyword argument '{keyword}'")
        for name, keyword, call in (
            ("sum", "input_size", lambda be: ops.sum.grad(on(be, f32(2)), dim=1)),
            ("mean", "input_size", lambda be: ops.mean.grad(on(be, f32(2)), dim=1)),
            ("reshape", "input_size", lambda be: ops.reshape.grad(on(be, f32(2)), shape=(2,))),
            ("getitem", "input_size", lambda be: ops.getitem.grad(on(be, f32(2)), index=0)),
            ("permute", "input_size", lambda be: ops.permute.grad(on(be, f32(2)), dims=(0,))),
            ("cat", "sizes", lambda be: ops.cat.grad(on(be, f32(2)))),
            ("cast", "input_dtype", lambda be: ops.cast.grad(on(be, f32(2)), dtype=np.float32)),
            ("add", "sizes", lambda be: ops.add.grad(on(be, f32(2)))),
            ("mul", "sizes", lambda be: ops.mul.grad(on(be, f32(2)), on(be, f32(2)), on(be, f32(2)))),
        )
    ),
    (
        lambda be: ops.cross_entropy.grad(
            *(on(be, a) for a in (f32(), f32(4, 3), np.zeros(4, np.int64))), None, *(on(be, f32(n)) for n in (4, 2, 1))
        ),
        ShapeError,
        r"log_sum does not fit the forward call(.|\n)*expected shape \(4,\), got \(2,\)",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG_GRADIENTS, ids=range(len(WRONG_GRADIENTS)))
def test_a_gradient_refuses_what_does_not_fit_its_forward_call(be, call, kind, text):
    with pytest.raises(kind, match=text):
        call(be)


def test_a_gradient_is_told_what_it_needs_to_know_of_the_forward_call(be):
    gy, x, y = (on(be, np.array(values, np.float32)) for values in ([[1, 2]], [[3, 4]], [5, 6]))
    for got, expected in (
        (ops.sum.grad(on(be, np.float32([1, 2])), dim=1, input_size=(2, 2)), [[1, 1], [2, 2]]),
        (ops.mean.grad(on(be, np.float32([1, 2])), dim=1, input_size=(2, 2)), [[0.5, 0.5], [1, 1]]),
        (ops.add.grad(gy, needs=["y"], sizes=(x.shape, y.shape)), [1, 2]),
        (ops.mul.grad(gy, x, y, needs=["y"], sizes=(x.shape, y.shape)), [3, 8]),
        (ops.mul.grad(gy, x, None, needs=["x"], sizes=(x.shape, None), number=3), [[3, 6]]),
        (ops.div.grad(gy, None, None, needs=["x"], sizes=(x.shape, None), number=2), [[0.5, 1]]),
        (ops.getitem.grad(gy, index=slice(1), input_size=(2, 2)), [[1, 2], [0, 0]]),
    ):
        assert be.to_numpy(got).tolist() == expected


def read_only(array):
    array.flags.writeable = False
    return array


def test_a_call_that_would_change_what_is_read_only_changes_nothing():
    x, state, counters = read_only(np.ones(3, np.float32)), np.full(3, 2, np.float32), np.zeros(1, np.int64)
    chunks, lr = np.array([[0, 3, 0]]), np.ones(1, np.float32)
    for name, call in {
        "param": lambda: ops.sgd_step(x, f32(3), state, counters, chunks, lr, 0.9),
        "exp_avg_sq": lambda: ops.adam_step(state, f32(3), f32(3), x, None, counters, chunks, lr),
        "x": lambda: ops.clip_by_norm(x, np.array(9, np.float32)),
        "partials": lambda: ops.norm_partials(x[:1], f32(3)),
        "running_var": lambda: ops.batch_norm(f32(2, 3), state, x, training=True),
    }.items():
        with pytest.raises(ValueError, match=rf": {name} is read-only\.\n(.|\n)*hint: {name} = {name}\.copy\(\)"):
            call()
    assert state.tolist() == [2, 2, 2] and counters.tolist() == [0]


def test_running_statistics_may_be_read_only_in_evaluation():
    for dtype in (np.float16, np.float32):
        running = [read_only(np.ones(3, dtype)) for _ in range(2)]
        assert np.isfinite(ops.batch_norm(np.zeros((2, 3), dtype), *running)).all()


def test_integers_of_numpy_are_integers():
    one, x = np.int64(1), np.float32([[[1, 2], [3, 4]]])
    assert ops.sum(x, one).tolist() == ops.sum(x, (one,)).tolist() == [[4, 6]]
    assert ops.avg_pool1d(x, 2, divisor_override=one).tolist() == [[[3], [7]]]
    assert ops.adaptive_avg_pool1d(x, one).tolist() == [[[1.5], [3.5]]]
    assert ops.cat(x, x, dim=one).shape == (1, 4, 2) and ops.flatten(x, one).shape == (1, 4)


def test_errors_are_what_pytorch_and_numpy_users_catch():
    assert issubclass(ShapeError, RuntimeError) and issubclass(ShapeError, ValueError)
    assert issubclass(DTypeError, RuntimeError) and issubclass(DTypeError, TypeError)
