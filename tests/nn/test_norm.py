"""Batch norm layers: PyTorch's values, names and running statistics; messages; memory layouts; mixed dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.backend import blas
from gpunet.backend.dtypes import accumulator
from gpunet.nn import functional as F
from tests.harness.case import FLOATS

LAYERS = {
    "BatchNorm1d": [(6, 5), (4, 5, 3)],
    "BatchNorm2d": [(2, 5, 3, 4)],
    "BatchNorm3d": [(2, 5, 3, 2, 2)],
}
SHAPES = [(name, shape) for name, shapes in LAYERS.items() for shape in shapes]


def to(be, array):
    return gpunet.Tensor(be.from_numpy(np.ascontiguousarray(array)))


def host(tensor):
    return gpunet.backend.of(tensor.array).to_numpy(tensor.array)


def small_model(framework):
    return framework.nn.Sequential(
        framework.nn.Conv2d(1, 4, 3),
        framework.nn.BatchNorm2d(4),
        framework.nn.ReLU(),
        framework.nn.Flatten(),
        framework.nn.Linear(36, 6),
        framework.nn.BatchNorm1d(6, momentum=None),
        framework.nn.Linear(6, 3, bias=False),
    )


@pytest.mark.torch
@pytest.mark.parametrize(("name", "shape"), SHAPES)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_after_several_steps_are_pytorchs(be, torch, rng, name, shape, momentum):
    theirs = getattr(torch.nn, name)(5, momentum=momentum).double()
    ours = getattr(nn, name)(5, momentum=momentum, device=be.device, dtype=np.float64)
    for step in range(3):
        x = rng.standard_normal(shape) * (step + 1) + step
        expected = theirs(torch.tensor(x))
        np.testing.assert_allclose(host(ours(to(be, x)).detach()), expected.detach().numpy(), atol=1e-12)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(host(ours.state_dict()[key]), value.numpy(), rtol=1e-12, err_msg=key)
    x = rng.standard_normal(shape)
    expected = theirs.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(host(ours.eval()(to(be, x)).detach()), expected, atol=1e-12)
    assert host(ours.num_batches_tracked) == 3


@pytest.mark.torch
def test_a_model_goes_to_pytorch_and_back(be, torch, rng):
    theirs, ours = small_model(torch), small_model(gpunet).to(be.device)
    x = rng.standard_normal((8, 1, 5, 5)).astype(np.float32)
    theirs(torch.tensor(x))
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    expected = theirs.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(host(ours.eval()(to(be, x)).detach()), expected, atol=1e-5)
    for training in (ours.train(), theirs.train()):
        training(to(be, 2 * x) if training is ours else torch.tensor(2 * x))
    state = {name: np.ascontiguousarray(host(tensor)) for name, tensor in ours.state_dict().items()}
    for name, tensor in theirs.state_dict().items():
        assert state[name].dtype == tensor.numpy().dtype, name
        np.testing.assert_allclose(state[name], tensor.numpy(), atol=1e-5, err_msg=name)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})


@pytest.mark.torch
@pytest.mark.parametrize(
    "given", [{}, {"momentum": None, "affine": False}, {"track_running_stats": False, "bias": False}]
)
def test_the_text_is_pytorchs(torch, given):
    theirs, ours = torch.nn.BatchNorm2d(3, **given), nn.BatchNorm2d(3, **given)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_without_running_statistics_evaluation_uses_the_batch(be, rng):
    layer = nn.BatchNorm1d(3, track_running_stats=False, device=be.device)
    x = to(be, rng.standard_normal((6, 3)).astype(np.float32))
    assert np.array_equal(host(layer(x).detach()), host(layer.eval()(x).detach()))


def test_evaluation_changes_nothing(be, rng):
    layer = nn.BatchNorm2d(3, device=be.device).eval()
    before = {name: host(tensor).copy() for name, tensor in layer.state_dict().items()}
    layer(to(be, rng.standard_normal((2, 3, 4, 4)).astype(np.float32)))
    assert all(np.array_equal(host(tensor), before[name]) for name, tensor in layer.state_dict().items())


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_outputs_have_the_layout_of_the_input(be, layout):
    x = be.zeros((2, 3, 4, 5), np.float32, layout)
    y = nn.BatchNorm2d(3, device=be.device)(gpunet.Tensor(x))
    assert gpunet.backend.layout_of(y.array) == layout


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("wide", [False, True])
def test_parameters_may_be_as_wide_as_the_arithmetic(be, rng, dtype, wide):
    kind = accumulator(dtype) if wide else dtype
    x = rng.standard_normal((9, 4)).astype(dtype)
    layer = nn.BatchNorm1d(4, device=be.device, dtype=kind)
    inputs = gpunet.Tensor(be.from_numpy(x), requires_grad=True)
    y = layer(inputs)
    y.backward(gpunet.Tensor(be.from_numpy(np.ones_like(x))))
    assert y.dtype == inputs.grad.dtype == dtype
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == layer.running_var.dtype == kind
    expected = nn.BatchNorm1d(4, dtype=np.float64)(gpunet.Tensor(x.astype(np.float64))).detach().numpy()
    assert abs(host(y.detach()).astype(np.float64) - expected).max() < 4 * float(
        np.finfo(np.float32).eps if dtype.itemsize > 2 else 2.0**-7
    )
    assert np.array_equal(host(layer.bias.grad), np.full(4, 9, kind))


@pytest.mark.only_backends("emulated", "cupy")
def test_splits_of_long_columns_grow_instead_of_becoming_too_many(be, rng, monkeypatch):
    x = rng.standard_normal((2500, 3))
    expected = ops.batch_norm.forward(x, None, None, training=True)
    monkeypatch.setattr("gpunet.ops.norm._BLOCKS", 4)
    found = ops.batch_norm.forward(be.from_numpy(x), None, None, training=True)
    for want, got in zip(expected, found, strict=True):
        np.testing.assert_allclose(be.to_numpy(got), want, atol=1e-12)


@pytest.mark.only_backends("numpy")
def test_any_number_of_threads_gives_the_same_bits(be, rng):
    x, gy = (rng.standard_normal((40, 24, 20, 20)).astype(np.float32) for _ in range(2))
    results = []
    try:
        for threads in (1, 2, 3):
            blas.set_threads(threads)
            y, *saved = ops.batch_norm.forward(x, None, None, training=True)
            gx = ops.batch_norm.grad(gy, x, None, None, *saved, needs=["x"], training=True)
            results.append([array.tobytes() for array in (y, *saved, gx)])
    finally:
        blas.set_threads(0)
    assert results[0] == results[1] == results[2]


@pytest.mark.torch
@pytest.mark.only_backends("numpy")
@pytest.mark.parametrize("shape", [(9, 7, 37, 61), (3, 1, 70_001), (2, 70_001)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_large_inputs_have_no_seams(be, torch, rng, shape, training):
    inputs = [rng.standard_normal(shape), *(rng.random(shape[1]) + 0.1 for _ in range(4))]
    theirs, ours = ([make(array) for array in inputs] for make in (torch.tensor, lambda a: to(be, a)))
    gy = rng.standard_normal(shape)
    for framework, tensors, gradient in ((torch.nn.functional, theirs, torch.tensor(gy)), (F, ours, to(be, gy))):
        for i in (0, 3, 4):
            tensors[i].requires_grad_()
        framework.batch_norm(*tensors, training=training).backward(gradient)
    for i in (0, 3, 4):
        np.testing.assert_allclose(host(ours[i].grad), theirs[i].grad.numpy(), rtol=1e-9, atol=1e-11)
    for i in (1, 2):
        np.testing.assert_allclose(host(ours[i]), theirs[i].numpy(), rtol=1e-11)


def test_the_cpu_keeps_the_variance_of_values_far_from_zero():
    from tests.cases.norm import batch_norm_keeps_the_variance_of_values_far_from_zero as check

    check(gpunet.backend.get(gpunet.Device("cpu")))


def test_running_statistics_that_a_gradient_does_not_need_may_change(be, rng):
    layer = nn.BatchNorm1d(3, device=be.device)
    x = to(be, rng.standard_normal((5, 3)).astype(np.float32))
    first, second = layer(x), layer(x)
    (first + second).backward(to(be, np.ones((5, 3), np.float32)))
    assert layer.weight.grad is not None


def f32(*shape):
    return np.ones(shape, np.float32)


def norm(x, *arrays, **attrs):
    return lambda: ops.batch_norm(x, *arrays, **attrs)


MISTAKES = [
    (norm(f32(4), None, None, training=True), gpunet.ShapeError, r"three spatial axes, got 1 axes"),
    (norm(f32(2, 3, 1, 1, 1, 1), None, None, training=True), gpunet.ShapeError, "three spatial axes, got 6 axes"),
    (
        norm(f32(2, 3), f32(3), f32(4)),
        gpunet.ShapeError,
        r"does not match the channels(.|\n)*running_var  \(C=4\)(.|\n)*\(3,\)",
    ),
    (norm(f32(2, 3), f32(3), f32(3), f32(3, 1)), gpunet.ShapeError, "does not match the channels"),
    (norm(f32(2, 3), None, None), ValueError, r"running statistics are missing(.|\n)*hint: training=True"),
    (norm(f32(2, 3), f32(3), None, training=True), ValueError, "running statistics are missing"),
    (
        norm(f32(1, 3), None, None, training=True),
        gpunet.ShapeError,
        r"more than one value per channel(.|\n)*model\.eval\(\)",
    ),
    (norm(f32(1, 3, 1, 1), f32(3), f32(3), training=True), ValueError, "more than one value per channel"),
    (
        norm(f32(2, 3), f32(3), f32(3).astype("f8")),
        gpunet.DTypeError,
        r"dtypes do not fit(.|\n)*for all but x: float32",
    ),
    (norm(f32(2, 3).astype("f2"), f32(3), f32(3).astype("f2")), gpunet.DTypeError, "float16 or float32"),
    (norm(f32(2, 3), f32(3).astype("f8"), f32(3).astype("f8")), gpunet.DTypeError, "for all but x: float32"),
    (norm(f32(2, 3), f32(3), f32(3), eps=0.0), ValueError, r"eps is not positive(.|\n)*got 0\.0"),
    (norm(f32(2, 3), f32(3), f32(3), training=True, momentum=None), ValueError, "expected num_batches_tracked"),
    (
        norm(f32(2, 3), f32(3), f32(3), None, None, np.zeros(1), training=True),
        gpunet.DTypeError,
        r"the counter does not fit(.|\n)*\(\) int64, got \(1,\) float64",
    ),
    (norm(f32(2, 3), f32(6)[::2], f32(3), training=True), gpunet.ShapeError, "running_mean cannot be changed in place"),
    (lambda: nn.BatchNorm2d(0), gpunet.ShapeError, "BatchNorm2d: num_features must be >= 1, got 0"),
    (
        lambda: nn.BatchNorm2d(3)(gpunet.Tensor(f32(2, 3))),
        gpunet.ShapeError,
        r"wrong number of axes\.\n  expected 4, got 2",
    ),
    (lambda: nn.BatchNorm1d(3)(gpunet.Tensor(f32(2, 3, 4, 5))), gpunet.ShapeError, "expected 2 or 3, got 4"),
    (
        lambda: ops.batch_norm.grad(f32(2, 3), f32(2, 3), None, None, f32(3), f32(4), training=True),
        gpunet.ShapeError,
        "inv_std does not fit the forward call",
    ),
    (
        lambda: F.batch_norm(gpunet.Tensor(f32(2, 3)), f32(3), f32(3)),
        gpunet.DTypeError,
        "running_mean is not a Tensor",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), MISTAKES)
def test_mistakes_are_explained(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
