"""Stores of the first format: brought up to date whole, or not at all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import StoreError
from edge.recognition.scoring import signature_of
from edge.store import ProfileStore
from edge.store.sqlite import SCHEMA_VERSION
from edge.types import Profile, ProfileStatus
from tests.unit.stores import (
    ADA,
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    learned,
    make_sample,
    plain_parts,
    same,
    seeds_of,
    traces,
    version_of,
    write_first_format,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signatures.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(path) as store:
        yield store


@pytest.fixture
def ada(store: ProfileStore) -> Profile:
    return store.get(enroll(store, "Ada", 1, 2, 3))


def test_a_store_of_the_first_format_opens_and_learns(path: Path) -> None:
    write_first_format(path, 1, 2, 3)
    assert version_of(path) == 1
    with ProfileStore(path) as store:
        ada = store.get("Ada")
        assert (ada.id, ada.phrase, ada.created_at, ada.updated_at) == (ADA, "mellon", 1.5, 2.5)
        assert all(same(sample, make_sample(1 + i)) for i, sample in enumerate(ada.samples))
        assert (len(ada.enrolled), len(ada.adapted)) == (3, 0)
        assert ada.status is ProfileStatus.ENROLLED
        store.adapt(ada, learned(7), most=5)
    assert version_of(path) == SCHEMA_VERSION
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, "store.key"]
    with ProfileStore(path) as store:
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3, 7]


def test_both_ways_to_this_format_lead_to_the_same_tables(path: Path, tmp_path: Path) -> None:
    write_first_format(path, 1)
    ProfileStore(path).close()
    ProfileStore(tmp_path / "fresh.sqlite").close()
    layouts = []
    for each in (path, tmp_path / "fresh.sqlite"):
        database = sqlite3.connect(each)
        layouts.append(
            database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        )
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            database.execute("INSERT INTO sample VALUES ('', 0, 2, x'')")
        database.close()
    assert layouts[0] == layouts[1]
    assert "adapted" in str(layouts[0])


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_plain_is_left_after_sealing(path: Path, version: int) -> None:
    write_first_format(path, 1, 2, 3)
    if version == 2:
        with sqlite3.connect(path) as database:
            database.execute(
                "ALTER TABLE sample ADD COLUMN adapted INTEGER NOT NULL DEFAULT 0"
                " CHECK (adapted IN (0, 1))"
            )
            database.execute("PRAGMA user_version = 2")
        database.close()
    secrets = [part for seed in (1, 2, 3) for part in plain_parts(make_sample(seed))]
    secrets += [b"mellon", SPEAKER_MODEL.encode(), PHRASE_MODEL.encode(), b"Ada", b"ada"]
    assert len(traces(path.parent, *secrets)) > 500
    with ProfileStore(path) as store:
        assert traces(path.parent, *secrets[:-2]) == []
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3]
        assert store.get("Ada").phrase == "mellon"
    assert traces(path.parent, *secrets[:-2]) == []


def test_what_a_power_cut_left_of_a_journal_is_overwritten(path: Path) -> None:
    """After the commit, before the overwriting: the journal still has the plain rows."""
    write_first_format(path, 1, 2, 3)
    old = path.read_bytes()
    ProfileStore(path).close()
    journal = path.with_name(path.name + "-journal")
    journal.write_bytes(bytes(512) + old)
    ProfileStore(path).close()
    assert not journal.exists()
    assert traces(path.parent, *plain_parts(make_sample(2))) == []


def test_damage_in_an_old_store_is_not_mended_by_bringing_it_up_to_date(path: Path) -> None:
    write_first_format(path, 1, 2, 3)
    content = bytearray(path.read_bytes())
    content[bytes(content).index(make_sample(2).speaker_embedding[40:44].tobytes())] ^= 1
    path.write_bytes(content)
    with ProfileStore(path) as store, pytest.raises(StoreError, match="signature of Ada"):
        store.get("Ada")


def test_two_processes_may_bring_a_store_up_to_date(path: Path) -> None:
    write_first_format(path, 1, 2, 3)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="in use"):
        _open_without_patience(path)
    other.execute("ROLLBACK")
    other.close()
    assert version_of(path) == 1
    with ProfileStore(path) as one, ProfileStore(path) as two:
        assert seeds_of(one.get("Ada").samples) == seeds_of(two.get("Ada").samples) == [1, 2, 3]


def _open_without_patience(path: Path) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as changed:
        changed.setattr("edge.store.sealed_file._BUSY_TIMEOUT_S", 0.05)
        ProfileStore(path).close()


def test_a_backup_of_the_first_format_is_followed(
    store: ProfileStore, path: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.sqlite"
    write_first_format(backup, 1, 2, 3)
    before = store.data_version()
    backup.replace(path)
    assert store.data_version() != before
    assert seeds_of(store.get("Ada").samples) == [1, 2, 3]


@pytest.mark.parametrize("torn", [0, 512, 4096])
def test_power_cut_while_a_store_is_brought_up_to_date(path: Path, torn: int) -> None:
    """Pages of the new format are on the disk, the commit is not."""
    write_first_format(path, 1, 2, 3)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")  # pages reach the disk before the commit
    writer.execute("BEGIN")
    writer.execute(
        "ALTER TABLE sample ADD COLUMN adapted INTEGER NOT NULL DEFAULT 0 CHECK (adapted IN (0, 1))"
    )
    writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    writer.execute("CREATE TABLE big (content BLOB)")
    writer.execute("INSERT INTO big VALUES (randomblob(1000000))")
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(os.urandom(torn) + path.read_bytes()[torn:])
    copy.with_name("copy.sqlite-journal").write_bytes(
        path.with_name(path.name + "-journal").read_bytes()
    )
    writer.close()
    with ProfileStore(copy) as store:
        ada = store.get("Ada")
        assert all(same(sample, make_sample(1 + i)) for i, sample in enumerate(ada.samples))
        assert len(ada.samples) == 3
        store.adapt(ada, learned(7), most=5)
    database = sqlite3.connect(copy)
    assert {name for (name,) in database.execute("SELECT name FROM sqlite_master")} >= {"sample"}
    assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'big'").fetchone() == (
        0,
    )
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_signatures_are_made_of_the_same_numbers_after_bringing_up_to_date(path: Path) -> None:
    write_first_format(path, 1, 2, 3)
    with ProfileStore(path) as store:
        samples = store.get("Ada").samples
    weights = np.asarray([1.5] * 3, np.float32)
    total = weights @ np.stack([make_sample(seed).speaker_embedding for seed in (1, 2, 3)])
    assert np.array_equal(signature_of(samples), total / np.float32(np.linalg.norm(total)))
