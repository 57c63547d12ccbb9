"""What holds for every op, proven from its Cases on every backend."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import layout_of
from gpunet.backend.layout import is_dense
from gpunet.nn import functional
from gpunet.ops.base import REGISTRY
from gpunet.tensor import Tensor, apply, gradcheck
from tests.cases import CASES
from tests.harness import kernel_table
from tests.harness.case import FLOATS, TOLERANCE
from tests.harness.memory import VARIANTS
from tests.harness.oracle import Oracle, gradients, to_device

WITH_GRADIENT = [case for case in CASES if case.grad_launches]
WITH_OUTPUT = [case for case in CASES if case.op.outputs]
NO_BATCH = (ops.add, ops.sub, ops.mul, ops.div, ops.sum_to_size, ops.sum, ops.mean, ops.getitem)
WITH_BATCH = [case for case in WITH_OUTPUT if case.shapes.get("x") and case.op not in NO_BATCH]
WITH_BATCH = [case for case in WITH_BATCH if case.op is not ops.cross_entropy or len(case.shapes["x"]) > 1]  # (N, C)
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_gradient = pytest.mark.parametrize("case", WITH_GRADIENT, ids=str)
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=str)


@each_dtype
@each_case
def test_forward_agrees_with_the_reference(be, case, dtype, rng):
    Oracle(case, dtype, rng).check_forward(be)
    if be.name == "emulated":
        kernel_table.passed("fast", case.launches)


@each_dtype
@each_gradient
def test_gradient_agrees_with_the_reference(be, case, dtype, rng):
    Oracle(case, dtype, rng).check_gradient(be)
    if be.name == "emulated":
        kernel_table.passed("fast", (kernel for launches in case.grad_launches.values() for kernel in launches))


@each_gradient
def test_gradient_agrees_with_finite_differences(be, case, rng):
    inputs = case.inputs(rng, np.float64)
    for array in inputs.values():
        if array is not None and array.dtype in FLOATS:
            array += rng.uniform(0.001, 0.009, array.shape)  # no ties: at a kink there is no derivative to compare with
    tensors = to_tensors(be, case, inputs)
    present = [t for t in tensors.values() if t is not None]
    assert gradcheck(lambda *args: apply_with_gaps(case, tensors, args), present)


def to_tensors(be, case, inputs):
    """Return tensors that require the gradients that the op has."""
    known = case.op.differentiable(len(inputs))
    return {n: None if a is None else Tensor(be.from_numpy(a), n in known) for n, a in inputs.items()}


def apply_with_gaps(case, tensors, present):
    """Call an op on tensors, with None for the inputs that the Case leaves out."""
    given = iter(present)
    args = [None if t is None else next(given) for t in tensors.values()]
    return apply(case.op, *args, **case.attrs)


@pytest.mark.only_backends("emulated", "cupy")
@each_case
def test_forward_launches_what_the_case_says_and_never_the_reference(be, case, rng, monkeypatch):
    arrays = to_device(be, case.inputs(rng, np.float32))
    be.fill(be.error_word, 0)
    if case.launches:
        monkeypatch.setattr(type(case.op), "reference", must_not_run)
    assert launches(be, lambda: case.op.forward(*arrays.values(), **case.attrs)) == case.launches
    assert case.launches or case.op.views, "an op without launches computes nothing on the device"


@pytest.mark.only_backends("emulated", "cupy")
@each_gradient
def test_each_gradient_alone_launches_what_the_case_says(be, case, rng, monkeypatch):
    inputs = to_device(be, case.inputs(rng, np.float32))
    out = case.op.forward(*inputs.values(), **case.attrs)[0]
    gy = np.ones(out.shape, np.float32)
    monkeypatch.setattr(type(case.op), "grad_reference", must_not_run)
    forward = Counter(case.launches)
    for name, expected in case.grad_launches.items():
        counted = launches(be, lambda name=name: gradients(case, be, inputs, [name], gy))
        assert Counter(counted) - forward == Counter(expected), name


def must_not_run(*args, **kwargs):
    raise AssertionError("an op that has kernels fell back to its reference")


def launches(be, call):
    """Count what a call launches. The shape of an array, which no op knows of, says which kernel copies it."""
    before = Counter(be.launched)
    call()
    counted = be.launched - before
    counted["copy_strided"] += counted.pop("copy_transposed", 0)
    return dict(+counted)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", WITH_OUTPUT, ids=str)
def test_any_strides_give_the_same_values(be, case, variant, rng):
    inputs = case.inputs(rng, np.float64)
    expected = case.op.forward(*to_device(be, inputs).values(), **case.attrs)
    strided = to_device(be, inputs, VARIANTS[variant])
    strided.update(to_device(be, {name: inputs[name] for name in case.op.mutates}))  # these must be contiguous
    before = {n: None if a is None else be.to_numpy(a).copy() for n, a in strided.items()}
    outs = case.op.forward(*strided.values(), **case.attrs)
    for out, want in zip(outs, expected, strict=True):
        values, wanted = be.to_numpy(out), be.to_numpy(want)
        assert (
            np.allclose(values, wanted, rtol=1e-13, atol=1e-13)
            if values.dtype in FLOATS
            else np.array_equal(values, wanted)
        )
    for name, array in strided.items():
        if name in case.op.mutates:
            continue
        assert array is None or np.array_equal(be.to_numpy(array), before[name]), f"{name} was changed"


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", [case for case in WITH_OUTPUT if not case.op.views], ids=str)
def test_outputs_have_the_layout_that_infer_states(be, case, layout, rng):
    arrays = to_device(
        be, case.inputs(rng, np.float32), VARIANTS["channels_last" if layout == "channels_last" else "dense"]
    )
    bound, attrs = case.op.bind(*arrays.values(), **case.attrs)
    specs = case.op.infer(*bound, **attrs)
    for spec, out in zip(specs, case.op.run(bound, attrs), strict=True):
        assert (out.shape, out.dtype) == (spec.shape, spec.dtype)
        assert is_dense(out, spec.layout)
    first = next(array for array in bound if array is not None)
    if (
        first.ndim == len(specs[0].shape) >= 3
        and case.op not in (ops.linear, ops.matmul, ops.sum, ops.mean)
        and layout_of(first)
    ):
        assert specs[0].layout == layout_of(first), "the first output follows the first input"


@pytest.mark.parametrize("case", WITH_BATCH, ids=str)
def test_an_empty_batch_gives_an_empty_result(be, case, rng):
    inputs = case.inputs(rng, np.float32)
    rows = inputs["x"].shape[:1]
    for name in ("x", "target", "weight", "indices"):
        if inputs.get(name) is not None and inputs[name].shape[:1] == rows:
            inputs[name] = inputs[name][:0]
    arrays = to_device(be, inputs)
    attrs = {**case.attrs, **({"shape": (0, 4)} if case.op is ops.reshape else {})}
    out = be.to_numpy(case.op.forward(*arrays.values(), **attrs)[0])
    reduction = case.op.bind(*arrays.values(), **attrs)[1].get("reduction", "none")
    if reduction == "none":
        assert out.size == 0
    else:
        assert np.isnan(out) if reduction == "mean" else out == 0


@pytest.mark.torch
@pytest.mark.parametrize("case", [case for case in CASES if case.torch], ids=str)
def test_values_and_gradients_agree_with_pytorch(be, torch, case, rng):
    inputs = case.inputs(rng, np.float64)
    needs = {name: name in case.op.differentiable(len(inputs)) for name in inputs}
    theirs = {n: None if a is None else torch.tensor(a, requires_grad=needs[n]) for n, a in inputs.items()}
    expected = case.torch(torch, **theirs, **case.attrs)
    ours = to_tensors(be, case, inputs)
    out = (
        apply(case.op, *ours.values(), **case.attrs)
        if case.grad_launches
        else Tensor(case.op(*(t if t is None else t.array for t in ours.values()), **case.attrs))
    )
    np.testing.assert_allclose(be.to_numpy(out.array), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    for name in case.op.mutates:
        if ours[name] is not None:
            np.testing.assert_allclose(be.to_numpy(ours[name].array), theirs[name].numpy(), rtol=1e-12)
    if not case.grad_launches:
        return
    gy = rng.standard_normal(out.shape)
    expected.backward(torch.tensor(gy))
    out.backward(Tensor(be.from_numpy(gy)))
    for name in case.grad_launches:
        np.testing.assert_allclose(
            be.to_numpy(ours[name].grad.array), theirs[name].grad.numpy(), rtol=1e-11, atol=1e-12
        )


# Completeness.


@pytest.mark.parametrize("op", REGISTRY.values(), ids=lambda op: op.__name__)
def test_every_op_has_a_case_a_docstring_and_a_public_name(op):
    assert any(case.op is op for case in CASES), "write a Case in tests/cases"
    assert "Example:" in (op.__doc__ or "") and "Args:" in op.__doc__
    assert getattr(ops, op.__name__) is op and op.__name__ in ops.__all__


@pytest.mark.parametrize("name", functional.__all__)
def test_functions_have_the_signature_of_their_op(name):
    wrapper = inspect.signature(getattr(functional, name)).parameters
    op = inspect.signature(REGISTRY[name]).parameters
    rename = {"x": "input", "w": "weight", "b": "bias"}
    theirs = [
        (rename.get(p.name, p.name), p.default)
        for p in op.values()
        if p.name not in ("layout", "allow_tf32", "activation", "input_size", "num_batches_tracked")
    ]
    refused = ("inplace", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
    ours = [(p.name, p.default) for p in wrapper.values() if p.name not in refused]
    if name == "embedding":  # torch.embedding takes the weight first, F.embedding the indices, as its input
        theirs[:2] = [("input", theirs[1][1]), theirs[0]]
    assert ours == theirs


def test_the_tolerance_is_as_tight_as_the_arithmetic():
    assert TOLERANCE["float32"] < 10 * np.finfo(np.float32).eps
    assert TOLERANCE["float64"] < 100 * np.finfo(np.float64).eps
    assert TOLERANCE["float16"] < 3 * np.finfo(np.float16).eps
    assert TOLERANCE["bfloat16"] < 3 * 2.0**-7
    assert TOLERANCE["tf32"] < 3 * 2.0**-11
