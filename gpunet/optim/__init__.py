"""Optimizers, with PyTorch's names and formulas."""

from gpunet.optim.adam import Adam, AdamW
from gpunet.optim.optimizer import Optimizer
from gpunet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
