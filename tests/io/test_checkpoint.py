from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet
from gpunet.errors import DTypeError, FormatError
from gpunet.io import load_checkpoint, load_file, save_checkpoint, save_file
from gpunet.ops import choices

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
ARRAYS = st.integers(0, 4).map(lambda n: np.arange(n, dtype=np.float32))
TREES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            st.text(max_size=3) | st.integers(-5, 5) | st.sampled_from(["a", "a/b", "0"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


def same(a, b):
    """Compare values and types, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=TREES)
def test_checkpoint_comes_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.checkpoint"
    save_checkpoint(value, path)
    assert same(load_checkpoint(path), value)


def test_checkpoint_names_tensors_after_their_place(tmp_path):
    state = {"model": {"conv.weight": np.eye(2)}, "optimizer": {"state": {0: {"exp_avg": np.zeros(3)}}}}
    save_checkpoint(state, tmp_path / "x")
    assert set(load_file(tmp_path / "x")[0]) == {"model/conv.weight", "optimizer/state/0/exp_avg"}


def test_checkpoint_keeps_arrays_whose_places_read_alike(tmp_path):
    value = {
        "a/b": np.array([1]),
        "a": {"b": np.array([2])},
        0: np.array([3]),
        "0": np.array([4]),
        "__metadata__": np.array([5]),
    }
    save_checkpoint(value, tmp_path / "x")
    assert same(load_checkpoint(tmp_path / "x"), value)


def test_checkpoint_keeps_floats_to_the_last_bit(tmp_path):
    value = [0.1, 1e-310, -0.0, math.inf, -math.inf, math.nan, 2**70]
    save_checkpoint(value, tmp_path / "x")
    found = load_checkpoint(tmp_path / "x")
    assert list(map(repr, found)) == list(map(repr, value))


def test_checkpoint_may_hold_one_value_twice(tmp_path):
    shared = [1, np.zeros(2)]
    save_checkpoint([shared, shared], tmp_path / "x")
    assert same(load_checkpoint(tmp_path / "x"), [shared, shared])


LOOP: list = [1]
LOOP.append({"again": LOOP})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": {"b": object()}}, "the value at 'a/b' cannot be saved(?s:.)*got builtins.object"),
        ({"a": [0, np.float32(1)]}, "'a/1'(?s:.)*got numpy.float32\n  hint: .*item"),
        ({"a": np.float64(1)}, "got numpy.float64"),
        ({"a": {True: 1}}, "'a'(?s:.)*got the key True"),
        ({(1, 2): 1}, r"'the top'(?s:.)*got the key \(1, 2\)"),
        ({"a": {1, 2}}, "got builtins.set"),
        (LOOP, "'1/again'(?s:.)*a container inside itself"),
        ({"a": np.array([None])}, "'a' has a dtype that the format cannot hold"),
    ],
)
def test_checkpoint_refuses_other_values_and_names_their_place(tmp_path, value, text):
    save_checkpoint("old", tmp_path / "x")
    with pytest.raises(DTypeError, match=text):
        save_checkpoint(value, tmp_path / "x")
    assert load_checkpoint(tmp_path / "x") == "old"


def test_checkpoint_notices_every_flipped_byte(tmp_path, rng):
    path = tmp_path / "x"
    save_checkpoint({"w": np.arange(5.0), "step": 3}, path)
    whole = path.read_bytes()
    for place in rng.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="not a valid safetensors file"):
            load_checkpoint(path)


def test_checkpoint_refuses_a_plain_file_and_a_newer_version(tmp_path):
    save_file({"w": np.zeros(2)}, tmp_path / "x")
    with pytest.raises(FormatError, match="expected checkpoint version 1, got a plain safetensors file"):
        load_checkpoint(tmp_path / "x")
    save_file({}, tmp_path / "x", {"gpunet.checkpoint": "2", "gpunet.tree": "null"})
    with pytest.raises(FormatError, match=r"expected checkpoint version 1, got 2\n  hint: .*newer gpunet"):
        load_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "{",
        "{}",
        '{"array":"missing"}',
        '{"array":["w"]}',
        '{"items":[[1]]}',
        '{"items":[[[],1]]}',
        '{"items":3}',
        '{"tuple":3}',
        '{"code":"print()"}',
        '{"array":"w","items":[]}',
        "[" * 100_000,
    ],
)
def test_checkpoint_with_a_wrong_tree_is_a_format_error(tmp_path, tree):
    texts = {"gpunet.checkpoint": "1"} if tree is None else {"gpunet.checkpoint": "1", "gpunet.tree": tree}
    save_file({"w": np.zeros(2)}, tmp_path / "x", texts)
    with pytest.raises(FormatError, match="not a checkpoint that this version can read") as caught:
        load_checkpoint(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


def test_checkpoint_of_version_1_still_loads(tmp_path):
    tree = {"items": [["w", {"array": "w"}], ["step", 3], ["pair", {"tuple": [1, None]}], ["list", [True]]]}
    save_file({"w": np.ones(2)}, tmp_path / "x", {"gpunet.checkpoint": "1", "gpunet.tree": json.dumps(tree)})
    expected = {"w": np.ones(2), "step": 3, "pair": (1, None), "list": [True]}
    assert same(load_checkpoint(tmp_path / "x"), expected)


def test_tensors_of_any_device_and_dtype_are_saved_as_arrays(be, tmp_path):
    weight = gpunet.nn.Parameter(be.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3)))
    save_checkpoint({"weight": weight, "half": weight.half(), "part": weight[:, 1]}, tmp_path / "x.safetensors")
    saved = load_checkpoint(tmp_path / "x.safetensors")
    assert same(saved["weight"], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert same(saved["half"], np.arange(6, dtype=np.float16).reshape(2, 3))
    assert same(saved["part"], np.array([1, 4], np.float32))


def test_training_goes_on_from_a_checkpoint_of_model_and_optimizer(be, tmp_path):
    def run(interrupted):
        model = gpunet.nn.Linear(3, 2, device=be.device)
        with gpunet.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        optimizer = gpunet.optim.Adam(model.parameters(), lr=0.1)
        x = gpunet.Tensor(be.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3)))
        for step in range(4):
            optimizer.zero_grad()
            gpunet.nn.functional.cross_entropy(model(x), gpunet.Tensor(be.from_numpy(np.arange(4) % 2))).backward()
            optimizer.step()
            if interrupted and step == 1:
                save_checkpoint([model.state_dict(), optimizer.state_dict()], tmp_path / "x.safetensors")
                model = gpunet.nn.Linear(3, 2, device=be.device)
                optimizer = gpunet.optim.Adam(model.parameters())
                saved = load_checkpoint(tmp_path / "x.safetensors")
                model.load_state_dict(saved[0])
                optimizer.load_state_dict(saved[1])
        return [be.to_numpy(parameter.array).tobytes() for parameter in model.parameters()]

    assert run(True) == run(False)


@pytest.mark.only_backends("emulated", "cupy")
def test_a_checkpoint_knows_the_table_by_which_kernels_were_chosen(be, tmp_path, monkeypatch):
    """Loading it under another table is one line of warning, and gives the same values."""
    table, path = tmp_path / "mine.toml", tmp_path / "x.safetensors"
    monkeypatch.setenv("GPUNET_CHOICES", str(table))
    monkeypatch.setattr(choices, "_used", set())

    def use(text):
        monkeypatch.setattr(choices, "_tables", {})
        table.write_text(text)

    use("")
    save_checkpoint([7], path)
    assert "gpunet.choices" not in load_file(path)[1]  # nothing was chosen yet
    gpunet.ops.linear(*[be.from_numpy(np.ones((2, 2), np.float32))] * 2)
    save_checkpoint([7], path)
    made = choices.table(be.gpu).digest
    assert json.loads(load_file(path)[1]["gpunet.choices"]) == {be.gpu: made}
    use("# the same rows")
    assert load_checkpoint(path) == [7]
    use('gemm = [{ rows = 2, kernel = "plain" }]')
    with pytest.warns(UserWarning) as warned:
        assert load_checkpoint(path) == [7]
    (warning,) = warned
    assert str(warning.message) == (
        f"{path} was made by another table of choices for {be.gpu} ({made}, now {choices.table(be.gpu).digest}):"
        " a continued run may differ in its last bits"
    )
    assert warning.filename == __file__


@pytest.mark.parametrize("text", ["{", "3", "[1]", "null"])
def test_a_checkpoint_with_wrong_facts_on_its_table_is_a_format_error(tmp_path, text):
    save_file({}, tmp_path / "x", {"gpunet.checkpoint": "1", "gpunet.tree": "null", "gpunet.choices": text})
    with pytest.raises(FormatError, match="not a checkpoint that this version can read"):
        load_checkpoint(tmp_path / "x")
