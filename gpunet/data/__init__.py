"""Datasets in host memory and the loader that makes Tensors of them, batch by batch."""

from gpunet.data.dataset import Dataset, Subset, TensorDataset
from gpunet.data.idx import read_idx, write_idx
from gpunet.data.loader import DataLoader, default_collate
from gpunet.data.mnist import MNIST

__all__ = ["MNIST", "DataLoader", "Dataset", "Subset", "TensorDataset", "default_collate", "read_idx", "write_idx"]
