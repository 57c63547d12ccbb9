"""The tape as a picture: which calls led to a tensor, and where its gradients go."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpunet.tensor import Tensor
from gpunet.tensor.tape import Node, topological
from gpunet.viz.figure import new_figure, save_figure

__all__ = ["Box", "TapeGraph", "draw_tape", "save_tape", "tape_graph"]

_STYLE = {"op": ("#fff3d6", "#b8860b", "-"), "leaf": ("#d9ead3", "#4f7f3f", "-"), "data": ("#eeeeee", "#999999", "--")}
_WIDTH, _HEIGHT = 0.78, 0.62  # of a box; columns and rows are 1 apart
_CHARACTERS = 13  # that fit a box


Kind = Literal["op", "leaf", "data", "bend"]


@dataclass(frozen=True)
class Box:
    """One box of the picture.

    Attributes:
        kind: "op", "leaf" (gradients end here), "data" (an input without a gradient), or "bend" (no box: here a long
            arrow passes a column).
        label: name of the op, leaf or input; of a bend, of what it comes from.
        shape: of the op's output, of the leaf, or of the data.
        column: 0 at the left; every arrow goes from one column to the next.
        row: 0 at the top.
    """

    kind: Kind
    label: str
    shape: tuple[int, ...]
    column: int
    row: int


@dataclass(frozen=True)
class TapeGraph:
    """The boxes of a tape and its arrows, each from the place of one box in `boxes` to that of another."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def tape_graph(output: Tensor, names: Mapping[str, Tensor] | None = None) -> TapeGraph:
    """Return what the tape recorded for a tensor, laid out from left (leaves) to right (the tensor itself).

    Ops are followed from `output.grad_fn` through their edges to the leaves. Inputs that asked for no gradient have
    no edge; they are shown where the tape saved them, as long as `backward` has not freed them.

    Args:
        output: a tensor with a history, such as a loss.
        names: names of leaves, such as `dict(model.named_parameters())`; a leaf without one has that of the
            op's input.

    Raises:
        ValueError: the tensor has no history.

    Example:
        >>> import gpunet
        >>> x = gpunet.tensor([1.0, -2.0], requires_grad=True)
        >>> graph = tape_graph(x.relu(), {"x": x})
        >>> [(box.kind, box.label, box.shape) for box in graph.boxes], graph.arrows
        ([('op', 'relu', (2,)), ('leaf', 'x', (2,))], ((1, 0),))
    """
    root = output.grad_fn
    if root is None:
        raise ValueError(
            "tape_graph: the tensor has no history.\n"
            "  expected one that was computed from tensors that require a gradient\n"
            "  hint: tensor.requires_grad_() before, and no gpunet.no_grad() round the computation"
        )
    inputs = _inputs(root)
    depth = _depths(root, inputs)
    links = _with_bends(inputs, depth)
    rows = _rows(links, depth)
    last = max(depth.values())
    labels = {item: name for found in inputs.values() for name, item in found}
    labels |= {leaf: name for name, leaf in (names or {}).items()}
    places = {item: place for place, item in enumerate(depth)}
    boxes = tuple(_box(item, labels, last - depth[item], rows[item]) for item in depth)
    arrows = ((places[item], places[target]) for target, found in links.items() for item in found)
    return TapeGraph(boxes, tuple(arrows))


def draw_tape(axes: Any, output: Tensor, names: Mapping[str, Tensor] | None = None) -> None:
    """Draw the tape of a tensor into matplotlib axes; for networks of up to some twenty calls.

    Yellow boxes are ops with the shape of their output, green ones leaves, where gradients end, and grey ones inputs
    without a gradient. Values flow along the arrows, gradients against them.

    Args:
        axes: matplotlib axes; what is in them stays.
        output: a tensor with a history, such as a loss.
        names: names of leaves, such as `dict(model.named_parameters())`.

    Raises:
        ValueError: the tensor has no history.

    Example:
        >>> import gpunet
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> draw_tape(axes, gpunet.tensor([1.0], requires_grad=True).relu())
        >>> len(axes.patches)
        3
    """
    graph = tape_graph(output, names)
    _draw(axes, graph)


def save_tape(output: Tensor, path: str | os.PathLike[str], names: Mapping[str, Tensor] | None = None) -> None:
    """Draw the tape of a tensor into a PNG file; see `draw_tape`.

    Args:
        output: a tensor with a history, such as a loss.
        path: the file, written whole or not at all.
        names: names of leaves, such as `dict(model.named_parameters())`.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: the tensor has no history.
        OSError: the file cannot be written; an old one is intact.

    Example:
        >>> import gpunet, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tape.png"
        >>> save_tape(gpunet.tensor([1.0], requires_grad=True).relu(), path)
        >>> path.stat().st_size > 1000
        True
    """
    graph = tape_graph(output, names)
    figure = new_figure("save_tape", *figure_size(graph))
    _draw(figure.subplots(), graph)
    save_figure(figure, path)


def figure_size(graph: TapeGraph) -> tuple[float, float]:
    """Return width and height in inches at which the text fits the boxes."""
    columns = 1 + max(box.column for box in graph.boxes)
    rows = 1 + max(box.row for box in graph.boxes)
    return 1.35 * columns + 0.2, 0.75 * rows + 0.2


@dataclass(frozen=True, eq=False)
class _Data:
    """An input that asked for no gradient, known because the tape saved it."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Bend:
    """Where the arrow from an item passes a column."""

    item: _Item


_Item = Any  # a Node, a leaf Tensor, a _Data or a _Bend; all compare by identity


def _inputs(root: Node) -> dict[Node, list[tuple[str, _Item]]]:
    """Return the named inputs of every op, in the order of its signature; an op comes after all that use it."""
    data: dict[int, _Data] = {}
    found: dict[Node, list[tuple[str, _Item]]] = {}
    for node in topological(root):
        saved = dict(zip(node.op.saves, node.saved or (), strict=False))
        found[node] = []
        for name, edge in zip(_input_names(node), node.edges, strict=True):
            array = saved[name][0] if name in saved else None
            if edge is not None:
                found[node].append((name, edge))
            elif array is not None:
                found[node].append((name, data.setdefault(id(array), _Data(tuple(array.shape)))))
    return found


def _input_names(node: Node) -> Sequence[str]:
    """Return the names of an op's inputs; one that takes any number of x has x0, x1, ..."""
    names = node.op.inputs
    return names if len(names) == len(node.edges) else [f"{names[0]}{place}" for place in range(len(node.edges))]


def _depths(root: Node, inputs: Mapping[Node, Sequence[tuple[str, _Item]]]) -> dict[_Item, int]:
    """Return the longest way from each item to the root, so that every arrow leads to a smaller depth."""
    depth: dict[_Item, int] = {root: 0}
    for node, found in inputs.items():
        for _, item in found:
            depth[item] = max(depth.get(item, 0), depth[node] + 1)
    return depth


def _with_bends(
    inputs: Mapping[Node, Sequence[tuple[str, _Item]]], depth: dict[_Item, int]
) -> dict[_Item, list[_Item]]:
    """Return the inputs of each item, one column away each; the bends of longer arrows are added to `depth`."""
    bends: dict[tuple[_Item, int], _Bend] = {}
    links: dict[_Item, list[_Item]] = {}
    for node, found in inputs.items():
        for _, item in found:
            target: _Item = node
            for level in range(depth[node] + 1, depth[item]):
                bend = bends.setdefault((item, level), _Bend(item))
                depth[bend] = level
                links.setdefault(target, []).append(bend)
                target = bend
            links.setdefault(target, []).append(item)
    return {target: list(dict.fromkeys(found)) for target, found in links.items()}


def _rows(links: Mapping[_Item, Sequence[_Item]], depth: Mapping[_Item, int]) -> dict[_Item, int]:
    """Return a row for each item: an op's first input stands left of it, the others and bends below that."""
    rows: dict[_Item, int] = {}
    wishes: dict[_Item, tuple[int, bool, int]] = {}
    by_depth = sorted(depth, key=lambda item: depth[item])
    for _, column in itertools.groupby(by_depth, key=lambda item: depth[item]):
        taken = -1
        for item in sorted(column, key=lambda item: wishes.get(item, (0,))):
            rows[item] = taken = max(wishes.get(item, (0,))[0], taken + 1)
            for place, source in enumerate(links.get(item, ())):
                wish = (rows[item], isinstance(source, _Bend), place)
                wishes[source] = min(wishes.get(source, wish), wish)
    return rows


def _box(item: _Item, labels: Mapping[_Item, str], column: int, row: int) -> Box:
    source = item.item if isinstance(item, _Bend) else item
    label = source.op.__name__ if isinstance(source, Node) else labels[source]
    kind: Kind = "leaf"
    for cls, name in _KINDS.items():
        if isinstance(item, cls):
            kind = name
    return Box(kind, label, tuple(source.shape), column, row)


_KINDS: dict[type, Kind] = {Node: "op", _Data: "data", _Bend: "bend"}


def _draw(axes: Any, graph: TapeGraph) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    for box in graph.boxes:
        if box.kind == "bend":
            axes.plot([box.column - _WIDTH / 2, box.column + _WIDTH / 2], [-box.row, -box.row], color="0.35", lw=1)
            continue
        face, edge, line = _STYLE[box.kind]
        corner = box.column - _WIDTH / 2, -box.row - _HEIGHT / 2
        patch = FancyBboxPatch(corner, _WIDTH, _HEIGHT, facecolor=face, edgecolor=edge, linestyle=line)
        patch.set_boxstyle("round", pad=0, rounding_size=0.08)
        axes.add_patch(patch)
        weight = "bold" if box.kind == "op" else "normal"
        _write(axes, box.column, 0.12 - box.row, box.label, 9, weight=weight)
        _write(axes, box.column, -0.14 - box.row, " × ".join(map(str, box.shape)) or "scalar", 8, color="0.35")
    for start, end in graph.arrows:
        source, target = graph.boxes[start], graph.boxes[end]
        left, right = (source.column + _WIDTH / 2, -source.row), (target.column - _WIDTH / 2, -target.row)
        arrow = FancyArrowPatch(left, right, mutation_scale=9, color="0.35", shrinkA=0, shrinkB=0)
        arrow.set_linewidth(1)
        arrow.set_arrowstyle("-" if target.kind == "bend" else "-|>")
        axes.add_patch(arrow)
    axes.set_xlim(-0.5, max(box.column for box in graph.boxes) + 0.5)
    axes.set_ylim(-max(box.row for box in graph.boxes) - 0.5, 0.5)
    axes.axis("off")


def _write(axes: Any, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Write a text that fits a box of `figure_size`."""
    size *= min(1, _CHARACTERS / len(text))
    axes.text(x, y, text, ha="center", va="center", fontsize=size, **style)
