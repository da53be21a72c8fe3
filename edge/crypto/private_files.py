"""Files that hold a key: made once, whole or not at all, and refused when others can read them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from pathlib import Path

from edge.crypto.sealing import KEY_BYTES
from edge.errors import KeyFault, StoreError

_MAX_BYTES = 4096


def read_key_file(path: Path) -> bytes | None:
    """What a key file holds, whatever its form: at least 32 bytes, text without its line's end.

    Args:
        path: the file; it must belong to this user or root. When root asks, it may also be that of
            the user whose folder it is in, such as the service's.

    Returns:
        The secret; None where there is no such file.

    Raises:
        KeyFault: it cannot be read, is too short or too long, belongs to another user, or others
            may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KeyFault(f"cannot read the key file {path}: {_reason(error)}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFault(f"the key file {path} is no regular file: name one")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFault(
                f"the key file {path} is open to other users (mode {mode:03o}): run chmod 600 on"
                " it, and change the key if others may have read it"
            )
        if status.st_uid not in _allowed_owners(path):
            raise KeyFault(
                f"the key file {path} belongs to another user (uid {status.st_uid}): it must be"
                " yours alone"
            )
        content = file.read(_MAX_BYTES + 1)
    return secret_in(content, f"the key file {path}")


def secret_in(content: bytes, what: str) -> bytes:
    """The secret that a file or credential holds.

    Args:
        content: all of it.
        what: the holder, for the message.

    Raises:
        KeyFault: it is shorter than a key, or too long to be one.
    """
    # Text gets a line's end from every editor and shell; in random bytes each one counts.
    if content.isascii() and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in content):
        content = content.strip()
    if len(content) < KEY_BYTES:
        raise KeyFault(f"{what} holds no key: a key has at least {KEY_BYTES} bytes")
    if len(content) > _MAX_BYTES:
        raise KeyFault(f"{what} holds no key: it is longer than {_MAX_BYTES} bytes")
    return content


def make_key_file(path: Path, *, replace: bool = False) -> None:
    """Write a new random key to a file, 64 hexadecimal digits, mode 0600, durable on return.

    Made by root, it belongs to whom the folder belongs to, as the store does. Where another
    process makes one at the same time, one of the two stays and counts.

    Args:
        path: the file; its folder is made if missing, private to the user.
        replace: whether a file that is there may go; if not, it stays and nothing is made.

    Raises:
        KeyFault: it cannot be written.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if replace or not path.exists():
                _write(path, folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFault(f"cannot make the key file {path}: {_reason(error)}") from None


def is_foreign_link(path: Path) -> bool:
    """Whether another user might lead root elsewhere: a link, in a folder that is not root's."""
    return os.geteuid() == 0 and path.is_symlink() and path.parent.stat().st_uid != 0


def overwrite(path: Path) -> None:
    """Overwrite what is in a key file. Raises `OSError`."""
    if is_foreign_link(path):
        raise OSError(errno.ELOOP, "root does not follow another user's link", str(path))
    with path.open("r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        file.flush()
        os.fsync(file.fileno())


def erase_key_file(path: Path) -> None:
    """Overwrite a key file, then remove it; where there is none, nothing happens.

    Raises:
        OSError: it is still there.
    """
    with contextlib.suppress(FileNotFoundError):
        overwrite(path)
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _allowed_owners(path: Path) -> set[int]:
    user = os.geteuid()
    return {0, path.parent.stat().st_uid} if user == 0 else {0, user}


def _write(path: Path, folder: int) -> None:
    # One name for all that is unfinished: the lock on the folder lets one process do this at a
    # time, and what a power cut left is overwritten by the next one.
    fresh = path.with_name(f".{path.name}.unfinished")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        if os.geteuid() == 0:
            owner = os.fstat(folder)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    os.fsync(folder)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


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
