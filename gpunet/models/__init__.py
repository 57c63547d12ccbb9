"""Models: small networks that scripts, benchmarks and the command line share."""

from gpunet.models.mnist import CNN, MLP, TinyCNN

__all__ = ["CNN", "MLP", "TinyCNN"]
