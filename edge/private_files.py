"""Private files and credentials: written whole or not at all, closed to others, erased."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ConfigError, EnvironmentFault, KeyFault, StoreError

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""The environment variable with the folder of the service's credentials, set by systemd."""

_MAX_CREDENTIAL_BYTES = 8192
_NO_HARD_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS)
"""FAT says the first, network shares and FUSE the last two."""


class NotPrivate(ValueError):
    """A file cannot be trusted with a secret; the text says why, to follow the file's name."""


@contextlib.contextmanager
def new_file(
    path: Path, *, mode: int = 0o600, owner: tuple[int, int] | None = None, replace: bool = False
) -> Iterator[tuple[Path, int]]:
    """Make a file whole or not at all, durable when the block ends.

    Yields the path and descriptor of an empty file beside it, to be filled in the block and then
    moved to its place. Where another user owns the folder, only the descriptor is safe.

    Args:
        owner: its user and group id; None for this process's.
        replace: whether a file that is there may go.

    Raises:
        FileExistsError: there is a file already.
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        try:
            yield fresh, handle
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        if not replace and not _linked(fresh, path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            replace = True
        if replace:
            fresh.replace(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
    sync_folder(path.parent)


def write_file(
    path: Path,
    content: bytes,
    *,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
    replace: bool = False,
) -> None:
    """Write a file whole or not at all; arguments and errors are those of `new_file`."""
    with (
        new_file(path, mode=mode, owner=owner, replace=replace) as (_, handle),
        os.fdopen(handle, "wb", closefd=False) as file,
    ):
        file.write(content)


def folder_owner(path: Path) -> tuple[int, int] | None:
    """Who should own root's file here, so that the service can read it; None for other users."""
    if os.geteuid() != 0:
        return None
    status = path.parent.stat()
    return (status.st_uid, status.st_gid)


def make_file(path: Path) -> None:
    """Make an empty file for its folder's owner; one that is there stays as it is.

    That one is not even opened: to close it would take SQLite's locks off it, those of every
    connection of this process.

    Raises:
        OSError: it cannot be made.
        StoreError: it is a link of another user's.
    """
    refuse_link(path)
    if not path.exists():
        with contextlib.suppress(FileExistsError), new_file(path, owner=folder_owner(path)):
            pass


def hold(path: Path, *, shared: bool = False) -> int:
    """Hold a file, made where missing, until the open descriptor that it gives is closed.

    The kernel closes those of a process that dies.

    Args:
        shared: whether others may hold it too, all of them `shared`.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made.
        StoreError: it is a link of another user's.
    """
    make_file(path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Who shares it waits for the instant that `is_held` takes.
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def hold_alone(path: Path, command: str) -> int:
    """Hold a file as `hold` does, for the one process of a command in its folder.

    Raises:
        EnvironmentFault: another one holds it.
        StoreError: it cannot be made.
    """
    try:
        make_folder(path.parent)
        return hold(path)
    except BlockingIOError:
        raise EnvironmentFault(
            f"{path.parent}: another '{command}' is using it; stop that one"
        ) from None
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be used ({error.strerror}); check it") from None


def is_held(path: Path) -> bool:
    """Whether somebody holds a file, as far as can be seen."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(handle)
    return False


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder, by default only for this user, and the folders it lies in, where missing."""
    if folder.is_dir():
        return
    for parent in reversed(folder.parents):
        # Not by parents=True: without a umask, anybody could replace what is in them.
        if not parent.exists():
            parent.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=mode, exist_ok=True)


def read_file(path: Path, most: int, *, open_to: int = 0, owners: set[int] | None = None) -> bytes:
    """Read a file that others must not read, `most` + 1 bytes at most.

    Args:
        open_to: permissions that group and others may have, such as 0o040.
        owners: user ids that it may belong to; None for any.

    Raises:
        NotPrivate: it is not a regular file, is open to others, or belongs to another user.
        OSError: it cannot be read.
    """
    # Not to wait for the writer of a named pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivate("is not a regular file; name one")
        if status.st_mode & 0o077 & ~open_to:
            mode, fix = stat.S_IMODE(status.st_mode), "o-rwx" if open_to else "600"
            raise NotPrivate(
                f"is open to other users (mode {mode:03o}); run: chmod {fix} {path}, and change"
                " the secret if others may have read it"
            )
        if owners is not None and status.st_uid not in owners:
            raise NotPrivate(f"belongs to another user (uid {status.st_uid}); it must be yours")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(descriptor)


def trusted_owners(path: Path) -> set[int]:
    """Who a file with a secret may belong to: this user or root, who can read and change it anyway.

    When root asks, also the folder's owner, such as the service, who can put another in its place.

    Raises:
        OSError: the folder cannot be looked at.
    """
    user = os.geteuid()
    return {0, user} if user else {0, path.parent.stat().st_uid}


def is_foreign_link(path: Path) -> bool:
    """Whether another user might lead root elsewhere: a link, in a folder that is not root's."""
    return os.geteuid() == 0 and path.is_symlink() and path.parent.stat().st_uid != 0


def refuse_link(path: Path) -> None:
    """Raise `StoreError` where another user might lead root elsewhere."""
    if is_foreign_link(path):
        raise StoreError(
            f"{path} is a link, which root does not follow in another user's folder: put the file"
            " itself there"
        )


def close_to_others(path: Path) -> int:
    """Take the permissions of all but its owner off a file; the former mode, 0 if nothing was done.

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


def overwrite(path: Path) -> None:
    """Overwrite a file with zeros, durable on return. Raises `OSError`."""
    if is_foreign_link(path):
        raise OSError(errno.ELOOP, "root does not follow another user's link", str(path))
    with path.open("r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        file.flush()
        os.fsync(file.fileno())


def erase(path: Path) -> None:
    """Overwrite a file, then remove it, if there is one. Raises `OSError` if it is still there."""
    with contextlib.suppress(FileNotFoundError):
        overwrite(path)
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a folder survive a power cut, where it can be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # one that may be written, not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not on this file system
            raise
    finally:
        os.close(descriptor)


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return (error.strerror or str(error)).lower()


def credentials_folder() -> Path | None:
    """The folder of the service's systemd credentials; None outside of the service."""
    given = os.environ.get(CREDENTIALS_VARIABLE, "")
    return Path(given) if given else None


def locate(file: Path) -> Path:
    """Where a secret is: a bare name is first looked for among the service's credentials."""
    inside = credentials_folder()
    if inside is not None and len(file.parts) == 1 and (inside / file).is_file():
        return inside / file
    return file


def read_credential(name: str) -> bytes | None:
    """The content of a credential; None for nothing. Raises `KeyFault` if it cannot be read.

    An empty one, or a line without text, counts as nothing: that is how a unit gives a default to
    a credential that need not be there.
    """
    inside = credentials_folder()
    if inside is None:
        return None
    try:
        with (inside / name).open("rb") as file:
            content = file.read(_MAX_CREDENTIAL_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFault(f"cannot read the credential {name}: {error.strerror}") from None
    return content if content.strip() else None


def read_secret(file: Path, setting: str, most: int, *, group: bool = False) -> bytes:
    """The content of a file that only its owner may read, `most` + 1 bytes at most.

    The file may be a credential's name, which systemd guards; `setting` names it in messages.

    Raises:
        ConfigError: it cannot be read, is open to others, or belongs to another user.
    """
    place = locate(file)
    guarded = place.parent == credentials_folder()
    open_to = 0o070 if group else 0o077 if guarded else 0
    try:
        owners = None if guarded else trusted_owners(place)
        return read_file(place, most, open_to=open_to, owners=owners)
    except NotPrivate as error:
        raise ConfigError(f"{place}: {setting} {error}") from None
    except OSError as error:
        raise ConfigError(
            f"{place}: {setting} cannot be read ({error.strerror}); check its name and permissions"
        ) from None


def _linked(fresh: Path, path: Path) -> bool:
    """Give a file its name, never in the place of another; False where there are no hard links."""
    try:
        os.link(fresh, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return False
    return True
