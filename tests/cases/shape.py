"""Cases of shape ops."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case


def cat_case(*shapes, dim=0, copies=None, id=""):
    named = {f"x{i}": shape for i, shape in enumerate(shapes)}
    return Case(
        ops.cat,
        named,
        {"copy_strided": len(shapes) if copies is None else copies},
        {name: {} for name in named},
        {"dim": dim},
        torch=lambda torch, dim, **tensors: torch.cat(list(tensors.values()), dim),
        id=id,
    )


CASES = [
    Case(
        ops.reshape,
        {"x": (2, 3, 4)},
        {},
        {"x": {}},
        attrs={"shape": (4, -1)},
        torch=lambda torch, x, shape: x.reshape(shape),
    ),
    *(
        Case(
            ops.getitem,
            {"x": shape},
            {},
            {"x": {"fill": 1, "copy_strided": 1} if id != "beyond" else {"fill": 1}},
            attrs={"index": index},
            torch=lambda torch, x, index: x[index],
            id=f"getitem-{id}",
        )
        for id, shape, index in (
            ("int", (3, 4), -1),
            ("element", (3, 4), (1, 2)),
            ("steps", (7, 5), np.s_[1:6:2, ::3]),
            ("dots", (2, 3, 4, 5), np.s_[1, ..., None, 2:]),
            ("new-axes", (3, 4), np.s_[None, :, None]),
            ("beyond", (3, 4), np.s_[-9:9, 2:1]),
            ("channels", (2, 3, 4, 5), np.s_[:, 1:3]),
        )
    ),
    Case(
        ops.permute,
        {"x": (2, 3, 4, 5)},
        {},
        {"x": {}},
        attrs={"dims": (3, 0, -2, 1)},
        torch=lambda torch, x, dims: x.permute(dims),
    ),
    Case(ops.permute, {"x": ()}, {}, {"x": {}}, attrs={"dims": ()}, torch=lambda torch, x, dims: x.permute(dims)),
    cat_case((2, 3, 4, 5), (2, 1, 4, 5), (2, 2, 4, 5), dim=1),
    cat_case((3, 4), (2, 4)),
    cat_case((3,), dim=-1, id="one"),
    cat_case((0,), (3, 4), (0, 4), (1, 4), copies=2, id="empty"),
]
