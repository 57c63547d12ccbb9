from __future__ import annotations

import numpy as np
import pytest

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, layout_of
from gpunet.backend.random import AUGMENT, Generator, default_generator, raw_words
from gpunet.data import MNIST, RandomInvert
from gpunet.errors import DTypeError
from gpunet.tensor import Tensor


def on(be, array, layout=CONTIGUOUS):
    return Tensor(be.dense(be.from_numpy(array), layout))


def inverted_images(before, after):
    return (before != after).reshape(len(before), -1).any(axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_invert_flips_whole_images_and_leaves_the_others(be, rng, dtype):
    x = rng.uniform(-0.5, 2, (9, 2, 5, 3)).astype(dtype)
    batch = on(be, x)
    y = RandomInvert(0.5, black=-0.5, white=2, generator=Generator(3))(batch)
    assert y.dtype == dtype and y.device == be.device and y.grad_fn is None
    result = be.to_numpy(y.array)
    flipped = inverted_images(x, result)
    assert 0 < flipped.sum() < 9
    assert np.array_equal(result[flipped], dtype(1.5) - x[flipped])
    assert np.array_equal(be.to_numpy(batch.array), x)


def test_invert_takes_one_word_of_its_stream_per_image(be, rng):
    x = rng.uniform(0.1, 0.4, (11, 1, 2, 2)).astype(np.float32)
    generator = Generator(8)
    invert = RandomInvert(0.3, generator=generator)
    for call in range(3):
        flipped = inverted_images(x, be.to_numpy(invert(on(be, x)).array))
        assert np.array_equal(flipped, raw_words(8, AUGMENT, call, 11) < 0.3 * 2**64)
    assert generator.get_state() == {"seed": 8, "init": 0, "shuffle": 0, "dropout": 0, "augment": 3}


@pytest.mark.parametrize("layout", [CONTIGUOUS, CHANNELS_LAST])
def test_invert_keeps_the_layout(be, layout):
    x = on(be, np.zeros((3, 2, 4, 5), np.float32), layout)
    assert layout_of(RandomInvert()(x).array) == layout


def test_invert_takes_any_strides(be):
    whole = np.arange(48, dtype=np.float32).reshape(4, 1, 4, 3)
    x = Tensor(be.from_numpy(whole)[::-1, :, ::2])
    assert np.array_equal(be.to_numpy(RandomInvert(1.0, white=48)(x).array), 48 - whole[::-1, :, ::2])


@pytest.mark.parametrize(("p", "expected"), [(0, 0.0), (1, 1.0)])
def test_invert_with_certainty(p, expected):
    y = RandomInvert(p)(Tensor(np.zeros((1000, 1), np.float32)))
    assert (y.numpy() == expected).all()


def test_a_draw_equal_to_p_does_not_invert():
    p = float(Generator(0).uniform(1, stream=AUGMENT)[0])
    for probability, expected in ((p, 0.0), (p + 2**-24, 1.0)):
        y = RandomInvert(probability, generator=Generator(0))(Tensor(np.zeros((1, 1), np.float32)))
        assert y.item() == expected


def test_invert_takes_an_empty_batch_and_vectors(be):
    assert RandomInvert()(on(be, np.zeros((0, 1, 2, 2), np.float32))).shape == (0, 1, 2, 2)
    assert be.to_numpy(RandomInvert(1)(on(be, np.zeros(3, np.float32))).array).tolist() == [1, 1, 1]


def test_invert_follows_the_default_generator():
    RandomInvert()(Tensor(np.zeros((2, 2), np.float32)))
    assert default_generator.get_state()["augment"] == 1


def test_inverted_mnist_is_black_on_white():
    x, _ = MNIST(train=False)[:20]
    pixels = MNIST(train=False).images[:20, None]
    y = RandomInvert(1, black=MNIST.black, white=MNIST.white)(Tensor(x)).numpy()
    restored = (y * 0.3081 + 0.1307) * 255
    assert np.abs(restored - (255 - pixels.astype(int))).max() < 1e-3
    assert (x.min(), x.max()) == pytest.approx((MNIST.black, MNIST.white))


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_invert_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"p is not a probability.\n  expected a number from 0 to 1, got"):
        RandomInvert(p)


def test_invert_refuses_integers(be):
    with pytest.raises(DTypeError, match=r"x  \(2, 3\) uint8 (?s:.)*float32 or float64, got uint8\n  hint: scale"):
        RandomInvert()(on(be, np.zeros((2, 3), np.uint8)))
    assert default_generator.get_state()["augment"] == 0


def test_invert_refuses_images_that_ask_for_a_gradient():
    with pytest.raises(RuntimeError, match=r"no gradient, but the images ask for one.\n  hint: x.detach\(\)"):
        RandomInvert()(Tensor(np.zeros((2, 3), np.float32), requires_grad=True))


def test_invert_shows_its_settings():
    assert repr(RandomInvert(0.25)) == "RandomInvert(p=0.25, black=0.0, white=1.0)"
