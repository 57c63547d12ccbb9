"""Training loops and run folders."""

from gpunet.train.loop import evaluate, fit
from gpunet.train.run_folder import RunFolder

__all__ = ["RunFolder", "evaluate", "fit"]
