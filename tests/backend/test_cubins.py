"""Machine code compiled ahead: found by exactly what decides it, never damaged, written whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpunet.backend import cubins, kernels, nvrtc

TEXT = 'extern "C" __global__ void f(REAL* x) { x[0] = 1; }'
SOURCE = kernels.parse("f.cu", TEXT)
CODE = b"\x7fELF machine code"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path))
    assert cubins.folder() == tmp_path / "cubins"
    cubins.folder().mkdir()
    return cubins.folder()


def test_code_is_found_by_source_macros_architecture_options_and_version(monkeypatch):
    path = cubins.store(SOURCE, {"REAL": "float", "OUT": "half"}, 90, "12.9", CODE)
    assert path.name.startswith("f-sm_90-") and path.read_bytes() == CODE
    assert cubins.find(SOURCE, {"OUT": "half", "REAL": "float"}, 90, "12.9") == path
    macros = {"REAL": "float", "OUT": "half"}
    for other in (
        (kernels.parse("f.cu", TEXT + "\n"), macros, 90, "12.9"),
        (SOURCE, {"REAL": "half", "OUT": "float"}, 90, "12.9"),
        (SOURCE, {"REAL": "float"}, 90, "12.9"),
        (SOURCE, macros, 80, "12.9"),
        (SOURCE, macros, 90, "12.8"),
    ):
        assert cubins.find(*other) is None
    monkeypatch.setattr(nvrtc, "OPTIONS", (*nvrtc.OPTIONS, "-G"))
    assert cubins.find(SOURCE, macros, 90, "12.9") is None


@pytest.mark.parametrize("damage", [CODE[:-1], b"", CODE[:-1] + b"!", CODE + b"\0"])
def test_damaged_code_is_not_found_and_replaced(folder, damage):
    path = cubins.store(SOURCE, {}, 90, "12.9", CODE)
    path.write_bytes(damage)
    with pytest.warns(UserWarning, match=r"f-sm_90-.*\.cubin is not used: it was changed; gpunet warmup"):
        assert cubins.find(SOURCE, {}, 90, "12.9") is None
    path.rename(wrong := path.with_name(path.name.replace(".cubin", "0.cubin")))
    assert cubins.store(SOURCE, {}, 90, "12.9", CODE) == path == cubins.find(SOURCE, {}, 90, "12.9")
    assert list(folder.iterdir()) == [path] and not wrong.exists()


def test_code_that_cannot_be_read_is_not_found(folder):
    path = cubins.store(SOURCE, {}, 90, "12.9", CODE)
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="is not used: Is a directory"):
        assert cubins.find(SOURCE, {}, 90, "12.9") is None


def test_many_may_write_and_read_at_once(folder):
    def work(number):
        cubins.store(SOURCE, {}, 90, "12.9", CODE)
        found = cubins.find(SOURCE, {}, 90, "12.9")
        return found is not None and found.read_bytes() == CODE

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    assert len(list(folder.iterdir())) == 1


def test_without_a_folder_there_is_nothing_to_find(folder, monkeypatch):
    folder.rmdir()
    assert cubins.find(SOURCE, {}, 90, "12.9") is None

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GPUNET_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cubins.find(SOURCE, {}, 90, "12.9") is None
    with pytest.raises(FileNotFoundError, match="hint: set GPUNET_CACHE_DIR"):
        cubins.store(SOURCE, {}, 90, "12.9", CODE)
