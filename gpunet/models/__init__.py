"""Models: small networks that scripts, benchmarks and the command line share."""

from gpunet.models.mnist import CNN, MLP, LeNet5, TinyCNN

__all__ = ["CNN", "MLP", "LeNet5", "TinyCNN"]
