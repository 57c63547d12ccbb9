"""Datasets in host memory, the loader that makes Tensors of them batch by batch, and augmentation of batches."""

from gpunet.data.dataset import Dataset, Subset, TensorDataset
from gpunet.data.idx import read_idx, write_idx
from gpunet.data.loader import DataLoader, default_collate
from gpunet.data.mnist import MNIST
from gpunet.data.transforms import RandomInvert

__all__ = [
    "MNIST",
    "DataLoader",
    "Dataset",
    "RandomInvert",
    "Subset",
    "TensorDataset",
    "default_collate",
    "read_idx",
    "write_idx",
]
