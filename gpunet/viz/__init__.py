"""Plots; matplotlib is imported only when one is drawn.

save_*        writes a PNG file, whole or not at all
draw_*        draws into matplotlib axes, for notebooks
available     whether matplotlib is installed
"""

from gpunet.viz.confusion import confusion_matrix, draw_confusion, recall, save_confusion
from gpunet.viz.curves import save_curves
from gpunet.viz.figure import available
from gpunet.viz.images import draw_filters, draw_images, save_filters, save_images
from gpunet.viz.tape import draw_tape, save_tape, tape_graph

__all__ = [
    "available",
    "confusion_matrix",
    "draw_confusion",
    "draw_filters",
    "draw_images",
    "draw_tape",
    "recall",
    "save_confusion",
    "save_curves",
    "save_filters",
    "save_images",
    "save_tape",
    "tape_graph",
]
