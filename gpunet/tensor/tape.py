"""The tape: what was computed, and the walk back through it. It knows arrays and ops, but no Tensor."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from gpunet import ops
from gpunet.backend import Array
from gpunet.ops.base import Op

__all__ = ["Leaf", "Node", "Saved", "Storage", "backward", "grad_enabled", "mode", "no_grad", "topological"]


class Storage:
    """Memory that views share; `version` counts the writes since it was made, `edits` those that the tape knows."""

    edits = 0
    version = 0


Saved = tuple[Any, Storage | None, int]  # an array, or a call that makes it; its storage, and the version of that


class Leaf(Protocol):
    """Where gradients end: a tensor that requires one and was not computed."""

    def _gradient_slot(self) -> Array | None:
        """Return memory that the next gradient may be written to, or None."""

    def _accumulate(self, gradient: Array, owned: bool) -> None:
        """Take a gradient, or add it to the one there; `owned` memory may be kept."""


class Node:
    """One call on the tape: the op, the shape of its output, what its gradient reads, and where gradients go.

    Edges lead to the Node or Leaf of each input, or are None. Saved arrays, or calls that make them, come with the
    storage and version that they had; memory that was written since is an error, not a wrong gradient.
    """

    __slots__ = ("attrs", "edges", "op", "saved", "shape")

    def __init__(
        self,
        op: Op,
        attrs: dict[str, Any],
        edges: Sequence[Node | Leaf | None],
        saved: Sequence[Saved],
        shape: tuple[int, ...],
    ) -> None:
        self.op = op
        self.attrs = attrs
        self.shape = shape
        self.edges = edges
        self.saved: Sequence[Saved] | None = saved

    def __repr__(self) -> str:
        return f"<{self.op.__name__} backward>"

    def read_saved(self) -> list[Array]:
        """Return the saved arrays, or raise if they are gone or were changed."""
        if self.saved is None:
            raise RuntimeError(
                f"{self.op.__name__}: backward a second time through the same graph.\n"
                "  The values that it needs were freed by the first backward.\n"
                "  hint: loss.backward(retain_graph=True) the first time"
            )
        arrays = []
        for name, (held, storage, version) in zip(self.op.saves, self.saved, strict=True):
            if storage is not None and storage.version != version:
                raise RuntimeError(
                    f"{self.op.__name__}: {name}, which its gradient needs, was changed by an in-place operation.\n"
                    f"  expected version {version}, got {storage.version}\n"
                    "  hint: write `y = y + x` instead of `y += x`"
                )
            arrays.append(held() if callable(held) else held)
        return arrays


def backward(root: Node, gradient: Array, retain_graph: bool) -> None:
    """Push `gradient` from a node to every leaf that it depends on."""
    gradients: dict[Node, Array] = {root: gradient}
    for node in topological(root):
        gy, saved = gradients.pop(node), node.read_saved()
        needs = [edge is not None for edge in node.edges]
        results = node.op.run_grad(gy, saved, node.attrs, needs, _slots(node.edges))
        if not retain_graph:
            node.saved = None
        for edge, result in zip(node.edges, results, strict=True):
            if edge is None or result is None:
                continue
            if not isinstance(edge, Node):
                edge._accumulate(result, owned=not node.op.aliases or _is_apart(result, gy))
            elif edge in gradients:
                gradients[edge] = ops.add(gradients[edge], result)
            else:
                gradients[edge] = result


def _slots(edges: Sequence[Node | Leaf | None]) -> list[Array | None]:
    """Return where gradients may be written to: the slot of each leaf, once."""
    slots: list[Array | None] = []
    for edge in edges:
        slot = None if edge is None or isinstance(edge, Node) else edge._gradient_slot()
        taken = slot is not None and any(slot is other for other in slots)
        slots.append(None if taken else slot)
    return slots


def _is_apart(gradient: Array, gy: Array) -> bool:
    """Say whether a gradient is known to have memory of its own."""
    return type(gradient) is np.ndarray and gradient.base is None and gradient is not gy


def topological(root: Node) -> list[Node]:
    """Return every node that the root depends on, each after all that depend on it."""
    order: list[Node] = []
    visited: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in visited:
            visited.add(node)
            stack.append((node, True))
            for edge in node.edges:
                if isinstance(edge, Node):
                    stack.append((edge, False))
    return order[::-1]


class _Mode(threading.local):
    """Whether calls are recorded in this thread."""

    enabled = True


mode = _Mode()


def grad_enabled() -> bool:
    """Say whether calls are recorded in this thread."""
    return mode.enabled


F = TypeVar("F", bound=Callable[..., Any])


class no_grad:
    """Record nothing within a `with` block, or within a decorated function.

    Example:
        >>> import gpunet
        >>> weight = gpunet.tensor([1.0], requires_grad=True)
        >>> with gpunet.no_grad():
        ...     print(gpunet.relu(weight).requires_grad)
        False
    """

    def __enter__(self) -> None:
        self._before = mode.enabled
        mode.enabled = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.enabled = self._before

    def __call__(self, function: F) -> F:
        """Return the function with recording switched off while it runs.

        Raises:
            TypeError: it is a generator function, whose body runs later.
        """
        if inspect.isgeneratorfunction(function):
            raise TypeError("no_grad: a generator runs after its call\n  hint: with gpunet.no_grad(): ... in its body")

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]
