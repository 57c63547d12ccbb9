"""Tensor: an array with a place on the tape. Names and semantics are PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpunet import backend, ops
from gpunet.backend import CONTIGUOUS, Array, Device, layout_of
from gpunet.backend.dtypes import bfloat16, is_float
from gpunet.errors import DeviceError, DTypeError, ShapeError
from gpunet.ops.arithmetic import Number
from gpunet.ops.base import Op
from gpunet.tensor.destination import destination
from gpunet.tensor.operators import Operators
from gpunet.tensor.pending import Pending, settle
from gpunet.tensor.tape import Node, Storage, backward, grad_enabled

__all__ = ["Tensor"]


_VIEW_CHANGED = (
    "{name}: a view is changed in place, and a gradient is required of it.\n"
    "  hint: use the operation that returns a new tensor"
)


class Tensor(Operators):
    """An n-dimensional array on one device that can take part in automatic differentiation.

    Wraps a NumPy, CuPy or emulated array without copying; `tensor` and `from_numpy` make one from data.

    Attributes:
        array: the array; the only way to it.
        requires_grad: whether `backward` computes a gradient for it; may be assigned, as `requires_grad_` does.
        grad: the gradient, a Tensor of the same shape, or None.
    """

    __slots__ = ("__weakref__", "_grad", "_held", "_node", "_requires_grad", "_slot", "_storage", "_view")

    def __init__(self, array: Array | Pending, requires_grad: bool = False) -> None:
        if type(array) is not np.ndarray and type(array) is not Pending:
            backend.of(array)  # raises for what is no array
        self._held = array
        self._storage = Storage()
        self._node: Node | None = None
        self._grad: Array | None = None
        self._slot: Array | None = None
        self._view: int | None = None  # of a view: the edits of its storage when it was taken
        self._requires_grad = False
        if requires_grad:
            self.requires_grad_()

    if not TYPE_CHECKING:  # a type checker would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"Tensor.{name} is not in gpunet; `tensor.array` gives the bare array")

    @property
    def _array(self) -> Array:
        """The array; a call that waits for the next one is made now."""
        if type(self._held) is Pending:
            self._held = self._held.array()
        return self._held

    @_array.setter
    def _array(self, array: Array) -> None:
        self._held = array

    # Gradients.

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` computes a gradient for it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) asking for a gradient; only of floating-point leaves. Returns the tensor."""
        settle()  # a leaf has a value of its own, which no other call joins
        if requires_grad and not is_float(self.dtype):
            raise DTypeError(f"requires_grad_: only floating-point tensors have gradients, this one is {self.dtype}")
        if self._node is not None:
            raise RuntimeError("requires_grad_: only leaf tensors can be changed\n  hint: tensor.detach()")
        self._requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from tensors that require gradients."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The tape's record of how it was computed, or None for a leaf."""
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient; None before the first backward and after `zero_grad`.

        Parameters of an optimizer have one memory for all their gradients: the first backward after `zero_grad`
        overwrites it, in tensors that were taken from here before, too. Copy what shall last, with `copy.deepcopy`.
        """
        return None if self._grad is None else Tensor(self._grad)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            self._require_like("grad: expected a gradient", value)
        self._grad = None if value is None else value.array

    def _gradient_slot(self) -> Array | None:
        return self._slot if self._grad is None else None

    def _accumulate(self, gradient: Array, owned: bool) -> None:
        if self._grad is not None:
            total = ops.add(self._grad, gradient)
            backend.of(gradient).copy(self._grad, total)
        elif self._slot is not None:
            if gradient is not self._slot:
                backend.of(gradient).copy(self._slot, gradient)
            self._grad = self._slot
        elif owned:
            self._grad = gradient
        else:
            self._grad = _copied(gradient)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Compute the gradients of all leaves that this tensor depends on, and add them to their `.grad`.

        Args:
            gradient: gradient of this tensor; may be left out for a tensor of one element.
            retain_graph: keep what the tape saved, so that backward can run again.
            create_graph: not offered: gradients are first-order only.

        Raises:
            RuntimeError: nothing here requires a gradient; the graph was freed; a saved value was changed.
            ShapeError: `gradient` is missing for several elements, or has another shape.
            DTypeError, DeviceError: `gradient` has another dtype, or is on another device.

        Example:
            >>> from gpunet import tensor
            >>> x = tensor([1.0, -2.0], requires_grad=True)
            >>> x.relu().backward(tensor([1.0, 1.0]))
            >>> x.grad
            tensor([1., 0.])
        """
        if create_graph:
            raise RuntimeError("backward: gradients of gradients (create_graph=True) are not in gpunet")
        if not self._requires_grad:
            raise RuntimeError(
                "backward: this tensor does not depend on a tensor that requires a gradient.\n"
                "  hint: tensor.requires_grad_(), and no gpunet.no_grad() round the computation"
            )
        self._check_view("backward")
        if gradient is None:
            if self._array.size != 1:
                raise ShapeError(
                    f"backward: gradient must be given for a tensor of shape {self.shape}\n"
                    "  hint: reduce it to one number first, such as a loss"
                )
            start = backend.of(self._array).full(self.shape, 1, self.dtype)
        else:
            self._require_like("backward: expected a gradient", gradient)
            start = gradient.array
        if self._node is None:
            self._accumulate(start, owned=gradient is None)
        else:
            backward(self._node, start, retain_graph)

    def _require_like(self, wanted: str, value: Any) -> None:
        """Raise unless a value is a Tensor with the shape, dtype and device of this one."""
        if not isinstance(value, Tensor):
            kind = f"{type(value).__module__}.{type(value).__name__}"
            raise DTypeError(f"{wanted}, which is a gpunet.Tensor, got {kind}\n  hint: gpunet.Tensor(array)")
        for fact, error in (("shape", ShapeError), ("dtype", DTypeError), ("device", DeviceError)):
            expected, got = getattr(self, fact), getattr(value, fact)
            if expected != got:
                raise error(f"{wanted} of {fact} {expected}, got {got}")

    def detach(self) -> Tensor:
        """Return a tensor of the same memory without a history."""
        result = Tensor(self._array)
        result._storage = self._storage
        return result

    def clone(self) -> Tensor:
        """Return a copy with memory of its own, which is part of the tape; `clone().detach()` is not.

        Example:
            >>> from gpunet import tensor
            >>> x = tensor([1.0, 2.0], requires_grad=True)
            >>> x.clone()
            tensor([1., 2.], grad_fn=<cast backward>)
        """
        return self._apply(ops.cast, self, self.dtype) if is_float(self.dtype) else Tensor(_copied(self._array))

    # Copies. What the tape or an optimizer knows of a tensor belongs to that tensor alone.

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        self._require_leaf("deepcopy")
        result = type(self)(_copied(self._array), self._requires_grad)
        result._grad = None if self._grad is None else _copied(self._grad)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to copy or unpickle the tensor."""
        self._require_leaf("copy")
        return _rebuilt, (type(self), self._array, self._requires_grad, self._grad, self._storage)

    def _require_leaf(self, name: str) -> None:
        if self._node is not None:
            raise RuntimeError(f"{name}: only leaf tensors can be copied with copy or pickle\n  hint: tensor.detach()")

    # Other devices and dtypes.

    def to(
        self,
        target: str | Device | npt.DTypeLike | Tensor | None = None,
        dtype: npt.DTypeLike | None = None,
        non_blocking: bool = False,
        *,
        device: str | Device | None = None,
    ) -> Tensor:
        """Return the tensor on a device and in a dtype: itself if it is so already, else a copy.

        A copy in another floating-point dtype is part of the tape; on another device, a leaf becomes a leaf of its own.

        Args:
            target: a device, a dtype, or a tensor that has both; strings name devices.
            dtype, device: the same by name.
            non_blocking: has no effect; the argument is there so that PyTorch's calls fit.

        Raises:
            RuntimeError: the tensor has a history, which does not go along to another device.

        Example:
            >>> from gpunet import tensor
            >>> tensor([1, 2]).to("cpu", "float32")
            tensor([1., 2.])
        """
        place, kind = destination(target, dtype, device)
        result = self if place is None else self._on(place)
        return result if kind is None else result._astype(kind)

    def _on(self, target: Device) -> Tensor:
        if target == self.device:
            return self
        if self._node is not None and grad_enabled():
            way = f"from {target} to {self.device}"
            raise RuntimeError(f"to: gradients do not go back {way}\n  hint: tensor.detach().to('{target}')")
        host = backend.of(self._array).to_numpy(self._array)
        result = Tensor(backend.get(target).from_numpy(host))
        return result.requires_grad_() if self._requires_grad and self._node is None else result

    def _astype(self, dtype: np.dtype[Any]) -> Tensor:
        if dtype == self.dtype:
            return self
        if is_float(self.dtype) and is_float(dtype):
            return self._apply(ops.cast, self, dtype)
        with backend.of(self._array).current():
            return Tensor(self._array.astype(dtype))

    def half(self) -> Tensor:
        """Return the tensor in float16."""
        return self.to(np.float16)

    def bfloat16(self) -> Tensor:
        """Return the tensor in bfloat16 (needs ml_dtypes)."""
        return self.to(bfloat16())

    def float(self) -> Tensor:
        """Return the tensor in float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Return the tensor in float64."""
        return self.to(np.float64)

    def long(self) -> Tensor:
        """Return the tensor in int64."""
        return self.to(np.int64)

    def cpu(self) -> Tensor:
        """Return the tensor on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """Return the tensor on the first GPU."""
        return self.to("cuda")

    # In-place operations.

    def copy_(self, source: Tensor) -> Tensor:
        """Overwrite the elements with those of a tensor of the same shape, dtype and device, and take over its history.

        Raises:
            RuntimeError: a leaf that requires a gradient, or a view, is changed while gradients are recorded.
            ShapeError, DTypeError, DeviceError: the source is of another shape, dtype or device.

        Example:
            >>> from gpunet import tensor
            >>> tensor([1.0, 2.0]).copy_(tensor([3.0, 4.0]))
            tensor([3., 4.])
        """
        self._check_in_place("copy_")
        self._require_like("copy_: expected a tensor", source)
        recorded = source._requires_grad and grad_enabled()
        return self._become("copy_", self._apply(ops.cast, source, self.dtype) if recorded else source)

    def fill_(self, value: Number | Tensor) -> Tensor:
        """Set all elements to a number, or to the only element of a tensor; the tensor's history ends.

        Tensors of integers cut the fraction off.

        Raises:
            TypeError: the value is no number.
            OverflowError: the dtype cannot hold it.
        """
        return self._fill("fill_", value)

    def zero_(self) -> Tensor:
        """Set all elements to zero, which ends the tensor's history."""
        return self._fill("zero_", 0)

    def _fill(self, name: str, value: Any) -> Tensor:
        self._check_in_place(name)
        number = _number(name, value)
        return self._become(name, Tensor(backend.of(self._array).full(self.shape, number, self.dtype)))

    def _in_place(self, name: str, op: Op, other: Tensor | Number) -> Tensor:
        """Overwrite the elements with the result of an op on them; see `add_` and the like."""
        self._check_in_place(name)
        result = self._apply(op, self, other)
        if result.shape != self.shape:
            raise ShapeError(f"{name}: the result has shape {result.shape}, the tensor {self.shape}")
        return self._become(name, result)

    def _become(self, name: str, result: Tensor) -> Tensor:
        """Take over the values of a result and, while gradients are recorded, its history."""
        recorded = grad_enabled() and (self._requires_grad or result._requires_grad)
        if recorded and self._view is not None:
            raise RuntimeError(_VIEW_CHANGED.format(name=name))
        settle()
        backend.of(self._array).copy(self._array, result._array)
        self._storage.version += 1
        if recorded:
            self._storage.edits += 1
            self._node, self._requires_grad = result._node, result._requires_grad
        return self

    def _check_in_place(self, name: str) -> None:
        if not (grad_enabled() and self._requires_grad):
            return
        if self._node is None:
            raise RuntimeError(
                f"{name}: a leaf that requires a gradient is changed in place.\n  hint: with gpunet.no_grad(): ..."
            )
        if self._view is not None:
            raise RuntimeError(_VIEW_CHANGED.format(name=name))

    def _check_view(self, name: str) -> None:
        """Raise for a view whose values depend on more than its history says."""
        if self._view is not None and self._view != self._storage.edits:
            raise RuntimeError(
                f"{name}: a view is used after the tensor that it is part of was changed in place.\n"
                "  Its gradient would pass over that change.\n"
                "  hint: take the view again after the change"
            )


def _number(name: str, value: Any) -> Any:
    """Return a number, or the only element of a tensor."""
    number = value.item() if isinstance(value, Tensor) else value
    if not isinstance(number, Number):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    return number


def _copied(array: Array) -> Array:
    """Copy an array, with its memory layout."""
    be = backend.of(array)
    result = be.empty(array.shape, array.dtype, layout_of(array) or CONTIGUOUS)
    be.copy(result, array)
    return result


def _rebuilt(kind: type[Tensor], array: Array, requires_grad: bool, grad: Array | None, storage: Storage) -> Tensor:
    result = kind(array, requires_grad)
    result._grad, result._storage = grad, storage
    return result
