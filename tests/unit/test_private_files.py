"""What root does in a folder of the service's user: it follows no link there, nor drops a lock."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import StoreError
from edge.private_files import make_file, new_file, overwrite, read_file, write_file
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


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ValueError, match="not a regular file"):
        read_file(pipe, 10)
