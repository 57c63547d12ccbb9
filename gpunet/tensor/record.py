"""How a call of an op becomes a Tensor: checked, computed or left to wait for the next call, and put on the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import ops
from gpunet.backend import Array
from gpunet.errors import DTypeError, layout_message
from gpunet.ops.base import Op
from gpunet.tensor.pending import Pending, settle, waits
from gpunet.tensor.tape import Node, Saved, mode
from gpunet.tensor.tensor import Tensor

__all__ = ["apply", "record"]


def apply(op: Op, *args: Any, **kwargs: Any) -> Tensor:
    """Call an op on tensors and record the call if a gradient may be asked for.

    Raises:
        TypeError: an input is not a Tensor, or requires a gradient that the op has not.
    """
    return record(op, *op.bind(*args, **kwargs))[0]


Tensor._apply = staticmethod(apply)  # type: ignore[method-assign]  # the methods of Tensor, which is made here


def record(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> tuple[Tensor, tuple[Array, ...]]:
    """Do what `apply` does with arguments that are bound already; return the op's extras too, as arrays."""
    edges = _edges(op, inputs)
    if op.mutates:
        settle()
    first, joined = inputs[0], None
    if isinstance(first, Tensor) and type(first._held) is Pending:
        joined = first._held.joined(op, attrs)
    if joined is not None and op is ops.max_pool2d:
        return _pooled(first, joined, attrs), (joined.winner,)
    outs: tuple[Any, ...]
    if joined is not None:
        arrays, outs = [None], (joined,)
    else:
        arrays = [None if value is None else value._array for value in inputs]
        if waits(op):
            outs = (Pending((op, arrays, attrs), op.infer(*arrays, **attrs)[0], first.device),)
        else:
            outs = op.run(arrays, attrs)
    for i in op.changed:
        if inputs[i] is not None:
            inputs[i]._storage.version += 1
    if outs[0] is arrays[0]:  # a call that changes nothing, such as dropout in evaluation
        return first, outs[1:]
    result = Tensor(outs[0])
    if op.views and op.shares(arrays[0]):
        result._storage, result._view = first._storage, first._storage.edits
    if edges is not None:
        result._node = Node(op, attrs, edges, _saved(op, edges, (*arrays, *outs), (*inputs, result)), outs[0].shape)
        result._requires_grad = True
    return result, outs[1:]


def _edges(op: Op, inputs: Sequence[Any]) -> list[Node | Tensor | None] | None:
    """Return where the gradient of each input goes, None for one that asks for none; None if no input asks.

    Raises unless inputs are Tensors that may take part, and ask for gradients only where the op has some.
    """
    edges: list[Node | Tensor | None] = []
    recording, asked = mode.enabled, False
    for value in inputs:
        edge = None
        if not isinstance(value, Tensor):
            name = op.names(len(inputs))[len(edges)]
            if value is not None or name not in op.optional:
                raise _not_a_tensor(op, name, value)
        elif recording:
            if value._view is not None:
                value._check_view(op.__name__)
            if value._requires_grad:
                if not op.variadic and op.inputs[len(edges)] not in op.gradients:
                    raise _no_gradient(op, op.inputs[len(edges)])
                edge, asked = value._node or value, True
        edges.append(edge)
    return edges if asked else None


def _saved(op: Op, edges: Sequence[object], arrays: Sequence[Any], tensors: Sequence[Tensor | None]) -> list[Saved]:
    """Return what the gradients that are asked for read, of inputs, output and extras; the last are no tensors."""
    saved: list[Saved] = []
    kept = op.kept([edge is not None for edge in edges]) if op.selects else op.saves
    for name, place in zip(op.saves, op.saved_from, strict=True):
        held = arrays[place] if name in kept else None
        if held is None:
            saved.append((None, None, 0))
        elif place >= len(tensors):
            saved.append((held, None, 0))
        else:
            storage = tensors[place]._storage  # type: ignore[union-attr]  # an input that is None has no array
            held = held.array if type(held) is Pending else held  # made when the gradient reads it
            saved.append((held, storage, storage.version))
    return saved


def _pooled(x: Tensor, pooled: Pending, attrs: dict[str, Any]) -> Tensor:
    """Return the output of max pooling that waits, with max pooling before ReLU on the tape, if x is one of ReLU."""
    result = Tensor(pooled)
    if x._node is not None and mode.enabled:
        clipped = x._node.op is ops.relu
        source = x._node.edges[0] if clipped else x._node
        node = Node(ops.max_pool2d, attrs, [source], [(pooled.winner, None, 0)], result.shape)
        if clipped:
            saved = (pooled.array, result._storage, result._storage.version)
            node = Node(ops.relu, {}, [node], [saved], result.shape)
        result._node, result._requires_grad = node, True
    return result


def _not_a_tensor(op: Op, name: str, value: Any) -> DTypeError:
    kind = f"{type(value).__module__}.{type(value).__name__}"
    hint = f"gpunet.Tensor(array), or gpunet.ops.{op.__name__} for bare arrays"
    problem, expected = f"{name} is not a Tensor.", f"a gpunet.Tensor, got {kind}"
    return DTypeError(layout_message(op.__name__, problem, expected=expected, hint=hint))


def _no_gradient(op: Op, name: str) -> DTypeError:
    problem = f"{name} requires a gradient, but there is none for it."
    expected = f"gradients for {', '.join(op.gradients) or 'nothing'} only"
    return DTypeError(layout_message(op.__name__, problem, expected=expected, hint=f"{name}.detach()"))
