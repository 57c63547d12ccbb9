"""The child process of `gpunet kernels check` without a file: one training step on the emulated device."""

from __future__ import annotations

import faulthandler
import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

import gpunet
from gpunet import backend, models, optim
from gpunet.backend import Device
from gpunet.backend.check import bank_conflicts_of, finding_of
from gpunet.backend.child import BANKS
from gpunet.nn import functional as F

__all__ = ["main", "step"]


def step() -> dict[str, npt.NDArray[Any]]:
    """Train a tiny network for one step; return its loss and weights."""
    be = backend.get(Device("emulated"))
    gpunet.manual_seed(0)
    rng = np.random.default_rng(0)
    model = models.TinyCNN().to(be.device)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = gpunet.tensor(rng.standard_normal((3, 1, 28, 28), np.float32)).to(be.device)
    y = gpunet.tensor(rng.integers(0, 10, 3)).to(be.device)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return {name: be.to_numpy(tensor.array) for name, tensor in [("loss", loss), *model.named_parameters()]}


def main() -> int:
    """Run the step in the mode that standard input names; write the finding, or conflicts, and the kernels that ran."""
    job = json.load(sys.stdin)
    faulthandler.dump_traceback_later(job["timeout"], exit=True)
    banks = job["mode"] == BANKS
    answer = {"bank_conflicts": bank_conflicts_of(step)} if banks else {"finding": finding_of(step, job["mode"])}
    kernels = sorted(getattr(backend.get(Device("emulated")), "launched", {}))
    print(json.dumps({**answer, "kernels": kernels}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
