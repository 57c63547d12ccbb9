"""Layers whose products are tuned: from the command line, or typical ones; and the arrays to run them on."""

from __future__ import annotations

import abc
import argparse
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Layout
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops import conv2d, conv_cuda
from gpunet.ops.choices import Problem
from gpunet.ops.gemm import gemm
from gpunet.ops.gemm import problem_of as gemm_problem

__all__ = ["DTYPES", "MODELS", "Layer", "Product", "read_conv", "read_linear"]

# What tables call them: how numbers are stored, and whether they may be rounded to TF32.
DTYPES: dict[str, tuple[np.dtype[Any], bool]] = {
    "tf32": (np.dtype(np.float32), True),
    "half": (np.dtype(np.float16), False),
    "float32": (np.dtype(np.float32), False),
    "float64": (np.dtype(np.float64), False),
}


@dataclass(frozen=True)
class Product:
    """One product of a layer, ready to run.

    Attributes:
        layer: where it comes from, in words.
        problem: what tables of choices know of it.
        grows: which of rows, columns and depth grows with the batch.
        out: what `call` fills.
    """

    layer: str
    problem: Problem
    grows: str
    out: Array
    call: Callable[[], None]


@dataclass(frozen=True)
class Layer(abc.ABC):
    """A layer as the command line tells it: in words, and by name."""

    text: str
    given: Mapping[str, Any]

    @abc.abstractmethod
    def products(self, be: KernelBackend, dtype: str) -> Iterator[Product]:
        """Yield forward, input gradient and weight gradient."""


def _numbers(be: KernelBackend, shape: tuple[int, ...], dtype: str, layout: Layout = CONTIGUOUS) -> Array:
    """Return small whole numbers: their products and sums are exact, so that all right kernels make the same bits."""
    host = np.random.default_rng(0).integers(-2, 3, shape).astype(DTYPES[dtype][0])
    array = be.empty(shape, host.dtype, layout)
    be.copy(array, be.from_numpy(host))
    return array


class Linear(Layer):
    """A linear layer."""

    def products(self, be: KernelBackend, dtype: str) -> Iterator[Product]:
        n, i, o = (self.given[key] for key in ("batch", "in", "out"))
        x, gy, w = (_numbers(be, shape, dtype) for shape in ((n, i), (n, o), (o, i)))
        stored, allow_tf32 = DTYPES[dtype]
        for grows, a, b in (("rows", x, w.T), ("rows", gy, w), ("depth", gy.T, x)):
            out = be.empty((a.shape[0], b.shape[1]), stored)
            call = functools.partial(gemm, be, out, a, b, allow_tf32=allow_tf32)
            yield Product(self.text, gemm_problem(be, out, a, b, allow_tf32), grows, out, call)


class Conv(Layer):
    """A convolution of images."""

    def products(self, be: KernelBackend, dtype: str) -> Iterator[Product]:
        given, (stored, allow_tf32) = self.given, DTYPES[dtype]
        x_shape = (given["batch"], given["in"], *given["size"])
        w_shape = (given["out"], given["in"] // given["groups"], *given["kernel"])
        attrs = conv2d.bind(None, None, **{key: given[key] for key in ("stride", "padding", "dilation", "groups")})[1]
        g = conv2d.geometry(x_shape, w_shape, **attrs)
        shapes = x_shape, (g.batch, g.outputs, *g.out_size[1:]), w_shape
        x, gy, w = (_numbers(be, shape, dtype, CHANNELS_LAST) for shape in shapes)
        by = conv_cuda.Cuda(allow_tf32)
        calls: tuple[tuple[str, str, Array, Callable[..., None], tuple[Any, ...]], ...] = (
            ("forward", "rows", gy, by.forward, (x, w, None)),
            ("input_gradient", "rows", x, by.input_gradient, (gy, w, None)),
            ("weight_gradient", "depth", w, by.weight_gradient, (None, gy, x)),
        )
        for product, grows, like, make, args in calls:
            out = be.empty(like.shape, stored, CHANNELS_LAST)
            problem = conv_cuda.problem_of(be, product, g, stored, allow_tf32)
            yield Product(self.text, problem, grows, out, functools.partial(make, be, out, *args, g))


_LINEAR: dict[str, int | None] = {"batch": None, "in": None, "out": None}
_CONV = _LINEAR | {"size": None, "kernel": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def _read(text: str, keys: Mapping[str, int | None]) -> dict[str, Any]:
    """Read key=value,... of which those without a default must be there; size and kernel are pairs."""
    found: dict[str, Any] = {key: default for key, default in keys.items() if default is not None}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key not in keys:
            raise argparse.ArgumentTypeError(f"there is no {key!r} in {text!r}; expected {', '.join(keys)}")
        pair, least = key in ("size", "kernel"), int(key != "padding")
        whole = re.fullmatch(r"\d+(x\d+)?" if pair else r"\d+", value)
        if whole is None or min(map(int, value.split("x"))) < least:
            expected = "28 or 28x32" if pair else f"an integer >= {least}"
            raise argparse.ArgumentTypeError(f"{key} in {text!r} is {value!r}; expected {expected}")
        numbers = tuple(map(int, value.split("x")))
        found[key] = (numbers * 2)[:2] if pair else numbers[0]
    if missing := [key for key in keys if key not in found]:
        raise argparse.ArgumentTypeError(f"{text!r} lacks {', '.join(missing)}")
    return found


def read_linear(text: str) -> Layer:
    """Read a linear layer.

    >>> read_linear("batch=64,in=784,out=512").given
    {'batch': 64, 'in': 784, 'out': 512}
    """
    return Linear(f"linear {text}", _read(text, _LINEAR))


def read_conv(text: str) -> Layer:
    """Read a convolution.

    >>> read_conv("batch=64,in=32,out=64,size=26,kernel=3x5,padding=1").given["kernel"]
    (3, 5)
    """
    given = _read(text, _CONV)
    if given["in"] % given["groups"] or given["out"] % given["groups"]:
        raise argparse.ArgumentTypeError(f"in and out of {text!r} are no multiples of its groups")
    for n, k in zip(given["size"], given["kernel"], strict=True):
        if n + 2 * given["padding"] < given["dilation"] * (k - 1) + 1:
            raise argparse.ArgumentTypeError(f"the kernel of {text!r} is larger than its padded images")
    return Conv(f"conv {text}", given)


# Typical layers: of models.CNN and models.MLP, of networks for CIFAR, of ResNet-50; toys for the emulator.
MODELS = {
    "mnist": [
        read_conv("batch=64,in=1,out=32,size=28,kernel=3"),
        read_conv("batch=64,in=32,out=64,size=26,kernel=3"),
        read_linear("batch=64,in=9216,out=128"),
        read_linear("batch=64,in=784,out=512"),
        read_linear("batch=64,in=512,out=256"),
    ],
    "cifar": [
        read_conv("batch=128,in=3,out=64,size=32,kernel=3,padding=1"),
        read_conv("batch=128,in=64,out=64,size=32,kernel=3,padding=1"),
        read_conv("batch=128,in=64,out=128,size=32,kernel=3,padding=1,stride=2"),
        read_conv("batch=128,in=128,out=128,size=16,kernel=3,padding=1"),
        read_conv("batch=128,in=256,out=256,size=8,kernel=3,padding=1"),
        read_linear("batch=128,in=512,out=512"),
    ],
    "resnet50": [
        read_conv("batch=32,in=3,out=64,size=224,kernel=7,stride=2,padding=3"),
        read_conv("batch=32,in=64,out=64,size=56,kernel=3,padding=1"),
        read_conv("batch=32,in=64,out=256,size=56,kernel=1"),
        read_conv("batch=32,in=128,out=128,size=28,kernel=3,padding=1"),
        read_conv("batch=32,in=256,out=256,size=14,kernel=3,padding=1"),
        read_conv("batch=32,in=512,out=512,size=7,kernel=3,padding=1"),
        read_linear("batch=32,in=2048,out=1000"),
    ],
    "toy": [read_conv("batch=1,in=8,out=12,size=5,kernel=2"), read_linear("batch=5,in=264,out=16")],
}
