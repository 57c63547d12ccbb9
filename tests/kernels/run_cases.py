"""Runs every Case on the emulated backend in this process, and writes the kernels launched to a file.

Started under the address sanitizer, where the first access out of bounds ends the process with a trace.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpunet import backend
from gpunet.backend import Device
from tests.cases import CASES, SPECIALS
from tests.harness.case import FLOATS
from tests.harness.oracle import result_bytes


def main(report: str) -> None:
    be = backend.get(Device("emulated"))
    for case in CASES:
        for dtype in FLOATS:
            print(case, dtype, flush=True)
            result_bytes(be, case, dtype)
    for special in SPECIALS:
        print(special, flush=True)
        special.run(be)
    Path(report).write_text(json.dumps(sorted(be.launched)))


if __name__ == "__main__":
    main(sys.argv[1])
