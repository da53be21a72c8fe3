"""The SQLite files: opened, locked, erased and judged, and what is said of failures."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StoreError
from edge.store.sqlite import Database, FileKind, inspect_header, keep_private
from tests.unit.stores import is_open

KIND = FileKind("list of birds", remedy="ask a friend", application_id=77, format=3)
SECRET = b"a nightingale, in the very early morning"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "birds.sqlite"
    file.touch(0o600)
    with closing(Database(file, KIND)) as database:
        database.create("CREATE TABLE bird (name BLOB);")
    return file


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, KIND, busy_s=0.0)) as database:
        yield database


def names(database: Database) -> list[Any]:
    return [name for (name,) in database.execute("SELECT name FROM bird")]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("database is locked", "F has been in use by another process for too long: try again"),
        (
            "attempt to write a readonly database",
            "cannot write to F: the file or its folder is read-only for this user",
        ),
        (
            "unable to open database file",
            "cannot write to F: the file or its folder is read-only for this user",
        ),
        ("database or disk is full", "cannot write to F: the disk is full"),
        ("disk I/O error", "cannot use the list of birds F: the disk failed, or is full"),
        ("file is not a database", "the list of birds F is damaged (%): ask a friend"),
        ("database disk image is malformed", "the list of birds F is damaged (%): ask a friend"),
        ("no such table: bird", "the list of birds F is damaged (%): ask a friend"),
        ("table bird has 2 columns", "the list of birds F is damaged (%): ask a friend"),
        ("interrupted", "cannot use the list of birds F: interrupted"),
        (FileNotFoundError(2, "No Such File"), "cannot open the list of birds F: no such file"),
    ],
)
def test_a_failure_is_said_with_what_to_do(raised: Exception | str, said: str) -> None:
    with pytest.raises(StoreError) as caught, KIND.errors(Path("F")):
        raise sqlite3.OperationalError(raised) if isinstance(raised, str) else raised
    assert str(caught.value) == said.replace("%", str(raised))


def test_a_kind_of_file_without_a_remedy_of_its_own_wants_a_backup() -> None:
    assert str(FileKind("list").damaged(Path("F"), "torn")) == (
        "the list F is damaged (torn): put a backup in its place, or move it away to start anew"
    )


def test_it_is_opened_so_that_a_power_cut_and_a_thief_find_nothing(database: Database) -> None:
    expected = {"synchronous": 3, "foreign_keys": 1, "secure_delete": 1, "temp_store": 2,
                "cell_size_check": 1, "trusted_schema": 0, "user_version": 3,
                "application_id": 77, "busy_timeout": 0}  # fmt: skip
    assert {name: database.pragma(name) for name in expected} == expected
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with closing(Database(database.path, KIND)) as patient:
        assert patient.pragma("busy_timeout") == 5000


def test_one_that_may_not_be_written_to_is_not(path: Path) -> None:
    with closing(Database(path, KIND, read_only=True)) as database:
        with pytest.raises(StoreError, match="read-only"), database.writing():
            database.execute("INSERT INTO bird VALUES (1)")
        assert names(database) == []


@pytest.mark.parametrize("number", [0, 78])
def test_another_programs_database_is_refused_and_closed(tmp_path: Path, number: int) -> None:
    path = tmp_path / "photos.sqlite"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute(f"PRAGMA application_id = {number}")
        if number == 0:
            theirs.execute("CREATE TABLE photo (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:  # which keeps whatever was opened
        Database(path, KIND)
    assert str(caught.value) == f"{path} is a database of another program: move it away"
    assert not is_open(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_claimed_unless_it_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.touch()
    Database(path, KIND, read_only=True).close()
    assert path.read_bytes() == b""
    Database(path, KIND).close()
    assert path.read_bytes()[68:72] == bytes([0, 0, 0, 77])


def _reading(database: Database) -> AbstractContextManager[Database]:
    return database.reading()


def _writing(database: Database) -> AbstractContextManager[Database]:
    return database.writing()


def _locked(database: Database) -> AbstractContextManager[Database]:
    return database.locked()


def _erasing(database: Database) -> AbstractContextManager[Database]:
    return database.erasing()


@pytest.mark.parametrize("first", [_writing, _locked, _erasing])
@pytest.mark.parametrize("second", [_writing, _locked, _erasing])
def test_two_processes_take_turns(
    path: Path,
    database: Database,
    first: Callable[[Database], AbstractContextManager[Database]],
    second: Callable[[Database], AbstractContextManager[Database]],
) -> None:
    """From the very beginning, so that neither decides by what the other is about to change."""
    with closing(Database(path, KIND, busy_s=0.0)) as other:
        with first(database):
            with pytest.raises(StoreError, match="in use by another process"), second(other):
                pass
            with other.reading():
                assert names(other) == []
        with second(other):
            pass


@pytest.mark.parametrize(
    ("context", "kept"), [(_reading, []), (_locked, []), (_writing, [1]), (_erasing, [1])]
)
def test_what_is_written_stays_only_after_a_transaction(
    database: Database,
    context: Callable[[Database], AbstractContextManager[Database]],
    kept: list[int],
) -> None:
    with context(database):
        database.execute("INSERT INTO bird VALUES (1)")
        with database.reading():  # a part of what is written
            assert names(database) == [1]
        assert names(database) == [1]
    assert names(database) == kept
    with pytest.raises(StoreError, match="damaged"), context(database):  # noqa: PT012
        database.execute("INSERT INTO bird VALUES (2)")
        database.execute("INSERT INTO fish VALUES (3)")
    assert names(database) == kept
    with closing(Database(database.path, KIND, busy_s=0.0)) as other, other.writing():
        assert names(other) == kept


def test_a_reader_sees_one_state_all_along(path: Path, database: Database) -> None:
    with closing(Database(path, KIND, busy_s=0.0)) as other:
        with database.reading():
            assert names(database) == []
            with pytest.raises(StoreError, match="in use"), other.writing():
                other.execute("INSERT INTO bird VALUES (1)")
            assert names(database) == []
        with other.writing():
            other.execute("INSERT INTO bird VALUES (1)")
    assert names(database) == [1]


def _remains(database: Database) -> tuple[Path, bytes]:
    """Erase a secret; what is left in the file, and in a journal that somebody has kept hold of."""
    journal = database.path.with_name("birds.sqlite-journal")
    kept = journal.with_name("kept")
    with database.writing():
        database.execute("INSERT INTO bird VALUES (?)", (SECRET * 500,))
    assert SECRET in database.path.read_bytes()
    with database.erasing():
        database.execute("DELETE FROM bird")
        database.execute("CREATE TABLE other (x)")
        kept.hardlink_to(journal)
        assert SECRET in kept.read_bytes()
    assert not journal.exists()
    return kept, kept.read_bytes()


def test_what_is_erased_is_in_no_file_and_in_no_sector(database: Database) -> None:
    pages = database.pragma("page_count")
    kept, journal = _remains(database)
    assert set(journal) == {0}
    assert SECRET not in database.path.read_bytes()
    assert database.pragma("page_count") == pages + 1  # as large as what is in it
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    kept.unlink()


def test_a_file_of_no_particular_kind_has_no_number(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.touch()
    with closing(Database(path, FileKind("list"))) as database:
        database.create("CREATE TABLE bird (name);")
    assert (path.read_bytes()[60:64], path.read_bytes()[68:72]) == (bytes(4), bytes(4))


def test_another_file_in_its_place_is_noticed(database: Database) -> None:
    assert not database.replaced
    away = database.path.rename(database.path.with_name("away"))
    assert database.replaced
    database.path.touch()
    assert database.replaced
    away.replace(database.path)
    assert not database.replaced


class FullDisk(Database):
    """A database that cannot be rebuilt."""

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        if statement == "VACUUM":
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, values)


class Interrupted(Database):
    """A database that something else happens to between the two parts of erasing."""

    meanwhile: Callable[[], object]

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        done = super().execute(statement, values)
        if statement == "VACUUM":
            self.meanwhile()
        return done


@pytest.mark.parametrize("what", ["another writes", "another has been here"])
def test_a_journal_is_overwritten_only_in_ones_turn(
    path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    journal = path.with_name("birds.sqlite-journal")
    with (
        closing(Interrupted(path, KIND, busy_s=0.0)) as database,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):

        def meanwhile() -> None:
            if what == "another has been here":
                journal.unlink()
            else:
                other.execute("PRAGMA journal_mode = PERSIST")
                other.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO bird VALUES (2)")
                before.append(journal.read_bytes())

        before: list[bytes] = []
        database.meanwhile = meanwhile
        with database.erasing():
            database.execute("INSERT INTO bird VALUES (1)")
        assert all(each == journal.read_bytes() for each in before)
    said = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert said == (["database is locked"] if before else [])


def test_a_file_that_cannot_be_rebuilt_is_erased_all_the_same(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(FullDisk(path, KIND)) as database:
        _, journal = _remains(database)
        assert names(database) == []
    assert set(journal) == {0}
    assert SECRET not in path.read_bytes()
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: remains of deleted data may be left: database or disk is full"
    ]


def test_what_a_power_cut_left_of_an_erasure_is_overwritten(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.finish_erasing()
    journal = database.path.with_name("birds.sqlite-journal")
    left = bytes(512) + SECRET * 20
    journal.write_bytes(left)
    kept = journal.with_name("kept")
    kept.hardlink_to(journal)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = PERSIST")
        other.execute("BEGIN IMMEDIATE")
        database.finish_erasing()  # it may be the journal of the other process
        assert kept.read_bytes()[512:] == left[512:]
        assert [record.getMessage() for record in caplog.records] == [
            f"{database.path}: remains of deleted data may be left: database is locked"
        ]
    caplog.clear()
    database.finish_erasing()
    assert set(kept.read_bytes()) == {0}
    assert not journal.exists()
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert caplog.records == []


def test_of_a_journal_without_end_only_the_beginning_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    for number, restores in ((65535, True), (65536, False)):
        with path.with_name("file-journal").open("wb") as file:
            file.write(journal((7, b"x"), records=70_000))
            file.seek(512 + number * 520)
            file.write(journal((1, OLD))[512:])
            file.truncate(512 + 70_000 * 520)
        if restores:
            inspect_header(path, KIND)
            continue
        with pytest.raises(StoreError):
            inspect_header(path, KIND)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a file: move it away, the list of birds has that"):
        inspect_header(tmp_path, KIND)


def test_a_file_is_checked(database: Database) -> None:
    database.check({"bird"})
    with pytest.raises(StoreError, match=r"damaged \(tables are missing\): ask a friend"):
        database.check({"bird", "fish"})
    with database.writing():
        database.execute("INSERT INTO bird VALUES (zeroblob(20000))")
    with database.path.open("r+b") as file:
        file.seek(4096 + 8)
        file.write(bytes(4))
    with pytest.raises(StoreError) as caught, closing(Database(database.path, KIND)) as cut:
        cut.check({"bird"})
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("): ask a friend")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_another_users_file_stays_open_to_others(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    path.chmod(0o644)
    with monkeypatch.context() as patch:
        patch.setattr(os, "chmod", refuse)
        keep_private(path)
    keep_private(path)
    keep_private(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} belongs to another user and stays open to others",
        f"{path} was open to other users (mode 644): made private",
    ]
    assert caplog.records[0].levelno == logging.WARNING


def header(*, version: int = 3, number: int = 77, size: int = 100) -> bytes:
    versions = version.to_bytes(4, "big") + b"\xff" * 4 + number.to_bytes(4, "big")
    return (b"SQLite format 3\0".ljust(60, b"\xff") + versions).ljust(100, b"\xff")[:size]


def journal(
    *pages: tuple[int, bytes], magic: str = "d9d505f920a163d7", records: int | None = None,
    sector: int = 512, page: int = 512, cut: int | None = None,
) -> bytes:  # fmt: skip
    """A rollback journal: its header, a sector long, and the former pages."""
    count = len(pages) if records is None else records
    content = bytes.fromhex(magic) + struct.pack(">5I", count, 1, 9, sector, page)
    content = content.ljust(sector, b"\0")
    for number, old in pages:
        content += number.to_bytes(4, "big") + old.ljust(page, b"\0") + bytes(4)
    return content[:cut]


OLD = header()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(), None),
        (header(size=99), "damaged (it ends after 99 bytes): ask a friend"),
        (header(size=1), "damaged (it ends after 1 bytes): ask a friend"),
        (b"", "is empty: put a backup in its place, or remove the file to start anew"),
        (b"s" + header()[1:], "is not a list of birds and was left as it is"),
        (header()[:15] + b"\1", "is not a list of birds and was left as it is"),
        (header(number=78), "is an SQLite database of another program and was left as it is"),
        (header(number=76), "is an SQLite database of another program and was left as it is"),
        (header(version=4), "newer version of Edge Voice (format 4, this one knows 3): upgrade"),
        (header(version=2), "made by a pre-release version (format 2): move it away"),
        (header(version=1), "made by a pre-release version (format 1): move it away"),
        (header(version=0), "damaged (its format is 0): ask a friend"),
    ],
)  # fmt: skip
def test_a_file_is_judged_by_its_header(tmp_path: Path, content: bytes, said: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if said is None:
        inspect_header(path, KIND)
        return
    with pytest.raises(StoreError) as caught:
        inspect_header(path, KIND)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "restores"),
    [
        (journal((1, OLD)), True),
        (journal((7, b"x"), (2, OLD), (1, OLD)), True),
        (journal((7, b"x"), (2, OLD)), False),
        (journal((256, OLD)), False),
        (journal((1, OLD), records=0), False),
        (journal((7, b"x"), (1, OLD), records=1), False),
        (journal((7, b"x"), (1, OLD), records=9), True),
        (journal((7, b"x"), records=2**32 - 1), False),
        (journal((1, OLD), cut=512 + 104), True),
        (journal((1, OLD), cut=512 + 103), False),
        (journal((1, OLD), cut=27), False),
        (journal((1, OLD), magic="d9d505f920a163d6"), False),
        (journal((1, OLD), sector=32), True),
        (journal((1, OLD), sector=31), False),
        (journal((1, OLD), sector=65536), True),
        (journal((1, OLD), sector=65537), False),
        (journal((7, b"x"), (1, OLD), page=65536), True),
        (journal((7, b"x"), (1, OLD), page=65537), False),
        (journal((7, b"x"), (1, OLD), page=511), False),
        (b"", False),
    ],
)
def test_a_torn_header_is_looked_up_in_the_journal(
    tmp_path: Path, content: bytes, restores: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    path.with_name("file-journal").write_bytes(content)
    if restores:
        inspect_header(path, KIND)
        return
    with pytest.raises(StoreError, match="is not a list of birds"):
        inspect_header(path, KIND)


def test_the_journal_may_be_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    path.with_name("file-journal").write_bytes(journal((1, header(version=4))))
    with pytest.raises(StoreError, match="newer version"):
        inspect_header(path, KIND)
