"""What an op is: one screen that holds its checks, its implementations and its gradient.

    y = op(x, ...)                    public outputs, on NumPy, CuPy or emulated arrays
    outs = op.forward(x, ...)         all outputs, with the extras that the gradient reads
    gx, ... = op.grad(gy, *saved, ...)

A call runs `bind` (defaults, argument normalising), `infer` (every user-facing error; shape, dtype and
layout of each output), allocates the outputs, and hands them to one implementation:

    cuda        on kernel backends; launches our kernels. Without one, `reference` runs there.
    cpu         on NumPy, where a fast path pays
    reference   plain `xp` code: the oracle that the tests compare the others with

Implementations have the signature `(be, *outputs, *inputs, **attrs)` and fill the outputs. Gradient
implementations are named `grad_cuda`, `grad_cpu`, `grad_reference` and have the signature
`(be, *input_gradients, gy, *saved, **attrs)`, where a gradient that is not needed is None.

float16 and bfloat16 are storage: kernels read and round them, `cpu` and `reference` never see them, since they are
called with float32 copies, and their results are rounded once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import starmap
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, Backend, Layout, layout_of
from gpunet.backend.layout import is_dense
from gpunet.errors import DeviceError, DTypeError
from gpunet.ops.checks import Checks
from gpunet.ops.compute import Implementation, compute, is_plain, quietly

__all__ = ["REGISTRY", "Op", "Out", "like"]

REGISTRY: dict[str, Op] = {}


class Out(NamedTuple):
    """What an output will be: its shape, dtype and memory layout."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layout: Layout = CONTIGUOUS


def like(array: Array, shape: tuple[int, ...] | None = None, layout: Layout | None = None) -> Out:
    """Return the output that has an array's dtype, and its shape and layout unless others are given."""
    return Out(array.shape if shape is None else shape, array.dtype, layout or layout_of(array) or CONTIGUOUS)


class Op(Checks):
    """Base of all ops; each subclass has one instance per public name, listed in REGISTRY.

    Attributes:
        name: public name.
        inputs: names of the array inputs, in order; those in `optional` may be None.
        outputs: name of the public output; empty for an op that only changes its inputs.
        extras: further outputs, kept for the gradient or returned by `forward`.
        saves: which inputs, outputs or extras the gradient reads.
        gradients: names of the inputs that have a gradient.
        axes: axis letters of each input, for messages.
        aliases: the gradient may be a view of gy, not memory of its own.
        views: the output is a view of the input wherever that is contiguous (see `shares`).
        variadic: takes any number of arrays x0, x1, ..., each of them with a gradient.
        mutates: names of inputs that a call changes in place.
        elementwise: all inputs of a call in one shape and float dtype need no further check, and outputs, gradients and
            what these read are like them.
    """

    name: ClassVar[str] = ""
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    optional: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    extras: ClassVar[tuple[str, ...]] = ()
    saves: ClassVar[tuple[str, ...]] = ()
    gradients: ClassVar[tuple[str, ...]] = ()
    aliases: ClassVar[bool] = False
    views: ClassVar[bool] = False
    variadic: ClassVar[bool] = False
    mutates: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False

    cpu: Implementation | None = None
    cuda: Implementation | None = None
    grad_cpu: Implementation | None = None
    grad_cuda: Implementation | None = None
    grad_reference: Implementation | None = None
    reference: Implementation

    def __init__(self, name: str = "") -> None:
        self.__name__ = self.__qualname__ = name or self.name
        self.__doc__ = type(self).__doc__
        self.__signature__ = inspect.signature(self.bind)
        self.changed = tuple(self.inputs.index(name) for name in self.mutates)
        self.saved_from = tuple((*self.inputs, *self.outputs, *self.extras).index(name) for name in self.saves)
        self.selects = type(self).kept is not Op.kept
        REGISTRY[self.__name__] = self

    def __repr__(self) -> str:
        return f"<op {self.__name__}{self.__signature__}>"

    # What a subclass defines.

    def bind(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (arrays, attrs); its signature is the public one. Arrays may be None when only attrs count."""
        raise NotImplementedError

    def infer(self, *arrays: Any, **attrs: Any) -> tuple[Out, ...]:
        """Check the inputs; return one `Out` for each output and extra."""
        raise NotImplementedError

    def infer_grad(self, gy: Array, *saved: Any, **attrs: Any) -> tuple[Out | None, ...]:
        """Return one `Out` per input, None for one that has no gradient."""
        raise NotImplementedError(f"{self.__name__} has no gradient")

    def shares(self, x: Array) -> bool:
        """Say whether the output is a view of the input."""
        return self.views and is_dense(x, CONTIGUOUS)

    def kept(self, needs: Sequence[bool]) -> tuple[str, ...]:
        """Return which of `saves` the gradients of the inputs that need one read; the others come as None."""
        return self.saves

    # Calling.

    def names(self, count: int) -> tuple[str, ...]:
        """Name the inputs of a call."""
        return tuple(f"{self.inputs[0]}{i}" for i in range(count)) if self.variadic else self.inputs

    def differentiable(self, count: int) -> tuple[str, ...]:
        """Name those of them that have a gradient."""
        return self.names(count) if self.variadic else self.gradients

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the public output; takes what `bind` takes."""
        outs = self.forward(*args, **kwargs)
        return outs[0] if self.outputs else None

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Array, ...]:
        """Return all outputs and extras; takes what the op itself takes."""
        return self.run(*self.bind(*args, **kwargs))

    def run(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> tuple[Array, ...]:
        """Check, allocate and compute, from bound arguments."""
        if self.elementwise and is_plain(*arrays):
            out = np.empty(arrays[0].shape, arrays[0].dtype)
            quietly(self.cpu or self.reference, backend.NUMPY, out, *arrays, **attrs)
            return (out,)
        be = self._backend(arrays)
        outs = tuple(starmap(be.empty, self.infer(*arrays, **attrs)))
        written = (*outs, *[arrays[i] for i in self.changed]) if self.changed else outs
        compute(be, self.cpu, self.cuda, self.reference, written, (*outs, *arrays), attrs)
        return outs

    def grad(self, gy: Array, *saved: Array, needs: Sequence[str] | None = None, **attrs: Any) -> Any:
        """Return the gradients of the inputs named in `needs` (all that have one by default).

        Args:
            gy: gradient of the first output.
            saved: the arrays named in `saves`, in order.
            needs: names of inputs.
            attrs: what the forward call was given, and what the op's docstring says that the gradient is given.

        Returns:
            One array for one name; else a tuple, in the order of `needs`.
        """
        arrays, attrs = self.bind(*[None] * len(self.inputs), **attrs)
        inputs, known = self.names(len(arrays)), self.differentiable(len(arrays))
        names = known if needs is None else tuple(needs)
        if unknown := sorted({*names} - {*known}):
            raise ValueError(f"{self.__name__}.grad: no gradient for {unknown}; there is one for {known}")
        gradients = self.run_grad(gy, saved, attrs, [name in names for name in inputs])
        chosen = tuple(gradients[inputs.index(name)] for name in names)
        return chosen[0] if len(chosen) == 1 else chosen

    def run_grad(
        self,
        gy: Array,
        saved: Sequence[Array],
        attrs: dict[str, Any],
        needs: Sequence[bool],
        into: Sequence[Array | None] | None = None,
    ) -> tuple[Array | None, ...]:
        """Return the gradients that are needed, written to the arrays of `into` where one is given."""
        if self.elementwise and is_plain(*saved, gy):
            given = None if into is None else into[0]
            gx = np.empty(gy.shape, gy.dtype) if given is None else given
            assert self.grad_reference is not None
            quietly(self.grad_cpu or self.grad_reference, backend.NUMPY, gx, gy, *saved, **attrs)
            return (gx,)
        be = backend.of(gy, *saved)
        outs: list[Array | None] = []
        for i, spec in enumerate(self.infer_grad(gy, *saved, **attrs)):
            if spec is None or not needs[i]:
                outs.append(None)
            else:
                given = None if into is None else into[i]
                outs.append(be.empty(*spec) if given is None else given)
        assert self.grad_reference is not None
        compute(be, self.grad_cpu, self.grad_cuda, self.grad_reference, outs, (*outs, gy, *saved), attrs)
        return tuple(outs)

    def _backend(self, arrays: Sequence[Any]) -> Backend:
        """Return the backend that all inputs share, or raise what says that one is missing or lives elsewhere."""
        for i, array in enumerate(arrays):
            if array is None and self.names(len(arrays))[i] not in self.optional:
                named = dict(zip(self.names(len(arrays)), arrays, strict=True))
                raise self.error(DTypeError, f"{[*named][i]} is None.", expected="an array", **named)
        try:
            return backend.of(*arrays)
        except DeviceError:
            named = dict(zip(self.names(len(arrays)), arrays, strict=True))
            problem, expected = "the inputs live on different devices.", "one device for all inputs"
            hint = "move them to one device first: tensor.to(device), or cupy.asarray(array)"
            raise self.error(DeviceError, problem, expected=expected, hint=hint, **named) from None
