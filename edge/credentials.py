"""Where secrets come from: systemd credentials, and files that nobody else may read."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import ConfigError, KeyFault
from edge.private_files import NotPrivate, read_file

VARIABLE = "CREDENTIALS_DIRECTORY"
"""The environment variable with the folder of the service's credentials, set by systemd."""

_MAX_BYTES = 8192


def folder() -> Path | None:
    """The folder of the service's systemd credentials; None outside of the service."""
    given = os.environ.get(VARIABLE, "")
    return Path(given) if given else None


def locate(file: Path) -> Path:
    """Where a secret is: a bare name is first looked for among the service's credentials."""
    inside = folder()
    if inside is not None and len(file.parts) == 1 and (inside / file).is_file():
        return inside / file
    return file


def read_credential(name: str) -> bytes | None:
    """The content of a credential; None for nothing.

    An empty one, or a line without text, counts as nothing: that is how a unit gives a default to
    a credential that need not be there.

    Raises:
        KeyFault: it is there and cannot be read.
    """
    inside = folder()
    if inside is None:
        return None
    try:
        with (inside / name).open("rb") as file:
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFault(f"cannot read the credential {name}: {error.strerror}") from None
    return content if content.strip() else None


def read_secret(file: Path, setting: str, most: int, *, group: bool = False) -> bytes:
    """The content of a file that only its owner may read, `most` + 1 bytes at most.

    Args:
        file: the file, or the name of a credential, which systemd itself guards.
        setting: what names it, for messages.
        most: how many bytes it may have.
        group: whether its group may read it too.

    Raises:
        ConfigError: it cannot be read, or is open to others.
    """
    place = locate(file)
    open_to = 0o070 if group else 0o077 if place.parent == folder() else 0
    try:
        return read_file(place, most, open_to=open_to)
    except NotPrivate as error:
        raise ConfigError(f"{place}: {setting} {error}") from None
    except OSError as error:
        raise ConfigError(
            f"{place}: {setting} cannot be read ({error.strerror}); check its name and permissions"
        ) from None
