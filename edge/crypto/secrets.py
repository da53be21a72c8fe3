"""Files with keys in them: where they are, and who may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge.errors import ConfigError, EnvironmentFault, KeyFault


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


def is_credential(file: Path) -> bool:
    """Whether a file is one of the service's systemd credentials, which systemd itself guards."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(folder) and file.parent == Path(folder)


def locate(file: Path) -> Path:
    """Where a key is: a bare name is first looked for among the service's systemd credentials."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if folder and len(file.parts) == 1 and (Path(folder) / file).is_file():
        return Path(folder) / file
    return file


def read_secret(file: Path, setting: str, most: int) -> bytes:
    """The content of a file that nobody but its owner may read.

    Args:
        file: the file, or the name of a systemd credential.
        setting: what names it, for messages.
        most: how many bytes it may have.

    Raises:
        ConfigError: it cannot be read, is too long, or is open to others (its mode must be 600).
    """
    place = locate(file)
    try:
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{place}: {setting} is not a regular file; name one")
        if status.st_mode & 0o077 and not is_credential(place):
            raise ConfigError(
                f"{place}: others on this machine may use this key; run: chmod 600 {place}"
            )
        with place.open("rb") as handle:
            data = handle.read(most + 1)
    except OSError as error:
        raise ConfigError(
            f"{place}: {setting} cannot be read ({error.strerror}); check its name and permissions"
        ) from None
    if len(data) > most:
        raise ConfigError(f"{place}: {setting} is longer than {most} bytes; it is no such file")
    return data


def write_secret(file: Path, data: bytes) -> None:
    """Make a file of mode 600 that did not exist before, and see it on the disk.

    Raises:
        EnvironmentFault: it exists already, or cannot be written.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError:
        raise EnvironmentFault(f"{file}: exists already; a key is never replaced, name another")  # noqa: B904
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFault(f"{file}: cannot be written ({reason}); check its folder") from None
