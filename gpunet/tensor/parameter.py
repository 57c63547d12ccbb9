"""Parameter: a tensor that is trained."""

from __future__ import annotations

from gpunet import backend
from gpunet.backend import Array
from gpunet.tensor.slots import GradientSlots
from gpunet.tensor.tape import Storage
from gpunet.tensor.tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that a Module registers as trainable; it requires a gradient.

    Example:
        >>> Parameter(np.zeros((2, 3), np.float32)).shape
        (2, 3)
    """

    __slots__ = ("_home",)

    def __init__(self, array: Array | Tensor, requires_grad: bool = True) -> None:
        self._home: tuple[GradientSlots, int] | None = None
        super().__init__(array.array if isinstance(array, Tensor) else array, requires_grad)

    def _move(self, array: Array, slot: Array | None = None, home: tuple[GradientSlots, int] | None = None) -> None:
        """Live in other memory from now on: another device, or an optimizer's flat buffer and a slot of `home`."""
        if self._grad is not None and slot is not None:
            backend.of(slot).copy(slot, self._grad)
            self._grad = slot
        self._array, self._slot, self._home = array, slot, home
        self._storage = Storage()
