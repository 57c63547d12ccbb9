from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.errors import DTypeError, ShapeError
from gpunet.viz import draw_filters, draw_images


def drawn(axes):
    """Return the arrays in the axes, and the left and top of each."""
    images = axes.get_images()
    return [image.get_array() for image in images], [(image.get_extent()[0], image.get_extent()[3]) for image in images]


def test_filters_are_drawn_in_order_on_one_scale(axes, rng):
    weight = rng.standard_normal((6, 1, 3, 5)).astype(np.float32)
    image = draw_filters(axes, weight, columns=4)
    arrays, corners = drawn(axes)
    assert np.array_equal(np.array(arrays), weight[:, 0])
    assert corners == sorted(corners, key=lambda corner: (-corner[1], corner[0]))
    assert len({top for _, top in corners}) == 2 and len({left for left, _ in corners}) == 4
    limit = np.abs(weight).max()
    assert all(drawing.get_clim() == (-limit, limit) for drawing in axes.get_images())
    assert image is axes.get_images()[-1]


def test_filters_of_many_channels_have_a_tile_per_pair(axes, rng):
    weight = rng.standard_normal((3, 2, 3, 3)).astype(np.float32)
    draw_filters(axes, weight)
    assert np.array_equal(np.array(drawn(axes)[0]), weight.reshape(6, 3, 3))


def test_filters_of_three_channels_are_colours_with_grey_for_zero(axes):
    weight = np.zeros((2, 3, 1, 2))
    weight[0, 0, 0, 1] = -4
    weight[1, 2, 0, 0] = 2
    draw_filters(axes, weight)
    arrays, _ = drawn(axes)
    assert arrays[0].tolist() == [[[0.5, 0.5, 0.5], [0, 0.5, 0.5]]]
    assert arrays[1].tolist() == [[[0.5, 0.5, 0.75], [0.5, 0.5, 0.5]]]


def test_filters_of_a_layer_on_any_device(axes, be):
    layer = nn.Conv2d(1, 4, 3).to(be.device)
    draw_filters(axes, layer.weight)
    assert np.array_equal(np.array(drawn(axes)[0]), be.to_numpy(layer.weight.array)[:, 0])


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "bfloat16"])
def test_pictures_may_have_any_dtype(axes, dtype):
    values = np.arange(12).reshape(1, 1, 3, 4).astype(np.dtype(dtype) if dtype != "bfloat16" else gpunet.bfloat16)
    draw_filters(axes, values)
    draw_images(axes, values)
    axes.figure.canvas.draw()
    assert all(array.tolist() == values[0, 0].tolist() for array in drawn(axes)[0])


def test_filters_that_are_all_zero_are_drawn(axes):
    draw_filters(axes, np.zeros((1, 1, 3, 3)))
    assert axes.get_images()[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("shape", [(4, 3, 3), (0, 1, 3, 3), (2, 1, 3, 3, 3)])
def test_what_is_no_filter_is_refused(axes, shape):
    with pytest.raises(ShapeError, match=r"expected \(O, C, KH, KW\) with at least one element, got"):
        draw_filters(axes, np.zeros(shape))


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 1, 4, 3)])
def test_grey_images_share_one_scale(axes, rng, shape):
    images = rng.uniform(-2, 3, shape).astype(np.float32)
    draw_images(axes, images)
    arrays, _ = drawn(axes)
    assert np.array_equal(np.array(arrays), images.reshape(5, 4, 3)) and not axes.texts
    assert {image.get_clim() for image in axes.get_images()} == {(images.min(), images.max())}


def test_colour_images_are_scaled_to_the_unit_interval(axes, rng):
    images = rng.uniform(-2, 3, (2, 3, 4, 5)).astype(np.float32)
    draw_images(axes, images)
    expected = (images - images.min()) / (images.max() - images.min())
    assert np.array_equal(np.array(drawn(axes)[0]), expected.transpose(0, 2, 3, 1))


def test_captions_show_labels_and_mistakes_in_red(axes):
    draw_images(axes, np.zeros((3, 2, 2)), [0, 1, 2], np.array([0, 2, 2]), classes=["cat", "dog", "cow"])
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("cat", "black"),
        ("dog → cow", "tab:red"),
        ("cow", "black"),
    ]
    tops = [image.get_extent()[3] for image in axes.get_images()]
    assert all(text.get_position()[1] > top for text, top in zip(axes.texts, tops, strict=True))


def test_predictions_alone_are_captions_too(axes):
    draw_images(axes, np.zeros((2, 2, 2)), predictions=[4, 5])
    assert [text.get_text() for text in axes.texts] == ["4", "5"]


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 4, 4), (0, 4, 4)])
def test_what_are_no_images_is_refused(axes, shape):
    with pytest.raises(ShapeError, match=r"expected \(N, H, W\), \(N, 1, H, W\) or \(N, 3, H, W\)"):
        draw_images(axes, np.zeros(shape))


@pytest.mark.parametrize("name", ["labels", "predictions"])
def test_captions_must_be_one_per_image(axes, name):
    with pytest.raises(
        ShapeError, match=rf"{name} do not fit the images.\n  expected \(3,\), one per image, got \(2,\)"
    ):
        draw_images(axes, np.zeros((3, 2, 2)), **{name: [0, 1]})


@pytest.mark.parametrize("name", ["labels", "predictions"])
def test_captions_must_be_classes(axes, name):
    with pytest.raises(DTypeError, match=rf"{name} are not class indices.\n  expected integers, got float64"):
        draw_images(axes, np.zeros((2, 2, 2)), **{name: [0.7, 1.0]})
    for wrong in ([0, 2], [-1, 1]):
        with pytest.raises(ValueError, match=rf"{name} are out of range.\n  expected 0 to 1, as there are names"):
            draw_images(axes, np.zeros((2, 2, 2)), **{name: wrong}, classes=["a", "b"])
