"""Grids of small pictures: the filters of a convolution, and images with labels and predictions."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.errors import DTypeError, ShapeError, layout_message
from gpunet.viz.figure import host, new_figure, save_figure

__all__ = ["draw_filters", "draw_images", "save_filters", "save_images"]

_GAP = 0.15  # between tiles; a tile is 1 wide
_CAPTION = 0.34  # height of a line of text above a tile
_TILE_INCHES = 0.75


def draw_filters(axes: Any, weight: Any, columns: int | None = None) -> Any:
    """Draw the filters of a first convolution into matplotlib axes: blue is negative, white 0, red positive.

    All filters share one scale, so that a filter that learned nothing looks pale. Filters over three channels are
    drawn as colours, v = w / (2 max|w|) + 1/2; otherwise there is one tile per pair of output and input channel.

    Args:
        axes: matplotlib axes; what is in them stays.
        weight: (O, C, KH, KW), a Tensor or an array of any backend, such as `model.conv1.weight`.
        columns: tiles per row; None makes the grid about twice as wide as high.

    Returns:
        A matplotlib image for `figure.colorbar`.

    Raises:
        ShapeError: the weight has not four axes, or no element.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> draw_filters(axes, np.ones((4, 1, 3, 3), np.float32)).get_clim()
        (-1.0, 1.0)
    """
    tiles = _filter_tiles(weight)
    limit = float(np.abs(tiles).max()) or 1.0
    if tiles.ndim == 4:
        tiles = tiles / (2 * limit) + 0.5
    return _draw_grid(axes, tiles, columns or _columns(len(tiles)), cmap="RdBu_r", vmin=-limit, vmax=limit)


def save_filters(weight: Any, path: str | os.PathLike[str]) -> None:
    """Draw the filters of a first convolution into a PNG file; see `draw_filters`.

    Args:
        weight: (O, C, KH, KW), a Tensor or an array of any backend.
        path: the file, written whole or not at all.

    Raises:
        ImportError: matplotlib is missing.
        ShapeError: the weight has not four axes, or no element.
        OSError: the file cannot be written; an old one is intact.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "filters.png"
        >>> save_filters(np.ones((4, 1, 3, 3), np.float32), path)
        >>> path.stat().st_size > 1000
        True
    """
    tiles = _filter_tiles(weight)
    columns = _columns(len(tiles))
    width, height = _inches(tiles, columns)
    figure = new_figure("save_filters", width + 0.9, height + 0.3)
    axes = figure.subplots()
    image = draw_filters(axes, weight, columns)
    axes.set_title("filters of the first convolution", fontsize=10)
    if tiles.ndim == 3:
        figure.colorbar(image, ax=axes, shrink=0.95, pad=0.02, label="weight")
    save_figure(figure, path)


def draw_images(
    axes: Any,
    images: Any,
    labels: Any = None,
    predictions: Any = None,
    *,
    classes: Sequence[str] | None = None,
    columns: int | None = None,
) -> None:
    """Draw images in a grid, each under its label; where label and prediction differ, both stand there, in red.

    Args:
        axes: matplotlib axes; what is in them stays.
        images: (N, H, W), (N, 1, H, W) or (N, 3, H, W), a Tensor or an array of any backend. The smallest value of
            all is black, the largest white.
        labels: (N,) class indices, or None.
        predictions: (N,) class indices, or None.
        classes: names of the classes; None writes the indices.
        columns: images per row; None makes the grid about twice as wide as high.

    Raises:
        ShapeError: the images have other axes, there is none, or labels or predictions are not one per image.
        DTypeError: labels or predictions are not integers.
        ValueError: one of them has no name in `classes`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> draw_images(axes, np.zeros((2, 1, 4, 4), np.float32), labels=[7, 2], predictions=[7, 3])
        >>> [text.get_text() for text in axes.texts]
        ['7', '2 → 3']
    """
    tiles = _image_tiles(images)
    low, high = float(tiles.min()), float(tiles.max())
    if tiles.ndim == 4:
        tiles = (tiles - low) / ((high - low) or 1.0)
    captions = _captions(len(tiles), labels, predictions, classes)
    _draw_grid(axes, tiles, columns or _columns(len(tiles)), captions, cmap="gray", vmin=low, vmax=high)


def save_images(
    images: Any,
    path: str | os.PathLike[str],
    labels: Any = None,
    predictions: Any = None,
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Draw images, with labels and predictions, into a PNG file; see `draw_images`.

    Args:
        images: (N, H, W), (N, 1, H, W) or (N, 3, H, W), a Tensor or an array of any backend.
        path: the file, written whole or not at all.
        labels: (N,) class indices, or None.
        predictions: (N,) class indices, or None.
        classes: names of the classes; None writes the indices.

    Raises:
        ImportError: matplotlib is missing.
        ShapeError, DTypeError, ValueError: as in `draw_images`.
        OSError: the file cannot be written; an old one is intact.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "images.png"
        >>> save_images(np.zeros((3, 5, 5), np.float32), path, labels=[0, 1, 2])
        >>> path.stat().st_size > 1000
        True
    """
    tiles = _image_tiles(images)
    columns = _columns(len(tiles))
    captions = labels is not None or predictions is not None
    figure = new_figure("save_images", *_inches(tiles, columns, captions))
    draw_images(figure.subplots(), images, labels, predictions, classes=classes, columns=columns)
    save_figure(figure, path)


def _filter_tiles(weight: Any) -> npt.NDArray[Any]:
    """Return (O, KH, KW, 3) for three input channels, else (O*C, KH, KW)."""
    array = host(weight).astype(np.float32, copy=False)
    if array.ndim != 4 or not array.size:
        expected = f"(O, C, KH, KW) with at least one element, got {array.shape}"
        raise ShapeError(layout_message("draw_filters", "this is no weight of a 2-D convolution.", expected=expected))
    return array.transpose(0, 2, 3, 1) if array.shape[1] == 3 else array.reshape(-1, *array.shape[2:])


def _image_tiles(images: Any) -> npt.NDArray[Any]:
    """Return (N, H, W, 3) for three channels, else (N, H, W)."""
    array = host(images).astype(np.float32, copy=False)
    if not array.size or not (array.ndim == 3 or (array.ndim == 4 and array.shape[1] in (1, 3))):
        expected = f"(N, H, W), (N, 1, H, W) or (N, 3, H, W) with N >= 1, got {array.shape}"
        raise ShapeError(layout_message("draw_images", "these are no images.", expected=expected))
    if array.ndim == 4:
        return array[:, 0] if array.shape[1] == 1 else array.transpose(0, 2, 3, 1)
    return array


def _captions(count: int, labels: Any, predictions: Any, classes: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return text and colour for each image; no list entries if there is nothing to say."""
    given = {"labels": labels, "predictions": predictions}
    columns = {name: host(values) for name, values in given.items() if values is not None}
    for name, values in columns.items():
        if values.shape != (count,):
            expected = f"({count},), one per image, got {values.shape}"
            raise ShapeError(layout_message("draw_images", f"{name} do not fit the images.", expected=expected))
        if values.dtype.kind not in "iu":
            expected = f"integers, got {values.dtype}"
            raise DTypeError(layout_message("draw_images", f"{name} are not class indices.", expected=expected))
        if classes is not None and not 0 <= values.min() <= values.max() < len(classes):
            expected = f"0 to {len(classes) - 1}, as there are names, got {values.min()} to {values.max()}"
            raise ValueError(layout_message("draw_images", f"{name} are out of range.", expected=expected))
    captions = []
    for indices in zip(*columns.values(), strict=True):
        names = [str(index) if classes is None else classes[index] for index in dict.fromkeys(map(int, indices))]
        captions.append((" → ".join(names), "black" if len(names) == 1 else "tab:red"))
    return captions


def _columns(count: int) -> int:
    return min(count, math.ceil(math.sqrt(2 * count)))


def _row_height(tiles: npt.NDArray[Any], captions: bool) -> float:
    """Return the distance of two rows, in widths of a tile."""
    return tiles.shape[1] / tiles.shape[2] + _GAP + (_CAPTION if captions else 0)


def _inches(tiles: npt.NDArray[Any], columns: int, captions: bool = False) -> tuple[float, float]:
    """Return width and height of a figure for a grid."""
    rows = math.ceil(len(tiles) / columns)
    width, height = columns * (1 + _GAP), rows * _row_height(tiles, captions)
    return max(width * _TILE_INCHES, 2) + 0.1, height * _TILE_INCHES + 0.1


def _draw_grid(
    axes: Any, tiles: npt.NDArray[Any], columns: int, captions: Sequence[tuple[str, str]] = (), **style: Any
) -> Any:
    """Draw tiles from left to right and top to bottom, each 1 wide; return the last one."""
    row_height = _row_height(tiles, bool(captions))
    height = tiles.shape[1] / tiles.shape[2]
    image = None
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        left, top = column * (1 + _GAP), -row * row_height
        right, bottom = left + 1, top - height
        image = axes.imshow(tile, extent=(left, right, bottom, top), **style)
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="0.6", linewidth=0.6)
        if captions:
            text, colour = captions[place]
            axes.text(left + 0.5, top + 0.05, text, ha="center", va="bottom", fontsize=9, color=colour)
    rows = math.ceil(len(tiles) / columns)
    axes.set_xlim(-_GAP / 2, columns * (1 + _GAP) - _GAP / 2)
    axes.set_ylim(row_height - height - _GAP / 2 - rows * row_height, row_height - height - _GAP / 2)
    axes.set_aspect("equal")
    axes.axis("off")
    return image
