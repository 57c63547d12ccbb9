"""PLACEHOLDER, to be replaced."""

import numpy as np
from gpunet import ops


def _nc(a):
    return np.moveaxis(a, -1, 1)


def forward(y, x, w, b, g):
    from gpunet.ops import conv
    from gpunet import backend

    conv.conv3d.reference(
        backend.of(x),
        _nc(y),
        _nc(x),
        _nc(w),
        b,
        layout=None,
        groups=g.groups,
        stride=g.stride,
        padding=g.padding,
        dilation=g.dilation,
    )


def _g(gx, gw, gb, gy, x, w, g):
    from gpunet.ops import conv
    from gpunet import backend

    conv.conv3d.grad_reference(
        backend.of(gy),
        gx,
        gw,
        gb,
        gy,
        x,
        w,
        layout=None,
        groups=g.groups,
        stride=g.stride,
        padding=g.padding,
        dilation=g.dilation,
    )


def input_gradient(gx, gy, w, g):
    _g(_nc(gx), None, None, _nc(gy), np.zeros((g.batch, g.channels, *g.in_size), gy.dtype), _nc(w), g)


def weight_gradient(gw, gb, gy, x, g):
    _g(
        None,
        _nc(gw),
        gb,
        _nc(gy),
        _nc(x),
        np.zeros((g.outputs, g.channels // g.groups, *g.window), gy.dtype),
        g,
    )
