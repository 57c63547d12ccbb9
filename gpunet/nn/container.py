"""Containers of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpunet.nn.module import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """Modules called one after another.

    Args:
        modules: in the order of the calls; their names are "0", "1", ...

    Example:
        >>> import gpunet
        >>> net = Sequential(gpunet.nn.Linear(3, 4), gpunet.nn.ReLU())
        >>> net(gpunet.tensor([[1.0, 2.0, 3.0]])).shape
        (1, 4)
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            self.add_module(str(index), module)

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules."""
        for module in self:
            input = module(input)
        return input

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Module:
        """Return one module, or a Sequential of some, which keep their names."""
        if not isinstance(index, slice):
            return list(self)[index]
        part = Sequential()
        for name, module in list(self._modules.items())[index]:
            part.add_module(name, module)
        return part
