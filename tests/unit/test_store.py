"""The signature store: what it keeps, what it refuses, and what it erases."""

from __future__ import annotations

import sqlite3
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.config import StoreConfig
from edge.crypto.keys import KeySources, WrappingKey
from edge.errors import KeyFault, ProfileError, StoreError
from edge.private_files import overwrite
from edge.store import ProfileStore, open_store, sealed_file
from edge.store.names import clean_name
from edge.store.records import as_dict, from_dict
from edge.store.sqlite import Database
from edge.types import AccessRule, EnrollmentSample, Profile, ProfileKind, ProfileStatus
from tests.unit.stores import (
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    is_open,
    make_sample,
    plain_parts,
    same,
    sealed_rows,
    traces,
)
from tests.unit.waiting import ContendedLock


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
    assert not is_open(path)
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
    enroll(store, "Ada", 1, 2, 3)
    store.reset("Ada")
    store.delete("Ada")
    store.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, "store.key"]


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
    enroll(store, "Ada", 1)
    for speaker_model, phrase_model in [("6" * 64, PHRASE_MODEL), (SPEAKER_MODEL, "6" * 64)]:
        with pytest.raises(ProfileError, match="another model"):
            store.add_sample("Ada", make_sample(2), speaker_model, phrase_model)
    assert len(store.get("Ada").samples) == 1
    store.reset("Ada")
    assert store.get("Ada").speaker_model == ""
    assert store.add_sample("Ada", make_sample(2), "6" * 64, PHRASE_MODEL).speaker_model == "6" * 64


def test_a_reset_takes_the_duress_phrase_along(store: ProfileStore) -> None:
    """It would open again with whoever is enrolled next under that name."""
    enroll(store, "Ada", 1)
    enroll(store, "Robin", 1)
    for name in ("Ada", "Robin"):
        second = store.create(f"{name} (duress)", ProfileKind.PHRASE, duress_of=name, required=1)
        store.add_sample(second.id, make_sample(3), SPEAKER_MODEL, PHRASE_MODEL)
    store.reset("Ada")
    assert [each.name for each in store.list()] == ["Ada", "Robin", "Robin (duress)"]
    store.reset("Robin (duress)")
    assert [len(each.samples) for each in store.list()] == [0, 1, 0]


def test_variants_of_a_saying_are_kept(store: ProfileStore) -> None:
    samples = [make_sample(seed, variants=seed) for seed in range(8)]
    enroll(store, "Ada", 1)
    for sample in samples:
        store.add_sample("Ada", sample, SPEAKER_MODEL, PHRASE_MODEL)
    kept = store.get("Ada").samples[1:]
    assert all(map(same, kept, samples))
    with pytest.raises(ValueError, match="at most"):
        store.add_sample("Ada", make_sample(1, variants=8), SPEAKER_MODEL, PHRASE_MODEL)


def _bad_samples() -> Iterator[tuple[str, EnrollmentSample]]:
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
    ]:
        yield what, EnrollmentSample(speaker, spoken, 1.0, 20.0, 0.0)
    for variant in (phrase[:0], phrase.ravel(), phrase * np.float32(np.nan)):
        yield "a bad variant", replace(good, phrase_variants=(phrase, variant))
    yield (
        "variants of no phrase",
        replace(good, phrase_embedding=None, phrase_variants=(phrase,)),
    )
    yield (
        "endless speech",
        EnrollmentSample(good.speaker_embedding, phrase, float("inf"), 20.0, 0.0),
    )


@pytest.mark.parametrize("sample", [pytest.param(bad, id=what) for what, bad in _bad_samples()])
def test_what_is_no_embedding_is_never_stored(
    store: ProfileStore, sample: EnrollmentSample
) -> None:
    enroll(store, "Ada", 1)
    with pytest.raises(ValueError, match=r"embedding|figures|phrase"):
        store.add_sample("Ada", sample, SPEAKER_MODEL, PHRASE_MODEL)
    assert same(store.get("Ada").samples[0], make_sample(1))


def test_failed_whole_enrollment_leaves_nothing(store: ProfileStore) -> None:
    bad = EnrollmentSample(np.zeros(192, np.float32), None, 1.0, 20.0, 0.0)
    with pytest.raises(ValueError, match="embedding"):
        store.create(
            "Ada",
            ProfileKind.PHRASE,
            required=3,
            samples=[make_sample(1), make_sample(2), bad],
            speaker_model=SPEAKER_MODEL,
            phrase_model=PHRASE_MODEL,
        )
    assert store.list() == []


def test_failed_exchange_leaves_the_old_signature(store: ProfileStore) -> None:
    enroll(store, "Ada", 1, 2, 3)
    bad = EnrollmentSample(np.zeros(192, np.float32), None, 1.0, 20.0, 0.0)
    with pytest.raises(ValueError, match="embedding"):
        store.replace_samples("Ada", [make_sample(4), bad], SPEAKER_MODEL, PHRASE_MODEL)
    profile = store.get("Ada")
    assert profile.status is ProfileStatus.ENROLLED
    assert [same(profile.samples[i], make_sample(i + 1)) for i in range(3)] == [True] * 3


def test_exchange_takes_new_models_and_phrase(store: ProfileStore) -> None:
    profile_id = enroll(store, "Ada", 1, 2, 3)
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
    same_again = store.replace_samples("Ada", [make_sample(8)], SPEAKER_MODEL, PHRASE_MODEL)
    assert (same_again.phrase, same_again.required) == ("new", 4)
    for required in (0, 51):
        with pytest.raises(ProfileError, match="up to 50"):
            store.replace_samples("Ada", [], SPEAKER_MODEL, PHRASE_MODEL, required=required)
    with pytest.raises(ProfileError, match="200 characters"):
        store.replace_samples("Ada", [], SPEAKER_MODEL, PHRASE_MODEL, phrase="x" * 201)
    assert same(store.get("Ada").samples[0], make_sample(8))
    assert store.replace_samples("Ada", [], SPEAKER_MODEL, PHRASE_MODEL, phrase="").phrase == ""


def test_rename(store: ProfileStore) -> None:
    profile_id = enroll(store, "Ada", 1)
    store.create("Grace", ProfileKind.VOICE, required=30)
    before = store.get("Ada").updated_at
    renamed = store.rename("ada", "ADA")
    assert renamed.name == "ADA"
    assert renamed.updated_at > before
    with pytest.raises(ProfileError, match="already"):
        store.rename("ada", "grace")
    with pytest.raises(ProfileError, match="U\\+0000"):
        store.rename("ada", "\0")
    assert store.rename(profile_id, "Augusta").id == profile_id
    assert store.get(f" {profile_id.upper()} ").name == "Augusta"
    with pytest.raises(ProfileError, match="no profile"):
        store.get("ada")


@pytest.mark.parametrize("how", ["delete", "reset", "replace", "rename", "rule", "rotate"])
def test_erased_signature_is_in_no_file(
    store: ProfileStore, path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    enroll(store, "Grace", 7, 8, 9)
    enroll(store, "Ada", 1, 2, 3)
    enroll(store, "Edith", 11, 12, 13)

    ada = store.get("Ada").id
    store.keep("digit", b"digit of Ada" * 20, profile=ada)
    secrets = sealed_rows(path, ada)
    assert len(secrets) == 5
    assert len(traces(path.parent, *secrets)) > 100
    sectors: list[Path] = []

    def noted(file: Path) -> None:
        overwrite(file)
        sectors.append(file)

    monkeypatch.setattr("edge.store.sqlite.overwrite", noted)
    if how == "delete":
        store.delete("Ada")
        assert store.kept("digit") == []
    elif how == "reset":
        assert store.reset("Ada").remaining == 3
        secrets.pop()
    elif how == "rename":
        store.rename("Ada", "Augusta")
        secrets = secrets[:1]
    elif how == "rule":
        store.set_rule("Ada", AccessRule(doors=("shed",), challenge=True))
        assert store.get("Ada").rule.doors == ("shed",)
        secrets = secrets[:1]
    elif how == "rotate":
        store.rotate_key()
    else:
        store.replace_samples("Ada", [make_sample(4)], SPEAKER_MODEL, PHRASE_MODEL)
        secrets.pop()
    assert traces(path.parent, *secrets) == []
    assert sectors == [path.with_name("signatures.sqlite-journal")]
    assert [same(each, make_sample(7 + i)) for i, each in enumerate(store.get("Grace").samples)]


def test_nothing_can_be_read_in_the_file(store: ProfileStore, path: Path) -> None:
    name, phrase = "Ada Lovelace of Ockham Park", "the moon is made of cheese"
    store.create(name, ProfileKind.PHRASE, phrase, required=3)
    store.create("Panic at " + name, ProfileKind.PHRASE, required=3, duress_of=name)
    store.set_rule(name, AccessRule(doors=("garden-shed-behind-house",), last_day=date(2031, 3, 7)))
    for seed in (1, 2, 3):
        store.add_sample(name, make_sample(seed), SPEAKER_MODEL, PHRASE_MODEL)
    store.keep("digit", b"the digits of this person", profile=name)
    ada = store.get(name)
    secrets = [each for seed in (1, 2, 3) for each in plain_parts(make_sample(seed))]
    secrets += [phrase.encode(), b"garden-shed-behind-house", b"2031-03-07", b"Panic at"]
    secrets += [name.encode(), name.lower().encode(), b"the digits of this person"]
    secrets += [SPEAKER_MODEL.encode(), repr(ada.created_at).encode()]
    secrets += [struct.pack("<d", ada.samples[0].created_at)]
    assert traces(path.parent, *secrets) == []
    assert ada.rule.last_day == date(2031, 3, 7)


def test_items_are_bounded_and_go_with_the_person(store: ProfileStore) -> None:
    ada = enroll(store, "Ada", 1)
    enroll(store, "Grace", 2)
    mark = store.data_version()
    for number in range(5):
        store.keep("seen", b"%d" % number, most=3)
        store.keep("seen", b"a%d" % number, profile="Ada", most=2)
    store.keep("seen", b"g", profile="Grace", most=2)
    assert store.data_version() == mark
    assert [item.payload for item in store.kept("seen", "ada")] == [b"a3", b"a4"]
    everything = store.kept("seen")
    assert [item.payload for item in everything] == [b"2", b"3", b"a3", b"4", b"a4", b"g"]
    assert [item.profile_id for item in everything][:3] == [None, None, ada]
    assert store.kept("other") == []
    assert store.discard("seen", ids=[everything[0].id, 12345]) == 1
    assert store.discard("seen", "Grace") == 1
    store.delete("Ada")
    assert [item.payload for item in store.kept("seen")] == [b"3", b"4"]
    assert store.keep("seen", b"") > everything[-1].id
    assert store.discard("seen") == 3
    with pytest.raises(ProfileError, match="no profile"):
        store.keep("seen", b"", profile="Ada")


def test_a_duress_phrase_goes_with_its_person(store: ProfileStore) -> None:
    ada = enroll(store, "Ada", 1)
    enroll(store, "Grace", 2)
    duress = store.create("Ada (duress)", ProfileKind.PHRASE, required=3, duress_of="ada")
    assert duress.duress_of == ada
    assert store.get("Ada").duress_of is None
    with pytest.raises(ProfileError, match="no duress phrase of its own"):
        store.create("x", ProfileKind.PHRASE, required=3, duress_of=duress.id)
    store.rotate_key()
    store.delete("Ada")
    assert [profile.name for profile in store.list()] == ["Grace"]


def test_other_process_is_noticed_at_once(store: ProfileStore, path: Path) -> None:
    before = store.data_version()
    assert store.data_version() == before
    store.list()
    assert store.data_version() == before
    with ProfileStore(path) as other:  # a connection of its own, as another process would have
        other.create("Ada", ProfileKind.PHRASE, required=3)
    after = store.data_version()
    assert after != before
    assert store.data_version() == after
    store.rename("Ada", "Augusta")
    assert store.data_version() != after


def test_backup_put_in_place_is_followed(store: ProfileStore, path: Path, tmp_path: Path) -> None:
    enroll(store, "Ada", 1)
    with ProfileStore(tmp_path / "backup.sqlite") as backup:
        enroll(backup, "Grace", 2)
    before = store.data_version()
    assert before[0] == 0
    content = path.read_bytes()
    (tmp_path / "backup.sqlite").replace(path)
    with pytest.raises(KeyFault, match="locked with key"):  # a backup needs its own key
        store.data_version()
    (tmp_path / "store.key").replace(path.parent / "store.key")
    assert store.data_version()[0] == 1
    assert store.data_version() == store.data_version()
    assert [profile.name for profile in store.list()] == ["Grace"]
    assert path.read_bytes() != content
    path.unlink()
    with pytest.raises(StoreError, match="removed"):
        store.data_version()


ACTIONS: dict[str, Callable[[ProfileStore], object]] = {
    "read": ProfileStore.list,
    "write": lambda store: enroll(store, "Grace", 1),
    "erase": lambda store: store.delete("Ada"),
    "look for changes": ProfileStore.data_version,
    "open": lambda store: ProfileStore(store.path).close(),
    "close": ProfileStore.close,
}


@pytest.mark.parametrize("action", ACTIONS)
def test_threads_take_turns(path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    lock = ContendedLock()
    monkeypatch.setattr(sealed_file, "_ONE_AT_A_TIME", lock)
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1)
        assert lock.holds_up(lambda: ACTIONS[action](store))


@pytest.mark.parametrize("action", ["read", "write", "erase", "look for changes"])
def test_a_busy_store_is_waited_for_only_so_long(path: Path, action: str) -> None:
    with ProfileStore(path, busy_s=0.0) as store:
        enroll(store, "Ada", 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError, match="in use by another process for too long"):
                ACTIONS[action](store)
        assert store.count() == 1


def test_a_start_waits_for_another_process_longer_than_a_tick_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Database] = []
    patience: list[int] = []

    class Noted(Database):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self)
            patience.append(self.pragma("busy_timeout"))

    ProfileStore(path).close()
    monkeypatch.setattr(sealed_file, "Database", Noted)
    for busy_s, later in ((0.05, 50), (2.5, 2500)):
        with ProfileStore(path, busy_s):
            assert patience.pop() == 5000
            assert opened.pop().pragma("busy_timeout") == later
    with ProfileStore(path), open_store(path.parent):
        assert [each.pragma("busy_timeout") for each in opened] == [5000, 5000]


def test_of_two_who_make_a_store_the_second_takes_that_of_the_first(path: Path) -> None:
    class Slow(KeySources):
        def choose(self) -> WrappingKey:
            key = super().choose()
            with ProfileStore(path) as quicker:
                enroll(quicker, "Ada", 1)
            return key

    path.parent.mkdir(mode=0o700)
    file = sealed_file.StoreFile(path, 0.0, Slow(StoreConfig(), path.parent))
    with closing(file), file.reading():
        assert file.execute("SELECT count(*) FROM profile").fetchone() == (1,)
    with ProfileStore(path) as store:
        assert len(store.get("Ada").samples) == 1


def test_a_store_that_cannot_be_opened_is_closed(path: Path) -> None:
    ProfileStore(path).close()
    path.with_name("store.key").unlink()
    with pytest.raises(KeyFault) as caught:  # which keeps whatever was opened
        ProfileStore(path)
    assert "locked with key" in str(caught.value)
    assert not is_open(path)


def test_people_are_listed_by_when_they_were_enrolled(
    store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [2e9, 2e9 - 1, 2e9 - 2]
    clock = SimpleNamespace(time=iter(moments).__next__)
    monkeypatch.setattr("edge.types.profile.time", clock)
    for name, now in zip(("Ada", "Grace", "Edith"), moments):
        assert store.create(name, ProfileKind.PHRASE, required=3).created_at == now
    assert [profile.name for profile in store.list()] == ["Edith", "Grace", "Ada"]


def test_threads_share_a_store(store: ProfileStore) -> None:
    enroll(store, "Ada", 1)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(2):
                enroll(store, f"{number} {turn}", number)
                assert len(store.list()) >= 2
                store.delete(f"{number} {turn}")
        except BaseException as error:  # noqa: BLE001 (it is what the test is about)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.count() == 1


def test_what_the_owner_has_to_confirm(store: ProfileStore) -> None:
    """Of all that is enrolled what came last decides; what was learned or changed does not."""
    models = (SPEAKER_MODEL, PHRASE_MODEL)
    store.create(
        "Ada", ProfileKind.PHRASE, required=3, samples=[make_sample(1)],
        speaker_model=models[0], phrase_model=models[1], confirmed=False,
    )  # fmt: skip
    for number in (2, 3):
        assert store.get("Ada").status is ProfileStatus.ENROLLING
        with pytest.raises(ProfileError, match="does not wait to be confirmed"):
            store.confirm("Ada")
        store.add_sample("Ada", make_sample(number), *models, confirmed=False)
    assert store.get("Ada").status is ProfileStatus.UNCONFIRMED
    store.rename("Ada", "Countess")
    store.set_rule("Countess", AccessRule(enabled=True))
    assert store.get("Countess").as_dict()["status"] == "unconfirmed"
    assert store.confirm("Countess").status is ProfileStatus.ENROLLED
    assert store.get("Countess").status is ProfileStatus.ENROLLED
    with pytest.raises(ProfileError, match="does not wait to be confirmed"):
        store.confirm("Countess")
    store.add_sample("Countess", make_sample(4), *models, confirmed=False)
    assert store.get("Countess").status is ProfileStatus.UNCONFIRMED
    store.add_sample("Countess", make_sample(5), *models)
    assert store.get("Countess").status is ProfileStatus.ENROLLED
    store.add_sample("Countess", make_sample(6), *models, confirmed=False)
    again = store.replace_samples("Countess", [make_sample(n) for n in range(3)], *models)
    assert again.status is ProfileStatus.ENROLLED


@pytest.mark.parametrize(("written", "confirmed"), [({}, True), ({"confirmed": False}, False)])
def test_what_older_versions_wrote_is_confirmed(
    written: dict[str, bool], *, confirmed: bool
) -> None:
    record = as_dict(Profile.begin("Ada", required=3.0))
    assert record.pop("confirmed") is True
    assert from_dict({**record, **written}).confirmed is confirmed
    with pytest.raises(ValueError, match="it is neither confirmed nor not"):
        from_dict({**record, "confirmed": 0})
