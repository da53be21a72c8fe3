"""Key files: made once, replaced and erased without a trace, refused when others can read them."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from edge.crypto.sealing import KEY_BYTES
from edge.errors import KeyFault
from edge.private_files import NotPrivate, folder_owner, make_folder, read_file, reason, write_file

_MAX_BYTES = 4096


def read_key_file(path: Path) -> bytes | None:
    """The content of a key file, whatever its form; None where there is no such file.

    Args:
        path: the file; it must belong to this user or root. When root asks, it may also be that of
            the user whose folder it is in, such as the service's.

    Raises:
        KeyFault: it cannot be read, is too short or too long, belongs to another user, or others
            may read it.
    """
    try:
        user = os.geteuid()
        owners = {0, path.parent.stat().st_uid} if user == 0 else {0, user}
        content = read_file(path, _MAX_BYTES, owners=owners)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotPrivate as error:
        raise KeyFault(f"the key file {path} {error}") from None
    except OSError as error:
        raise KeyFault(f"cannot read the key file {path}: {reason(error)}") from None
    return secret_in(content, f"the key file {path}")


def secret_in(content: bytes, what: str) -> bytes:
    """The key in a file or credential: at least 32 bytes, text without white space around it.

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
    """Write a new random key to a file: 64 hexadecimal digits, mode 0600, durable on return.

    Made by root, it belongs to the owner of the folder, as the store does. If two processes make
    one at the same time, one of the two stays and counts.

    Args:
        path: the file; its folder is made if missing, private to the user.
        replace: whether a file that is there may go; if not, it stays and nothing is made.

    Raises:
        KeyFault: it cannot be written.
    """
    try:
        make_folder(path.parent)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if replace or not path.exists():
                content = secrets.token_hex(KEY_BYTES).encode() + b"\n"
                write_file(path, content, owner=folder_owner(path), replace=True)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFault(f"cannot make the key file {path}: {reason(error)}") from None
