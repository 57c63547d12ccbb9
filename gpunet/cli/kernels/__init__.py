"""`gpunet kernels`: list, compile and check CUDA kernels without a GPU, gpunet's own and anybody's."""

from __future__ import annotations

import argparse
from typing import Any

from gpunet.cli.kernels import checking, compiling, listing

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  gpunet kernels list                          gpunet's own kernels
  gpunet kernels compile saxpy.cu --arch 90    your kernels for an H100: registers, shared memory, spills
  gpunet kernels check saxpy.cu                your kernels on the CPU: races, bounds, order of threads

A kernel file holds kernels only, declared extern "C" __global__ void; it may #include "files.cuh" that lie beside it,
and needs no CUDA header. gpunet kernels ACTION --help tells more.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand and its actions."""
    parser = commands.add_parser(
        "kernels",
        help="list, compile and check CUDA kernels without a GPU, yours too",
        description="List, compile and check CUDA kernels without a GPU: gpunet's own, and yours.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in (listing, compiling, checking):
        module.add_parser(actions)
