"""`gpunet kernels list`: files, kernels, parameters, launch bounds, variants."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gpunet.backend import kernels
from gpunet.cli.kernels.sources import launches_of, sources

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  gpunet kernels list             file, kernel, launch bounds, parameters, variants of gpunet's own
  gpunet kernels list saxpy.cu    of your file, with the launches that it carries for `gpunet kernels check`
"""


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "list",
        help="what kernels there are",
        description="Show the kernels of a file, or gpunet's own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE.cu", help="your kernel files (default: gpunet's own)")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show kernels."""
    rows = [_facts(source, own) for source, own in sources(options.files)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(row["file"], *(f"  {macro}: {', '.join(values) or '?'}" for macro, values in row["macros"].items()))
        for kernel in row["kernels"]:
            bounds = f"bounds {kernel['launch_bounds']}" if kernel["launch_bounds"] else "no bounds"
            print(f"  {kernel['name']:<24}  {bounds:<12}  {', '.join(kernel['parameters'])}")
        for launch in row["launches"]:
            print(f"  launch: {launch}")
    return 0


def _facts(source: kernels.Source, own: bool) -> dict[str, Any]:
    return {
        "file": source.file,
        "macros": {macro: kernels.MACRO_VALUES[macro] if own else () for macro in source.macros},
        "kernels": [
            {
                "name": kernel.name,
                "launch_bounds": kernel.launch_bounds,
                "parameters": [str(parameter) for parameter in kernel.parameters],
            }
            for kernel in source.kernels.values()
        ],
        "launches": [] if own else [launch.text for launch in launches_of(source.file)],
    }
