"""What root does in a folder of the service's user: it follows no link there, nor drops a lock."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError, KeyFault, StoreError
from edge.private_files import (
    NotPrivate,
    close_to_others,
    erase,
    hold,
    make_file,
    new_file,
    overwrite,
    read_credential,
    read_file,
    read_secret,
    sync_folder,
    write_file,
)
from edge.store import FILE_NAME, open_store
from edge.store.audit_file import FILE_NAME as AUDIT_FILE
from edge.store.device_state import FILE_NAME as STATE_FILE
from edge.store.device_state import DeviceState
from edge.store.sqlite import make_private

SERVICE = 64_000
"""Nobody's user id."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    os.chown(made, SERVICE, SERVICE)
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_bytes(b"root's own")
    file.chmod(0o644)
    return file


def untouched(file: Path) -> bool:
    status = file.stat()
    return (status.st_uid, stat.S_IMODE(status.st_mode), file.read_bytes()) == (
        0, 0o644, b"root's own",
    )  # fmt: skip


@as_root
def test_the_state_is_no_way_to_a_file_of_roots(folder: Path, precious: Path) -> None:
    (folder / STATE_FILE).symlink_to(precious)
    with pytest.raises(StoreError, match="root does not follow"):
        DeviceState(folder)
    assert untouched(precious)


@as_root
def test_nor_is_the_audit_trail(folder: Path, precious: Path) -> None:
    (folder / AUDIT_FILE).symlink_to(precious)
    with pytest.raises(StoreError, match="root does not follow"):
        make_private(folder / AUDIT_FILE)
    assert untouched(precious)


@as_root
def test_nor_the_signature_store(folder: Path, tmp_path: Path) -> None:
    with open_store(tmp_path / "other"):
        pass
    other = tmp_path / "other" / FILE_NAME
    other.chmod(0o644)
    (folder / FILE_NAME).symlink_to(other)
    with pytest.raises(StoreError, match="root does not follow"), open_store(folder):
        pass
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


@as_root
def test_nor_a_key_file_that_is_to_be_overwritten(folder: Path, precious: Path) -> None:
    link = folder / "key"
    link.symlink_to(precious)
    with pytest.raises(OSError, match="does not follow"):
        overwrite(link)
    assert untouched(precious)


@as_root
def test_what_root_makes_is_the_services(folder: Path) -> None:
    DeviceState(folder).close()
    make_private(folder / AUDIT_FILE)
    assert {file.stat().st_uid for file in folder.iterdir()} == {SERVICE}


def test_whose_folder_it_is_may_have_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / STATE_FILE).symlink_to(tmp_path / "disk" / STATE_FILE)
    DeviceState(tmp_path / "disk").close()
    state = DeviceState(tmp_path / "state")
    state.put("some", "thing")
    assert state.get("some") == "thing"
    state.close()


def test_one_that_was_open_to_others_is_made_private(tmp_path: Path) -> None:
    file = tmp_path / AUDIT_FILE
    file.touch(mode=0o644)
    file.chmod(0o644)
    make_private(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", ["store", "state", "recordings", "setup"])
def test_without_a_umask_no_folder_is_open_to_all(tmp_path: Path, command: str) -> None:
    """What is made by several processes' first runs, in a process of its own: a umask is global."""
    made = {
        "store": "from edge.store import open_store; open_store({0!r})",
        "state": "from edge.store.device_state import DeviceState; DeviceState({0!r})",
        "recordings": "from edge.audio.files import DebugRecordings as R; import numpy as np;"
        "from edge.audio.utterance import utterance_of as u;"
        "R({0!r}).keep(u(np.zeros(16000, np.float32)))",
        "setup": "from edge.private_files import make_folder; make_folder({0!r}, 0o755)",
    }
    code = made[command].format(tmp_path / "home" / "state" / "edge-voice")
    code = code.replace("PosixPath", "Path")
    subprocess.run(
        [sys.executable, "-c", f"import os; from pathlib import Path; os.umask(0); {code}"],
        check=True,
        timeout=60,
    )
    last = 0o755 if command == "setup" else 0o700
    folders = ("home", "home/state", "home/state/edge-voice")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in folders] == [
        0o755, 0o755, last,
    ]  # fmt: skip


def test_a_second_user_of_the_state_takes_no_lock_off_the_first(tmp_path: Path) -> None:
    """To close a file drops the POSIX locks of the whole process, also those of SQLite."""
    first = DeviceState(tmp_path)
    first._database.execute("BEGIN IMMEDIATE")
    make_file(tmp_path / STATE_FILE)
    other = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
        "database.execute('BEGIN IMMEDIATE')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", other, str(tmp_path / STATE_FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "locked" in done.stderr
    first.close()


@pytest.mark.parametrize("no_links", [None, errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_new_file_is_whole_private_and_never_in_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_links: int | None
) -> None:
    if no_links is not None:  # as on FAT, a network share, FUSE

        def refuse(*_: object) -> None:
            raise OSError(no_links, os.strerror(no_links))

        monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "secret"
    write_file(file, b"first")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_file(file, b"second")
    assert file.read_bytes() == b"first"
    write_file(file, b"third", mode=0o640, replace=True)
    assert (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) == (0o640, b"third")
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_file(tmp_path / "secret") as (fresh, _):
            assert list(tmp_path.iterdir()) == [fresh]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@as_root
def test_what_root_writes_can_be_given_to_another_and_follows_no_link(
    folder: Path, precious: Path
) -> None:
    write_file(folder / "key", b"secret", owner=(SERVICE, SERVICE))
    assert (folder / "key").stat().st_uid == SERVICE
    with new_file(folder / "other") as (fresh, handle):
        fresh.unlink()
        fresh.symlink_to(precious)
        os.write(handle, b"secret")
    assert untouched(precious)


@pytest.mark.parametrize(
    ("mode", "open_to", "told"),
    [
        (0o600, 0, None),
        (0o400, 0, None),
        (0o640, 0, "mode 640.*chmod 600"),
        (0o601, 0, "mode 601"),
        (0o640, 0o070, None),
        (0o670, 0o070, None),
        (0o644, 0o070, "mode 644.*chmod o-rwx"),
    ],
)
def test_a_secret_is_closed_to_others(
    tmp_path: Path, mode: int, open_to: int, told: str | None
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"0123456789")
    file.chmod(mode)
    if told is None:
        assert read_file(file, 8, open_to=open_to) == b"012345678"
        with pytest.raises(NotPrivate, match="belongs to another user"):
            read_file(file, 8, open_to=open_to, owners={os.geteuid() + 1})
        assert read_file(file, 99, open_to=open_to, owners={os.geteuid()}) == b"0123456789"
    else:
        with pytest.raises(NotPrivate, match=told):
            read_file(file, 8, open_to=open_to)


def test_who_else_may_read_a_file_that_the_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"sesame")
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mqtt.password_file is open to other users \(mode 640"):
        read_secret(file, "mqtt.password_file", 100)
    assert read_secret(file, "mqtt.password_file", 100, group=True) == b"sesame"
    with pytest.raises(ConfigError, match="password_file cannot be read"):
        read_secret(tmp_path / "absent", "mqtt.password_file", 100)
    file.chmod(0o641)
    with pytest.raises(ConfigError, match=r"mode 641.*chmod o-rwx"):
        read_secret(file, "mqtt.password_file", 100, group=True)
    # systemd makes a credential readable to its service; that is its business.
    file.chmod(0o644)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(Path("password"), "mqtt.password_file", 100) == b"sesame"


@as_root
@pytest.mark.parametrize(
    ("folder_of", "file_of", "user", "good"),
    [
        (0, 0, 0, True), (SERVICE, SERVICE, 0, True), (SERVICE, 0, 0, True), (0, SERVICE, 0, False),
        (0, SERVICE, SERVICE, True), (4321, 4321, SERVICE, False), (4321, 0, SERVICE, True),
    ],
)  # fmt: skip
def test_whose_secrets_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder_of: int,
    file_of: int,
    user: int,
    good: bool,
) -> None:
    file = tmp_path / "signing.key"
    file.write_bytes(b"sesame")
    file.chmod(0o600)
    os.chown(tmp_path, folder_of, folder_of)
    os.chown(file, file_of, file_of)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if good:
        assert read_secret(file, "signing.key_file", 100) == b"sesame"
    else:
        with pytest.raises(
            ConfigError, match=rf"key_file belongs to another user \(uid {file_of}\)"
        ):
            read_secret(file, "signing.key_file", 100)
    # Who owns a credential is systemd's business.
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(Path("signing.key"), "signing.key_file", 100) == b"sesame"


def test_a_file_is_held_by_one_process(tmp_path: Path) -> None:
    file = tmp_path / "run.lock"
    held = hold(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(BlockingIOError):
        hold(file)
    os.close(held)
    os.close(hold(file))


def test_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert read_credential("key") is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_credential("key") is None
    for content, found in (
        (b"", None),
        (b" \n", None),
        (b"x\n", b"x\n"),
        (b"x" * 9000, b"x" * 8192),
    ):
        (tmp_path / "key").write_bytes(content)
        assert read_credential("key") == found
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir()
    with pytest.raises(KeyFault, match="cannot read the credential key"):
        read_credential("key")


def test_to_erase_overwrites_first(tmp_path: Path) -> None:
    file, twin = tmp_path / "key", tmp_path / "twin"
    erase(file)  # there is none
    file.write_bytes(b"secret")
    os.link(file, twin)
    erase(file)
    assert not file.exists()
    assert twin.read_bytes() == bytes(6)


def test_permissions_of_others_are_taken_off_and_told(tmp_path: Path) -> None:
    file = tmp_path / "store"
    file.touch()
    for mode, told in ((0o600, 0), (0o700, 0), (0o604, 0o604), (0o750, 0o750)):
        file.chmod(mode)
        assert close_to_others(file) == told
        assert stat.S_IMODE(file.stat().st_mode) == mode & 0o700
    assert close_to_others(tmp_path) == 0, "it is a folder"


@pytest.mark.parametrize(
    ("number", "passed"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)]
)
def test_a_folder_is_synced_where_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passed: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if passed:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)


def test_what_is_written_is_synced_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content before it has its name, the name afterwards."""
    order: list[str] = []
    sync, link = os.fsync, os.link

    def fsync(number: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        sync(number)

    def named(*paths: Path) -> None:
        order.append("name")
        link(*paths)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", named)
    write_file(tmp_path / "secret", b"x")
    assert order == ["file", "name", "folder"]


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(NotPrivate, match="not a regular file"):
        read_file(pipe, 10)
