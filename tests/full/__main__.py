"""python -m tests.full: runs that take long, with committed results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.full import mutate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    top = argparse.ArgumentParser(
        prog="python -m tests.full",
        description="Runs that prove more than the suite and take longer; their results lie in tests/full/results/.",
        epilog="Each command explains itself: python -m tests.full mutate --help",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (mutate,):
        module.add_parser(commands)
    options = top.parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
