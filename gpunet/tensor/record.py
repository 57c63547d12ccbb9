"""How a call of an op becomes a Tensor: checked, computed or left to wait for the next call, and put on the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import ops
from gpunet.backend import Array
from gpunet.errors import DTypeError, layout_message
from gpunet.ops.base import Op
from gpunet.tensor.pending import Pending, settle, waits
from gpunet.tensor.tape import Node, grad_enabled
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
    names = op.names(len(inputs))
    _require_tensors(op, names, inputs)
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
    for name, value in zip(names, inputs, strict=True):
        if name in op.mutates and value is not None:
            value._storage.version += 1
    if outs[0] is arrays[0]:  # a call that changes nothing, such as dropout in evaluation
        return inputs[0], outs[1:]
    result = Tensor(outs[0])
    if op.views and op.shares(arrays[0]):
        result._storage, result._view = inputs[0]._storage, inputs[0]._storage.edits
    needs = [value is not None and value._requires_grad for value in inputs]
    if grad_enabled() and any(needs):
        edges = [(value._node or value) if needed else None for value, needed in zip(inputs, needs, strict=True)]
        storages = [None if value is None else value._storage for value in inputs]
        named: dict[str, Any] = dict(zip(names, zip(arrays, storages, strict=True), strict=True))
        named.update({op.outputs[0]: (_later(outs[0]), result._storage)})
        named.update({name: (array, None) for name, array in zip(op.extras, outs[1:], strict=True)})
        kept = op.kept(needs)
        saved = [named[name] if name in kept else (None, None) for name in op.saves]
        result._node = Node(op, attrs, edges, saved, result.shape)
        result._requires_grad = True
    return result, outs[1:]


def _later(held: Any) -> Any:
    """Return what the tape saves of an output: an array, or what makes it."""
    return held.array if type(held) is Pending else held


def _pooled(x: Tensor, pooled: Pending, attrs: dict[str, Any]) -> Tensor:
    """Return the output of max pooling that waits, with max pooling before ReLU on the tape, if x is one of ReLU."""
    result = Tensor(pooled)
    if x._node is not None and grad_enabled():
        clipped = x._node.op is ops.relu
        source = x._node.edges[0] if clipped else x._node
        node = Node(ops.max_pool2d, attrs, [source], [(pooled.winner, None)], result.shape)
        if clipped:
            node = Node(ops.relu, {}, [node], [(pooled.array, result._storage)], result.shape)
        result._node, result._requires_grad = node, True
    return result


def _require_tensors(op: Op, names: Sequence[str], inputs: Sequence[Any]) -> None:
    """Raise unless inputs are Tensors that may take part, and ask for gradients only where the op has some."""
    differentiable = op.differentiable(len(inputs))
    for name, value in zip(names, inputs, strict=True):
        if not isinstance(value, Tensor) and not (value is None and name in op.optional):
            raise DTypeError(
                layout_message(
                    op.__name__,
                    f"{name} is not a Tensor.",
                    expected=f"a gpunet.Tensor, got {type(value).__module__}.{type(value).__name__}",
                    hint=f"gpunet.Tensor(array), or gpunet.ops.{op.__name__} for bare arrays",
                )
            )
        if value is not None and grad_enabled():
            value._check_view(op.__name__)
        if value is not None and value._requires_grad and name not in differentiable and grad_enabled():
            raise DTypeError(
                layout_message(
                    op.__name__,
                    f"{name} requires a gradient, but there is none for it.",
                    expected=f"gradients for {', '.join(differentiable) or 'nothing'} only",
                    hint=f"{name}.detach()",
                )
            )
