"""The tables of choices: what the shipped one says, how a user's goes before it, and what is wrong with a file."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from gpunet import ops
from gpunet.errors import FormatError
from gpunet.ops import choices
from gpunet.ops.choices import Choice, Problem, force
from gpunet.ops.choices_table import KERNELS, parse, read, to_text
from gpunet.ops.tiles import FMA_TILES, HALO_TILES, MMA_TILES

pytestmark = pytest.mark.only_backends("emulated", "cupy")
LARGE, HIGH, SMALL, NARROW = MMA_TILES


def problem(op="gemm", rows=64, columns=64, depth=64, kernels=("tensor", "plain"), **rest):
    return Problem(op, rest.pop("dtype", "tf32"), rest.pop("arch", 90), kernels, rows, columns, depth, **rest)


@pytest.fixture
def user_table(tmp_path, monkeypatch):
    """Return what makes a text the user's table, which is read when a kernel is chosen next."""

    def write(text):
        monkeypatch.setattr(choices, "_tables", {})
        monkeypatch.setattr(choices, "_used", set())
        monkeypatch.setenv("GPUNET_CHOICES", str(tmp_path / "mine.toml"))
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def shipped(monkeypatch):
    monkeypatch.setattr(choices, "_tables", {})
    return choices.table("emulated")


def test_the_shipped_table_knows_every_op_and_ends_with_what_always_fits():
    rows = read(choices.SHIPPED)
    assert rows.keys() == KERNELS.keys()
    for op, of_op in rows.items():
        assert of_op[-1].as_written() == {"kernel": "plain"}, op
        assert "plain" not in [row.choice.kernel for row in of_op[:-1]], op
        named = {row.choice.kernel for row in of_op}
        assert named == set(KERNELS[op]), f"{op}: a kernel without a row, or without code"


def test_every_shipped_row_counts_for_some_product():
    """A row behind one that fits always would mislead readers."""
    sizes = (1, 8, 33, 64, 65, 100, 1000, 10_000, 100_000)
    for op, rows in read(choices.SHIPPED).items():
        problems = [
            problem(op, rows, columns, 64, (kernel, "plain"), arch=arch, groups=groups, taps=9, halo_tiles=halo)
            for rows, columns, kernel in itertools.product(sizes, sizes, KERNELS[op])
            for halo in (HALO_TILES, HALO_TILES[1:2])
            for arch, groups in ((75, 1), (90, 1), (90, 4))
        ]
        first = {next(n for n, row in enumerate(rows) if row.fits(p)) for p in problems}
        assert first == set(range(len(rows))), op


@pytest.mark.parametrize("op", KERNELS)
def test_tiles_are_no_wider_than_the_product_and_large_where_they_are_many(shipped, op):
    def tile(rows, columns, **rest):
        choice = shipped.choose(problem(op, rows, columns, **rest))
        assert choice.kernel == "tensor"
        return choice.tile

    assert tile(10_000, 32) == tile(3, 1) == NARROW
    assert tile(128 * 264, 64) == HIGH and tile(128 * 263, 64) == SMALL
    assert tile(128 * 132, 65) == tile(128 * 66, 129) == LARGE and tile(128 * 131, 65) == SMALL
    assert tile(128 * 66, 65) == SMALL and tile(128 * 66, 65, groups=2) == LARGE
    assert shipped.choose(problem(op, kernels=("plain",))) == Choice("plain")


def test_products_are_split_until_there_are_enough_blocks(shipped):
    choice = shipped.choose(problem("gemm", 64, 128, 9216))
    assert (choice.tile, choice.blocks) == (SMALL, 132)
    assert choice.split(2, 9216, np.dtype("f4")) == (58, 160)  # 66 splits of 4.4 slices; a slice is 32 deep
    assert choice.split(2, 9216, np.dtype("f2")) == (36, 256)  # not less than 4 slices each
    assert choice.split(132, 9216, np.dtype("f4")) == (1, 9216)
    assert choice.split(131, 9216, np.dtype("f4")) == (2, 4608)
    assert choice.split(1, 255, np.dtype("f4")) == (2, 128) and choice.split(1, 224, np.dtype("f4")) == (1, 224)
    assert Choice("tensor", SMALL).split(1, 9216, np.dtype("f4")) == (1, 9216)
    assert Choice("tensor", SMALL, splits=3).split(1, 65, np.dtype("f4")) == (3, 32)
    assert Choice("tensor", SMALL, splits=9).split(1, 0, np.dtype("f4"))[0] == 1


CONDITIONS = [
    ("rows", "..32", (0, 1, 32), (33,)),
    ("columns", "65..", (65, 10**9), (0, 64)),
    ("depth", "33..64", (33, 64), (32, 65)),
    ("depth", "7..7", (7,), (6, 8)),
    ("taps", 9, (9,), (8, 10)),
    ("channels", "0..4", (0, 4), (5,)),
    ("groups", "2..", (2,), (1,)),
    ("arch", "80..89", (80, 86, 89), (75, 90)),
    ("dtype", "half", ("half",), ("tf32", "float64")),
    ("dtype", ["half", "tf32"], ("half", "tf32"), ("float32",)),
]


@pytest.mark.parametrize(("key", "value", "inside", "outside"), CONDITIONS, ids=lambda value: str(value))
def test_a_condition_holds_for_what_it_says(key, value, inside, outside):
    text = f"conv_forward = [{{ {key} = {value if isinstance(value, int) else repr(value)}, kernel = 'plain' }}]"
    (row,) = parse(text, "x.toml")["conv_forward"]
    for sizes, expected in ((inside, True), (outside, False)):
        for size in sizes:
            assert row.fits(problem("conv_forward", **{key: size})) == expected, size


def test_rows_count_tiles_of_their_own_and_of_all_groups():
    (row,) = parse('gemm = [{ tiles = "4..6", order = "tn", kernel = "tensor", tile = "128x32x64" }]', "x")["gemm"]
    for rows, columns, groups, fits in ((256, 64, 1, True), (257, 64, 1, True), (257, 65, 1, False), (1, 1, 5, True)):
        assert row.fits(problem(rows=rows, columns=columns, groups=groups, order="tn")) == fits
    assert not row.fits(problem(rows=256, order="nt"))
    assert not row.fits(problem(rows=256, order="tn", kernels=("plain",)))


def test_the_users_rows_go_before_the_shipped_ones(be, user_table):
    x, w = (be.from_numpy(np.ones(shape, np.float32)) for shape in ((5, 8), (8, 8)))

    def launched():
        be.launched.clear()
        ops.linear(x, w, allow_tf32=True)
        return dict(be.launched)

    user_table("")
    assert launched() == {"tiled_gemm_nt": 1} and choices.table(be.gpu).user is None
    user_table('gemm = [{ columns = "..8", rows = 5, kernel = "plain" }]')
    assert launched() == {"gemm": 1} and choices.table(be.gpu).user.name == "mine.toml"
    assert choices.in_use() == {be.gpu: choices.table(be.gpu).digest}
    user_table('gemm = [{ columns = "..7", kernel = "plain" }]')
    assert choices.in_use() == {}
    assert launched() == {"tiled_gemm_nt": 1}


def test_a_users_kernel_that_cannot_make_a_product_is_passed_over(be, user_table):
    user_table('gemm = [{ kernel = "tensor", tile = "64x64x128" }]')
    be.launched.clear()
    ops.linear(be.from_numpy(np.ones((5, 7), np.float32)), be.from_numpy(np.ones((8, 7), np.float32)), allow_tf32=True)
    assert dict(be.launched) == {"gemm": 1}


def test_convolution_asks_with_the_sizes_of_each_product(be, user_table, monkeypatch):
    """Strides of 2 and 3, two groups; input pixels of each class count as many as the largest has."""
    asked = []
    monkeypatch.setattr(choices, "choose", lambda be, p: asked.append(p) or Choice("plain"))
    x, w = (be.from_numpy(np.ones(shape, np.float32)) for shape in ((2, 6, 7, 8), (8, 3, 3, 2)))
    y = ops.conv2d(x, w, groups=2, stride=(2, 3))
    ops.conv2d.grad(y, x, w, groups=2, stride=(2, 3), needs=("x", "w"))
    shared = {"groups": 2, "taps": 6, "channels": 3, "dtype": "float32", "kernels": ("plain",)}
    pixels = 2 * 3 * 3
    assert y.shape == (2, 8, 3, 3)
    assert asked == [
        problem("conv_forward", pixels, 4, 18, **shared),
        problem("conv_input_gradient", 2 * 8 * 9, 3, 24, **shared),
        problem("conv_weight_gradient", 4, 18, pixels, **shared),
    ]


def test_a_forced_choice_goes_before_all_rows_where_it_fits(be):
    x, w = (be.from_numpy(np.ones(shape, np.float32)) for shape in ((5, 8), (8, 8)))
    for choice, allow_tf32, kernel in (
        (Choice("plain"), True, "gemm"),
        (Choice("tensor", NARROW), True, "tiled_gemm_nt"),
        (Choice("fma", FMA_TILES[0]), False, "tiled_gemm_nt"),
        (Choice("halo", HALO_TILES[-1]), False, "tiled_gemm_nt"),
    ):
        be.launched.clear()
        with force(choice):
            ops.linear(x, w, allow_tf32=allow_tf32)
        assert dict(be.launched) == {kernel: 1}


def test_where_the_users_table_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "_tables", {})
    monkeypatch.delenv("GPUNET_CHOICES")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = choices.user_path("NVIDIA H100 80GB HBM3 (x)")
    assert path == tmp_path / "config" / "gpunet" / "choices" / "nvidia-h100-80gb-hbm3-x.toml"
    assert choices.table("NVIDIA H100 80GB HBM3 (x)").user is None
    path.parent.mkdir(parents=True)
    path.write_text('gemm = [{ kernel = "plain" }]')
    choices._tables.clear()
    assert choices.table("NVIDIA H100 80GB HBM3 (x)").user == path
    assert choices.table("another").user is None
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert choices.user_path("T4") == tmp_path / ".config" / "gpunet" / "choices" / "t4.toml"
    monkeypatch.setenv("GPUNET_CHOICES", "")
    assert str(choices.user_path("T4")) == os.devnull


def test_the_digest_changes_with_what_rows_say_and_with_nothing_else(user_table):
    def digest(text):
        user_table(text)
        return choices.table("emulated").digest

    plain = digest("")
    assert plain == digest("# a comment") and len(plain) == 16
    assert plain == digest("gemm = []")
    mine = digest('gemm = [{ rows = 8, kernel = "plain" }]')
    assert mine == digest('# mine\ngemm = [{ kernel = "plain", rows = 8 }]')
    others = [
        digest(f"gemm = [{row}]")
        for row in (
            '{ rows = 9, kernel = "plain" }',
            '{ kernel = "tensor", tile = "64x64x128" }',
            '{ kernel = "tensor", tile = "64x64x128", blocks = 2 }',
            '{ kernel = "tensor", tile = "128x64x128" }',
        )
    ]
    assert len({plain, mine, *others}) == 6


def test_what_is_written_is_read_again():
    rows = read(choices.SHIPPED)
    rows["gemm"] += parse(
        'gemm = [{ dtype = ["half", "tf32"], order = "nt", rows = 3, depth = "..9", kernel = "plain" }]', "x"
    )["gemm"]
    assert parse(to_text(rows), "again") == rows


ERRORS = [
    ("gemm = [\n}", r"mine.toml: the table of choices is no TOML: .*\(at line 2, column 1\)"),
    ("gem = []", r"mine.toml: there is no op 'gem'\.\n  expected gemm, conv_forward"),
    ('gemm = { kernel = "plain" }', r"mine.toml: gemm is no list of rows\.\n(.|\n)*got {'kernel': 'plain'}"),
    ("gemm = [1]", r"mine.toml: gemm, row 1: this is no row\.(.|\n)*got 1"),
    (
        'gemm = [{ kernel = "plain" }, { kernl = "plain" }]',
        r"gemm, row 2: there is no key 'kernl'\.\n  expected dtype, ",
    ),
    ('gemm = [{ taps = 9, kernel = "plain" }]', "gemm, row 1: there is no key 'taps'"),
    ('conv_forward = [{ order = "nt", kernel = "plain" }]', "conv_forward, row 1: there is no key 'order'"),
    ("gemm = [{ rows = 3 }]", r'the kernel is missing\.\n  expected kernel = "tensor" or "fma" or "plain"$'),
    ('gemm = [{ kernel = "cublas" }]', "there is no such kernel.*\n.*got 'cublas'"),
    ('gemm = [{ kernel = ["plain"] }]', "there is no such kernel"),
    ('gemm = [{ kernel = "tensor" }]', 'the tile is missing.\n  expected tile = "128x128x128" or '),
    ('gemm = [{ kernel = "tensor", tile = "64x64x64" }]', "there is no such tile.*\n.*got '64x64x64'"),
    ('gemm = [{ kernel = "tensor", tile = [64] }]', "there is no such tile"),
    ('gemm = [{ kernel = "plain", tile = "64x64x128" }]', "tile means nothing here"),
    ('gemm = [{ kernel = "plain", blocks = 2 }]', "blocks means nothing here"),
    ('gemm = [{ kernel = "plain", tiles = "2.." }]', "tiles counts the row's own tiles, and there is no tile"),
    ('conv_forward = [{ kernel = "tensor", tile = "64x64x128", blocks = 2 }]', "this op's depth is never split"),
    ('gemm = [{ kernel = "tensor", tile = "64x64x128", blocks = 0 }]', r"no number of blocks.*\n.*>= 1, got 0"),
    ('gemm = [{ kernel = "tensor", tile = "64x64x128", blocks = true }]', "no number of blocks"),
    ('gemm = [{ rows = "64..33", kernel = "plain" }]', "row 1: the range of rows is empty.*\n.*got '64..33'"),
    ('gemm = [{ rows = "..", kernel = "plain" }]', "rows is no range"),
    ('gemm = [{ rows = "5", kernel = "plain" }]', "rows is no range"),
    ('gemm = [{ rows = -5, kernel = "plain" }]', "rows is no range"),
    ('gemm = [{ rows = 5.0, kernel = "plain" }]', "rows is no range"),
    ('gemm = [{ dtype = "float16", kernel = "plain" }]', 'dtype is unknown.\n  expected "tf32" or "half"'),
    ('gemm = [{ dtype = [], kernel = "plain" }]', "dtype is unknown"),
    ('gemm = [{ dtype = ["half", 3], kernel = "plain" }]', "dtype is unknown"),
    ('gemm = [{ order = "tt", kernel = "plain" }]', 'order is unknown.\n  expected "nt" or "nn" or "tn"'),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[text for text, _ in ERRORS])
def test_an_error_names_file_and_row(be, user_table, text, message):
    user_table(text)
    x = be.from_numpy(np.ones((4, 4), np.float32))
    with pytest.raises(FormatError, match=message) as error:
        ops.linear(x, x)
    assert "mine.toml: " in str(error.value)


def test_a_named_table_that_is_missing_or_unreadable_is_an_error(tmp_path, user_table, monkeypatch):
    user_table("")
    (tmp_path / "mine.toml").write_bytes(b"\xff")
    with pytest.raises(FormatError, match=r"mine\.toml: the table of choices cannot be read: it is not UTF-8 text"):
        choices.table("emulated")
    (tmp_path / "mine.toml").unlink()
    with pytest.raises(FormatError, match=r"mine\.toml: the table of choices cannot be read: No such file"):
        choices.table("emulated")
    monkeypatch.delenv("GPUNET_CHOICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    choices.user_path("T4").mkdir(parents=True)
    with pytest.raises(FormatError, match=r"t4\.toml: the table of choices cannot be read: Is a directory"):
        choices.table("T4")
