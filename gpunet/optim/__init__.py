"""Optimizers, with PyTorch's names and formulas."""

from typing import TYPE_CHECKING

from gpunet.errors import absent
from gpunet.optim.adam import Adam, AdamW
from gpunet.optim.optimizer import Optimizer
from gpunet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)
