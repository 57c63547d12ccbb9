"""Kernels whose work goes through shared memory have no bank conflicts there, for 32 and for 16 bits."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest

from gpunet.backend import kernels
from gpunet.backend.emulated import EmulatedBackend
from gpunet.ops.choices import Choice, force
from gpunet.ops.gemm import gemm
from gpunet.ops.tiles import FMA_TILES, HALO_TILES, MMA_TILES
from tests.cases import CASES, SPECIALS
from tests.harness.banks import bank_conflicts
from tests.harness.oracle import result_bytes

# File, kernel, parts of the lines that may have conflicts, each with its reason.
CLEAN: list[tuple[str, str, tuple[str, ...]]] = [
    ("gemm_tiled.cu", "tiled_gemm_nt", ()),
    ("gemm_tiled.cu", "tiled_gemm_nn", ()),
    ("gemm_tiled.cu", "tiled_gemm_tn", ()),
    ("conv_tiled.cu", "tiled_conv_forward", ()),
    ("conv_tiled.cu", "tiled_conv_backward_input", ()),
    ("conv_tiled.cu", "tiled_conv_backward_weight", ()),
    ("conv_halo.cu", "halo_conv_forward", ()),
    ("conv_halo.cu", "halo_conv_backward_input", ()),
    ("gemm.cu", "gemm", ()),
    ("embedding.cu", "embedding_backward", ()),
    ("conv.cu", "conv_forward", ()),
    ("conv.cu", "conv_backward_input", ()),
    ("conv.cu", "conv_backward_weight", ()),
    ("reduce.cu", "sum_axes", ()),
    ("copy.cu", "copy_transposed", ()),
    (
        "conv_direct.cu",
        "direct_forward",
        ("rows[row * pitch + place_of(k, thread)] = value",),
    ),  # weights come in the order of w, once
    ("conv_direct.cu", "direct_backward_weight", ()),
    # Threads whose rows lie in the padding skip them; a GPU waits for them, the emulator pairs them with the next taps.
    ("conv_depthwise.cu", "depthwise_forward", ("weights[number * width + n * blockDim.x]",)),
    ("conv_depthwise.cu", "depthwise_backward_input", ()),
    ("conv_depthwise.cu", "depthwise_backward_weight", ()),
]
pytestmark = pytest.mark.only_backends("emulated")
PER_KERNEL = 3  # cases; each is run in several tiles
SMALL_TILES = MMA_TILES[-2:]  # of slices of both depths, which the larger ones share; they compile fast
CHOICES = {
    "gemm_tiled.cu": [Choice("tensor", tile) for tile in MMA_TILES] + [Choice("fma", tile) for tile in FMA_TILES],
    "conv_tiled.cu": [Choice("tensor", tile) for tile in SMALL_TILES] + [Choice("fma", FMA_TILES[-1])],
    "conv_halo.cu": [Choice("halo", tile) for tile in HALO_TILES],
}


@pytest.mark.parametrize(("file", "kernel", "allowed"), CLEAN, ids=[kernel for _, kernel, _ in CLEAN])
def test_kernel_has_no_bank_conflicts(be, file, kernel, allowed):
    assert kernel in kernels.load(file).kernels
    cases = [case for case in CASES if kernel in case.kernels][:PER_KERNEL]
    specials = [special for special in SPECIALS if kernel in special.kernels and not cases]
    choices = CHOICES.get(file, (None,))

    def launch_all() -> None:
        for special in specials:
            special.run(be)
        for case in cases:
            for dtype in (np.float32, np.float16):
                for choice in choices:
                    with force(choice) if choice else contextlib.nullcontext():
                        result_bytes(be, case, dtype)

    assert bank_conflicts(launch_all, kernel, allowed) == []


@pytest.fixture
def unswizzled(monkeypatch):
    """A backend whose tiles lie in shared memory as they do in memory."""
    load = kernels.load

    def load_changed(file: str) -> kernels.Source:
        source = load(file)
        assert file != "gemm_tiled.cu" or "(chunk ^ change)" in source.text
        return dataclasses.replace(source, text=source.text.replace("(chunk ^ change)", "chunk"))

    monkeypatch.setattr(kernels, "load", load_changed)
    return EmulatedBackend()


def test_tiles_without_a_swizzle_are_found(be, unswizzled):
    c, a, b = unswizzled.empty((64, 64), np.float32), *(unswizzled.zeros((64, 64), np.float32) for _ in "ab")

    def launch() -> None:
        with force(Choice("tensor", MMA_TILES[-2])):
            gemm(unswizzled, c, a, b.T, allow_tf32=True)

    found = bank_conflicts(launch, "tiled_gemm_nt")
    assert len(found) == 2 and all("8-way bank conflicts" in text for text in found)
    assert bank_conflicts(launch, "tiled_gemm_nt", allowed=["load_a<A>(", "load_b<B>("]) == []
    assert bank_conflicts(launch, "tiled_gemm_nt", allowed=["load_a<A>("]) == found[1:]
