"""Work against numbers counted by hand, and sizes against what the ops really make."""

from __future__ import annotations

import numpy as np
import pytest

from bench import shapes, work
from bench.shapes import Conv, Flat, Images, Pool, Rows
from bench.work import Work
from gpunet import models, ops


def test_convolution_is_counted_by_outputs_and_taps():
    # 3x3 pixels of 2 channels, 2x2 windows, 3 filters: y is 3x2x2 = 12, each of 2*2*2 = 8 taps.
    # x has 18 elements, w 24, the bias 3.
    case = Conv(n=1, c=2, o=3, size=3, window=2)
    assert work.conv(case, "forward") == Work(flops=12 * 8 * 2, bytes=(18 + 24 + 3 + 12) * 4)
    assert work.conv(case, "input gradient") == Work(flops=192, bytes=(12 + 24 + 18) * 4)
    assert work.conv(case, "weight gradient") == Work(flops=192, bytes=(12 + 18 + 24) * 4)
    assert work.conv(case, "forward", itemsize=2).bytes == 57 * 2


def test_a_bias_is_the_first_addend():
    # One output of 4 taps: 4 multiplications, 3 additions, and the bias.
    assert work.conv(Conv(1, 1, 1, 2, 2), "forward").flops == 4 + 3 + 1


def test_linear_layer_is_a_matrix_product():
    # 2 rows of 3 to 4: 8 outputs of 3 products and additions each.
    assert work.linear(2, 3, 4, "forward") == Work(8 * 3 * 2, (6 + 12 + 4 + 8) * 4)
    assert work.linear(2, 3, 4, "weight gradient") == Work(48, (8 + 6 + 12) * 4)


def test_pooling_compares_and_its_gradient_adds():
    # 4x4 pixels, 2x2 windows: 4 outputs of 3 comparisons each; a winner is one byte.
    case = Pool(n=1, c=1, size=4, window=2, stride=2)
    assert work.max_pool(case, "forward") == Work(12, (16 + 4) * 4 + 4)
    assert work.max_pool(case, "gradient") == Work(4, (16 + 4) * 4 + 4)


def test_of_a_convolution_that_is_pooled_only_the_winners_are_written():
    # 16 outputs of 4 products, clipped, and 3 comparisons for each of 4 windows; 25 pixels, 4 weights and a bias read.
    assert work.conv_max_pool(Conv(1, 1, 1, 5, 2)) == Work(16 * 8 + 16 + 4 * 3, (25 + 4 + 1 + 4) * 4 + 4)


def test_averages_add_and_divide():
    # 4 outputs of 3 additions and a multiplication each; the gradient multiplies once per output.
    case = Pool(n=1, c=1, size=4, window=2, stride=2)
    assert work.avg_pool(case, "forward") == Work(16, (16 + 4) * 4)
    assert work.avg_pool(case, "gradient") == Work(4, (16 + 4) * 4)


def test_loss_counts_each_step_of_the_formula():
    # One row of two classes. Loss: 1 comparison, 2 subtractions, 2 exponentials, 1 addition, 1 logarithm, 1 addition,
    # 1 subtraction; the mean: 1 multiplication; gradient: 2 subtractions, 2 exponentials, 1 subtraction, 2 products.
    assert work.cross_entropy(Rows(1, 2)) == Work(9 + 1 + 7, 2 * 4 + 8 + 4 + 2 * 4)


def test_softmax_counts_each_step_of_the_formula():
    # Two columns: 1 comparison, 2 subtractions, 2 exp, 1 addition; then 2 divisions, or a logarithm and 2 subtractions.
    assert work.softmax(Rows(3, 2, "softmax"), "forward") == Work(3 * 8, 2 * 6 * 4)
    assert work.softmax(Rows(3, 2, "log_softmax"), "forward") == Work(3 * 9, 2 * 6 * 4)
    # Gradients: 2 products, 1 addition, 2 subtractions, 2 products; 1 addition, 2 each of exp, product, subtraction.
    assert work.softmax(Rows(3, 2, "log_softmax"), "gradient") == Work(3 * 7, 3 * 6 * 4)


def test_batch_norm_counts_each_step_of_the_formula():
    # Mean: an addition. Variance: a subtraction, a square, an addition. y: a multiplication, an addition.
    assert work.batch_norm(Images(1, 2, 3), "forward") == Work((1 + 3 + 2) * 18, 2 * 18 * 4)
    # xhat: 2; sum of gy: 1; sum of gy * xhat: 2; gx = scale * (gy - mean - xhat * mean): 4.
    assert work.batch_norm(Images(1, 2, 3), "gradient") == Work((2 + 1 + 2 + 4) * 18, 3 * 18 * 4)


def test_sums_over_all_come_first_so_streams_are_read_twice():
    # x, x and y; gy and x, gy and x, gx.
    assert work.batch_norm(Images(1, 2, 3), "forward", streamed=True) == Work(6 * 18, 3 * 18 * 4)
    assert work.batch_norm(Images(1, 2, 3), "gradient", streamed=True) == Work(9 * 18, 5 * 18 * 4)


def test_a_group_sees_its_own_channels_only():
    # 4 channels in 2 groups to 6, one pixel: each of 6 outputs has 2 taps; w has 6 * 2 elements.
    case = Conv(n=1, c=4, o=6, size=1, window=1, groups=2)
    assert work.conv(case, "weight gradient") == Work(6 * 2 * 2, (4 + 12 + 6) * 4)
    assert case.w == (6, 2, 1, 1) and str(case) == "N1 4->6 1x1 1x1 g2"


def test_a_pass_of_the_loss_is_a_part_of_both():
    # One row of two classes, as above: 9 and the mean, 7 for the gradient; each reads logits and target.
    assert work.cross_entropy_pass(Rows(1, 2), "forward") == Work(9 + 1, 2 * 4 + 8 + 4)
    assert work.cross_entropy_pass(Rows(1, 2), "gradient") == Work(7, 2 * 4 + 8 + 2 * 4)


def test_additions_and_sums():
    # 2x3 and a row of 3: 6 additions; 15 elements move. Sums of 2 rows of 3: 2 additions each.
    assert work.add((2, 3), (3,)) == Work(6, (6 + 3 + 6) * 4)
    assert work.total((2, 3), 2, itemsize=2) == Work(4, (6 + 2) * 2)


def test_elementwise_losses_read_two_arrays_and_write_one():
    assert work.loss(Rows(2, 3, "mse_loss")) == Work(4 * 6, 3 * 6 * 4 + 4)


def test_elementwise_and_optimizer_traffic():
    assert work.activation("relu", (2, 3), "forward") == Work(6, 2 * 6 * 4)
    assert work.activation("sigmoid", (2, 3), "gradient") == Work(3 * 6, 3 * 6 * 4)
    assert work.dropout((2, 3)) == Work(2 * 6, 2 * 6 * 4)
    assert work.sgd(Flat(10)) == Work(40, 5 * 40)
    assert work.adam(Flat(10)) == Work(130, 7 * 40)
    assert work.norm(Flat(10)) == Work(20, 40)
    assert work.scale(Flat(10)) == Work(10, 2 * 40)
    assert work.copy((2, 3), itemsize=2) == Work(0, 2 * 6 * 2)


def test_a_training_step_is_the_sum_of_its_parts():
    # One image through one linear layer of 3 to 2: two products of 12 operations, the loss and 8 parameters.
    step = shapes.Step("", 1, (3, 2))
    loss, update = work.cross_entropy(Rows(1, 2)), work.sgd(Flat(8))
    assert work.train_step(step).flops == 12 + 12 + loss.flops + update.flops
    assert work.train_step(step).bytes == (3 + 6 + 2 + 2) * 4 + (2 + 3 + 6) * 4 + loss.bytes + update.bytes


def test_a_training_step_leaves_out_the_gradient_of_the_images_only():
    step = shapes.TINY_CNN
    forward = sum(work.conv(layer, "forward").flops for layer in step.convs)
    forward += sum(work.linear(step.n, *sizes, "forward").flops for sizes in step.linears)
    products = 3 * forward - work.conv(step.convs[0], "input gradient").flops
    rest = [work.cross_entropy(Rows(2, 10)), work.sgd(Flat(2346))]
    for which in work.PASSES:
        rest += [work.activation("relu", layer.y, which) for layer in step.convs]
        rest += [work.max_pool(step.pool, which)]
    assert work.train_step(step).flops == products + sum(part.flops for part in rest)


def test_a_training_step_counts_the_dropout_of_its_model():
    with_dropout, without = (shapes.Step("", 2, (5, 4, 3), dropout=dropout) for dropout in (True, False))
    extra = [work.dropout((2, size)) for size in (5, 5, 4, 4)]
    assert work.train_step(with_dropout).flops == work.train_step(without).flops + sum(part.flops for part in extra)


@pytest.mark.parametrize("step", [shapes.MLP, shapes.CNN, shapes.TINY_CNN], ids=str)
def test_steps_describe_the_models(step):
    assert step.parameters == sum(p.numel() for p in getattr(models, step.model)().parameters())


@pytest.mark.parametrize("case", [shapes.TINY_CONV, Conv(1, 2, 3, 8, 3), Conv(1, 2, 2, 9, 1, stride=2)], ids=str)
def test_sizes_of_convolutions_are_those_of_the_op(case):
    assert ops.conv2d(np.zeros(case.x), np.zeros(case.w), None, case.stride, case.padding).shape == case.y


@pytest.mark.parametrize("case", [shapes.TINY_POOL, Pool(1, 2, 8, 3, 2, padding=1)], ids=str)
def test_sizes_of_pools_are_those_of_the_op(case):
    assert ops.max_pool2d(np.zeros(case.x), case.window, case.stride, case.padding).shape == case.y


def test_names_say_what_differs_from_the_default():
    assert str(Conv(2, 3, 5, 7, 3)) == "N2 3->5 7x7 3x3"
    assert str(Conv(2, 3, 5, 7, 3, stride=2, padding=1)) == "N2 3->5 7x7 3x3 s2 p1"
    assert str(Flat(1234567)) == "1 234 567 elements"


def test_sizes_of_resnet_50_are_its_own():
    convs = {(3, 64, 224, 7, 2)}  # channels in and out, pixels, window, stride
    channels = 64
    for width, size, blocks in ((64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            convs |= {(channels, width, size * stride, 1, 1), (width, width, size * stride, 3, stride)}
            convs |= {(width, 4 * width, size, 1, 1)}
            convs |= {(channels, 4 * width, size * stride, 1, stride)} if block == 0 else set()
            channels = 4 * width
    for case in shapes.RESNET50_CONVS:
        assert (case.c, case.o, case.size, case.window, case.stride) in convs, case
    assert [(pool.c, pool.size, pool.window) for pool in (shapes.POOLS[-1], shapes.AVERAGE_POOLS[-1])] == [
        (64, 112, 3),
        (channels, 7, 7),
    ]
    assert (shapes.NORMS[-1].c, shapes.NORMS[-1].size) == (64, 56)
