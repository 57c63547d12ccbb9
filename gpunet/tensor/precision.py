"""How precisely layers and matmul multiply float32 on a GPU: exactly, or rounded to TF32 for its tensor cores.

TF32 keeps 10 bits of mantissa of each factor (a relative error of at most 2^-11); products and sums are float32. It
needs an A100 or later; older GPUs, the CPU and all other dtypes do not change. Operations on bare arrays do not look
here: they take `allow_tf32`.
"""

from __future__ import annotations

from gpunet.errors import layout_message

__all__ = [
    "conv_allows_tf32",
    "get_float32_conv_precision",
    "get_float32_matmul_precision",
    "matmul_allows_tf32",
    "set_float32_conv_precision",
    "set_float32_matmul_precision",
]

_PRECISIONS = ("highest", "high", "medium")
_precision = {"conv": "high", "matmul": "highest"}  # PyTorch's defaults


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how linear layers and matmul multiply float32 on a GPU, from the next forward on.

    Args:
        precision: "highest" for float32 (the default, as in PyTorch), "high" for TF32; "medium" is taken as "high".

    Raises:
        ValueError: it is none of these.

    Example:
        >>> set_float32_matmul_precision("high")
        >>> get_float32_matmul_precision()
        'high'
        >>> set_float32_matmul_precision("highest")
    """
    _set("matmul", precision)


def get_float32_matmul_precision() -> str:
    """Return what `set_float32_matmul_precision` has set."""
    return _precision["matmul"]


def set_float32_conv_precision(precision: str) -> None:
    """Choose how convolutions multiply float32 on a GPU, from the next forward on.

    Args:
        precision: "highest" for float32; "high" for TF32 (the default, as PyTorch's torch.backends.cudnn.allow_tf32 is
            true); "medium" is taken as "high".

    Raises:
        ValueError: it is none of these.

    Example:
        >>> set_float32_conv_precision("highest")
        >>> get_float32_conv_precision()
        'highest'
    """
    _set("conv", precision)


def get_float32_conv_precision() -> str:
    """Return what `set_float32_conv_precision` has set."""
    return _precision["conv"]


def matmul_allows_tf32() -> bool:
    """Say whether linear layers and matmul may round to TF32."""
    return _precision["matmul"] != "highest"


def conv_allows_tf32() -> bool:
    """Say whether convolutions may round to TF32."""
    return _precision["conv"] != "highest"


def _set(what: str, precision: str) -> None:
    if precision not in _PRECISIONS:
        expected = f"{', '.join(map(repr, _PRECISIONS))}, got {precision!r}"
        raise ValueError(
            layout_message(f"set_float32_{what}_precision", "there is no such precision.", expected=expected)
        )
    _precision[what] = precision
