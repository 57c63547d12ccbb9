"""Cases of embeddings."""

from __future__ import annotations

import numpy as np

from gpunet.ops import embedding
from tests.harness.case import Case, Special


def embedding_case(weight, indices, id="", splits=False):
    """Return the case of a table of that shape and of indices of that shape, some of which repeat."""

    def drawn(rng):
        return np.asarray(rng.integers(0, weight[0], indices))

    return Case(
        embedding,
        {"weight": weight, "indices": None},
        {"embedding_forward": 1},
        {"weight": {"embedding_backward": 1, **({"sum_axes": 1} if splits else {})}},
        integers={"indices": drawn},
        torch=lambda torch, weight, indices: torch.nn.functional.embedding(indices, weight),
        id=id,
    )


CASES = [
    embedding_case((7, 5), (3, 4)),
    embedding_case((35, 8), (300,), id="tiles-of-indices"),
    embedding_case((5, 260), (9,), id="columns-of-two-blocks"),
    embedding_case((19, 36), (2, 7), id="rows-of-two-blocks"),
    embedding_case((3, 4), (1031,), splits=True, id="splits"),
    embedding_case((1, 3), (), id="one"),
]


def an_index_that_does_not_exist_sets_the_error_word(be):
    """Its row is zero, and gets no gradient; the rows beside the table in memory stay as they are."""
    weight, gy = be.from_numpy(np.ones((18, 5), np.float32)), be.from_numpy(np.ones((4, 5), np.float32))
    for wrong in (-1, 18, 2**40):
        indices = be.from_numpy(np.array([17, wrong, 0, 17]))
        y = embedding(weight, indices)
        try:
            be.to_numpy(be.error_word)
        except IndexError as error:
            assert "embedding: an index is out of range" in str(error)
        else:
            raise AssertionError("no error")
        assert be.to_numpy(y).sum(axis=1).tolist() == [5, 0, 5, 5]
        gw = embedding.grad(gy, indices, input_size=(18, 5))
        assert be.to_numpy(gw)[:, 2].tolist() == [1, *[0] * 16, 2]


def gradients_are_summed_in_the_order_of_the_indices(be):
    """Floats whose sum depends on the order, over many tiles of indices and whole rows of threads without any."""
    rng = np.random.default_rng(4)
    for rows, width, count in ((40, 8, 700), (3, 130, 600), (17, 1, 520)):
        indices = rng.integers(0, rows, count)
        indices[256:512] = 1
        gy = (rng.standard_normal((count, width)) * 10.0 ** rng.integers(-3, 4, (count, 1))).astype(np.float32)
        expected = np.zeros((rows, width), np.float32)
        for n, row in enumerate(indices):
            expected[row] += gy[n]
        gw = embedding.grad(be.from_numpy(gy), be.from_numpy(indices), input_size=(rows, width))
        assert np.array_equal(be.to_numpy(gw), expected), (rows, width)


def the_padding_row_gets_no_gradient(be):
    """In each split of the indices too; no Case shows it, since it is no derivative."""
    for padding, count in ((0, 5), (-2, 1100), (17, 300)):
        indices = np.arange(count) % 18
        gy = be.from_numpy(np.ones((count, 2), np.float32))
        gw = embedding.grad(gy, be.from_numpy(indices), padding_idx=padding, input_size=(18, 2))
        expected = np.bincount(indices, minlength=18)
        expected[padding] = 0
        assert be.to_numpy(gw)[:, 1].tolist() == expected.tolist(), padding


SPECIALS = [
    Special(("embedding_forward", "embedding_backward"), an_index_that_does_not_exist_sets_the_error_word),
    Special(("embedding_backward",), gradients_are_summed_in_the_order_of_the_indices),
    Special(("embedding_backward", "sum_axes"), the_padding_row_gets_no_gradient),
]
