"""Tensor: construction, facts, ways to other devices, errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.backend import CHANNELS_LAST, layout_of
from gpunet.tensor import Parameter, Tensor


def test_numbers_become_float32_and_int64_and_arrays_keep_their_dtype():
    assert gpunet.tensor([1.0, 2.0]).dtype == np.float32
    assert gpunet.tensor([1, 2]).dtype == np.int64
    assert gpunet.tensor(np.zeros(2)).dtype == np.float64
    assert gpunet.tensor([1, 2], dtype="float64").dtype == np.float64


def test_a_tensor_of_a_tensor_keeps_its_dtype_and_has_its_own_memory():
    source = gpunet.tensor(np.ones(2))
    copied = gpunet.tensor(source)
    source.zero_()
    assert copied.dtype == np.float64 and copied.numpy().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("data", "dtype", "kind", "text"),
    [
        (["a"], None, gpunet.DTypeError, "tensor: expected real numbers, got dtype <U1"),
        (None, None, gpunet.DTypeError, "tensor: expected real numbers, got dtype object"),
        ([1j], None, gpunet.DTypeError, "tensor: expected real numbers, got dtype complex128"),
        ([[1], [1, 2]], None, gpunet.ShapeError, "nested lists differ in length"),
        ([300], "uint8", gpunet.DTypeError, "tensor: the data do not become uint8"),
        ([1], "foo", gpunet.DTypeError, "tensor: the data do not become foo"),
    ],
)
def test_what_is_no_array_of_numbers_becomes_no_tensor(data, dtype, kind, text):
    with pytest.raises(kind, match=text):
        gpunet.tensor(data, dtype)


def test_zeros_and_ones_are_made_where_they_are_used(be):
    ones = gpunet.ones(2, 3, dtype=gpunet.float64, device=be.device, requires_grad=True)
    assert ones.tolist() == [[1.0] * 3] * 2 and ones.device == be.device and ones.dtype == np.float64
    assert ones.requires_grad and ones.is_leaf and not gpunet.ones_like(ones).requires_grad
    zeros = gpunet.zeros((1, 2), device=be.device)
    assert zeros.tolist() == [[0.0, 0.0]] and zeros.dtype == np.float32 and gpunet.zeros(3).shape == (3,)
    assert gpunet.zeros(np.array([2, 3])).shape == gpunet.zeros(np.int64(2), 3).shape == (2, 3)
    assert gpunet.zeros().shape == () and gpunet.ones([2], dtype=gpunet.int64).tolist() == [1, 1]
    images = Tensor(be.empty((1, 2, 3, 4), np.float16, CHANNELS_LAST))
    for like, value in ((gpunet.zeros_like(images), 0), (gpunet.ones_like(images), 1)):
        assert (like.shape, like.dtype, like.device) == (images.shape, images.dtype, be.device)
        assert layout_of(like.array) == CHANNELS_LAST and set(like.flatten().tolist()) == {value}


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: gpunet.zeros(2.5), TypeError, r"zeros: size must be a tuple of ints, got 2\.5"),
        (lambda: gpunet.ones(2, "a"), TypeError, r"ones: size must be a tuple of ints, got \(2, 'a'\)"),
        (lambda: gpunet.zeros(2, -1), gpunet.ShapeError, r"zeros: sizes must be >= 0, got \(2, -1\)"),
        (
            lambda: gpunet.ones(2, dtype="complex64"),
            gpunet.DTypeError,
            "ones: expected real numbers, got dtype complex64",
        ),
        (lambda: gpunet.tensor(1.0).fill_("a"), TypeError, "fill_: expected a number, got str"),
    ],
)
def test_what_cannot_be_filled_gets_one_clear_error(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_stacked_tensors_are_numpys_and_hand_their_gradients_back(be):
    arrays = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    for dim in (0, 1, 2, -1):
        parts = [Tensor(be.from_numpy(array), requires_grad=True) for array in arrays]
        whole = gpunet.stack(parts, dim)
        assert whole.tolist() == np.stack(arrays, dim).tolist()
        (whole * 2).sum().backward()
        assert all(part.grad.tolist() == [[2.0] * 3] * 2 for part in parts)
    for parts, text in (
        ([], r"\[\]"),
        ([whole, whole[0]], r"\[\(2, 3, 2\), \(3, 2\)\]"),
        (arrays, r"\['ndarray', 'ndarray'\]"),
    ):
        with pytest.raises(gpunet.ShapeError, match=f"stack: expected Tensors of one shape, got {text}"):
            gpunet.stack(parts)
    with pytest.raises(IndexError, match="dim is out of range"):
        gpunet.stack([whole], 5)


def test_tensor_copies_and_from_numpy_shares():
    array = np.zeros(2)
    copied, shared = gpunet.tensor(array), gpunet.from_numpy(array)
    array[0] = 5
    assert copied.numpy()[0] == 0 and shared.numpy()[0] == 5
    with pytest.raises(gpunet.DTypeError, match=r"from_numpy: expected a numpy\.ndarray, got builtins\.list"):
        gpunet.from_numpy([1.0])


def test_facts(be):
    x = Tensor(be.from_numpy(np.zeros((2, 3), np.float32)))
    assert (x.shape, x.ndim, x.dim(), x.numel(), len(x), x.size(), x.size(1)) == ((2, 3), 2, 2, 6, 2, (2, 3), 3)
    assert x.device == be.device and x.dtype == np.float32 and x.is_leaf and x.grad is None and x.grad_fn is None


def test_the_text_shows_values_device_and_history(be):
    where = "" if be.name == "numpy" else f", device='{be.device}'"
    x = Tensor(be.from_numpy(np.ones(2, np.float32)), requires_grad=True)
    assert repr(x) == f"tensor([1., 1.]{where}, requires_grad=True)"
    assert repr(x.relu()) == f"tensor([1., 1.]{where}, grad_fn=<relu backward>)"


def test_a_tensor_goes_to_a_device_and_back_with_its_memory_layout(be):
    array = np.arange(24.0).reshape(1, 2, 3, 4).transpose(0, 3, 1, 2)
    moved = gpunet.from_numpy(array).to(be.device)
    assert moved.device == be.device
    back = moved.cpu().numpy()
    assert np.array_equal(back, array) and back.strides == array.strides
    assert moved.to(be.device) is moved


@pytest.mark.only_backends("emulated", "cupy")
def test_a_history_does_not_end_at_another_device_without_a_word(be):
    x = gpunet.tensor([1.0], device=be.device, requires_grad=True)
    y = x * 2.0
    assert x.cpu().requires_grad and x.cpu().is_leaf
    with pytest.raises(RuntimeError, match=r"to: gradients do not go back from cpu to .*\n  hint: tensor\.detach\(\)"):
        y.cpu()
    assert y.detach().cpu().item() == 2
    with gpunet.no_grad():
        assert not y.cpu().requires_grad


def test_item_and_numbers(be):
    x = Tensor(be.from_numpy(np.array([2.5])))
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    with pytest.raises(gpunet.ShapeError, match=r"item: expected one element, got shape \(2,\)"):
        gpunet.tensor([1.0, 2.0]).item()


def test_numbers_are_formatted_and_listed(be):
    x = Tensor(be.from_numpy(np.array([[0.25], [2.0]])))
    assert f"{x.sum():.3f} {x[0]:6.2f}|{x.long().cpu()[1]:d}" == "2.250   0.25|2"
    assert x.tolist() == [[0.25], [2.0]] and x.sum().tolist() == 2.25 and f"{x}" == str(x)
    with pytest.raises(gpunet.ShapeError, match=r"item: expected one element, got shape \(2, 1\)"):
        f"{x:.2f}"
    with pytest.raises(IndexError, match=r"size: dim is out of range\.\n  expected -2 to 1 for 2 axes, got 2"):
        x.size(2)


def test_a_clone_has_memory_of_its_own_and_hands_the_gradient_on(be):
    image = Tensor(be.from_numpy(np.arange(8.0).reshape(1, 2, 2, 2).transpose(0, 3, 1, 2)), requires_grad=True)
    for x in (image, Tensor(be.from_numpy(np.arange(3)))):
        y = x.clone()
        assert y.array is not x.array and layout_of(y.array) == layout_of(x.array) and y.tolist() == x.tolist()
        assert y.requires_grad == x.requires_grad and not x.clone().detach().requires_grad
        with gpunet.no_grad():
            y.fill_(7)
        assert set(y.flatten().tolist()) == {7} and x.flatten().tolist()[0] == 0
    (image.clone() * 3).sum().backward()
    assert set(image.grad.flatten().tolist()) == {3}


def test_filling_ends_the_history(be):
    x = Tensor(be.from_numpy(np.ones(2)), requires_grad=True)
    y = x * 2
    assert y.fill_(0.5) is y and y.tolist() == [0.5, 0.5] and y.is_leaf and not y.requires_grad
    assert Tensor(be.from_numpy(np.zeros(1, np.int64))).fill_(2**53 + 1).tolist() == [2**53 + 1]
    assert Tensor(be.from_numpy(np.zeros(2))).fill_(gpunet.tensor(0.5)).tolist() == [0.5, 0.5]
    with pytest.raises(RuntimeError, match="fill_: a leaf that requires a gradient is changed in place"):
        x.fill_(1)


def test_numpy_refuses_what_would_lose_the_history():
    with pytest.raises(RuntimeError, match=r"hint: tensor\.detach\(\)\.numpy\(\)"):
        gpunet.tensor([1.0], requires_grad=True).numpy()
    assert np.asarray(gpunet.tensor([1.0])).tolist() == [1.0]


@pytest.mark.only_backends("emulated", "cupy")
def test_numpy_refuses_a_device_array(be):
    with pytest.raises(TypeError, match=r"numpy: the tensor is on .*\n  hint: tensor\.cpu\(\)\.numpy\(\)"):
        Tensor(be.from_numpy(np.ones(1))).numpy()


def test_only_floats_require_gradients():
    with pytest.raises(gpunet.DTypeError, match="only floating-point tensors have gradients, this one is int64"):
        gpunet.tensor([1], requires_grad=True)
    with pytest.raises(RuntimeError, match="only leaf tensors can be changed"):
        gpunet.tensor([1.0], requires_grad=True).relu().requires_grad_(False)


def test_requires_grad_may_be_assigned():
    x = gpunet.tensor([1.0])
    x.requires_grad = True
    y = x.relu()
    assert x.requires_grad and y.requires_grad
    with pytest.raises(RuntimeError, match="only leaf tensors can be changed"):
        y.requires_grad = False
    x.requires_grad = False
    assert not x.relu().requires_grad


def test_unknown_names_say_so():
    with pytest.raises(AttributeError, match=r"Tensor\.svd is not in gpunet"):
        gpunet.tensor([1.0]).svd()


def test_what_is_not_an_array_is_refused():
    with pytest.raises(gpunet.DTypeError, match=r"builtins\.list is not an array(.|\n)*hint: numpy\.asarray"):
        Tensor([1.0])
    with pytest.raises(gpunet.DTypeError, match=r"relu: x is not a Tensor(.|\n)*gpunet\.ops\.relu for bare arrays"):
        gpunet.relu(np.ones(3))


def test_numbers_are_added_and_other_things_refused(be):
    x = Tensor(be.from_numpy(np.ones(2, np.float32)))
    assert be.to_numpy((1 + x + 2.5).array).tolist() == [4.5, 4.5]
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "1"


@pytest.mark.only_backends("emulated", "cupy")
def test_tensors_on_different_devices_are_refused_by_name(be):
    x, w = Tensor(be.from_numpy(np.ones((2, 3), np.float32))), gpunet.tensor(np.ones((4, 3), np.float32))
    with pytest.raises(gpunet.DeviceError) as error:
        gpunet.nn.functional.linear(x, w)
    assert str(error.value).splitlines() == [
        "linear: the inputs live on different devices.",
        f"  x  (N=2, D=3) float32 {be.device}",
        "  w  (O=4, D=3) float32 cpu",
        "  expected one device for all inputs",
        "  hint: move them to one device first: tensor.to(device), or cupy.asarray(array)",
    ]


def test_devices_by_name():
    assert str(gpunet.device("cpu")) == "cpu" and gpunet.device("auto").type in ("cpu", "cuda")
    for name in ("tpu", "cuda:x", "cpu:1"):
        with pytest.raises(gpunet.DeviceError, match=f"there is no device '{name}'"):
            gpunet.device(name)
    with pytest.raises(gpunet.DeviceError, match="expected a name"):
        gpunet.device(3)


def test_cuda_without_a_gpu_says_what_would_help(monkeypatch):
    from gpunet.backend import cupy

    monkeypatch.setattr(cupy, "unavailable", lambda: "CuPy is not installed")
    with pytest.raises(gpunet.DeviceError, match=r'CuPy is not installed\.\n  hint: pip install "gpunet\[cuda12\]"'):
        gpunet.device("cuda:7")


def test_a_parameter_wraps_a_tensor_and_requires_a_gradient():
    parameter = Parameter(gpunet.tensor([1.0]))
    assert parameter.requires_grad and not Parameter(np.ones(1), requires_grad=False).requires_grad


def test_reshape_and_flatten(be):
    x = Tensor(be.from_numpy(np.arange(24.0).reshape(2, 3, 4)))
    assert x.reshape(4, -1).shape == x.view((4, 6)).shape == (4, 6)
    assert x.flatten(1).shape == (2, 12) and gpunet.flatten(x).shape == (24,) and gpunet.reshape(x, [24]).shape == (24,)
    with pytest.raises(
        gpunet.ShapeError, match=r"reshape: the sizes do not fit(.|\n)*expected 24 elements, got shape \(5, -1\)"
    ):
        x.reshape(5, -1)
    with pytest.raises(gpunet.ShapeError, match="flatten: axis 1 lies before axis 2 in shape"):
        x.flatten(2, 1)
    with pytest.raises(IndexError, match="flatten: dim is out of range"):
        x.flatten(3)


def test_to_another_dtype_is_part_of_the_tape(be):
    x = gpunet.Tensor(be.from_numpy(np.array([1.0, 2.5], np.float32)), requires_grad=True)
    y = x.double()
    assert y.dtype == np.float64 and x.float() is x
    (y.half().relu()).backward(gpunet.tensor([1.0, 3.0], np.float16, be.device))
    assert x.grad.dtype == np.float32 and be.to_numpy(x.grad.array).tolist() == [1, 3]


def test_integers_convert_without_a_gradient(be):
    x = gpunet.tensor([1, 2], device=be.device)
    assert x.float().dtype == np.float32 and not x.float().requires_grad
    assert x.to(gpunet.float64).long().dtype == np.int64
    assert x.bfloat16().dtype == gpunet.bfloat16


def test_to_refuses_what_is_no_dtype():
    with pytest.raises(TypeError):
        gpunet.tensor([1.0]).to(object())


def test_to_takes_device_and_dtype_together_by_name_or_from_a_tensor(be):
    x = gpunet.tensor([1.0, 2.5])
    other = gpunet.tensor(1.0, "float64", be.device)
    moves = [
        x.to(be.device, "float64"),
        x.to(str(be.device), gpunet.float64, True),
        x.to(device=be.device, dtype=gpunet.float64),
        x.to(gpunet.float64, device=be.device, non_blocking=True),
        x.to(other),
    ]
    for y in moves:
        assert (y.device, y.dtype) == (be.device, gpunet.float64) and y.cpu().numpy().tolist() == [1, 2.5]
    assert x.to(None) is x.to(device=None, dtype="float32") is x
    for twice in (lambda: x.to("cpu", device="cpu"), lambda: x.to(gpunet.float64, gpunet.float64)):
        with pytest.raises(TypeError, match="to: a device or a dtype is given twice"):
            twice()


def test_copies_have_memory_gradients_and_layout_of_their_own(be):
    x = nn.Parameter(be.zeros((2, 3, 4, 5), np.float32, CHANNELS_LAST))
    (x + 1.0).sum().backward()
    twin = copy.deepcopy({"a": x, "b": x})
    assert (
        twin["a"] is twin["b"] and isinstance(twin["a"], nn.Parameter) and layout_of(twin["a"].array) == CHANNELS_LAST
    )
    with gpunet.no_grad():
        x.add_(1.0)
        x.grad.add_(1.0)
    assert not be.to_numpy(twin["a"].array).any() and (be.to_numpy(twin["a"].grad.array) == 1).all()
    assert not copy.deepcopy(nn.Parameter(be.zeros((2,), np.float32), requires_grad=False)).requires_grad
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"only leaf tensors can be copied(.|\n)*hint: tensor\.detach\(\)"):
            copied(x * 2.0)


def test_a_shallow_copy_shares_memory_and_version(be):
    x = Tensor(be.from_numpy(np.ones(2)))
    leaf = Tensor(be.from_numpy(np.ones(2)), requires_grad=True)
    y = leaf * x
    copy.copy(x).zero_()
    assert be.to_numpy(x.array).tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="mul: y, which its gradient needs, was changed"):
        y.sum().backward()
