"""Cases of optimizer steps."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case


def chunks(*rows):
    return {"chunks": lambda rng: np.array(rows, np.int64)}


CASES = [
    Case(
        ops.sgd_step,
        {"param": (40,), "grad": (40,), "momentum_buffer": (40,), "lr": (1,)},
        {"sgd_step": 1},
        attrs={"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        wide=("lr",),
        integers=chunks((0, 7, 0), (10, 20, 1)),
        id="momentum",
    ),
    Case(
        ops.sgd_step,
        {"param": (300,), "grad": (300,), "momentum_buffer": (300,), "lr": (1,)},
        {"sgd_step": 1},
        attrs={"momentum": 0.9, "nesterov": True, "maximize": True},
        wide=("lr",),
        integers=chunks((0, 290, 0)),
        id="nesterov",
    ),
    Case(
        ops.sgd_step,
        {"param": (9,), "grad": (9,), "momentum_buffer": None, "lr": (1,)},
        {"sgd_step": 1},
        wide=("lr",),
        integers=chunks((2, 5, 0)),
        id="plain",
    ),
]
