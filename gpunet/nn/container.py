"""Containers of modules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from gpunet.nn.module import Module

__all__ = ["Identity", "ModuleDict", "ModuleList", "Sequential"]


class _Listed(Module):
    """Modules in an order, named by their places."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[index], module)

    def __delitem__(self, index: int | slice) -> None:
        """Remove modules; those behind move up, and are named by their new places."""
        modules = list(self)
        del modules[index]
        self._fill(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end. Returns the container."""
        free = (str(place) for place in itertools.count(len(self)) if str(place) not in self._modules)
        self.add_module(next(free), module)  # a slice keeps names: the next place may be taken
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end. Returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before another; those behind are named by their new places. Returns the container."""
        modules = list(self)
        modules.insert(index, module)
        self._fill(modules)
        return self

    def _fill(self, modules: list[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        self.extend(modules)


class Sequential(_Listed):
    """Modules called one after another.

    Args:
        modules: in the order of the calls; their names are "0", "1", ... One dict instead names them itself.

    Example:
        >>> import gpunet
        >>> net = Sequential(gpunet.nn.Linear(3, 4), gpunet.nn.ReLU())
        >>> net(gpunet.tensor([[1.0, 2.0, 3.0]])).shape
        (1, 4)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else _numbered(modules)
        for name, module in named.items():
            self.add_module(name, module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """Return one module, or a Sequential of some, which keep their names."""
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return list(self)[index]

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Listed):
    """Modules in a list that is found by `parameters`, `state_dict`, `to` and so on; the owner calls them.

    Args:
        modules: their names are "0", "1", ...

    Example:
        >>> import gpunet
        >>> heads = ModuleList([gpunet.nn.Linear(3, 2) for _ in range(2)])
        >>> list(heads.state_dict())
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        """Return one module, or a ModuleList of some, which are named by their new places."""
        return ModuleList(list(self)[index]) if isinstance(index, slice) else list(self)[index]


class ModuleDict(Module):
    """Modules under names of one's own, found by `parameters`, `state_dict`, `to` and so on; the owner calls them.

    Args:
        modules: by name; a name must not be that of an attribute, such as "training", and has no dot.

    Example:
        >>> import gpunet
        >>> heads = ModuleDict({"mean": gpunet.nn.Linear(3, 2), "scale": gpunet.nn.Linear(3, 1)})
        >>> heads["scale"](gpunet.tensor([1.0, 2.0, 3.0])).shape
        (1,)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Module:
        if name not in self._modules:
            raise KeyError(f"ModuleDict: there is no module {name!r}; there are {list(self._modules)}")
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str) -> Module:
        """Remove a module and return it."""
        module = self[name]
        delattr(self, name)
        return module

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules by name, or replace them."""
        for name, module in modules.items():
            self.add_module(name, module)

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return pairs (name, module)."""
        return self._modules.items()


class Identity(Module):
    """The input itself: takes the place of a layer, such as the head of a network whose features are wanted.

    Args:
        args, kwargs: of the layer; not used.

    Example:
        >>> import gpunet
        >>> Identity(512, 10)(gpunet.tensor([1.0]))
        tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


def _numbered(modules: Iterable[Any]) -> dict[str, Any]:
    return {str(index): module for index, module in enumerate(modules)}
