"""The signature store: what it keeps, what it refuses, and what it erases."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

import numpy as np
import pytest

from edge.errors import ProfileError, StoreError
from edge.store import MAX_PROFILES, MAX_SAMPLES, ProfileStore
from edge.store.names import clean_name
from edge.types import EnrolmentSample, FloatArray, ProfileKind, ProfileStatus

SPEAKER_MODEL = "5" * 64
PHRASE_MODEL = "9" * 64


def make_sample(
    seed: int = 0, *, phrase: bool = True, seconds: float = 1.5, rows: int = 20
) -> EnrolmentSample:
    """A sample of random numbers, the same for the same seed."""
    random = np.random.default_rng(seed)
    speaker = random.standard_normal(192).astype(np.float32)
    spoken: Optional[FloatArray] = None
    if phrase:
        spoken = random.standard_normal((rows, 96)).astype(np.float32)
    return EnrolmentSample(
        speaker_embedding=speaker / np.linalg.norm(speaker),
        phrase_embedding=spoken,
        net_speech_s=seconds,
        snr_db=21.5,
        created_at=1_700_000_000.25 + seed,
    )


def same(one: EnrolmentSample, other: EnrolmentSample) -> bool:
    return (
        np.array_equal(one.speaker_embedding, other.speaker_embedding)
        and np.array_equal(
            np.asarray(one.phrase_embedding, float), np.asarray(other.phrase_embedding, float), True
        )
        and one.net_speech_s == other.net_speech_s
        and one.snr_db == other.snr_db
        and one.created_at == other.created_at
        and one.adapted is other.adapted
    )


def enrol(store: ProfileStore, name: str, *seeds: int) -> str:
    return store.create_with_samples(
        name,
        ProfileKind.PHRASE,
        required=3,
        samples=[make_sample(seed) for seed in seeds],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
    ).id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signatures.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(path) as store:
        yield store


def test_samples_come_back_bit_for_bit_after_reopening(path: Path) -> None:
    with ProfileStore(path) as store:
        created = store.create("Ada", ProfileKind.PHRASE, "open the door", required=3)
        assert created.status is ProfileStatus.ENROLLING
        assert created.remaining == 3
        for seed in range(3):
            store.add_sample(created.id, make_sample(seed), SPEAKER_MODEL, PHRASE_MODEL)
    with ProfileStore(path) as store:
        profile = store.get("Ada")
    assert profile.id == created.id
    assert profile.phrase == "open the door"
    assert profile.status is ProfileStatus.ENROLLED
    assert (profile.speaker_model, profile.phrase_model) == (SPEAKER_MODEL, PHRASE_MODEL)
    assert profile.created_at == created.created_at
    assert profile.updated_at >= created.created_at
    assert all(same(make_sample(seed), profile.samples[seed]) for seed in range(3))
    assert profile.samples[0].speaker_embedding.dtype == np.float32


def test_free_speech_is_counted_in_seconds(store: ProfileStore) -> None:
    profile = store.create("Ada", ProfileKind.VOICE, required=30)
    profile = store.add_sample(
        profile.id, make_sample(phrase=False, seconds=12.5), SPEAKER_MODEL, ""
    )
    assert profile.remaining == 17.5
    profile = store.add_sample(
        profile.id, make_sample(phrase=False, seconds=17.5), SPEAKER_MODEL, ""
    )
    assert profile.status is ProfileStatus.ENROLLED
    assert profile.samples[0].phrase_embedding is None


def test_file_and_folder_are_private(store: ProfileStore, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_file_that_was_open_to_others_is_made_private(path: Path) -> None:
    ProfileStore(path).close()
    path.chmod(0o644)
    ProfileStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ProfileStore(tmp_path / "signatures.sqlite").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_at_rest_the_store_is_one_file(store: ProfileStore, path: Path) -> None:
    enrol(store, "Ada", 1, 2, 3)
    store.reset("Ada")
    store.delete("Ada")
    store.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("Ada", "ADA"),
        ("Łukasz", "łUKASZ"),
        ("Straße", "STRASSE"),
        ("Zoë", "Zoe\u0308"),
        ("李小龙", "李小龙"),
        ("\uff21da", "ada"),
        ("Ada  Lovelace", " ada lovelace "),
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u0631\u0636\u0627"),
        ("🦊", "🦊"),
    ],
)
def test_names_are_found_and_unique_without_regard_to_case(
    store: ProfileStore, kept: str, asked: str
) -> None:
    profile = store.create(kept, ProfileKind.PHRASE, required=3)
    assert store.get(asked).id == profile.id
    with pytest.raises(ProfileError, match="already"):
        store.create(asked, ProfileKind.PHRASE, required=3)
    assert store.count() == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "at least one"),
        ("   ", "at least one"),
        ("\u200d", "at least one"),
        ("a" * 65, "64 characters"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31m", r"U\+001B"),
        ("\u202egnp.exe", r"U\+202E"),
        ("a\udce4", r"U\+DCE4"),
        ("6d1d4b0e-3f5c-4a8e-9d8f-0f4a4d5f9a11", "id"),
    ],
)
def test_impossible_names_are_refused(store: ProfileStore, name: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        store.create(name, ProfileKind.PHRASE, required=3)
    assert "\n" not in str(caught.value)
    assert store.count() == 0


def test_longest_name_is_allowed_and_composed() -> None:
    assert clean_name(" " + "a\u0308" * 64 + " ") == "ä" * 64


def test_unknown_profile_names_the_nearest(store: ProfileStore) -> None:
    with pytest.raises(ProfileError, match="nobody is enrolled"):
        store.get("Ada")
    store.create("Ada Lovelace", ProfileKind.PHRASE, required=3)
    with pytest.raises(ProfileError, match=r"did you mean Ada Lovelace\?"):
        store.get("ada lovelase")
    with pytest.raises(ProfileError, match="profiles list"):
        store.get("Grace")
    with pytest.raises(ProfileError, match="no profile"):
        store.get("\udce4")
    with pytest.raises(ProfileError) as caught:
        store.get("x" * 100_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("required", [0, -1, float("nan"), float("inf"), 51])
def test_impossible_requirements_are_refused(store: ProfileStore, required: float) -> None:
    with pytest.raises(ProfileError, match="require"):
        store.create("Ada", ProfileKind.PHRASE, required=required)


def test_models_are_not_mixed(store: ProfileStore) -> None:
    enrol(store, "Ada", 1)
    for speaker_model, phrase_model in [("6" * 64, PHRASE_MODEL), (SPEAKER_MODEL, "6" * 64)]:
        with pytest.raises(ProfileError, match="another model"):
            store.add_sample("Ada", make_sample(2), speaker_model, phrase_model)
    assert len(store.get("Ada").samples) == 1
    store.reset("Ada")
    assert store.get("Ada").speaker_model == ""
    assert store.add_sample("Ada", make_sample(2), "6" * 64, PHRASE_MODEL).speaker_model == "6" * 64


def _bad_samples() -> Iterator[tuple[str, EnrolmentSample]]:
    good = make_sample()
    phrase = good.phrase_embedding
    assert phrase is not None
    for what, speaker, spoken in [
        ("not unit length", good.speaker_embedding * 1.1, phrase),
        ("not a number", np.full(192, np.nan, np.float32), phrase),
        ("a matrix", good.speaker_embedding.reshape(2, 96), phrase),
        ("empty", np.zeros(0, np.float32), phrase),
        ("no phrase", good.speaker_embedding, None),
        ("an infinite phrase", good.speaker_embedding, phrase * np.float32(np.inf)),
        ("a flat phrase", good.speaker_embedding, phrase.ravel()),
        ("a phrase of no length", good.speaker_embedding, phrase[:0]),
        ("a phrase too long", good.speaker_embedding, np.zeros((5000, 96), np.float32)),
    ]:
        yield what, EnrolmentSample(speaker, spoken, 1.0, 20.0, 0.0)
    yield (
        "endless speech",
        EnrolmentSample(good.speaker_embedding, phrase, float("inf"), 20.0, 0.0),
    )


@pytest.mark.parametrize("sample", [pytest.param(bad, id=what) for what, bad in _bad_samples()])
def test_what_is_no_embedding_is_never_stored(store: ProfileStore, sample: EnrolmentSample) -> None:
    enrol(store, "Ada", 1)
    with pytest.raises(ValueError, match=r"embedding|figures"):
        store.add_sample("Ada", sample, SPEAKER_MODEL, PHRASE_MODEL)
    assert same(store.get("Ada").samples[0], make_sample(1))


def test_bounds_on_profiles_and_samples(store: ProfileStore) -> None:
    profile_id = enrol(store, "Ada", *range(MAX_SAMPLES))
    with pytest.raises(ProfileError, match="most"):
        store.add_sample(profile_id, make_sample(), SPEAKER_MODEL, PHRASE_MODEL)
    for number in range(MAX_PROFILES - 1):
        store.create(f"guest {number}", ProfileKind.PHRASE, required=3)
    with pytest.raises(ProfileError, match="most"):
        store.create("one more", ProfileKind.PHRASE, required=3)
    assert [profile.name for profile in store.list()][:2] == ["Ada", "guest 0"]


def test_failed_whole_enrolment_leaves_nothing(store: ProfileStore) -> None:
    bad = EnrolmentSample(np.zeros(192, np.float32), None, 1.0, 20.0, 0.0)
    with pytest.raises(ValueError, match="embedding"):
        store.create_with_samples(
            "Ada",
            ProfileKind.PHRASE,
            required=3,
            samples=[make_sample(1), make_sample(2), bad],
            speaker_model=SPEAKER_MODEL,
            phrase_model=PHRASE_MODEL,
        )
    assert store.list() == []


def test_failed_exchange_leaves_the_old_signature(store: ProfileStore) -> None:
    enrol(store, "Ada", 1, 2, 3)
    bad = EnrolmentSample(np.zeros(192, np.float32), None, 1.0, 20.0, 0.0)
    with pytest.raises(ValueError, match="embedding"):
        store.replace_samples("Ada", [make_sample(4), bad], SPEAKER_MODEL, PHRASE_MODEL)
    profile = store.get("Ada")
    assert profile.status is ProfileStatus.ENROLLED
    assert [same(profile.samples[i], make_sample(i + 1)) for i in range(3)] == [True] * 3


def test_exchange_takes_new_models_and_phrase(store: ProfileStore) -> None:
    profile_id = enrol(store, "Ada", 1, 2, 3)
    new = store.replace_samples(
        "Ada",
        [make_sample(seed) for seed in (4, 5, 6, 7)],
        "6" * 64,
        "7" * 64,
        phrase="new",
        required=4,
    )
    assert (new.id, new.phrase, new.required, len(new.samples)) == (profile_id, "new", 4, 4)
    assert new.speaker_model == "6" * 64
    assert same(store.get(profile_id).samples[3], make_sample(7))


def test_rename(store: ProfileStore) -> None:
    profile_id = enrol(store, "Ada", 1)
    store.create("Grace", ProfileKind.VOICE, required=30)
    assert store.rename("ada", "ADA").name == "ADA"
    with pytest.raises(ProfileError, match="already"):
        store.rename("ada", "grace")
    with pytest.raises(ProfileError, match="U\\+0000"):
        store.rename("ada", "\0")
    assert store.rename(profile_id, "Augusta").id == profile_id
    with pytest.raises(ProfileError, match="no profile"):
        store.get("ada")


@pytest.mark.parametrize("how", ["delete", "reset", "replace"])
def test_erased_signature_is_in_no_file(store: ProfileStore, path: Path, how: str) -> None:
    enrol(store, "Grace", 7, 8, 9)
    enrol(store, "Ada", 1, 2, 3)
    enrol(store, "Edith", 11, 12, 13)

    def traces() -> list[str]:
        content = b"".join(each.read_bytes() for each in path.parent.iterdir())
        found = []
        for seed in (1, 2, 3):
            sample = make_sample(seed)
            assert sample.phrase_embedding is not None
            speaker, spoken = sample.speaker_embedding, sample.phrase_embedding.ravel()
            # Any eight numbers in a row would be a trace: page borders may split the rest.
            for name, array in (("speaker", speaker), ("phrase", spoken)):
                found += [
                    f"{name} of {seed} at {start}"
                    for start in range(0, array.size - 8, 8)
                    if array[start : start + 8].tobytes() in content
                ]
        return found

    assert len(traces()) > 500
    if how == "delete":
        store.delete("Ada")
    elif how == "reset":
        assert store.reset("Ada").remaining == 3
    else:
        store.replace_samples("Ada", [make_sample(4)], SPEAKER_MODEL, PHRASE_MODEL)
    assert traces() == []
    assert [same(each, make_sample(7 + i)) for i, each in enumerate(store.get("Grace").samples)]


def test_other_process_is_noticed_at_once(store: ProfileStore, path: Path) -> None:
    before = store.data_version()
    assert store.data_version() == before
    store.list()
    assert store.data_version() == before
    with sqlite3.connect(path) as other:  # not through this module: as another process would
        other.execute("UPDATE profile SET phrase = 'x'")
        other.execute(
            "INSERT INTO profile (id, name, name_key, kind, phrase, required, created_at,"
            " updated_at) VALUES ('1', 'Ada', 'ada', 'phrase', '', 3, 0, 0)"
        )
    other.close()
    after = store.data_version()
    assert after != before
    assert store.data_version() == after
    store.rename("Ada", "Augusta")
    assert store.data_version() != after


def test_backup_put_in_place_is_followed(store: ProfileStore, path: Path, tmp_path: Path) -> None:
    enrol(store, "Ada", 1)
    with ProfileStore(tmp_path / "backup.sqlite") as backup:
        enrol(backup, "Grace", 2)
    before = store.data_version()
    (tmp_path / "backup.sqlite").replace(path)
    assert store.data_version() != before
    assert [profile.name for profile in store.list()] == ["Grace"]
    path.unlink()
    with pytest.raises(StoreError, match="removed"):
        store.data_version()


def test_busy_store_is_waited_for(store: ProfileStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    enrol(store, "Ada", 1)
    timer.join()
    other.close()
    assert store.count() == 1


def test_threads_share_a_store(store: ProfileStore) -> None:
    enrol(store, "Ada", 1)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                enrol(store, f"{number} {turn}", number)
                assert len(store.list()) >= 2
                store.delete(f"{number} {turn}")
        except BaseException as error:  # noqa: BLE001 (it is what the test is about)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.count() == 1


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


def _filled(path: Path) -> bytes:
    with ProfileStore(path) as store:
        for number in range(6):
            enrol(store, f"p{number}", number, number + 10, number + 20)
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


def test_foreign_database_with_a_journal_is_not_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite"
    _foreign(path)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    database.executemany("INSERT INTO photos VALUES (?)", [(i,) for i in range(20_000)])
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    journal = tmp_path / "copy.sqlite-journal"
    journal.write_bytes((tmp_path / "photos.sqlite-journal").read_bytes())
    before = copy.read_bytes(), journal.read_bytes()
    database.close()
    with pytest.raises(StoreError, match="another program"):
        ProfileStore(copy)
    assert (copy.read_bytes(), journal.read_bytes()) == before


@pytest.mark.parametrize("torn", [0, 512, 4096])
def test_torn_first_page_is_restored_from_the_journal(tmp_path: Path, torn: int) -> None:
    """What a power cut in the middle of a commit leaves: a journal, and a file half written."""
    path = tmp_path / "signatures.sqlite"
    with ProfileStore(path) as store:
        enrol(store, "Ada", 1, 2, 3)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")  # pages reach the disk before the commit
    writer.execute("BEGIN")
    writer.execute("DELETE FROM sample")
    writer.execute("CREATE TABLE big (content BLOB)")
    writer.execute("INSERT INTO big VALUES (randomblob(1000000))")
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(os.urandom(torn) + path.read_bytes()[torn:])
    journal = path.with_name(path.name + "-journal").read_bytes()
    assert journal[:8].hex() == "d9d505f920a163d7"
    copy.with_name("copy.sqlite-journal").write_bytes(journal)
    writer.close()
    with ProfileStore(copy) as store:
        profile = store.get("Ada")
    assert [same(sample, make_sample(1 + i)) for i, sample in enumerate(profile.samples)] == [
        True,
        True,
        True,
    ]


def test_flipped_bit_in_a_signature_is_found_and_can_be_reset(path: Path) -> None:
    with ProfileStore(path) as store:
        enrol(store, "Ada", 1, 2, 3)
        enrol(store, "Grace", 4, 5, 6)
    content = bytearray(path.read_bytes())
    at = bytes(content).index(make_sample(2).speaker_embedding[40:44].tobytes())
    content[at] ^= 1
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
        "UPDATE sample SET speaker = zeroblob(768)",
        "UPDATE sample SET speaker = 'text'",
        "UPDATE sample SET phrase_rows = 1000000",
        "UPDATE sample SET digest = x'00'",
        "UPDATE sample SET snr_db = 'loud'",
        "UPDATE profile SET required = 9e999",
        "UPDATE profile SET created_at = 'yesterday'",
        "UPDATE profile SET name = x'00ff'",
    ],
)
def test_rows_that_make_no_sense_are_a_store_error(path: Path, change: str) -> None:
    with ProfileStore(path) as store:
        enrol(store, "Ada", 1)
    database = sqlite3.connect(path)
    database.execute(change)
    database.commit()
    database.close()
    with ProfileStore(path) as store, pytest.raises(StoreError, match="damaged"):
        store.list()


def test_place_that_cannot_be_written_to() -> None:
    for path in (Path("/proc/edge-voice/signatures.sqlite"), Path("/dev/null/signatures.sqlite")):
        with pytest.raises(StoreError, match="cannot open the signature store"):
            ProfileStore(path)
    with pytest.raises(StoreError, match="not a file"):
        ProfileStore(Path("/dev/null"))
    with pytest.raises(StoreError, match="not a file"):
        ProfileStore(Path("/"))
