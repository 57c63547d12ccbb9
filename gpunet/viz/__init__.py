"""Plots; matplotlib is imported only when one is drawn."""

from gpunet.viz.curves import save_curves

__all__ = ["save_curves"]
