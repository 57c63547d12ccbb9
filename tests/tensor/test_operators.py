"""Arithmetic, sums, parts and shapes of tensors, as in PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpunet
from gpunet import Tensor
from gpunet.backend import CHANNELS_LAST, layout_of


def leaf(be, values, dtype=np.float64):
    return Tensor(be.from_numpy(np.array(values, dtype)), requires_grad=True)


def host(be, tensor):
    return be.to_numpy(tensor.array)


EXPRESSIONS = [
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x / y,
    lambda x, y: -x + y,
    lambda x, y: 2 - x + y - 1,
    lambda x, y: 3 * x / 2 + 1 / y,
    lambda x, y: np.float64(2) * x - np.float32(1) / y + 1,
    lambda x, y: ((x - y) * (x - y)).mean(),
    lambda x, y: (x * y).sum(1, keepdim=True) / y.sum(),
    lambda x, y: x.mean((0, 1)) - (x * x).mean(-1),
    lambda x, y: x[1] * y[0, :2, None],
    lambda x, y: x[..., 0].unsqueeze(1) * x[:, 1:].squeeze(-1) + y[:, 1:2],
    lambda x, y: x.transpose(0, 1)[1:].permute(1, 0) - y.sum(),
    lambda x, y: x.T * y.squeeze(),
    lambda x, y: x.add(y).sub(1).mul(2).div(3).neg(),
    lambda x, y: x @ x.T + x[0].matmul(x[1]) - y @ x.transpose(0, 1),
    lambda x, y: x.mm(x.T) - x[None].bmm(x.T[None]) * 2 + y.sum(),
]


@pytest.mark.torch
@pytest.mark.parametrize("expression", EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_expressions_and_their_gradients_are_pytorchs(be, torch, expression):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, 2)), rng.uniform(1, 2, (1, 3 if expression in EXPRESSIONS[10:14] else 2))
    if expression is EXPRESSIONS[10]:
        arrays = arrays[0], arrays[1]
    ours = [leaf(be, array) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    result, expected = expression(*ours), expression(*theirs)
    np.testing.assert_allclose(host(be, result), expected.detach().numpy(), rtol=1e-13)
    gy = np.asarray(rng.standard_normal(expected.shape))
    result.backward(Tensor(be.from_numpy(gy)))
    expected.backward(torch.tensor(gy))
    for mine, other in zip(ours, theirs, strict=True):
        if other.grad is None:
            assert mine.grad is None
        else:
            np.testing.assert_allclose(host(be, mine.grad), other.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.torch
def test_cat_and_its_gradients_are_pytorchs(be, torch):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((2, 3), (2, 1), (2, 2))]
    ours, theirs = [leaf(be, a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    gy = rng.standard_normal((2, 9))
    gpunet.cat([*ours, ours[0]], dim=-1).backward(Tensor(be.from_numpy(gy)))
    torch.cat([*theirs, theirs[0]], dim=-1).backward(torch.tensor(gy))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(host(be, mine.grad), other.grad.numpy(), rtol=1e-14)


def test_cat_takes_what_pytorch_takes_and_keeps_the_layout_of_the_first(be):
    x = Tensor(be.zeros((2, 3, 4, 5), np.float32, CHANNELS_LAST))
    y = Tensor(be.zeros((2, 1, 4, 5), np.float32))
    assert layout_of(gpunet.cat((x, y), 1).array) == CHANNELS_LAST
    numbers = gpunet.cat([Tensor(be.from_numpy(np.arange(n))) for n in (2, 0, 1)])
    assert numbers.dtype == np.int64 and host(be, numbers).tolist() == [0, 1, 0]
    empty = Tensor(be.zeros((0,), np.float32))
    assert gpunet.cat([empty, x], 1).shape == (2, 3, 4, 5) and gpunet.cat([empty, empty]).shape == (0,)


def test_indices_select_what_numpy_selects(be):
    values = np.arange(60.0).reshape(3, 4, 5)
    x = Tensor(be.from_numpy(values))
    entries = (1, -2, np.int64(0), slice(None), slice(1, None, 2), slice(-9, 9), slice(2, 1), None, ...)
    for index in itertools.chain(((entry,) for entry in entries), itertools.product(entries, repeat=2)):
        if index.count(...) > 1:
            continue
        assert np.array_equal(host(be, x[index]), values[index]), index
    assert np.array_equal(host(be, x[2]), values[2]) and x[1, 2, 3].item() == values[1, 2, 3]
    assert [row.shape for row in x] == [(4, 5)] * 3


def test_a_part_is_a_view_that_shares_memory_and_version(be):
    x = Tensor(be.from_numpy(np.zeros((3, 4))))
    for part in (x[1], x[:, 1:3], x[..., None], x.T[1:], x[2, 3], x.permute(1, 0)):
        version = x._storage.version
        part.add_(1.0)
        assert part._storage is x._storage and x._storage.version == version + 1
    expected = np.zeros((3, 4))
    for part in (expected[1], expected[:, 1:3], expected, expected.T[1:], expected[2, 3, ...], expected):
        part += 1
    assert np.array_equal(host(be, x), expected)


def test_the_gradient_of_a_part_has_the_layout_of_the_whole(be):
    x = Tensor(be.zeros((2, 3, 4, 5), np.float32, CHANNELS_LAST), requires_grad=True)
    h = x * 1.0
    h[:, 1:].sum().backward()
    assert layout_of(x.grad.array) == CHANNELS_LAST
    assert (host(be, x.grad) == (np.arange(3) > 0)[:, None, None]).all()


def test_writing_to_a_part_makes_saved_values_stale(be):
    x, w = Tensor(be.from_numpy(np.ones((2, 2)))), leaf(be, [2.0, 3.0])
    y = x * w
    x[0].zero_()
    with pytest.raises(RuntimeError, match="mul: x, which its gradient needs, was changed"):
        y.backward(Tensor(be.from_numpy(np.ones((2, 2)))))


def test_a_product_keeps_only_what_its_gradient_reads(be):
    x, w = leaf(be, [1.0, 2.0]), Tensor(be.from_numpy(np.array([3.0, 4.0])))
    h = x * 1.0
    y = h * w
    z = h * 2.0 / w
    with gpunet.no_grad():
        h.zero_()  # neither gradient reads h
    (y + z).backward(Tensor(be.from_numpy(np.ones(2))))
    np.testing.assert_allclose(host(be, x.grad), [3 + 2 / 3, 4 + 2 / 4])


def test_a_number_is_not_rounded_to_16_bits_before_it_is_used(be):
    x = Tensor(be.from_numpy(np.full(3, 1000, np.float16)))
    assert host(be, x * 1.0004).tolist() == np.full(3, np.float16(np.float32(1000) * np.float32(1.0004))).tolist()
    assert host(be, x * 1.0004)[0] != 1000, "in float16, 1.0004 is 1"


@pytest.mark.only_backends("emulated", "cupy")
def test_arithmetic_with_numbers_and_parts_transfers_nothing(be):
    x = leaf(be, np.ones((4, 6)))
    before = be.host_reads, be.host_writes
    y = gpunet.cat([(2 * x - 1)[1:, ::2], (1 / x)[:2, 3:]]).mean() - x.sum() / 24
    y.backward()
    assert (be.host_reads, be.host_writes) == before


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_"])
def test_in_place_arithmetic_is_pytorchs(be, name):
    x, y = leaf(be, [1.0, 2.0]), leaf(be, [4.0, 8.0])
    h = x * 3.0
    same = h
    getattr(h, name)(y)
    operator = {"add_": np.add, "sub_": np.subtract, "mul_": np.multiply, "div_": np.true_divide}[name]
    assert host(be, h).tolist() == operator([3.0, 6.0], [4.0, 8.0]).tolist() and h is same
    if name == "mul_":
        with pytest.raises(RuntimeError, match="was changed by an in-place operation"):
            h.backward(Tensor(be.from_numpy(np.ones(2))))
        return
    h.backward(Tensor(be.from_numpy(np.ones(2))))
    gradients = {"add_": ([3, 3], [1, 1]), "sub_": ([3, 3], [-1, -1]), "div_": ([0.75, 0.375], [-3 / 16, -6 / 64])}
    for tensor, expected in zip((x, y), gradients[name], strict=True):
        np.testing.assert_allclose(host(be, tensor.grad), expected)


def test_a_hand_written_update_reaches_the_parameter_itself(be):
    p = gpunet.Parameter(be.from_numpy(np.array([1.0, 2.0])))
    (p * p).sum().backward()
    with gpunet.no_grad():
        for parameter in [p]:
            parameter -= 0.25 * parameter.grad
    assert host(be, p).tolist() == [0.5, 1.0]


def test_in_place_results_must_have_the_shape(be):
    with pytest.raises(gpunet.ShapeError, match=r"mul_: the result has shape \(2, 2\), the tensor \(2,\)"):
        Tensor(be.from_numpy(np.ones(2))).mul_(Tensor(be.from_numpy(np.ones((2, 2)))))
    with pytest.raises(RuntimeError, match="sub_: a leaf that requires a gradient"):
        leaf(be, [1.0]).sub_(1.0)
    with pytest.raises(RuntimeError, match="mul_: a view is changed in place, and a gradient is required"):
        (leaf(be, [1.0]) * 1)[0:].mul_(2.0)


def test_shapes_are_pytorchs(be):
    x = Tensor(be.zeros((2, 1, 3, 1), np.float32))
    assert x.squeeze().shape == (2, 3) and x.squeeze(1).shape == x.squeeze((1, 0)).shape == (2, 3, 1)
    assert x.squeeze(0).shape == x.shape and x.unsqueeze(-1).shape == (2, 1, 3, 1, 1)
    assert gpunet.unsqueeze(x, 0).shape == (1, 2, 1, 3, 1) and x.transpose(-1, 0).shape == (1, 1, 3, 2)
    assert x.permute(3, 2, 1, 0).shape == gpunet.permute(x, (3, 2, 1, 0)).shape == (1, 3, 1, 2)
    scalar = Tensor(be.zeros((), np.float32))
    assert scalar.T.shape == scalar.squeeze().shape == scalar.transpose(0, -1).shape == scalar.sum().shape == ()
    assert scalar.unsqueeze(0).shape == (1,)


MISTAKES = [
    (lambda x: x[3], IndexError, "getitem: index 3 is out of bounds for axis 0 with size 3"),
    (lambda x: x[0, -5], IndexError, "index -5 is out of bounds for axis 1 with size 4"),
    (lambda x: x[0, 0, 0], IndexError, r"too many indices: 3 for 2 axes\.\n  x has the shape \(3, 4\)"),
    (lambda x: x[..., ...], IndexError, r"more than one \.\.\."),
    (lambda x: x[::-1], ValueError, "the step of a slice must be >= 1, got -1 for axis 0"),
    (lambda x: x[::0], ValueError, "the step of a slice must be >= 1, got 0"),
    (lambda x: x[[0, 1]], IndexError, r"a list is not an index here(.|\n)*hint: index the bare array"),
    (lambda x: x[True], IndexError, "a bool is not an index here"),
    (lambda x: x[0.0], IndexError, "a float is not an index here"),
    (lambda x: x[x], IndexError, "a Tensor is not an index here"),
    (lambda x: x[np.arange(2)], IndexError, "a ndarray is not an index here"),
    (lambda x: list(x[0, 0]), TypeError, "iteration over a tensor without axes"),
    (lambda x: x.sum(2), IndexError, r"sum: dim is out of range\.\n  expected -2 to 1 for 2 axes, got 2"),
    (lambda x: x.mean((0, -2)), gpunet.ShapeError, r"mean: an axis is named twice(.|\n)*got dim=\(0, -2\)"),
    (lambda x: x.unsqueeze(3), IndexError, "unsqueeze: dim is out of range"),
    (lambda x: x.squeeze(-3), IndexError, "squeeze: dim is out of range"),
    (lambda x: x.transpose(0, 2), IndexError, "transpose: dim is out of range"),
    (lambda x: x.permute(0), gpunet.ShapeError, r"every axis must be named once(.|\n)*expected 2 axes, got \(0,\)"),
    (lambda x: x.permute(1, 1), gpunet.ShapeError, "every axis must be named once"),
    (lambda x: x[None].T, gpunet.ShapeError, r"T: expected a matrix, got shape \(1, 3, 4\)"),
    (lambda x: gpunet.cat([]), gpunet.DTypeError, "cat: there is no array"),
    (lambda x: gpunet.cat([x, x[0]]), gpunet.ShapeError, r"cat: the shapes do not fit(.|\n)*x1  \(4\) float64"),
    (lambda x: gpunet.cat([x, x.T], 1), gpunet.ShapeError, "expected shapes that differ along axis 1 only"),
    (lambda x: gpunet.cat([x, x], 2), IndexError, "cat: dim is out of range"),
    (lambda x: gpunet.cat([x[0, 0]]), gpunet.ShapeError, r"an array has no axes(.|\n)*hint: x\[None\]"),
    (lambda x: gpunet.cat([x, x.float()]), gpunet.DTypeError, "cat: the inputs have different dtypes"),
    (lambda x: gpunet.cat([x, 1.0]), gpunet.DTypeError, r"cat: x1 is not a Tensor"),
    (
        lambda x: x == x,
        TypeError,
        r"== and != are not in gpunet(.|\n)*hint: compare the bare arrays, x\.array == y\.array",
    ),
    (lambda x: x != 1, TypeError, "== and != are not in gpunet"),
    (lambda x: x.array == x, TypeError, "== and != are not in gpunet|Unsupported type"),
    (lambda x: 3.0 in x, TypeError, "== and != are not in gpunet"),
    (lambda x: x * "2", TypeError, "unsupported operand|can't multiply"),
    (lambda x: x - [1.0], TypeError, "unsupported operand"),
    (lambda x: np.ones((3, 4)) * x, TypeError, r"mul: x is not a Tensor(.|\n)*hint: gpunet\.Tensor\(array\)"),
    (lambda x: x * np.ones((3, 4)), TypeError, r"mul: y is not a Tensor"),
    (lambda x: x / x.array, TypeError, "div: y is not a Tensor"),
    (lambda x: x > 0, TypeError, r"< and > (is|are) not in gpunet\n  hint: compare the bare arrays"),
    (lambda x: x >= 1, TypeError, "< and > (is|are) not in gpunet"),
    (lambda x: max([x, x]), TypeError, "< and > (is|are) not in gpunet"),
    (lambda x: x**2, TypeError, r"\*\* (is|are) not in gpunet\n  hint: the square is x \* x"),
    (lambda x: 2**x, TypeError, r"\*\* (is|are) not in gpunet"),
    (lambda x: x @ 2, TypeError, "unsupported operand"),
    (lambda x: x @ np.ones(4), TypeError, r"matmul: b is not a Tensor(.|\n)*hint: gpunet\.Tensor\(array\)"),
    (lambda x: np.ones(3) @ x, TypeError, r"matmul: a is not a Tensor"),
    (lambda x: x @ x, gpunet.ShapeError, r"matmul: the operands do not fit(.|\n)*got K=4 and K=3"),
    (lambda x: x.matmul(2.0), gpunet.DTypeError, "matmul: b is not a Tensor"),
    (
        lambda x: x.mm(x[0]),
        gpunet.ShapeError,
        r"mm: expected two matrices, got \(3, 4\) and \(4,\)\n  hint: .*mul",
    ),
    (lambda x: x.mm(x.array), gpunet.DTypeError, "matmul: b is not a Tensor"),
    (lambda x: x[None].mm(x.T), gpunet.ShapeError, "mm: expected two matrices"),
    (lambda x: x[None].bmm(x.T), gpunet.ShapeError, "bmm: expected two batches of matrices, equally long"),
    (lambda x: x[:1, None].bmm(x[:, :, None]), gpunet.ShapeError, "bmm: .* got \\(1, 1, 4\\) and \\(3, 4, 1\\)"),
    (lambda x: x // 2, TypeError, "// and % (is|are) not in gpunet"),
    (lambda x: 7 % x, TypeError, "// and % (is|are) not in gpunet"),
    (abs, TypeError, "abs (is|are) not in gpunet"),
    (
        lambda x: x.__setitem__(0, 1.0),
        TypeError,
        r"x\[\.\.\.\] = y (is|are) not in gpunet\n  hint: x\[\.\.\.\]\.copy_\(y\)",
    ),
    (lambda x: x - x[0, :3], gpunet.ShapeError, r"sub: the shapes do not broadcast(.|\n)*y  \(3\)"),
    (lambda x: x * x.float(), gpunet.DTypeError, "mul: the inputs have different dtypes"),
    (lambda x: -x.long(), gpunet.DTypeError, "neg: x has a dtype without an implementation"),
    (
        lambda x: gpunet.sub(x, None),
        gpunet.DTypeError,
        r"sub: an operand is None\.(.|\n)*expected an array or a number",
    ),
    (lambda x: gpunet.div(1, 2), gpunet.DTypeError, "there is no array"),
]


def test_a_tensor_is_equal_to_nothing_else_and_a_key():
    x, y = gpunet.tensor([1.0]), gpunet.tensor([1.0])
    assert x != "1" and x not in ["1", None]
    assert {x: 1, y: 2}[x] == 1 and x in {x} and y not in {x}


@pytest.mark.parametrize(("call", "kind", "text"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_gets_one_clear_error(be, call, kind, text):
    with pytest.raises(kind, match=text):
        call(Tensor(be.from_numpy(np.ones((3, 4)))))


def test_a_view_is_stale_after_its_base_was_changed_on_the_tape(be):
    w, ones = leaf(be, [2.0, 3.0]), Tensor(be.from_numpy(np.ones(2)))
    for h in (leaf(be, [[1.0, 1.0]]) * 1.0, Tensor(be.from_numpy(np.ones((1, 2))))):
        part, flat = h[0], h.flatten()
        h.mul_(w)
        for view in (part, flat):
            with pytest.raises(RuntimeError, match=r"mul: a view is used after(.|\n)*hint: take the view again"):
                view * 1.0
            if view.requires_grad:
                with pytest.raises(RuntimeError, match="backward: a view is used after"):
                    view.backward(ones)
        with gpunet.no_grad():
            assert host(be, part * 1.0).tolist() == [2.0, 3.0]
        assert (h[0] * 1.0).requires_grad


def test_a_view_without_a_gradient_does_not_get_one_in_place(be):
    h, w = Tensor(be.from_numpy(np.ones((2, 2)))), leaf(be, [2.0, 3.0])
    with pytest.raises(RuntimeError, match="add_: a view is changed in place, and a gradient is required of it"):
        h[0].add_(w)
    assert host(be, h).tolist() == [[1, 1], [1, 1]]
    h[0].add_(w.detach())
    assert host(be, h).tolist() == [[3, 4], [1, 1]]
