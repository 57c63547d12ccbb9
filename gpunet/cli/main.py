"""The command `gpunet`: parse, call, report; errors are one message and an exit code.

Exit codes: 0 done, 1 an error (the message says which), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import gpunet
from gpunet.cli import doctor, kernels, train, tune, warmup

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="gpunet",
        description="Neural networks on CuPy and NumPy.",
        epilog="exit codes: 0 done, 1 error, 2 wrong usage, 130 interrupted",
    )
    top.add_argument("--version", action="version", version=f"gpunet {gpunet.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (train, kernels, tune, warmup, doctor):
        module.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `gpunet kernels list | head -1`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return 1
    except KeyboardInterrupt:
        print("gpunet: interrupted", file=sys.stderr)
        return 130
    except (RuntimeError, ValueError, OSError, ImportError, ArithmeticError, LookupError) as error:
        print(f"gpunet: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
