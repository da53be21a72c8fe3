"""Files in the state directory: private, and their folder's owner's also where root makes them.

That owner is the service's user. Whoever has taken the service over must not gain root by it, so
root follows no link there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from edge.crypto.keyfile import is_foreign_link
from edge.errors import StoreError


def refuse_link(path: Path) -> None:
    """Raise `StoreError` where another user might lead root elsewhere."""
    if is_foreign_link(path):
        raise StoreError(
            f"{path} is a link, which root does not follow in another user's folder: put the file"
            " itself there"
        )


def make_file(path: Path) -> None:
    """Make an empty file for its folder's owner; one that is there stays as it is.

    That one is not even opened: to close it would take SQLite's locks off it, those of every
    connection of this process.

    Raises:
        OSError: it cannot be made.
        StoreError: it is a link of another user's.
    """
    refuse_link(path)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:
                # What root does must not lock the service out of its own state.
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)


def close_to_others(path: Path) -> int:
    """Take the rights of all but its owner off a file.

    Returns:
        The mode that it had, if others had any rights; 0 where there was nothing to do.

    Raises:
        OSError: it cannot be looked at, or belongs to another user (`PermissionError`).
        StoreError: it is a link of another user's.
    """
    refuse_link(path)
    # A handle of the file, so that it is one file all along. Nothing can be read through it, and
    # to close it leaves SQLite's locks alone.
    nofollow = os.O_NOFOLLOW if os.geteuid() == 0 and path.parent.stat().st_uid != 0 else 0
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow)
    try:
        status = os.fstat(handle)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or not mode & 0o077:
            return 0
        os.chmod(f"/proc/self/fd/{handle}", mode & 0o700)  # noqa: PTH101 (no path of a file)
        return mode
    finally:
        os.close(handle)
