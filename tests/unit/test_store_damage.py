"""Files that are no store of ours, or no longer whole: refused, and left as they are."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.crypto.keys import key_of_passphrase
from edge.errors import StoreError
from edge.store import ProfileStore
from edge.store.sealed_file import wants_passphrase
from edge.types import ProfileKind, ProfileStatus
from tests.unit.stores import (
    enroll,
    sealed_rows,
    seeds_of,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signatures.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(path) as store:
        yield store


def _interrupted(path: Path, *statements: str) -> Path:
    """A copy of a database in the midst of a write, with its journal, as a power cut leaves it."""
    copy = path.with_name("copy.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # pages reach the disk before the commit
        writer.execute("BEGIN")
        for statement in statements:
            writer.execute(statement)
        writer.execute("CREATE TABLE big (content BLOB)")
        writer.execute("INSERT INTO big VALUES (randomblob(1000000))")
        for suffix in ("", "-journal"):
            content = path.with_name(path.name + suffix).read_bytes()
            copy.with_name(copy.name + suffix).write_bytes(content)
    return copy


def _foreign(path: Path, *, wal: bool = False) -> None:
    database = sqlite3.connect(path)
    if wal:
        database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE photos (id INTEGER)")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()


def _newer(path: Path) -> None:
    ProfileStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 7")
    database.close()


def _pre_release(path: Path) -> None:
    ProfileStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()


def _filled(path: Path) -> bytes:
    with ProfileStore(path) as store:
        for number in range(6):
            enroll(store, f"p{number}", number, number + 10, number + 20)
    return path.read_bytes()


def _truncated(path: Path) -> None:
    content = _filled(path)
    path.write_bytes(content[: len(content) // 2 // 4096 * 4096])


def _overwritten(path: Path) -> None:
    content = bytearray(_filled(path))
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)


def _without_tables(path: Path) -> None:
    ProfileStore(path).close()
    database = sqlite3.connect(path)
    database.execute("DROP TABLE sample")
    database.execute("DROP TABLE profile")
    database.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(_foreign, "another program", id="foreign"),
        pytest.param(lambda path: _foreign(path, wal=True), "another program", id="foreign WAL"),
        pytest.param(_newer, "newer version", id="newer"),
        pytest.param(_pre_release, "pre-release version .* move it away", id="pre-release"),
        pytest.param(_truncated, "damaged", id="truncated"),
        pytest.param(_overwritten, "damaged", id="overwritten"),
        pytest.param(_without_tables, "damaged", id="without tables"),
        pytest.param(
            lambda path: path.write_bytes(_filled(path)[:60]), "damaged", id="truncated header"
        ),
        pytest.param(lambda path: path.write_bytes(b""), "empty", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"\0" * 8192), "not a signature", id="zeros"),
        pytest.param(
            lambda path: path.write_bytes(os.urandom(9000)), "not a signature", id="garbage"
        ),
        pytest.param(lambda path: path.write_text("hello: world\n"), "not a signature", id="text"),
    ],
)
def test_what_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "signatures.sqlite"
    make(path)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    mode = path.stat().st_mode
    with pytest.raises(StoreError, match=message) as caught:
        ProfileStore(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    if message != "damaged":
        assert path.stat().st_mode == mode


@pytest.mark.parametrize("torn", [0, 512, 4096])
def test_power_cut_that_tears_the_first_page(path: Path, torn: int) -> None:
    """Pages of an interrupted write are on the disk, the commit is not."""
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1, 2, 3)
    copy = _interrupted(path, "PRAGMA user_version = 7", "DELETE FROM sample")
    copy.write_bytes(os.urandom(torn) + copy.read_bytes()[torn:])
    with ProfileStore(copy) as store:
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3]
    with closing(sqlite3.connect(copy)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert "sample" in tables
        assert "big" not in tables
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_journal_that_a_power_cut_left_while_erasing_is_removed(path: Path) -> None:
    """After the commit, before the overwriting: the journal still has the former rows."""
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1, 2, 3)
    journal = path.with_name(path.name + "-journal")
    journal.write_bytes(bytes(512) + path.read_bytes())
    with ProfileStore(path) as store:
        assert not journal.exists()
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3]


def test_foreign_database_with_a_journal_is_not_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite"
    _foreign(path)
    copy = _interrupted(path)
    journal = copy.with_name("copy.sqlite-journal")
    before = copy.read_bytes(), journal.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        ProfileStore(copy)
    assert (copy.read_bytes(), journal.read_bytes()) == before


def test_flipped_bit_in_a_signature_is_found_and_can_be_reset(path: Path) -> None:
    with ProfileStore(path) as store:
        ada = enroll(store, "Ada", 1, 2, 3)
        enroll(store, "Grace", 4, 5, 6)
    content = bytearray(path.read_bytes())
    content[bytes(content).index(sealed_rows(path, ada)[2][40:60])] ^= 1
    path.write_bytes(content)
    with ProfileStore(path) as store:
        with pytest.raises(StoreError, match=r"signature of Ada .* damaged"):
            store.list()
        with pytest.raises(StoreError, match="profiles reset"):
            store.get("Ada")
        assert store.get("Grace").status is ProfileStatus.ENROLLED
        store.reset("Ada")
        assert [profile.status.value for profile in store.list()] == ["enrolling", "enrolled"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sample SET sealed = zeroblob(768)",
        "UPDATE sample SET sealed = x''",
        "UPDATE sample SET sealed = 'text'",
        "UPDATE sample SET sealed = 9e999",
        "UPDATE sample SET position = position + 1",
        "UPDATE sample SET adapted = 1",
        "UPDATE sample SET sealed = (SELECT sealed FROM profile)",
        "UPDATE profile SET sealed = x'01'",
        "UPDATE profile SET sealed = 'text'",
        "UPDATE profile SET sealed = (SELECT sealed FROM sample)",
        "UPDATE profile SET name_mark = zeroblob(32)",
        "UPDATE keyring SET wrapped = zeroblob(93)",
        "UPDATE keyring SET wrapped = 7",
        "UPDATE keyring SET stretching = 'scrypt 40 8 1'",
        "UPDATE keyring SET stretching = 'scrypt 15 8 1', salt = zeroblob(2)",
        "UPDATE keyring SET key_id = x'00'",
        "UPDATE keyring SET stretching = 7, salt = zeroblob(16)",
        "UPDATE keyring SET stretching = 'scrypt 15 8 1', salt = 'sixteen letters!'",
        "UPDATE keyring SET stretching = 'scrypt 15 8', salt = zeroblob(16)",
        "UPDATE keyring SET stretching = 'scrypt 15 8 1 1', salt = zeroblob(16)",
        "UPDATE keyring SET stretching = 'bcrypt 15 8 1', salt = zeroblob(16)",
        "UPDATE keyring SET stretching = 'scrypt 15 8 x', salt = zeroblob(16)",
        "DELETE FROM keyring",
    ],
)
def test_rows_that_make_no_sense_are_a_store_error(path: Path, change: str) -> None:
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1)
    database = sqlite3.connect(path)
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="damaged"), ProfileStore(path) as store:
        store.list()


@pytest.mark.parametrize(("table", "shift"), [("sample", 1), ("sample", 2), ("profile", 1)])
def test_rows_cannot_be_swapped(path: Path, table: str, shift: int) -> None:
    """Whoever can write the file cannot make Ada's voice open as Grace."""
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1, 2)
        enroll(store, "Grace", 3, 4)
    with sqlite3.connect(path) as database:
        rows = database.execute(f"SELECT rowid, sealed FROM {table}").fetchall()  # noqa: S608
        for number, (row, _) in enumerate(rows):
            values = (rows[(number + shift) % len(rows)][1], row)
            database.execute(f"UPDATE {table} SET sealed = ? WHERE rowid = ?", values)  # noqa: S608
    database.close()
    with ProfileStore(path) as store:
        for name in ("Ada", "Grace"):
            with pytest.raises(StoreError, match="damaged"):
                store.get(name)


def test_marks_cannot_be_swapped(path: Path) -> None:
    with ProfileStore(path) as store:
        ada, grace = enroll(store, "Ada", 1), enroll(store, "Grace", 3)
    with sqlite3.connect(path) as database:
        marks = dict(database.execute("SELECT id, name_mark FROM profile").fetchall())
        database.execute("UPDATE profile SET name_mark = id")
        for one, other in ((ada, grace), (grace, ada)):
            values = (marks[other], one)
            database.execute("UPDATE profile SET name_mark = ? WHERE id = ?", values)
    database.close()
    with ProfileStore(path) as store, pytest.raises(StoreError, match="another name"):
        store.get("Ada")


def test_a_duress_phrase_cannot_be_given_to_somebody_else(path: Path) -> None:
    """It would stay when its person goes, and go with another."""
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1)
        store.create("Ada (duress)", ProfileKind.PHRASE, required=3, duress_of="Ada")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE profile SET owner_mark = randomblob(32)")
    with ProfileStore(path) as store:
        assert store.get("Ada").duress_of is None  # of nobody: it is random anyway
        with pytest.raises(StoreError, match=r"damaged \(it is filed under another owner\)"):
            store.get("Ada (duress)")


@pytest.mark.usefixtures("cheap_passphrases")
@pytest.mark.parametrize("with_passphrase", [False, True])
def test_whether_a_passphrase_is_wanted_is_read_and_nothing_written(
    path: Path, with_passphrase: bool
) -> None:
    with ProfileStore(path) as store:
        if with_passphrase:
            store.lock_with(key_of_passphrase("correct horse battery"))
    path.chmod(0o400)
    before = path.read_bytes()
    assert wants_passphrase(path) == with_passphrase
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as database, database:
        (how,) = database.execute("SELECT stretching FROM keyring").fetchone()
    assert how == ("scrypt 10 8 1" if with_passphrase else None)
    with pytest.raises(StoreError, match="cannot write to"):
        wants_passphrase(path.with_name("none"))
    copy = _interrupted(path)
    before = copy.read_bytes()
    with contextlib.suppress(StoreError):
        wants_passphrase(copy)  # not even an interrupted write is rolled back
    assert copy.read_bytes() == before


def test_a_damaged_profile_can_be_deleted_by_its_id(path: Path) -> None:
    with ProfileStore(path) as store:
        ada = enroll(store, "Ada", 1)
        enroll(store, "Grace", 2)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE profile SET sealed = x'' WHERE id = ?", (ada,))
    database.close()
    with ProfileStore(path) as store:
        with pytest.raises(StoreError, match=f"profiles delete {ada}"):
            store.list()
        assert store.find(ada) == (ada, ada)
        store.delete(ada)
        assert [profile.name for profile in store.list()] == ["Grace"]


def test_place_that_cannot_be_written_to() -> None:
    for path in (Path("/proc/edge-voice/signatures.sqlite"), Path("/dev/null/signatures.sqlite")):
        with pytest.raises(StoreError, match="cannot open the signature store"):
            ProfileStore(path)
    with pytest.raises(StoreError, match="not a file"):
        ProfileStore(Path("/dev/null"))
    with pytest.raises(StoreError, match="not a file"):
        ProfileStore(Path("/"))
