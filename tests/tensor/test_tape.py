"""The tape: accumulation, versions, freeing, modes."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gpunet
from gpunet import ops
from gpunet.tensor import Tensor


def leaf(be, values, dtype=np.float32):
    return Tensor(be.from_numpy(np.asarray(values, dtype)), requires_grad=True)


def host(be, tensor):
    return be.to_numpy(tensor.array)


def test_a_tensor_used_twice_gets_the_sum_of_both_gradients(be):
    x = leaf(be, [1.0, -2.0])
    y = x.relu()
    (y + y + x).backward(Tensor(be.from_numpy(np.array([1.0, 10.0], np.float32))))
    assert host(be, x.grad).tolist() == [3.0, 10.0]


def test_both_inputs_of_one_call_may_be_the_same_leaf(be):
    x = leaf(be, [1.0, 2.0])
    (x + x).backward(Tensor(be.from_numpy(np.ones(2, np.float32))))
    assert host(be, x.grad).tolist() == [2.0, 2.0]


def test_gradients_add_up_until_they_are_cleared(be):
    x = leaf(be, 3.0)
    for _ in range(2):
        x.relu().backward()
    assert x.grad.item() == 2.0
    x.grad = None
    x.relu().backward()
    assert x.grad.item() == 1.0


def test_gradients_of_two_leaves_never_share_memory(be):
    x, y = leaf(be, [1.0]), leaf(be, [2.0])
    (x + y).backward()
    x.grad.add_(5.0)
    assert host(be, y.grad).tolist() == [1.0]


def test_a_gradient_given_by_the_caller_is_not_changed_by_a_second_backward(be):
    x, gradient = leaf(be, [1.0]), Tensor(be.from_numpy(np.ones(1, np.float32)))
    for _ in range(2):
        (x + 0.0).backward(gradient)
    assert host(be, x.grad).tolist() == [2.0] and host(be, gradient).tolist() == [1.0]


def test_a_long_chain_needs_no_recursion(be):
    x = y = leaf(be, [1.0])
    for _ in range(3000 if be.name == "numpy" else 200):
        y = y.relu()
    y.backward()
    assert host(be, x.grad).tolist() == [1.0]


def test_nothing_is_recorded_within_no_grad(be):
    x = leaf(be, [1.0])
    with gpunet.no_grad():
        y = x.relu()
    assert not y.requires_grad and y.is_leaf
    assert x.relu().requires_grad

    @gpunet.no_grad()
    def forward():
        return x.relu()

    assert not forward().requires_grad


def test_no_grad_refuses_a_generator_which_would_record():
    with pytest.raises(TypeError, match="no_grad: a generator runs after its call"):

        @gpunet.no_grad()
        def halves(x):
            yield x * 0.5


def test_no_grad_ends_when_an_exception_leaves_it():
    with pytest.raises(KeyError), gpunet.no_grad():
        raise KeyError
    assert gpunet.tensor([1.0], requires_grad=True).relu().requires_grad


def test_a_saved_value_changed_in_place_is_an_error_not_a_wrong_gradient(be):
    y = leaf(be, [1.0, 2.0]).relu()
    z = y.relu()
    y += 1.0
    with pytest.raises(RuntimeError, match=r"relu: y, which its gradient needs(.|\n)*expected version 0, got 1"):
        (z + y).backward(Tensor(be.from_numpy(np.ones(2, np.float32))))


def test_a_view_shares_the_version_of_its_storage(be):
    w = leaf(be, [[1.0, 2.0]])
    x = Tensor(be.from_numpy(np.ones((1, 2), np.float32)))
    y = gpunet.nn.functional.linear(x.reshape(1, 2), w)
    x.zero_()
    with pytest.raises(RuntimeError, match="linear: x, which its gradient needs"):
        y.backward()


def test_adding_in_place_goes_on_the_tape(be):
    x, shortcut = leaf(be, [1.0, -1.0]), leaf(be, [2.0, 2.0])
    y = x + 0.0
    y += shortcut
    y.relu().backward(Tensor(be.from_numpy(np.ones(2, np.float32))))
    assert host(be, x.grad).tolist() == [1.0, 1.0] and host(be, shortcut.grad).tolist() == [1.0, 1.0]


def test_a_leaf_that_requires_a_gradient_refuses_in_place_changes(be):
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient is changed in place"):
        leaf(be, [1.0]).add_(1.0)
    with gpunet.no_grad():
        assert host(be, leaf(be, [1.0]).add_(1.0)).tolist() == [2.0]


@pytest.mark.parametrize(
    "change", [lambda x: x.add_(1.0), lambda x: x.zero_(), lambda x: x.copy_(x * 2)], ids=["add_", "zero_", "copy_"]
)
def test_a_change_within_no_grad_leaves_the_history_alone(be, change):
    x = leaf(be, [1.0, 2.0])
    y = x * 3.0
    with gpunet.no_grad():
        change(x)
        change(y)
    assert x.requires_grad and x.is_leaf and not y.is_leaf
    y.backward(Tensor(be.from_numpy(np.ones(2, np.float32))))
    assert host(be, x.grad).tolist() == [3.0, 3.0]


def test_what_is_overwritten_takes_over_the_history_of_its_source(be):
    x, source, plain = leaf(be, [1.0]), leaf(be, [5.0]), Tensor(be.from_numpy(np.zeros(1, np.float32)))
    y = x * 2.0
    assert y.copy_(source) is y and plain.copy_(source).requires_grad
    (y * plain).backward()
    assert host(be, source.grad).tolist() == [10.0] and x.grad is None
    y.copy_(source.detach())
    assert y.is_leaf and not y.requires_grad and host(be, y).tolist() == [5.0]
    y.zero_()
    assert host(be, source).tolist() == [5.0], "the values are copied"


def test_zeroing_ends_the_history(be):
    x = leaf(be, [1.0])
    y = x * 2.0
    part = y[:]
    y.zero_()
    (y + x).backward()
    assert host(be, x.grad).tolist() == [1.0] and not y.requires_grad
    with pytest.raises(RuntimeError, match="add: a view is used after"):
        part + 1.0
    view = Tensor(be.from_numpy(np.zeros(2, np.float32)))[:1]
    with pytest.raises(RuntimeError, match="copy_: a view is changed in place"):
        view.copy_(x)


def test_copying_takes_a_tensor_that_fits(be):
    x = Tensor(be.from_numpy(np.zeros(2, np.float32)))
    for source, kind, text in (
        (np.zeros(2), gpunet.DTypeError, r"expected a tensor, which is a gpunet\.Tensor, got numpy\.ndarray"),
        (Tensor(be.from_numpy(np.zeros(3))), gpunet.ShapeError, r"expected a tensor of shape \(2,\), got \(3,\)"),
        (Tensor(be.from_numpy(np.zeros(2))), gpunet.DTypeError, "expected a tensor of dtype float32, got float64"),
    ):
        with pytest.raises(kind, match=f"copy_: {text}"):
            x.copy_(source)


def test_a_view_of_a_computed_tensor_refuses_in_place_changes(be):
    view = leaf(be, [[1.0]]).relu().flatten()
    with pytest.raises(RuntimeError, match="a view is changed in place, and a gradient is required"):
        view.add_(1.0)


def test_backward_twice_needs_retain_graph(be):
    x = leaf(be, [2.0])
    y = x.relu()
    y.backward(retain_graph=True)
    y.backward()
    assert host(be, x.grad).tolist() == [2.0]
    with pytest.raises(RuntimeError, match=r"a second time(.|\n)*hint: loss.backward\(retain_graph=True\)"):
        y.backward()


def test_backward_says_what_is_missing():
    x = gpunet.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(gpunet.ShapeError, match=r"gradient must be given for a tensor of shape \(2,\)"):
        x.relu().backward()
    with pytest.raises(gpunet.ShapeError, match=r"expected a gradient of shape \(2,\), got \(3,\)"):
        x.relu().backward(gpunet.tensor([1.0, 1.0, 1.0]))
    with pytest.raises(gpunet.DTypeError, match="backward: expected a gradient of dtype float32, got float64"):
        (x + 0.0).backward(gpunet.tensor(np.ones(2)))
    with pytest.raises(gpunet.DTypeError, match=r"expected a gradient, which is a gpunet\.Tensor, got numpy\.ndarray"):
        x.relu().backward(np.ones(2, np.float32))
    with pytest.raises(RuntimeError, match="does not depend on a tensor that requires a gradient"):
        x.detach().relu().backward()
    with pytest.raises(RuntimeError, match="gradients of gradients"):
        x.relu().backward(gpunet.tensor([1.0, 1.0]), create_graph=True)


def test_an_assigned_gradient_must_fit_the_tensor(be):
    x = leaf(be, [1.0, 2.0])
    for value, kind, text in (
        (Tensor(be.from_numpy(np.ones(3, np.float32))), gpunet.ShapeError, r"of shape \(2,\), got \(3,\)"),
        (Tensor(be.from_numpy(np.ones(2))), gpunet.DTypeError, "of dtype float32, got float64"),
        (np.ones(2, np.float32), gpunet.DTypeError, r"which is a gpunet\.Tensor, got numpy\.ndarray"),
    ):
        with pytest.raises(kind, match=f"grad: expected a gradient,? {text}"):
            x.grad = value
    assert x.grad is None


@pytest.mark.only_backends("emulated", "cupy")
def test_a_gradient_lives_where_its_tensor_does(be):
    x = leaf(be, [1.0])
    with pytest.raises(gpunet.DeviceError, match=f"grad: expected a gradient of device {be.device}, got cpu"):
        x.grad = gpunet.tensor([1.0])


def test_tensors_and_nodes_form_no_cycle():
    gc.disable()
    try:
        x = gpunet.tensor([1.0], requires_grad=True)
        y = x.relu().relu()
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_backward_frees_what_it_saved():
    x = gpunet.tensor(np.ones(10, np.float32), requires_grad=True)
    y = x.relu()
    saved = weakref.ref(y.grad_fn.saved[0][0])
    z = y + 0.0
    del y
    z.backward(gpunet.tensor(np.ones(10, np.float32)))
    assert saved() is None


def test_gradcheck_finds_a_wrong_gradient(monkeypatch):
    x = gpunet.tensor(np.array([0.5, -0.5, 2.0]), requires_grad=True)
    assert gpunet.gradcheck(Tensor.relu, [x])
    monkeypatch.setattr(type(ops.relu), "grad_cpu", lambda self, be, gx, gy, y: np.copyto(gx, gy))
    with pytest.raises(AssertionError, match=r"gradcheck: the gradient of input 0 \(3,\)"):
        gpunet.gradcheck(Tensor.relu, [x])
    with pytest.raises(ValueError, match="all of them float64"):
        gpunet.gradcheck(Tensor.relu, [gpunet.tensor([1.0], requires_grad=True)])
