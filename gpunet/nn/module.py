"""Module: parameters, buffers and submodules under names, moved, saved and switched together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend, ops
from gpunet.backend import CHANNELS_LAST, Device, dtypes
from gpunet.errors import DTypeError
from gpunet.nn.state_dict import IncompatibleKeys, load
from gpunet.tensor import Parameter, Tensor
from gpunet.tensor.destination import destination
from gpunet.tensor.pending import joining

__all__ = ["Module"]


class Module:
    """Base of all layers and models. Subclasses call `super().__init__()` and define `forward`.

    Parameters and Modules that are assigned as attributes, and tensors given to `register_buffer`, are found by
    `parameters`, `state_dict`, `to` and so on; their names and order are PyTorch's.

    Example:
        >>> import gpunet
        >>> class Net(Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = gpunet.nn.Linear(3, 2)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
        >>> list(Net().state_dict())
        ['fc.weight', 'fc.bias']
    """

    training: bool
    _parameters: dict[str, Parameter]
    _buffers: dict[str, Tensor | None]
    _transient: set[str]  # names of the buffers that are not saved
    _modules: dict[str, Module]

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_buffers", {})
        object.__setattr__(self, "_transient", set())
        object.__setattr__(self, "_modules", {})
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`; within it, calls join those before them: see gpunet/tensor/pending.py."""
        with joining():
            return self.forward(*args, **kwargs)

    # Registration.

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        if name in self._buffers and not isinstance(value, Parameter | Module):
            self.register_buffer(name, value, name not in self._transient)
            return
        self._refuse_replacement(name, value)
        if isinstance(value, Parameter):
            self._forget(name, keep=self._parameters)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name, keep=self._modules)
            self._modules[name] = value
        else:
            self._forget(name)
        object.__setattr__(self, name, value)

    def _refuse_replacement(self, name: str, value: Any) -> None:
        """Raise for a value that would take the name of a parameter or module, and not be found any more."""
        for registry, kind in ((self._parameters, "Parameter"), (self._modules, "Module")):
            if name in registry and not isinstance(value, Parameter | Module | None):
                raise TypeError(
                    f"{type(self).__name__}: {name!r} is a {kind}, and a {type(value).__name__} would hide it.\n"
                    f"  expected a {kind} or None\n"
                    f"  hint: nn.Parameter(tensor), or `del` it first"
                )

    def __delattr__(self, name: str) -> None:
        self._forget(name)
        object.__delattr__(self, name)

    def _forget(self, name: str, keep: Mapping[str, object] | None = None) -> None:
        """Drop a name from all registries but one, where a replacement takes the place of what it replaces."""
        for registry in (self._parameters, self._buffers, self._modules):
            if registry is not keep:
                registry.pop(name, None)
        self._transient.discard(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter under a name; None keeps the name without one. Anything else is a TypeError."""
        if not isinstance(param, Parameter | None):  # a caller without a type checker
            raise TypeError(
                f"register_parameter: expected a Parameter or None for {name!r}, got {type(param).__name__}"
            )
        self._check_name("register_parameter", name, self._parameters)
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is no parameter under a name; None keeps the name without one.

        Args:
            name: attribute to make.
            tensor: moved with the module; its dtype changes with `half` and so on if it is floating-point.
            persistent: part of the state dict.

        Raises:
            KeyError: the name is that of another attribute.
            TypeError: `tensor` is no Tensor.

        Example:
            >>> import gpunet
            >>> module = Module()
            >>> module.register_buffer("count", gpunet.tensor(0))
            >>> module.count
            tensor(0)
        """
        self._check_name("register_buffer", name, self._buffers)
        if not isinstance(tensor, Tensor | None):  # a caller without a type checker
            raise TypeError(f"register_buffer: expected a Tensor or None for {name!r}, got {type(tensor).__name__}")
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)
        object.__setattr__(self, name, tensor)

    def add_module(self, name: str, module: Module) -> None:
        """Register a submodule under a name, or replace the one that has it.

        Raises:
            TypeError: `module` is no Module, or the name no str.
            KeyError: the name is empty or has a dot, or is that of another attribute.
        """
        if not isinstance(module, Module):  # a caller without a type checker
            raise TypeError(f"add_module: expected a Module for {name!r}, got {type(module).__name__}")
        self._check_name("add_module", name, self._modules)
        setattr(self, name, module)

    register_module = add_module

    def _check_name(self, call: str, name: str, registry: Mapping[str, object]) -> None:
        """Raise unless a name can be registered: dots part it from those of submodules in a state dict."""
        if not isinstance(name, str):  # a caller without a type checker
            raise TypeError(f"{call}: expected a str for the name, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"{call}: a name must not be empty or have a dot, got {name!r}")
        if name not in registry and getattr(self, name, None) is not None:
            raise KeyError(f"{call}: {type(self).__name__} has an attribute {name!r} already")

    # Walking.

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for this module and all below it; one that has several names comes with the first."""
        seen: set[Module] = set()
        for name, module in self._named_places(prefix):
            if not (remove_duplicate and module in seen):
                seen.add(module)
                yield name, module

    def _named_places(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, module in self._modules.items():
            yield from module._named_places(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for the direct submodules, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter), each parameter once; those of this module alone with recurse=False."""
        seen: set[Parameter] = set()
        for place, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, parameter in module._parameters.items():
                if parameter not in seen:
                    seen.add(parameter)
                    yield (f"{place}.{name}" if place else name), parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once; those of this module alone with recurse=False."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, buffer), each buffer once."""
        seen: set[Tensor] = set()
        for prefix, module in self.named_modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer not in seen:
                    seen.add(buffer)
                    yield (f"{prefix}.{name}" if prefix else name), buffer

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def apply(self, fn: Callable[[Module], object]) -> Module:
        """Call a function on all submodules, then on this one: to initialise weights, for example. Returns the module.

        Example:
            >>> import gpunet
            >>> net = gpunet.nn.Sequential(gpunet.nn.ReLU(), gpunet.nn.Flatten())
            >>> _ = net.apply(lambda module: print(type(module).__name__))
            ReLU
            Flatten
            Sequential
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Switching and moving.

    def train(self, mode: bool = True) -> Module:
        """Switch to training mode, or to evaluation with mode=False. Returns the module.

        A submodule may override it, such as a batch norm that stays in evaluation.
        """
        object.__setattr__(self, "training", mode)
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode. Returns the module."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with set_to_none=False they become zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Ask (or stop asking) for gradients of all parameters. Returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(
        self,
        target: str | Device | npt.DTypeLike | Tensor | None = None,
        dtype: npt.DTypeLike | None = None,
        non_blocking: bool = False,
        *,
        device: str | Device | None = None,
    ) -> Module:
        """Move parameters (which stay the same objects), their gradients and buffers to a device, convert their dtype.

        Args:
            target: a device, a dtype, or a tensor that has both; strings name devices.
            dtype, device: the same by name. Buffers of integers keep their dtype.
            non_blocking: has no effect; the argument is there so that PyTorch's calls fit.

        Returns the module.

        Raises:
            DeviceError: there is no such device.
            DTypeError: the dtype is not floating-point.
        """
        place, kind = destination(target, dtype, device)
        if kind is not None and not dtypes.is_float(kind):
            raise DTypeError(f"to: a module takes a floating-point dtype, got {kind}")
        if place is not None:
            self._move(place)
        return self if kind is None else self._astype(kind)

    def cpu(self) -> Module:
        """Move to the CPU. Returns the module."""
        return self.to("cpu")

    def cuda(self, device: int = 0) -> Module:
        """Move to a GPU, the first one by default. Returns the module."""
        return self.to(f"cuda:{device}")

    def _move(self, device: Device) -> None:
        target = backend.get(device)
        for parameter in self.parameters():
            if parameter.device != target.device:
                source = backend.of(parameter.array)
                gradient, parameter.grad = parameter.grad, None
                parameter._move(target.from_numpy(source.to_numpy(parameter.array)))
                parameter.grad = None if gradient is None else gradient.to(target.device)
        self._replace_buffers(lambda buffer: buffer.to(target.device))

    def double(self) -> Module:
        """Convert parameters, their gradients and floating-point buffers to float64. Returns the module."""
        return self._astype("float64")

    def float(self) -> Module:
        """Convert parameters, their gradients and floating-point buffers to float32. Returns the module."""
        return self._astype("float32")

    def half(self) -> Module:
        """Convert parameters, their gradients and floating-point buffers to float16. Returns the module."""
        return self._astype("float16")

    def bfloat16(self) -> Module:
        """Convert parameters, their gradients and floating-point buffers to bfloat16 (needs ml_dtypes).

        Returns the module.
        """
        return self._astype(dtypes.bfloat16())

    def _astype(self, dtype: npt.DTypeLike) -> Module:
        for parameter in self.parameters():
            if parameter.dtype != dtype:
                gradient, parameter.grad = parameter.grad, None
                parameter._move(ops.cast(parameter.array, dtype))
                parameter.grad = None if gradient is None else gradient.to(np.dtype(dtype))
        self._replace_buffers(lambda buffer: buffer.to(np.dtype(dtype)) if dtypes.is_float(buffer.dtype) else buffer)
        return self

    def _replace_buffers(self, change: Callable[[Tensor], Tensor]) -> None:
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    setattr(module, name, change(buffer))

    # Saving.

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by name; the tensors share memory with them.

        Those of a module come before those of its children. What two modules share has two names.

        Memory: shared until the parameters move, to another device or dtype, or to an optimizer's flat buffers at its
        first step. Copy what shall last, with `copy.deepcopy`.
        """
        state: dict[str, Tensor] = {}
        for prefix, module in self.named_modules(remove_duplicate=False):
            saved = {name: buffer for name, buffer in module._buffers.items() if name not in module._transient}
            for name, tensor in (*module._parameters.items(), *saved.items()):
                if tensor is not None:
                    state[f"{prefix}.{name}" if prefix else name] = tensor.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy what `state_dict` names from a mapping to Tensors or NumPy arrays; checked before the first is written.

        Args:
            state_dict: what `state_dict` returned, from any device; values are converted to the module's dtypes.
            strict: names that are missing or unexpected are errors.

        Returns:
            (missing_keys, unexpected_keys), for strict=False.

        Raises:
            RuntimeError: names are missing or unexpected.
            TypeError: `state_dict` is no mapping to arrays.
            ShapeError: a shape differs.
        """
        return load(self.state_dict(), state_dict, strict)

    # Showing.

    def extra_repr(self) -> str:
        """Return the settings to show; layers override it."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def channels_last_parameter(be: backend.Backend, shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Return an uninitialised convolution weight in channels-last memory, the order that kernels read."""
    return Parameter(be.empty(shape, dtype, CHANNELS_LAST))
