from __future__ import annotations

import types

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.nn import functional as F
from gpunet.tensor import apply
from gpunet.tensor.tape import Node
from gpunet.viz import draw_tape, tape_graph
from tests.cases import CASES


def tensor(*shape, grad=True):
    return gpunet.tensor(np.ones(shape, np.float32), requires_grad=grad)


def facts(graph):
    """Return the boxes as {label: (kind, shape, column)} and the arrows by label."""
    boxes = {box.label: (box.kind, box.shape, box.column) for box in graph.boxes}
    assert len(boxes) == len(graph.boxes)
    return boxes, {(graph.boxes[start].label, graph.boxes[end].label) for start, end in graph.arrows}


def check_layout(graph):
    """Arrows lead one column to the right; no two boxes share a place."""
    for start, end in graph.arrows:
        assert graph.boxes[end].column == graph.boxes[start].column + 1
    places = [(box.column, box.row) for box in graph.boxes]
    assert len(set(places)) == len(places) and min(places) >= (0, 0)


def test_a_network_is_its_ops_leaves_and_data():
    layer = nn.Linear(2, 3)
    loss = F.cross_entropy(F.relu(layer(tensor(4, 2, grad=False))), gpunet.tensor([0, 1, 2, 0]))
    graph = tape_graph(loss, dict(layer.named_parameters()))
    boxes, arrows = facts(graph)
    assert boxes == {
        "cross_entropy": ("op", (), 3),
        "relu": ("op", (4, 3), 2),
        "target": ("data", (4,), 2),
        "linear": ("op", (4, 3), 1),
        "x": ("data", (4, 2), 0),
        "weight": ("leaf", (3, 2), 0),
        "bias": ("leaf", (3,), 0),
    }
    assert arrows == {
        ("x", "linear"),
        ("weight", "linear"),
        ("bias", "linear"),
        ("linear", "relu"),
        ("relu", "cross_entropy"),
        ("target", "cross_entropy"),
    }
    check_layout(graph)


def test_a_chain_is_a_straight_line_with_its_parameters_below():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    graph = tape_graph(net(tensor(4, 2, grad=False)))
    assert {box.row for box in graph.boxes if box.kind == "op"} == {0}
    assert all(box.row > 0 for box in graph.boxes if box.kind == "leaf")
    check_layout(graph)


def test_data_that_backward_freed_is_not_shown():
    layer = nn.Linear(2, 3)
    loss = F.cross_entropy(layer(tensor(4, 2, grad=False)), gpunet.tensor([0, 1, 2, 0]))
    loss.backward()
    assert {box.kind for box in tape_graph(loss).boxes} == {"op", "leaf"}


def test_a_shared_leaf_is_one_box_with_an_arrow_to_each_use():
    x, w = tensor(2, 3), tensor(3, 3)
    graph = tape_graph(F.linear(F.linear(x, w), w), {"x": x, "w": w})
    kinds = sorted(box.kind for box in graph.boxes)
    assert kinds == ["bend", "leaf", "leaf", "op", "op"]
    w_place = next(place for place, box in enumerate(graph.boxes) if box.label == "w" and box.kind == "leaf")
    ends = {graph.boxes[end].kind for start, end in graph.arrows if start == w_place}
    assert ends == {"op", "bend"}
    check_layout(graph)


def test_an_arrow_over_several_columns_has_a_bend_in_each():
    x = tensor(2, 3)
    y = gpunet.add(F.relu(F.relu(F.relu(x))), x)
    graph = tape_graph(y, {"x": x})
    bends = [box for box in graph.boxes if box.kind == "bend"]
    assert [box.label for box in bends] == ["x"] * 3 and sorted(box.column for box in bends) == [1, 2, 3]
    check_layout(graph)


@pytest.mark.parametrize("swap", [False, True])
def test_a_leaf_stands_before_the_earliest_of_its_uses(swap):
    x = tensor(2, 3)
    ways = [F.relu(x), F.relu(F.relu(F.relu(x)))]
    graph = tape_graph(gpunet.add(*(ways[::-1] if swap else ways)), {"x": x})
    assert next(box.column for box in graph.boxes if box.kind == "leaf") == 0
    check_layout(graph)


def test_data_that_two_ops_read_is_one_box():
    x = tensor(2, 3, grad=False)
    a, b = tensor(4, 3), tensor(4, 3)
    graph = tape_graph(gpunet.add(F.linear(x, a), F.linear(x, b)), {"a": a, "b": b})
    assert [box.label for box in graph.boxes if box.kind == "data"] == ["x"]
    check_layout(graph)


def test_the_same_op_on_both_sides_is_one_box():
    h = F.relu(tensor(2, 3))
    graph = tape_graph(gpunet.add(h, h))
    assert [box.label for box in graph.boxes] == ["add", "relu", "x"] and len(graph.arrows) == 2


def test_a_deep_network_needs_no_deep_stack():
    y = tensor(2)
    for _ in range(2000):
        y = F.relu(y)
    assert tape_graph(y).boxes[0].column == 2000


def test_the_tape_of_any_device_is_the_same(be):
    x = tensor(2, 3).to(be.device)
    assert facts(tape_graph(F.relu(x), {"x": x})) == (
        {"relu": ("op", (2, 3), 1), "x": ("leaf", (2, 3), 0)},
        {("x", "relu")},
    )


@pytest.mark.parametrize("case", [case for case in CASES if case.op.gradients], ids=str)
def test_every_op_can_stand_in_a_tape(case, rng):
    inputs = [
        value if value is None else gpunet.Tensor(value, name in case.op.gradients or name not in case.op.inputs)
        for name, value in case.inputs(rng, np.float32).items()
    ]
    output = apply(case.op, *inputs, **case.attrs)
    graph = tape_graph(output)
    assert (graph.boxes[0].label, graph.boxes[0].shape) == (case.op.__name__, output.shape)
    asked = [value for value in inputs if value is not None and value.requires_grad]
    assert len(asked) == sum(box.kind == "leaf" for box in graph.boxes)
    check_layout(graph)


def test_an_op_of_any_number_of_inputs_numbers_them():
    op = types.SimpleNamespace(__name__="join", inputs=("x",), saves=())
    output = tensor(9)
    output._node = Node(op, {}, [tensor(2), tensor(3), tensor(4)], [], output.shape)
    assert [box.label for box in tape_graph(output).boxes] == ["join", "x0", "x1", "x2"]


def test_a_tensor_without_history_is_refused():
    with pytest.raises(ValueError, match=r"the tensor has no history\.\n(?s:.)*hint: tensor.requires_grad_"):
        tape_graph(tensor(2))


def test_the_drawing_has_every_box_and_arrow(axes):
    x = tensor(2, 3)
    y = gpunet.add(F.relu(F.relu(x)), x)
    draw_tape(axes, y, {"x": x})
    graph = tape_graph(y, {"x": x})
    boxes = [box for box in graph.boxes if box.kind != "bend"]
    assert len(axes.patches) == len(boxes) + len(graph.arrows)
    assert sorted(text.get_text() for text in axes.texts) == sorted(["add", "relu", "relu", "x"] + ["2 × 3"] * 4)
