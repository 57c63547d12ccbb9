from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpunet.errors import DTypeError, FormatError
from gpunet.io import load_file, save_file
from gpunet.io import safetensors as module

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


@pytest.fixture
def saved(tmp_path, rng):
    """Write a file with a few tensors; return its path."""
    path = tmp_path / "net.safetensors"
    tensors = {
        "conv.weight": rng.normal(size=(3, 2, 3)).astype(np.float32),
        "steps": np.array(7),
        "mask": np.array([True]),
    }
    save_file(tensors, path, {"epoch": "3", "note": "Zürich"})
    return path


def refused(path, text, **options):
    with pytest.raises(FormatError, match=text) as caught:
        load_file(path, **options)
    assert str(path) in str(caught.value)


@st.composite
def strided_arrays(draw):
    """Draw arrays of any dtype, byte order, shape (0-d and 0-size too) and strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES))).newbyteorder(draw(st.sampled_from("<>")))
    array = draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = [slice(None, None, draw(st.sampled_from([1, 2, -1, -2]))) for _ in range(array.ndim)]
    array = array[(..., *steps)]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    return array


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    arrays=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), strided_arrays(), max_size=3)
)
def test_any_array_comes_back_equal(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_file(arrays, path)
    found, metadata = load_file(path)
    theirs = safetensors.numpy.load_file(path)
    assert metadata == {}
    assert set(found) == set(arrays) == set(theirs)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].dtype.isnative
        assert found[name].shape == array.shape
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(theirs[name], array)


@pytest.mark.torch
def test_files_of_pytorch_and_gpunet_are_read_by_both(saved, tmp_path, torch):
    theirs = pytest.importorskip("safetensors.torch").load_file(saved)
    assert theirs["conv.weight"].numpy().tolist() == load_file(saved)[0]["conv.weight"].tolist()
    foreign = tmp_path / "torch.safetensors"
    safetensors.torch.save_file({"w": torch.arange(6.0).reshape(2, 3)}, foreign, {"format": "pt"})
    refused(foreign, "its header has no checksum\n  hint: .*require_checksum=False")
    tensors, metadata = load_file(foreign, require_checksum=False)
    assert tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert metadata == {"format": "pt"}


def test_metadata_come_back_without_the_checksum(saved):
    assert load_file(saved)[1] == {"epoch": "3", "note": "Zürich"}
    with safetensors.safe_open(saved, "numpy") as file:
        assert len(file.metadata()["gpunet.sha256"]) == 64


def test_equal_tensors_give_equal_bytes_in_every_process(tmp_path):
    code = (
        "import sys, numpy as np; from gpunet.io import save_file\n"
        "save_file({c: np.full(3, ord(c), 'f8' if c > 'd' else 'f4') for c in sys.argv[2]}, sys.argv[1],"
        " dict(zip('uvwxyz', 'abcdef')))\n"
    )
    for place, names in enumerate(["abcdefgh", "abcdefgh", "hgfedcba"]):
        path = tmp_path / f"{place}"
        environment = {**os.environ, "PYTHONHASHSEED": str(place)}
        subprocess.run([sys.executable, "-c", code, str(path), names], check=True, env=environment)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_tensors_start_at_multiples_of_their_element_size(tmp_path):
    path = tmp_path / "x"
    save_file(
        {"a": np.ones(3, np.int8), "b": np.ones(3, np.float16), "c": np.ones(3), "d": np.ones(1, np.float32)}, path
    )
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0
    places = {
        name: entry["data_offsets"][0]
        for name, entry in module.json.loads(data[8 : 8 + length]).items()
        if name in "abcd"
    }
    assert places == {"c": 0, "d": 24, "b": 28, "a": 34}


def test_every_flipped_byte_is_noticed(saved, rng):
    whole = saved.read_bytes()
    places = range(len(whole)) if len(whole) < 600 else rng.choice(len(whole), 600, replace=False)
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        saved.write_bytes(damaged)
        refused(saved, "not a valid safetensors file")


def test_every_flipped_case_bit_of_the_header_is_noticed(saved):
    # Letters that differ only in case are where a lenient parser would look away.
    whole = saved.read_bytes()
    (length,) = struct.unpack_from("<Q", whole)
    for place in range(8, 8 + length):
        damaged = bytearray(whole)
        damaged[place] ^= 0x20
        saved.write_bytes(damaged)
        refused(saved, "not a valid safetensors file")


def test_damage_is_noticed_even_where_no_checksum_is_required(saved):
    whole = bytearray(saved.read_bytes())
    whole[-1] ^= 1
    saved.write_bytes(whole)
    refused(saved, "checksum .*, but its bytes give .*\n  hint: .*use another copy", require_checksum=False)


@pytest.mark.torch
def test_a_file_of_torch_save_is_refused_with_the_way_that_works(torch, tmp_path):
    from safetensors.torch import save_file as save_torch_file

    state = torch.nn.Linear(2, 1).state_dict()
    path = tmp_path / "model.pt"
    torch.save(state, path)
    refused(
        path, r"not a valid safetensors file(.|\n)*hint: PyTorch's \.pt files hold pickles: (.|\n)*safetensors\.torch"
    )
    save_torch_file(state, path)
    arrays, _ = load_file(path, require_checksum=False)
    assert np.array_equal(arrays["weight"], state["weight"].numpy())


def test_truncated_and_longer_files_are_refused(saved):
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        refused(saved, "not a valid safetensors file")
    saved.write_bytes(whole + b"\0")
    refused(saved, "not a valid safetensors file")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.binary(max_size=80), header=st.text(max_size=40), framed=st.booleans())
def test_garbage_is_refused(tmp_path_factory, data, header, framed):
    path = tmp_path_factory.getbasetemp() / "garbage.safetensors"
    text = header.encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data if framed else data)
    refused(path, "not a valid safetensors file")


def test_header_that_claims_too_much_is_refused(tmp_path):
    header = b'{"x":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8]}}'
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    refused(tmp_path / "x", "not a valid safetensors file")


def test_missing_file_is_an_os_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        load_file(tmp_path / "nothing-here")


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "text"),
    [
        (
            {"w": [1, 2]},
            None,
            DTypeError,
            "'w' is not a NumPy array.\n  expected .*, got builtins.list\n  hint: convert",
        ),
        ({"w": np.zeros(2, complex)}, None, DTypeError, "'w' has a dtype .*\n.*got complex128"),
        ({"w": np.array(["text"])}, None, DTypeError, "got <U4"),
        ({"w": np.array([None])}, None, DTypeError, "got object"),
        ({3: np.zeros(2)}, None, TypeError, "expected str, got 3"),
        ({}, {"epoch": 3}, TypeError, "expected str, got 3\n  hint: .*json.dumps"),
        ({"__metadata__": np.zeros(2)}, None, ValueError, "the name '__metadata__' is reserved"),
        ({}, {"gpunet.sha256": ""}, ValueError, "the name 'gpunet.sha256' is reserved"),
    ],
)
def test_wrong_input_is_refused_before_the_old_file_is_touched(saved, tensors, metadata, error, text):
    before = saved.read_bytes()
    with pytest.raises(error, match=text):
        save_file({"fine": np.zeros(2), **tensors}, saved, metadata)
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


def test_header_above_the_limit_of_the_readers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_HEADER", 200)
    with pytest.raises(ValueError, match="expected at most 200 bytes, which readers accept, got"):
        save_file({}, tmp_path / "x", {"text": "a" * 200})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_failing_disk_leaves_the_old_file(saved, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(call, full)
    with pytest.raises(OSError, match="the file was not written: No space left") as caught:
        save_file({"w": np.zeros(100)}, saved)
    assert str(saved) in str(caught.value)
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


def write_bfloat16(path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\xc0")


def test_bfloat16_without_ml_dtypes_is_a_clear_error(tmp_path, monkeypatch):
    write_bfloat16(tmp_path / "x")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(DTypeError, match=r"holds bfloat16(?s:.)*hint: pip install ml_dtypes"):
        load_file(tmp_path / "x", require_checksum=False)


def test_bfloat16_round_trips(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs ml_dtypes, NumPy's bfloat16")
    write_bfloat16(tmp_path / "x")
    assert load_file(tmp_path / "x", require_checksum=False)[0]["w"].astype(float).tolist() == [1, -2]
    array = np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3).T
    save_file({"w": array}, tmp_path / "y")
    found = load_file(tmp_path / "y")[0]["w"]
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


def test_dtype_that_numpy_lacks_is_a_clear_error(tmp_path):
    header = b'{"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + b"ab")
    with pytest.raises(DTypeError, match=r"'w' in a dtype that gpunet does not know(?s:.)*got F8_E4M3"):
        load_file(tmp_path / "x", require_checksum=False)
