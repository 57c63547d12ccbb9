"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["open_atomic"]

# Some file systems cannot synchronise a folder; then there is nothing more to do.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only when the block ends without an exception.

    The bytes go to a temporary file `.gpunet-*.tmp` in the same folder, are forced to the disk, and replace
    `path` in one step: whoever reads `path`, at any moment, finds the old file or the new one. The new file has the
    permissions of the old one.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; the message names `path`, an old
            file is intact and no temporary file is left.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "greeting.txt"
    >>> with open_atomic(target) as file:
    ...     file.write(b"hello")
    5
    >>> target.read_text()
    'hello'
    """
    # A link stays a link: the file it points to is the one that is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".gpunet-{secrets.token_hex(8)}.tmp"
    with _clear_errors(path, "the file was not written"):
        try:
            with open(temporary, "xb") as file:
                with contextlib.suppress(FileNotFoundError):  # what is private stays private
                    shutil.copymode(target, temporary)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    with _clear_errors(path, "the file was written but may not survive a power failure"):
        _sync_folder(target.parent)


@contextlib.contextmanager
def _clear_errors(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Add to an OSError what it means for the file, and the file's own path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"{what}: {reason}", os.fspath(path)) from error


def _sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
