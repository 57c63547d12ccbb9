"""The products that convolution and its transpose are made of: as reference, and on the CPU.

By kernels they are in conv_cuda.py.
All take a `Geometry` of the convolution, and arrays of any strides:

    forward           y  = x convolved with w, plus b, clipped by ReLU if that is wanted
    input_gradient    gx = gy spread back over the inputs by w, plus b: also the forward of transposed convolution
    weight_gradient   gw = what gy and x say about w, and gb = gy summed over all but channels, each if wanted
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from gpunet.backend import CHANNELS_LAST, Array, Backend, blas
from gpunet.ops import im2col, winograd
from gpunet.ops.compute import quietly
from gpunet.ops.conv_blocks import PooledTarget, Target
from gpunet.ops.geometry import Geometry, channels_last_memory, with_three_axes

__all__ = ["CPU", "REFERENCE", "Products"]


class Products(abc.ABC):
    """One way to compute the three products; biases and weight gradients may be None."""

    @abc.abstractmethod
    def forward(self, be: Any, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False) -> None:
        """Fill y."""

    @abc.abstractmethod
    def input_gradient(self, be: Any, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill gx."""

    @abc.abstractmethod
    def weight_gradient(self, be: Any, gw: Array | None, gb: Array | None, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw and gb, as far as they are given; x is read for gw only."""


class _Reference(Products):
    """Plain sums over taps, on any array library."""

    def forward(
        self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        padded, w5 = _padded(be, with_three_axes(x), g), with_three_axes(w)
        total = be.xp.zeros((g.batch, g.outputs, *g.out_size), y.dtype)
        for tap, outs, channels, at in _walk(g):
            kernel = w5[(outs, slice(None), *tap)][None, :, :, None, None, None]
            patch = padded[(slice(None), channels, *at)][:, None]
            total[:, outs] = total[:, outs] + be.xp.sum(patch * kernel, axis=2)
        total = _plus(total, b)
        y[...] = (be.xp.maximum(total, 0) if relu else total).reshape(y.shape)

    def input_gradient(self, be: Backend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        w5, gy5 = with_three_axes(w), with_three_axes(gy)
        total = be.xp.zeros((g.batch, g.channels, *_padded_size(g)), gy.dtype)
        for tap, outs, channels, at in _walk(g):
            kernel = w5[(outs, slice(None), *tap)][None, :, :, None, None, None]
            seen = (slice(None), channels, *at)
            total[seen] = total[seen] + be.xp.sum(gy5[:, outs][:, :, None] * kernel, axis=1)
        gx[...] = _plus(total[_inside(g)], b).reshape(gx.shape)

    def weight_gradient(self, be: Backend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        gy5 = with_three_axes(gy)
        if gw is not None:
            padded, total = _padded(be, with_three_axes(x), g), be.xp.zeros(with_three_axes(gw).shape, gy.dtype)
            for tap, outs, channels, at in _walk(g):
                products = gy5[:, outs][:, :, None] * padded[(slice(None), channels, *at)][:, None]
                total[(outs, slice(None), *tap)] = be.xp.sum(products, axis=(0, 3, 4, 5))
            gw[...] = total.reshape(gw.shape)
        if gb is not None:
            gb[...] = be.xp.sum(gy5, axis=(0, 2, 3, 4))


class _Cpu(Products):
    """BLAS on channels-last memory: minimal filtering where that pays, else im2col."""

    def forward(
        self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        with be.dense_output(y, CHANNELS_LAST) as out:
            _way(g).forward(Target(channels_last_memory(out), b, relu), _memory(be, x), _memory(be, w), g)

    def max_pool(
        self, be: Backend, y: Array, winner: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool
    ) -> bool:
        """Fill y and winner from 2 x 2 pixels of the output each, where blocks are whole images; say so."""
        way = _way(g)
        if not way.keeps_images_whole(g, x.itemsize):
            return False
        with be.dense_output(y, CHANNELS_LAST) as out:
            target = PooledTarget(channels_last_memory(out), channels_last_memory(winner), b, relu)
            quietly(way.forward, target, _memory(be, x), _memory(be, w), g)
        return True

    def input_gradient(self, be: Backend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        with be.dense_output(gx, CHANNELS_LAST) as out:
            _way(g).input_gradient(channels_last_memory(out), _memory(be, gy), _memory(be, w), g, b)

    def weight_gradient(self, be: Backend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        gradient = _memory(be, gy)
        if gw is None:
            gb[...] = blas.column_sums(gradient.reshape(-1, gb.size))
            return
        with be.dense_output(gw, CHANNELS_LAST) as out:
            way = winograd if winograd.pays(g, weights=True) else im2col
            way.weight_gradient(channels_last_memory(out), gb, gradient, _memory(be, x), g)


def _way(g: Geometry) -> ModuleType:
    return winograd if winograd.pays(g) else im2col


def _memory(be: Backend, array: Array) -> Array:
    return channels_last_memory(be.dense(array, CHANNELS_LAST))


def _plus(total: Array, bias: Array | None) -> Array:
    return total if bias is None else total + bias.reshape(1, -1, 1, 1, 1)


def _padded_size(g: Geometry) -> tuple[int, ...]:
    return tuple(n + 2 * p for n, p in zip(g.in_size, g.padding, strict=True))


def _inside(g: Geometry) -> tuple[slice, ...]:
    """Index of the real pixels within the padded input."""
    spatial = (slice(p, p + n) for p, n in zip(g.padding, g.in_size, strict=True))
    return (slice(None), slice(None), *spatial)


def _padded(be: Backend, x: Array, g: Geometry) -> Array:
    """Return x (N, C, D, H, W) with zeros round it."""
    padded = be.xp.zeros((g.batch, g.channels, *_padded_size(g)), x.dtype)
    padded[_inside(g)] = x
    return padded


def _walk(g: Geometry) -> Iterator[tuple[tuple[int, ...], slice, slice, tuple[slice, ...]]]:
    """Yield each tap and group: tap, output channels, input channels, and the padded pixels that the tap reads."""
    outputs, channels = g.outputs // g.groups, g.channels // g.groups
    for tap in itertools.product(*map(range, g.window)):
        at = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, g.dilation, g.stride, g.out_size, strict=True)
        )
        for group in range(g.groups):
            outs = slice(group * outputs, (group + 1) * outputs)
            yield tap, outs, slice(group * channels, (group + 1) * channels), at


REFERENCE, CPU = _Reference(), _Cpu()
