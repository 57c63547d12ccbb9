"""Calls that wait for the next one, so that both take one pass over memory.

While a module runs, convolutions and linear layers are checked at once but made later: ReLU, and max pooling over 2 x 2
pixels, join them. Whatever asks for a value has it made, and so does the end of the outermost module: nothing waits any
longer. Values and gradients are those of the calls one after the other, bit for bit.

    x = conv(x)           waits
    x = relu(x)           waits: the convolution, then ReLU
    x = max_pool2d(x, 2)  waits: the convolution, max pooling, then ReLU, which gives the same
    x = fc(x.flatten(1))  asks for values: one pass makes them, since nobody holds the first two any more

What somebody still holds is made once, and the calls that joined it start from there.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from gpunet import ops
from gpunet.backend import Array, Device
from gpunet.ops.base import Op, Out

__all__ = ["Pending", "joining", "settle", "waits"]

_HEADS = (ops.linear, ops.conv1d, ops.conv2d, ops.conv3d)
_TWO_BY_TWO = {
    "kernel_size": (2, 2),
    "stride": (2, 2),
    "padding": (0, 0),
    "dilation": (1, 1),
    "ceil_mode": False,
    "return_indices": False,
}


class Pending:
    """The output of a call that is checked but not made.

    Attributes:
        shape, dtype, device: those of the output.
    """

    __slots__ = ("__weakref__", "_call", "_earlier", "_out", "_outs", "_then", "device", "dtype", "shape")

    def __init__(self, call: tuple[Op, Sequence[Any], dict[str, Any]], out: Out, device: Device) -> None:
        self._call: tuple[Op, Sequence[Any], dict[str, Any]] | None = call
        self._out, self.shape, self.dtype, self.device = out, out.shape, out.dtype, device
        self._then: tuple[Op, ...] = ()
        self._earlier: tuple[weakref.ref[Pending], ...] = ()  # the outputs of the call and of all but the last of _then
        self._outs: tuple[Array, ...] | None = None
        _scope.waiting.append(weakref.ref(self))

    def array(self) -> Array:
        """Return the output."""
        return self._made()[0]

    def winner(self) -> Array:
        """Return which pixels won, where the last call is max pooling."""
        return self._made()[1]

    def joined(self, op: Op, attrs: dict[str, Any]) -> Pending | None:
        """Return the output of a further call after this one, or None where it does not join."""
        if self._call is None or op in self._then or ops.max_pool2d in self._then:
            return None
        out = self._out
        if op is ops.max_pool2d:
            if self._call[0] is not ops.conv2d or any(attrs[name] != value for name, value in _TWO_BY_TWO.items()):
                return None
            shape = (*out.shape[:2], *(size // 2 for size in out.shape[2:]))
            if 0 in shape:
                return None
            out = Out(shape, out.dtype, attrs["layout"] or out.layout)
        elif op is not ops.relu:
            return None
        result = Pending(self._call, out, self.device)
        result._then, result._earlier = (*self._then, op), (*self._earlier, weakref.ref(self))
        return result

    def _made(self) -> tuple[Array, ...]:
        if self._outs is None:
            self._outs = self._make()
            self._call, self._earlier = None, ()  # what they hold is not needed any more
        return self._outs

    def _make(self) -> tuple[Array, ...]:
        for count, reference in reversed([*enumerate(self._earlier)]):
            earlier = reference()
            if earlier is not None:
                outs: tuple[Array, ...] = (earlier.array(),)
                for op in self._then[count:]:
                    attrs = {"kernel_size": 2, "layout": self._out.layout} if op is ops.max_pool2d else {}
                    outs = op.forward(outs[0], **attrs)
                return outs
        assert self._call is not None
        op, arrays, given = self._call
        given = {**given, "activation": "relu" if ops.relu in self._then else None}
        if ops.max_pool2d in self._then:
            return ops.conv2d_max_pool2d(*arrays, **{**given, "layout": self._out.layout})
        return op.run(arrays, given)


class _Scope(threading.local):
    def __init__(self) -> None:
        self.open = False
        self.waiting: list[weakref.ref[Pending]] = []


_scope = _Scope()


class joining:
    """Let calls wait for the next one within a `with` block. What nobody holds any more at its end is never made."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> None:
        self._outermost, _scope.open = not _scope.open, True

    def __exit__(self, *error: object) -> None:
        if self._outermost:
            _scope.open = False
            settle()


def waits(op: Op) -> bool:
    """Say whether a call of an op waits for the next one."""
    return _scope.open and op in _HEADS


def settle() -> None:
    """Make all that waits: before memory that it may read is written, or handed to somebody who may write it."""
    if _scope.waiting:
        waiting, _scope.waiting = _scope.waiting, []
        for pending in filter(None, [reference() for reference in waiting]):
            pending.array()
