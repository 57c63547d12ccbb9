"""Chunks: runs of a flat buffer that one block of a kernel, or one pass through the CPU's cache, works on.

A chunk table is an (n, 3) int64 array of rows (start, length, counter). Where there is none, a buffer is cut into
chunks of equal length from its start on.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpunet.backend import Array, Backend

__all__ = ["chunk_length", "count_chunks", "cut", "read_table"]

KERNEL_CHUNK, CPU_CHUNK = 4096, 65536  # elements; KERNEL_CHUNK must equal CHUNK of kernels/chunks.cuh


def chunk_length(be: Backend) -> int:
    """Return how many elements a chunk has at most."""
    return KERNEL_CHUNK if be.uses_kernels else CPU_CHUNK


def cut(be: Backend, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the chunks of a run of `size` elements."""
    most = chunk_length(be)
    for at in range(0, size, most):
        yield start + at, min(most, size - at)


def count_chunks(be: Backend, size: int, chunks: Array | None) -> int:
    """Return the number of chunks of a buffer."""
    return -(-size // chunk_length(be)) if chunks is None else chunks.shape[0]


def read_table(be: Backend, size: int, chunks: Array | None) -> list[tuple[slice, int]]:
    """Return each chunk as (its elements, its counter), cut to the buffer as kernels cut it; it may be empty."""
    rows = [(*run, 0) for run in cut(be, 0, size)] if chunks is None else be.to_numpy(chunks).tolist()
    return [
        (slice(max(start, 0), max(start, 0, min(start + length, size))), counter) for start, length, counter in rows
    ]
