"""The option --arch: for which GPUs kernels are compiled."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gpunet.backend import nvrtc
from gpunet.errors import KernelError

__all__ = ["add_arch", "require_supported"]


def add_arch(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option; `default` says what it is when not given."""
    parser.add_argument("--arch", type=_archs, metavar="75,80,...", help=f"architectures (default: {default})")


def _archs(text: str) -> list[int]:
    words = [word.strip().removeprefix("sm_") for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"expected numbers such as 75,80,90, got {text!r}")
    return list(dict.fromkeys(map(int, words)))


def require_supported(archs: Sequence[int]) -> None:
    """Raise a KernelError that names the architectures for which NVRTC cannot compile."""
    if wrong := sorted(set(archs) - set(nvrtc.supported_archs())):
        supported = ", ".join(map(str, nvrtc.supported_archs()))
        raise KernelError(f"NVRTC {nvrtc.version()} does not compile for {wrong}; it does for {supported}")
