"""Samples that were learned: bounded, reversible, never in the place of what was enrolled."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ProfileError, StoreError
from edge.recognition.voice import signature_of
from edge.store import MAX_ADAPTED, MAX_SAMPLES, ProfileStore
from edge.store.schema import SCHEMA_VERSION
from edge.types import EnrolmentSample, Profile, ProfileKind, ProfileStatus
from tests.unit.test_store import PHRASE_MODEL, SPEAKER_MODEL, enrol, make_sample, same

# The format as the first release wrote it, to be left as it is.
FIRST_FORMAT = """
PRAGMA application_id = 1164203587;
PRAGMA user_version = 1;
CREATE TABLE profile (
    id            TEXT PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN ('phrase', 'voice')),
    phrase        TEXT NOT NULL,
    speaker_model TEXT NOT NULL DEFAULT '',
    phrase_model  TEXT NOT NULL DEFAULT '',
    required      REAL NOT NULL CHECK (required > 0),
    created_at    REAL NOT NULL,
    updated_at    REAL NOT NULL
);
CREATE TABLE sample (
    profile_id    TEXT NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL CHECK (position >= 0),
    speaker       BLOB NOT NULL,
    speaker_size  INTEGER NOT NULL,
    phrase        BLOB,
    phrase_rows   INTEGER NOT NULL,
    phrase_size   INTEGER NOT NULL,
    net_speech_s  REAL NOT NULL,
    snr_db        REAL NOT NULL,
    created_at    REAL NOT NULL,
    digest        BLOB NOT NULL,
    PRIMARY KEY (profile_id, position)
);
"""
ADA = "0e0f8a56-6a3f-4b63-a6b4-58f5b0f1a001"


def first_digest(values: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def write_first_format(path: Path, *seeds: int) -> None:
    """A store of format 1 with Ada in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.executescript(FIRST_FORMAT)
    database.execute(
        "INSERT INTO profile VALUES (?, 'Ada', 'ada', 'phrase', 'mellon', ?, ?, 3.0, 1.5, 2.5)",
        (ADA, SPEAKER_MODEL, PHRASE_MODEL),
    )
    for position, seed in enumerate(seeds):
        sample = make_sample(seed)
        assert sample.phrase_embedding is not None
        values = (
            sample.speaker_embedding.astype("<f4").tobytes(),
            192,
            sample.phrase_embedding.astype("<f4").tobytes(),
            *sample.phrase_embedding.shape,
            sample.net_speech_s,
            sample.snr_db,
            sample.created_at,
        )
        database.execute(
            "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (ADA, position, *values, first_digest(values)),
        )
    database.commit()
    database.close()
    path.chmod(0o600)


def learned(seed: int) -> EnrolmentSample:
    return replace(make_sample(seed), adapted=True)


def seeds_of(samples: Sequence[EnrolmentSample]) -> list[int]:
    return [round(sample.created_at - 1_700_000_000.25) for sample in samples]


def version_of(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[60:64], "big")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signatures.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(path) as store:
        yield store


@pytest.fixture
def ada(store: ProfileStore) -> Profile:
    return store.get(enrol(store, "Ada", 1, 2, 3))


def test_a_learned_sample_is_kept_apart(path: Path) -> None:
    with ProfileStore(path) as store:
        before = store.get(enrol(store, "Ada", 1, 2, 3))
        store.adapt(before, learned(7), most=5)
    with ProfileStore(path) as store:
        profile = store.get("Ada")
    assert seeds_of(profile.enrolled) == [1, 2, 3]
    assert seeds_of(profile.adapted) == [7]
    assert all(same(one, other) for one, other in zip(before.samples, profile.samples))
    assert same(profile.samples[3], learned(7))
    assert profile.updated_at > before.updated_at
    shown = profile.as_dict()
    assert (shown["enrolments"], shown["adapted"], shown["net_speech_s"]) == (3, 1, 4.5)


def test_what_was_learned_does_not_complete_an_enrolment(store: ProfileStore) -> None:
    profile = store.get(enrol(store, "Ada", 1, 2))
    profile = store.adapt(profile, learned(7), most=5)
    assert (profile.progress, profile.remaining) == (2.0, 1.0)
    assert profile.status is ProfileStatus.ENROLLING
    profile = store.add_sample("Ada", make_sample(3), SPEAKER_MODEL, PHRASE_MODEL)
    assert profile.status is ProfileStatus.ENROLLED
    assert seeds_of(profile.enrolled) == [1, 2, 3]


def test_the_oldest_learned_sample_makes_room(store: ProfileStore, ada: Profile) -> None:
    for seed in range(10, 17):
        ada = store.adapt(ada, learned(seed), most=3)
    assert seeds_of(ada.adapted) == [14, 15, 16]
    assert seeds_of(ada.enrolled) == [1, 2, 3]
    ada = store.adapt(ada, learned(17), most=1)
    assert seeds_of(ada.samples) == [1, 2, 3, 17]


def test_one_that_made_room_is_not_left_in_the_file(
    store: ProfileStore, ada: Profile, path: Path
) -> None:
    trace = learned(10).speaker_embedding[40:80].tobytes()
    ada = store.adapt(ada, learned(10), most=1)
    assert trace in path.read_bytes()
    store.adapt(ada, learned(11), most=1)
    assert trace not in path.read_bytes()


def test_others_learned_samples_stay(store: ProfileStore, ada: Profile) -> None:
    grace = store.get(enrol(store, "Grace", 4, 5, 6))
    store.adapt(grace, learned(20), most=1)
    store.adapt(ada, learned(21), most=1)
    store.forget_adaptation("Ada")
    assert seeds_of(store.get("Grace").samples) == [4, 5, 6, 20]


def test_reverting_restores_the_very_signature(
    store: ProfileStore, ada: Profile, path: Path
) -> None:
    before = signature_of(ada.samples).tobytes()
    for seed in (10, 11):
        ada = store.adapt(ada, learned(seed), most=5)
    assert signature_of(ada.samples).tobytes() != before
    reverted = store.forget_adaptation("ada")
    assert seeds_of(reverted.samples) == [1, 2, 3]
    assert signature_of(reverted.samples).tobytes() == before
    assert reverted.status is ProfileStatus.ENROLLED
    content = b"".join(each.read_bytes() for each in path.parent.iterdir())
    for seed in (10, 11):
        assert learned(seed).speaker_embedding[40:48].tobytes() not in content
    with pytest.raises(ProfileError, match="no profile"):
        store.forget_adaptation("Grace")


def test_reverting_what_learned_nothing_changes_nothing(store: ProfileStore, ada: Profile) -> None:
    assert store.forget_adaptation("Ada").updated_at == ada.updated_at


@pytest.mark.parametrize("change", ["replace", "reset", "delete", "rename", "adapt"])
def test_a_profile_that_changed_meanwhile_learns_nothing(
    store: ProfileStore, ada: Profile, change: str
) -> None:
    """The utterance was accepted by a signature that may be somebody else's by now."""
    if change == "replace":
        store.replace_samples("Ada", [make_sample(9)], SPEAKER_MODEL, PHRASE_MODEL)
    elif change == "reset":
        store.reset("Ada")
    elif change == "delete":
        store.delete("Ada")
    elif change == "rename":
        store.rename("Ada", "Augusta")
    else:
        store.adapt(ada, learned(8), most=5)
    before = [seeds_of(profile.samples) for profile in store.list()]
    with pytest.raises(ProfileError):
        store.adapt(ada, learned(7), most=5)
    assert [seeds_of(profile.samples) for profile in store.list()] == before


def test_only_learned_samples_are_learned_and_only_others_enrolled(
    store: ProfileStore, ada: Profile
) -> None:
    with pytest.raises(ValueError, match="learned"):
        store.adapt(ada, make_sample(7), most=5)
    with pytest.raises(ValueError, match="learned"):
        store.add_sample("Ada", learned(7), SPEAKER_MODEL, PHRASE_MODEL)
    with pytest.raises(ValueError, match="learned"):
        store.replace_samples("Ada", [learned(7)], SPEAKER_MODEL, PHRASE_MODEL)
    with pytest.raises(ValueError, match="phrase"):
        store.adapt(ada, replace(learned(7), phrase_embedding=None), most=5)
    for most in (0, MAX_ADAPTED + 1):
        with pytest.raises(ValueError, match="learned"):
            store.adapt(ada, learned(7), most=most)
    assert seeds_of(store.get("Ada").samples) == [1, 2, 3]


def test_nothing_is_learned_for_who_has_nothing_enrolled(store: ProfileStore) -> None:
    blank = store.create("Ada", ProfileKind.PHRASE, required=3)
    with pytest.raises(ProfileError, match="nothing enrolled"):
        store.adapt(blank, learned(7), most=5)


def test_enrolling_anew_forgets_what_was_learned(store: ProfileStore, ada: Profile) -> None:
    store.adapt(ada, learned(7), most=5)
    store.replace_samples(
        "Ada", [make_sample(seed) for seed in (4, 5, 6)], SPEAKER_MODEL, PHRASE_MODEL
    )
    assert seeds_of(store.get("Ada").samples) == [4, 5, 6]


def test_a_full_profile_learns_too(store: ProfileStore) -> None:
    profile = store.get(enrol(store, "Ada", *range(MAX_SAMPLES)))
    profile = store.adapt(profile, learned(99), most=1)
    assert len(profile.samples) == MAX_SAMPLES + 1
    with pytest.raises(ProfileError, match="most"):
        store.add_sample("Ada", make_sample(98), SPEAKER_MODEL, PHRASE_MODEL)


@pytest.mark.parametrize("row", ["adapted = 0", "adapted = 1"])
def test_the_digest_covers_whether_a_sample_was_learned(
    store: ProfileStore, ada: Profile, path: Path, row: str
) -> None:
    store.adapt(ada, learned(7), most=5)
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE sample SET adapted = 1 - adapted WHERE {row}")  # noqa: S608
    other.close()
    with pytest.raises(StoreError, match="damaged"):
        store.get("Ada")


_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("adapt"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["enrol", "revert", "reset", "reopen"]), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(_OPERATIONS)
def test_whatever_happens_the_enrolment_stays_and_the_rest_is_bounded(
    operations: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signatures.sqlite"
        store = ProfileStore(path)
        enrol(store, "Ada", 1)
        enrolled, adapted = [1], list[int]()
        for seed, (operation, most) in enumerate(operations, start=2):
            if operation == "adapt" and enrolled:
                store.adapt(store.get("Ada"), learned(seed), most=most)
                adapted = [*adapted, seed][-most:]
            elif operation == "enrol":
                store.add_sample("Ada", make_sample(seed), SPEAKER_MODEL, PHRASE_MODEL)
                enrolled.append(seed)
            elif operation == "revert":
                store.forget_adaptation("Ada")
                adapted = []
            elif operation == "reset":
                store.reset("Ada")
                enrolled, adapted = [], []
            elif operation == "reopen":
                store.close()
                store = ProfileStore(path)
            profile = store.get("Ada")
            assert seeds_of(profile.enrolled) == enrolled
            assert seeds_of(profile.adapted) == adapted
            assert all(
                same(sample, make_sample(seed)) for sample, seed in zip(profile.enrolled, enrolled)
            )
        store.close()


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
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with ProfileStore(path) as store:
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3, 7]


def test_both_ways_to_this_format_lead_to_the_same_tables(path: Path, tmp_path: Path) -> None:
    write_first_format(path, 1)
    ProfileStore(path).close()
    ProfileStore(tmp_path / "fresh.sqlite").close()
    layouts = []
    for each in (path, tmp_path / "fresh.sqlite"):
        database = sqlite3.connect(each)
        layouts.append([
            database.execute(f"PRAGMA table_info({table})").fetchall()
            for table in ("profile", "sample")
        ])  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            database.execute(
                "INSERT INTO sample VALUES ('', 0, x'', 0, x'', 0, 0, 0.0, 0.0, 0.0, x'', 2)"
            )
        database.close()
    assert layouts[0] == layouts[1]
    assert "adapted" in str(layouts[0])


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
        changed.setattr("edge.store.schema._BUSY_TIMEOUT_S", 0.05)
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
