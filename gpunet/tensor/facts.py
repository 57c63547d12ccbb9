"""What a Tensor says of its array, and the ways to its values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Array, Device
from gpunet.errors import ShapeError
from gpunet.ops.sums import axis_of
from gpunet.tensor.pending import Pending, settle

if TYPE_CHECKING:
    from gpunet.tensor.tape import Node

__all__ = ["Facts"]


class Facts:
    """What Tensor inherits: shape, dtype, device, and values on the host."""

    __slots__ = ()

    # What Tensor makes.
    _array: Array
    _held: Array | Pending
    _node: Node | None
    _requires_grad: bool

    @property
    def array(self) -> Array:
        """The array itself, on its device, in whatever memory layout it has."""
        settle()  # who gets the array may write to it
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self._held.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self._held.dtype

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return self._held.device if type(self._held) is Pending else backend.of(self._held).device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._held.shape)

    def dim(self) -> int:
        """Return the number of axes."""
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[axis_of(dim, self.ndim, "size")]

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        values = np.array2string(backend.of(self._array).to_numpy(self._array), separator=", ", prefix="tensor(")
        suffix = "" if self.device.type == "cpu" else f", device='{self.device}'"
        if self._node is not None:
            suffix += f", grad_fn={self._node}"
        elif self._requires_grad:
            suffix += ", requires_grad=True"
        return f"tensor({values}{suffix})"

    # Values. All but `numpy` of a CPU tensor wait for the device.

    def numpy(self) -> npt.NDArray[Any]:
        """Return the array of a CPU tensor; memory is shared. Elsewhere: `.cpu().numpy()`."""
        if self._requires_grad:
            raise RuntimeError("numpy: the tensor requires a gradient\n  hint: tensor.detach().numpy()")
        if self.device.type != "cpu":
            raise TypeError(f"numpy: the tensor is on {self.device}\n  hint: tensor.cpu().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.numpy(), dtype, copy=copy)

    def item(self) -> Any:
        """Return the only element as a Python number; waits for the device."""
        if self._array.size != 1:
            raise ShapeError(f"item: expected one element, got shape {self.shape}")
        return backend.of(self._array).to_numpy(self._array).item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers, or one number; waits for the device."""
        return backend.of(self._array).to_numpy(self._array).tolist()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())
