from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import time

import pytest

from gpunet.backend.files import open_atomic
from gpunet.io import write_json, write_text_atomic

CALLS = ["os.fsync", "os.replace"]


def fail_with(number):
    def fail(*args, **options):
        raise OSError(number, os.strerror(number))

    return fail


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_with_its_own_line_ends(tmp_path):
    write_text_atomic(tmp_path / "note.txt", "Zürich\r\n\n")
    assert (tmp_path / "note.txt").read_bytes() == b"Z\xc3\xbcrich\r\n\n"
    assert names_in(tmp_path) == ["note.txt"]


def test_text_replaces_an_old_file(tmp_path):
    write_text_atomic(tmp_path / "note.txt", "a long old text")
    write_text_atomic(str(tmp_path / "note.txt"), "new")
    assert (tmp_path / "note.txt").read_text() == "new"


def test_json_round_trips(tmp_path):
    value = {"z": [1, 2.5, None], "a": {"name": "Zürich", "ok": True}}
    write_json(tmp_path / "run.json", value)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "z"')
    assert text.endswith("}\n")


@pytest.mark.parametrize(("value", "error"), [({"x": {1}}, TypeError), ([float("nan")], ValueError)])
def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path, value, error):
    write_json(tmp_path / "run.json", 1)
    with pytest.raises(error):
        write_json(tmp_path / "run.json", value)
    assert (tmp_path / "run.json").read_text() == "1\n"
    assert names_in(tmp_path) == ["run.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", CALLS)
def test_failing_disk_leaves_the_old_file_and_names_it(tmp_path, monkeypatch, call, number):
    path = tmp_path / "note.txt"
    write_text_atomic(path, "old")
    monkeypatch.setattr(call, fail_with(number))
    with pytest.raises(OSError, match="the file was not written") as caught:
        write_text_atomic(path, "new")
    assert caught.value.errno == number
    assert os.strerror(number) in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["note.txt"]


def test_permission_error_stays_a_permission_error(tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", fail_with(errno.EACCES))
    with pytest.raises(PermissionError, match=r"note\.txt"):
        write_text_atomic(tmp_path / "note.txt", "new")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_full_disk_at_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "note.txt"
    write_text_atomic(path, "old")
    full = open("/dev/full", "wb")  # noqa: SIM115, closed by open_atomic
    temporary = []

    def open_full(name, mode):
        temporary.append(name)
        name.touch()
        return full

    monkeypatch.setattr("builtins.open", open_full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text_atomic(path, "new" * 100_000)
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert len(temporary) == 1
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["note.txt"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the file was not written: No such file.*none/note\.txt"):
        write_text_atomic(tmp_path / "none" / "note.txt", "text")


def test_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "note.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"note\.txt"):
        write_text_atomic(tmp_path / "note.txt", "text")
    assert names_in(tmp_path) == ["note.txt"]


def test_folder_that_fails_to_synchronise_is_reported(tmp_path, monkeypatch):
    real = os.fsync
    calls = []

    def fail_on_folder(descriptor):
        calls.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if calls[-1]:
            raise OSError(fail_on_folder.number, "no")
        real(descriptor)

    monkeypatch.setattr("os.fsync", fail_on_folder)
    fail_on_folder.number = errno.EIO
    with pytest.raises(OSError, match=r"written but may not survive a power failure: no: .*note\.txt"):
        write_text_atomic(tmp_path / "note.txt", "text")
    fail_on_folder.number = errno.EINVAL
    write_text_atomic(tmp_path / "note.txt", "new")
    assert calls == [False, True, False, True]
    assert (tmp_path / "note.txt").read_text() == "new"


def test_exception_in_the_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_atomic(tmp_path / "x") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_text_atomic(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "text"


def test_file_has_the_permissions_of_an_ordinary_file(tmp_path):
    write_text_atomic(tmp_path / "ours", "")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_longest_name_can_be_written(tmp_path):
    write_text_atomic(tmp_path / ("x" * 255), "text")
    assert names_in(tmp_path) == ["x" * 255]


def test_killed_writer_leaves_a_whole_file(tmp_path):
    code = (
        "import sys; from gpunet.io import write_text_atomic\n"
        "for i in range(10**9):\n"
        "    write_text_atomic(sys.argv[1], str(i % 10) * 300_000)\n"
    )
    path = tmp_path / "note.txt"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        writer.kill()
        writer.wait()
        text = path.read_text()
        assert len(text) == 300_000
        assert len(set(text)) == 1
        path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path):
    path = tmp_path / "private.json"
    path.write_text("old")
    path.chmod(0o600)
    with open_atomic(path) as file:
        assert [p.stat().st_mode & 0o777 for p in tmp_path.iterdir()] == [0o600, 0o600], "never open to others"
        file.write(b"new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
