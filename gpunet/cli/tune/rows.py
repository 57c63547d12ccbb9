"""Rows of a user's table: for which products they count, and how new ones go before old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.cli.tune.layers import Product
from gpunet.ops.choices_table import Row, Rows

__all__ = ["conditions", "merged"]


def conditions(product: Product) -> dict[str, Any]:
    """Return the conditions of the row for a product: its sizes, and batches up to the next power of two."""
    problem = product.problem
    sizes: dict[str, Any] = {name: getattr(problem, name) for name in ("rows", "columns", "depth")}
    most = 1 << (sizes[product.grows] - 1).bit_length()
    sizes[product.grows] = f"{most // 2 + 1}..{most}"
    own = {"order": problem.order} if problem.op == "gemm" else {"taps": problem.taps, "groups": problem.groups}
    return {"dtype": problem.dtype, "arch": problem.arch, **sizes, **own}


def merged(tuned: Sequence[tuple[str, Mapping[str, Any], Row | None]], before: Rows) -> Rows:
    """Return the rows of a new table: those just tuned, then the old ones whose conditions were not tuned.

    Args:
        tuned: op, conditions, and the row; None where the shipped choice stays.
        before: the table so far.
    """
    found = {}
    for op in dict.fromkeys([*(op for op, _, row in tuned if row), *before]):
        new = [row for of, _, row in tuned if of == op and row]
        done = [asked for of, asked, _ in tuned if of == op]
        if rows := (*new, *(row for row in before.get(op, ()) if row.conditions not in done)):
            found[op] = rows
    return found
