"""Ops that memory bounds, beside PyTorch and plain CuPy, on arrays that no cache holds; and few rows, for latency."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench import work
from bench.gpu import updates
from bench.gpu.rig import Rig
from bench.gpu.rows import MEMORY, Goal, Match, Row, of_largest
from bench.shapes import Flat, Images, Pool, Rows
from bench.work import PASSES, Pass, Work
from gpunet import ops
from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Layout
from gpunet.backend.layout import from_memory_view, memory_view
from gpunet.backend.random import DROPOUT, Draw

DRAW = Draw(seed=0, stream=DROPOUT, call=0)


@dataclass(frozen=True)
class Sizes:
    """The arrays of all rows."""

    images: Images
    pool: Pool
    logits: Rows
    few_logits: tuple[Rows, ...]
    parameters: Flat


FEW = (Rows(64, 10), Rows(128, 1000), Rows(8, 50_000))
LARGE = Sizes(Images(64, 64, 112), Pool(64, 64, 112, 2, 2), Rows(65536, 1000), FEW, Flat(25_557_032))
TOY = Sizes(Images(2, 8, 4), Pool(2, 8, 4, 2, 2), Rows(6, 10), (Rows(2, 700),), Flat(300))


def rows(toy: bool = False) -> Iterator[Row]:
    """Yield all rows, or all at toy sizes."""
    sizes = TOY if toy else LARGE
    for precision, itemsize in (("fp32", 4), ("bf16", 2)):
        for op, case, counted, setup in _elementwise(sizes, itemsize):
            yield _row(op, case, precision, counted, setup)
        for which in PASSES:
            for op, case, counted, setup in _passes(sizes, which, itemsize):
                yield _row(f"{op} {which}", case, precision, counted, functools.partial(setup, which=which))
            for table in sizes.few_logits:
                for op, case, counted, setup in _along_rows(table, which, itemsize):
                    make = functools.partial(setup, which=which)
                    yield _row(f"{op} {which}", case, precision, counted, make, goal=None)
    yield _row("SGD with momentum", sizes.parameters, "fp32", work.sgd(sizes.parameters), updates.sgd)
    yield _row("Adam", sizes.parameters, "fp32", work.adam(sizes.parameters), updates.adam)
    yield _row("norm of gradients", sizes.parameters, "fp32", work.norm(sizes.parameters), updates.norm)
    yield _row("clipping by norm", sizes.parameters, "fp32", work.scale(sizes.parameters), updates.clip)


def _row(
    op: str, case: Any, precision: str, counted: Work, setup: Callable[..., Match], goal: Goal | None = MEMORY
) -> Row:
    return Row("memory", op, str(case), precision, counted, goal, functools.partial(setup, case=case, p=precision))


Entry = tuple[str, Any, Work, Callable[..., Match]]


def _elementwise(sizes: Sizes, itemsize: int) -> Iterator[Entry]:
    """Yield what has one direction only: copies between layouts, additions and sums."""
    images = sizes.images
    for layout in (CHANNELS_LAST, CONTIGUOUS):
        yield f"copy to {layout}", images, work.copy(images.x, itemsize), functools.partial(_copy, layout=layout)
    table, shape = sizes.logits, sizes.logits.x
    yield "add x + y", table, work.add(shape, shape, itemsize), functools.partial(_add, shape=shape)
    yield "add x + row", table, work.add(shape, shape[1:], itemsize), functools.partial(_add, shape=shape[1:])
    for name, dim, sums in (("all", None, 1), ("rows", 1, table.n), ("columns", 0, table.c)):
        yield f"sum of {name}", table, work.total(shape, sums, itemsize), functools.partial(_sum, dim=dim)


def _passes(sizes: Sizes, which: Pass, itemsize: int) -> Iterator[Entry]:
    """Yield what has a forward and a gradient pass."""
    images = sizes.images
    yield "relu", images, work.activation("relu", images.x, which, itemsize), _relu
    yield "dropout", images, work.dropout(images.x, itemsize), _dropout
    yield "batch_norm", images, work.batch_norm(images, which, itemsize, streamed=True), _batch_norm
    yield "max_pool2d", sizes.pool, work.max_pool(sizes.pool, which, itemsize), _max_pool
    yield from _along_rows(sizes.logits, which, itemsize)


def _along_rows(table: Rows, which: Pass, itemsize: int) -> Iterator[Entry]:
    """Yield what goes along the rows of a table."""
    yield "softmax", table, work.softmax(Rows(table.n, table.c, "softmax"), which, itemsize), _softmax
    yield "cross_entropy", table, work.cross_entropy_pass(table, which, itemsize), _cross_entropy


def _copy(rig: Rig, case: Images, p: str, layout: Layout) -> Match:
    torch = rig.torch
    formats = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}
    (other,) = (name for name in formats if name != layout)
    x = rig.normal(case.x, p).contiguous(memory_format=formats[other])
    ours = rig.array(x)
    calls = {
        "gpunet": lambda: rig.be.dense(ours, layout),
        "torch": lambda: x.contiguous(memory_format=formats[layout]),
    }
    if p == "fp32":
        memory = memory_view(ours, layout)
        calls["cupy"] = lambda: from_memory_view(memory.copy(), layout)
    return Match(calls, lambda: of_largest(x.double()))


def _add(rig: Rig, case: Rows, p: str, shape: tuple[int, ...]) -> Match:
    x, y = rig.normal(case.x, p), rig.normal(shape, p, seed=1)
    ours, other, xp = rig.array(x), rig.array(y), rig.be.xp
    calls = {"gpunet": lambda: ops.add(ours, other), "torch": lambda: x + y}
    if p == "fp32":
        calls["cupy"] = lambda: xp.add(ours, other)
    return Match(calls, lambda: of_largest(x.double() + y.double()))


def _sum(rig: Rig, case: Rows, p: str, dim: int | None) -> Match:
    x = rig.normal(case.x, p)
    ours, xp = rig.array(x), rig.be.xp
    calls = {"gpunet": lambda: ops.sum(ours, dim), "torch": lambda: x.sum(dim)}
    if p == "fp32":
        calls["cupy"] = lambda: xp.sum(ours, axis=dim)
    return Match(calls, lambda: (x.double().sum(dim), float(x.double().abs().sum(dim).max())))


def _relu(rig: Rig, case: Images, p: str, which: Pass) -> Match:
    x, gy = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    ours, xp = rig.array(x), rig.be.xp
    if which == "forward":
        calls = {"gpunet": lambda: ops.relu(ours), "torch": lambda: rig.torch.relu(x)}
        if p == "fp32":
            calls["cupy"] = lambda: xp.maximum(ours, 0)
        return Match(calls, lambda: of_largest(rig.torch.relu(x.double())))
    saved, gradient = ops.relu(ours), rig.array(gy)
    backward = _backward(rig.torch, rig.torch.relu, gy, x)
    calls = {"gpunet": lambda: ops.relu.grad(gradient, saved), "torch": backward}
    return Match(calls, lambda: of_largest(gy.double() * (x > 0)))


def _dropout(rig: Rig, case: Images, p: str, which: Pass) -> Match:
    """Set up dropout. Everybody draws other numbers, so there is nothing to compare; the tests know the bits."""
    x, gy = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    dropout = rig.torch.nn.functional.dropout
    if which == "forward":
        ours = rig.array(x)
        return Match({"gpunet": lambda: ops.dropout(ours, 0.5, generator=DRAW), "torch": lambda: dropout(x)}, None)
    gradient = rig.array(gy)
    backward = _backward(rig.torch, dropout, gy, x)
    return Match({"gpunet": lambda: ops.dropout.grad(gradient, p=0.5, generator=DRAW), "torch": backward}, None)


def _batch_norm(rig: Rig, case: Images, p: str, which: Pass) -> Match:
    torch, channels = rig.torch, (case.c,)
    x, gy = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    weight, bias = rig.normal(channels, seed=2), rig.normal(channels, seed=3)

    def norm(x: Any, weight: Any, bias: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, True)

    last = torch.channels_last
    ours, gradient = (rig.array(tensor.contiguous(memory_format=last)) for tensor in (x, gy))
    scale, shift = rig.array(weight), rig.array(bias)
    calls: dict[str, Callable[[], Any]] = {}
    if which == "forward":
        calls["gpunet"] = lambda: ops.batch_norm(ours, None, None, scale, shift, training=True)
        for name, a in _formats(torch, x):
            calls[name] = functools.partial(norm, a, weight, bias)
        return Match(calls, lambda: of_largest(norm(x.double(), weight.double(), bias.double())))
    _, mean, inv_std = ops.batch_norm.forward(ours, None, None, scale, shift, training=True)
    calls["gpunet"] = lambda: ops.batch_norm.grad(gradient, ours, scale, shift, mean, inv_std, training=True)[0]
    for (name, a), (_, g) in zip(_formats(torch, x), _formats(torch, gy), strict=True):
        calls[name] = _backward(torch, norm, g, a, weight, bias)
    wide = (gy.double(), x.double(), weight.double(), bias.double())
    return Match(calls, lambda: of_largest(_backward(torch, norm, *wide)()))


def _max_pool(rig: Rig, case: Pool, p: str, which: Pass) -> Match:
    torch, window = rig.torch, (case.window, case.stride)
    x, gy = rig.normal(case.x, p), rig.normal(case.y, p, seed=1)

    def pool(x: Any) -> Any:
        return torch.nn.functional.max_pool2d(x, *window)

    last = torch.channels_last
    ours, gradient = (rig.array(tensor.contiguous(memory_format=last)) for tensor in (x, gy))
    calls: dict[str, Callable[[], Any]] = {}
    if which == "forward":
        calls["gpunet"] = lambda: ops.max_pool2d.forward(ours, *window)[0]
        for name, a in _formats(torch, x):
            calls[name] = functools.partial(pool, a)
        return Match(calls, lambda: of_largest(pool(x.double())))
    winner = ops.max_pool2d.forward(ours, *window)[1]
    settings: dict[str, Any] = {"kernel_size": case.window, "stride": case.stride, "input_size": case.x}
    calls["gpunet"] = lambda: ops.max_pool2d.grad(gradient, winner, **settings)
    for (name, a), (_, g) in zip(_formats(torch, x), _formats(torch, gy), strict=True):
        calls[name] = _backward(torch, pool, g, a)
    return Match(calls, lambda: of_largest(_backward(torch, pool, gy.double(), x.double())()))


def _softmax(rig: Rig, case: Rows, p: str, which: Pass) -> Match:
    softmax = functools.partial(rig.torch.softmax, dim=1)
    x, gy = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    ours = rig.array(x)
    if which == "forward":
        calls = {"gpunet": lambda: ops.softmax(ours, 1), "torch": lambda: softmax(x)}
        return Match(calls, lambda: of_largest(softmax(x.double())))
    y, gradient = ops.softmax(ours, 1), rig.array(gy)
    calls = {"gpunet": lambda: ops.softmax.grad(gradient, y, dim=1), "torch": _backward(rig.torch, softmax, gy, x)}
    return Match(calls, lambda: of_largest(_backward(rig.torch, softmax, gy.double(), x.double())()))


def _cross_entropy(rig: Rig, case: Rows, p: str, which: Pass) -> Match:
    torch, loss = rig.torch, rig.torch.nn.functional.cross_entropy
    x, target = rig.normal(case.x, p), rig.labels(case.n, case.c)
    ours, labels = rig.array(x), rig.array(target)
    if which == "forward":
        calls = {"gpunet": lambda: ops.cross_entropy(ours, labels), "torch": lambda: loss(x, target)}
        return Match(calls, lambda: of_largest(loss(x.double(), target)))
    one = torch.ones_like(x[0, 0])
    gradient, (_, *extras) = rig.array(one), ops.cross_entropy.forward(ours, labels)
    calls = {
        "gpunet": lambda: ops.cross_entropy.grad(gradient, ours, labels, None, *extras),
        "torch": _backward(torch, lambda x: loss(x, target), one, x),
    }
    wide = (lambda x: loss(x, target)), one.double(), x.double()
    return Match(calls, lambda: of_largest(_backward(torch, *wide)()))


def _formats(torch: Any, tensor: Any) -> Iterator[tuple[str, Any]]:
    """Yield a tensor in both memory formats, with the contestant's name."""
    yield "torch contiguous", tensor.contiguous()
    yield "torch channels_last", tensor.contiguous(memory_format=torch.channels_last)


def _backward(torch: Any, function: Callable[..., Any], gy: Any, *inputs: Any) -> Callable[[], Any]:
    """Return what computes the gradients of all inputs, of which the first one is returned."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = function(*leaves)
    return lambda: torch.autograd.grad(y, leaves, gy, retain_graph=True)[0]
