"""Samples that were learned: bounded, reversible, never in the place of what was enrolled."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ProfileError, StoreError
from edge.recognition.scoring import signature_of
from edge.store import ProfileStore
from edge.types import Profile, ProfileKind, ProfileStatus
from tests.unit.stores import (
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    learned,
    make_sample,
    plain_parts,
    same,
    sealed_rows,
    seeds_of,
    traces,
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


def test_a_learned_sample_is_kept_apart(path: Path) -> None:
    with ProfileStore(path) as store:
        before = store.get(enroll(store, "Ada", 1, 2, 3))
        store.adapt(before, learned(7), most=5)
    with ProfileStore(path) as store:
        profile = store.get("Ada")
    assert seeds_of(profile.enrolled) == [1, 2, 3]
    assert seeds_of(profile.adapted) == [7]
    assert all(same(one, other) for one, other in zip(before.samples, profile.samples))
    assert same(profile.samples[3], learned(7))
    assert profile.updated_at > before.updated_at
    shown = profile.as_dict()
    assert (shown["enrollments"], shown["adapted"], shown["net_speech_s"]) == (3, 1, 4.5)


def test_what_was_learned_does_not_complete_an_enrollment(store: ProfileStore) -> None:
    profile = store.get(enroll(store, "Ada", 1, 2))
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
    ada = store.adapt(ada, learned(10), most=1)
    trace = sealed_rows(path, ada.id)[-1]
    assert traces(path.parent, trace)
    store.adapt(ada, learned(11), most=1)
    assert traces(path.parent, trace) == []


def test_others_learned_samples_stay(store: ProfileStore, ada: Profile) -> None:
    grace = store.get(enroll(store, "Grace", 4, 5, 6))
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
    learned_rows = sealed_rows(path, ada.id)[-2:]
    reverted = store.forget_adaptation("ada")
    assert seeds_of(reverted.samples) == [1, 2, 3]
    assert signature_of(reverted.samples).tobytes() == before
    assert reverted.status is ProfileStatus.ENROLLED
    assert traces(path.parent, *learned_rows, *plain_parts(learned(10))) == []
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
    for most in (0, 21):
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
    profile = store.get(enroll(store, "Ada", *range(50)))
    profile = store.adapt(profile, learned(99), most=1)
    assert len(profile.samples) == 51
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
        st.tuples(st.sampled_from(["enroll", "revert", "reset", "reopen"]), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=12, deadline=None)
@given(_OPERATIONS)
def test_whatever_happens_the_enrollment_stays_and_the_rest_is_bounded(
    operations: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signatures.sqlite"
        store = ProfileStore(path)
        enroll(store, "Ada", 1)
        enrolled, adapted = [1], list[int]()
        for seed, (operation, most) in enumerate(operations, start=2):
            if operation == "adapt" and enrolled:
                store.adapt(store.get("Ada"), learned(seed), most=most)
                adapted = [*adapted, seed][-most:]
            elif operation == "enroll":
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
