"""Secrets that the service manager hands over (systemd's credentials)."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import KeyFault


def read_credential(name: str) -> bytes | None:
    """What the service manager handed over under a name; None for nothing.

    An empty one, or a line without text, counts as nothing: that is how a unit gives a default to
    a credential that need not be there.

    Raises:
        KeyFault: it is there and cannot be read.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return None
    try:
        with (Path(folder) / name).open("rb") as file:
            content = file.read(8192)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFault(f"cannot read the credential {name}: {error.strerror}") from None
    return content if content.strip() else None


def text_of(content: bytes, what: str) -> str:
    """A credential that is a line of text. Raises `KeyFault` where it is none."""
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise KeyFault(f"the {what} is not UTF-8 text") from None
