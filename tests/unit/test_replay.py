"""The replay check: what it denies, and what it remembers and forgets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.access.decider import Judgment
from edge.audio.utterance import utterance_of
from edge.config import ReplayConfig
from edge.errors import StoreError
from edge.replay.fingerprint import UtterancePeaks
from edge.replay.memory import ReplayCheck, load_quietly, remember_enrollment
from edge.store import ProfileStore
from edge.store.ages import Ages
from edge.store.rows import Kept
from edge.types import FloatArray, Profile, ProfileKind, ReasonCode
from tests.unit.judgments import judgment_of
from tests.unit.stores import Memory, traces
from tests.unit.voices import recording, samples_of
from tools.replay.distortions import at_pitch, at_speed, at_tempo, gsm

DAY_S = 86_400.0
NOW = 1_000_000_000.0
ADA, ROBIN = (replace(Profile.begin(name), id=name.lower()) for name in ("Ada", "Robin"))
KNOWN, OPENS = ReasonCode.REPLAY_SUSPECTED, ReasonCode.RECOGNIZED


@functools.cache
def sound(number: int, seconds: float = 0.5) -> FloatArray:
    """One of many sounds that are unlike each other."""
    random = np.random.default_rng(number)
    return np.asarray(0.1 * random.standard_normal(round(16_000 * seconds)), np.float32)


def said(
    what: int | FloatArray,
    person: Profile = ADA,
    *,
    voice: bool = True,
    phrase: bool = True,
    start_s: float = 0.0,
    ended_at: float = 0.0,
) -> Judgment:
    """A judgment that grants, on a sound in the voice and with the phrase of a person, or not."""
    judgment = judgment_of(ReasonCode.RECOGNIZED, profile=person)
    samples = sound(what) if isinstance(what, int) else what
    utterance = replace(
        judgment.utterance,
        samples=samples,
        start_s=start_s,
        end_s=start_s + len(samples) / 16_000,
        speech_ended_at=ended_at,
    )
    candidate = judgment.candidate
    assert candidate is not None
    if not voice:
        candidate = replace(candidate, voice=replace(candidate.voice, score=0.5))
    if not phrase:
        candidate = replace(candidate, phrase=replace(candidate.phrase, score=0.5))
    return replace(judgment, utterance=utterance, candidate=candidate)


refused = functools.partial(said, phrase=False)
by_a_stranger = functools.partial(said, voice=False)


def reasons(check: ReplayCheck, *judgments: Judgment) -> list[ReasonCode]:
    return [check.review(judgment).decision.reason for judgment in judgments]


def known(check: ReplayCheck, *numbers: int) -> bool:
    """Whether all these sounds are remembered; those that are not, are then."""
    return all(reason is KNOWN for reason in reasons(check, *map(said, numbers)))


@dataclass
class Shelf:
    """A store in memory that does as it is told."""

    items: list[tuple[str, Kept]] = field(default_factory=list)
    kept_calls: list[tuple[str, str | None, int | None]] = field(default_factory=list)
    discarded: list[tuple[str, list[int]]] = field(default_factory=list)
    before_keeping: Callable[[], None] = lambda: None

    def add(self, kind: str, payload: bytes, owner: str | None = "ada") -> None:
        self.items.append((kind, Kept(len(self.items) + 1, owner, NOW, payload)))

    def kept(self, kind: str) -> list[Kept]:
        return [item for of, item in self.items if of == kind]

    def keep(self, kind: str, payload: bytes, *, profile: str | None, most: int) -> None:
        self.before_keeping()
        self.kept_calls.append((kind, profile, most))
        self.add(kind, payload, profile)

    def discard(self, kind: str, *, ids: Sequence[int]) -> None:
        self.discarded.append((kind, list(ids)))


@pytest.fixture
def shelf() -> Any:
    return Shelf()


@functools.cache
def payload(number: int) -> bytes:
    return UtterancePeaks(sound(number)).fingerprint().to_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(tmp_path / "state" / "signatures.sqlite") as opened:
        yield opened


@pytest.fixture
def ada(store: ProfileStore) -> Profile:
    """Ada in the store."""
    return store.create("Ada", ProfileKind.PHRASE, required=3)


def test_an_utterance_opens_once(caplog: pytest.LogCaptureFixture) -> None:
    check = ReplayCheck(ReplayConfig())
    first = said(samples_of("ada_right_phrase"))
    assert check.review(first) is first
    assert not caplog.records
    again = check.review(first)
    assert again.decision.reason is ReasonCode.REPLAY_SUSPECTED
    assert not again.decision.granted
    assert "replay suspected (score 0.6" in caplog.text
    for change in (gsm, at_speed(0.97), at_speed(1.05), at_pitch(1.0175), at_tempo(0.9)):
        transmitted = said(utterance_of(change(samples_of("ada_right_phrase"), 1)).samples)
        assert reasons(check, transmitted) == [KNOWN]
    repeated = said(recording("ada_enroll_2").samples)
    assert reasons(check, repeated) == [OPENS]


def test_a_replay_is_not_remembered_again() -> None:
    check = ReplayCheck(ReplayConfig())
    assert reasons(check, *4 * [said(1)]) == [OPENS, KNOWN, KNOWN, KNOWN]
    assert check.remembered == 1


def test_only_an_enrolled_voice_or_phrase_is_compared_and_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    check = ReplayCheck(ReplayConfig())
    others = (
        replace(said(1), candidate=None),
        said(1, voice=False, phrase=False),
        said(sound(1)[:800]),
    )
    for other in others * 2:
        assert check.review(other) is other
    assert check.remembered == 0
    assert caplog.messages == 2 * ["too little speech to check for a replay"]
    assert reasons(check, refused(1), by_a_stranger(2)) == [OPENS, OPENS]
    assert check.remembered == 2
    assert reasons(check, refused(1), by_a_stranger(2), said(1), said(2)) == 4 * [KNOWN]
    for other in others:
        assert check.review(other) is other


def test_switched_off_it_does_nothing() -> None:
    check = ReplayCheck(ReplayConfig(enabled=False))
    assert reasons(check, said(1), said(1)) == [OPENS, OPENS]
    assert check.remembered == 0


@pytest.mark.parametrize(
    ("later_s", "ended_later_s", "seconds", "expected"),
    [
        (0.0, 0.0, 0.5, OPENS),
        # Stretches that only touch are two sounds.
        (0.4375, 0.4375, 0.5, OPENS),
        (0.5, 0.5, 0.5, KNOWN),
        (-0.4375, -0.4375, 0.5, OPENS),
        (-0.5, -0.5, 0.5, KNOWN),
        # The stream of a microphone that came back starts at zero: same place, another time.
        (0.0, 0.9375, 0.5, OPENS),
        (0.0, 1.0, 0.5, KNOWN),
        (0.0, -0.9375, 0.5, OPENS),
        (0.0, -1.0, 0.5, KNOWN),
        (0.0, 1.4375, 1.0, OPENS),
        (0.0, 1.5, 1.0, KNOWN),
    ],
)
@pytest.mark.parametrize("whole_first", [False, True])
def test_the_same_part_of_the_stream_is_not_a_replay(
    later_s: float, ended_later_s: float, seconds: float, expected: ReasonCode, whole_first: bool
) -> None:
    longer = np.tile(sound(1), round(2 * seconds))
    one = said(1, start_s=100.0, ended_at=5000.0)
    other = said(longer, start_s=100.0 + later_s, ended_at=5000.0 + ended_later_s)
    check = ReplayCheck(ReplayConfig())
    both = (other, one) if whole_first else (one, other)
    assert reasons(check, *both) == [OPENS, expected]
    assert reasons(check, said(1)) == [KNOWN], "a recording has no place in the stream"


@pytest.mark.parametrize(("ended_at", "again"), [(0.0, KNOWN), (-0.125, KNOWN), (0.125, OPENS)])
def test_a_recording_is_never_the_same_sound(ended_at: float, again: ReasonCode) -> None:
    check = ReplayCheck(ReplayConfig())
    assert reasons(check, *2 * [said(1, ended_at=ended_at)]) == [OPENS, again]


@pytest.mark.parametrize(
    ("running_s", "known"), [(0.0, True), (14 * DAY_S - 1, True), (14 * DAY_S, False)]
)
def test_an_utterance_is_remembered_for_so_many_days_that_the_machine_ran(
    running_s: float, known: bool, shelf: Any
) -> None:
    up = [100.0]
    ages = Ages(Memory(), "heard", 14, clock=lambda: up[0], boot="one")
    check = ReplayCheck(ReplayConfig(), ages)
    shelf.add("heard", payload(2))
    shelf.add("heard-refused", payload(3))
    check.load(shelf)
    up[0] += running_s
    shelf.add("heard", payload(4))
    check.load(shelf)
    assert check.remembered == (3 if known else 1)
    assert shelf.discarded == ([] if known else [("heard", [1]), ("heard-refused", [2])])


@pytest.mark.parametrize("ahead_s", [-NOW, -DAY_S, 2000 * DAY_S])
def test_a_clock_that_jumps_makes_nobody_forget(
    ada: Profile, store: ProfileStore, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """It started in 1970, or once in 2031."""
    monkeypatch.setattr("time.time", lambda: NOW + ahead_s)
    check = ReplayCheck(ReplayConfig(), Ages(Memory(), "heard", 1))
    check.review(said(1, ada))
    check.store_new(store)
    monkeypatch.setattr("time.time", lambda: NOW)
    assert reasons(check, said(1, ada)) == [KNOWN]
    check = ReplayCheck(ReplayConfig(), Ages(Memory(), "heard", 1))
    check.load(store)
    assert reasons(check, said(1, ada)) == [KNOWN]


def test_what_cannot_be_dated_stays(shelf: Any, caplog: pytest.LogCaptureFixture) -> None:
    state = Memory()
    state.broken = True
    shelf.add("heard", payload(2))
    check = ReplayCheck(ReplayConfig(), Ages(state, "heard", 1))
    check.load(shelf)
    assert check.remembered == 1
    assert caplog.messages == ["nothing that was heard is forgotten for now: no space is left"]


def test_of_each_person_and_kind_the_newest_are_remembered() -> None:
    check = ReplayCheck(ReplayConfig(remembered=3))
    check.use(["ada", "robin"])
    many: list[tuple[Callable[[int, Profile], Judgment], Profile]] = [
        (said, ADA), (refused, ADA), (said, ROBIN), (refused, ROBIN), (by_a_stranger, ADA),
    ]  # fmt: skip
    for turn in range(3):
        for kind, (how, person) in enumerate(many):
            check.review(how(10 * kind + turn, person))
    assert check.remembered == 15
    assert known(check, *(10 * kind + turn for kind in range(5) for turn in range(3)))
    # One more of one kind makes room in this kind only: nobody is displaced by others' talking.
    check.review(refused(13))
    assert check.remembered == 15
    assert known(check, 0, 11, 13, 20, 30, 40)
    assert not known(check, 10), "the oldest went"


def test_two_thousand_are_compared_at_most_the_newest(shelf: Any) -> None:
    shelf.add("heard-refused", payload(2), "ada")
    for person in "abcd":
        for _ in range(500):
            shelf.add("heard", payload(1), person)
    check = ReplayCheck(ReplayConfig(remembered=500))
    check.load(shelf)
    assert check.remembered == 2000
    # The oldest goes, though it is read last.
    assert reasons(check, said(2), said(1)) == [OPENS, KNOWN]


def test_deleted_people_are_forgotten_and_the_others_are_not(shelf: Any) -> None:
    check = ReplayCheck(ReplayConfig())
    check.review(said(2, ROBIN))
    check.review(by_a_stranger(3))
    check.review(said(1, ADA))
    check.use(["robin"])
    assert check.remembered == 2
    check.load(shelf)  # as after each change; none of these is stored yet
    assert check.remembered == 2
    assert known(check, 2, 3)
    assert reasons(check, said(1, ADA), said(1, ADA)) == [OPENS, OPENS], "judged after the deletion"
    assert check.remembered == 2
    # Nor is somebody whom another process has just deleted.
    shelf.add("heard", payload(4), "ada")
    check.load(shelf)
    assert reasons(check, said(4, ROBIN)) == [OPENS]


def test_nothing_of_deleted_people_is_left_in_the_store(
    ada: Profile, store: ProfileStore, tmp_path: Path
) -> None:
    one = said(samples_of("ada_right_phrase"), ada)
    check = ReplayCheck(ReplayConfig())
    check.review(one)
    check.store_new(store)
    stored = store.kept("heard")[0].payload
    pieces = [stored[at : at + 24] for at in range(0, len(stored) - 24, 24)]
    secrets = [piece for piece in pieces if piece.count(0) < 12]  # an empty page has zeros too
    assert len(secrets) > 5
    store.delete("Ada")
    assert not store.kept("heard")
    assert not traces(tmp_path, *secrets)


def test_what_is_new_is_stored_once_and_in_order(shelf: Any) -> None:
    check = ReplayCheck(ReplayConfig(remembered=7))
    check.review(said(1, ADA))
    check.review(refused(2, ROBIN))
    check.review(by_a_stranger(3))
    check.load(shelf)
    assert check.remembered == 3, "loading forgets nothing that is not stored yet"
    for _ in range(2):
        check.store_new(shelf)
        assert shelf.kept_calls == [
            ("heard", "ada", 7), ("heard-refused", "robin", 7), ("heard-refused", None, 7),
        ]  # fmt: skip
    after = ReplayCheck(ReplayConfig())
    after.load(shelf)
    assert after.remembered == 3
    assert reasons(after, said(1), said(2), said(3)) == 3 * [KNOWN]


def test_somebody_deleted_in_the_meantime_does_not_block_the_rest(
    ada: Profile, store: ProfileStore
) -> None:
    check = ReplayCheck(ReplayConfig())
    check.review(said(1, ROBIN))
    check.review(said(2, ada))
    check.store_new(store)
    assert [item.profile_id for item in store.kept("heard")] == [ada.id]
    check.store_new(store)
    assert len(store.kept("heard")) == 1


def test_while_the_store_is_busy_the_newest_64_wait(shelf: Any) -> None:
    check = ReplayCheck(ReplayConfig(remembered=500))
    check.review(said(0))
    rest = iter([range(1, 66)])

    def talk() -> None:
        for number in next(rest, ()):
            check.review(said(number))

    # Two are displaced while the first is being stored, and the third must not go in its place.
    shelf.before_keeping = talk
    check.store_new(shelf)
    assert [item.payload for _, item in shelf.items] == [payload(n) for n in (0, *range(2, 66))]


def test_damaged_fingerprints_are_removed(shelf: Any, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("heard", "heard-refused"):
        shelf.add(kind, payload(1))
        shelf.add(kind, b"no fingerprint")
        shelf.add(kind, payload(2))
    check = ReplayCheck(ReplayConfig())
    check.load(shelf)
    assert check.remembered == 4
    assert shelf.discarded == [("heard", [2]), ("heard-refused", [5])]
    assert caplog.messages == 2 * ["removing a stored fingerprint: fingerprint of version 110"]


def test_a_full_disk_forgets_nobody(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("heard", payload(1))
    shelf.add("heard", b"no fingerprint")

    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(shelf, "discard", fail)
    check = ReplayCheck(ReplayConfig())
    load_quietly(check, shelf)
    assert reasons(check, said(1)) == [KNOWN]


def test_a_store_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise StoreError("the card has gone")

    shelf: Any = Shelf(before_keeping=fail)
    check = ReplayCheck(ReplayConfig())
    broken: Any = SimpleNamespace(kept=lambda _kind: fail())
    load_quietly(check, broken)
    assert "cannot load the fingerprints of earlier utterances: the card has gone" in caplog.text
    check.review(said(1))
    with pytest.raises(StoreError):
        check.store_new(shelf)
    shelf.before_keeping = lambda: None
    check.store_new(shelf)
    assert len(shelf.items) == 1


def test_a_recording_of_the_enrollment_does_not_open(ada: Profile, store: ProfileStore) -> None:
    utterances = [
        recording("ada_enroll_2"),
        replace(recording("ada_enroll_1"), samples=sound(1)[:9]),
    ]
    remember_enrollment(store, "Ada", utterances, ReplayConfig(enabled=False))
    assert not store.kept("heard")
    for _ in range(6):
        remember_enrollment(store, "Ada", utterances, ReplayConfig(remembered=5))
    assert [item.profile_id for item in store.kept("heard")] == 5 * [ada.id]
    check = ReplayCheck(ReplayConfig())
    check.load(store)
    assert reasons(check, said(recording("ada_enroll_2").samples, ada)) == [KNOWN]
    assert reasons(check, said(recording("ada_right_phrase").samples, ada)) == [OPENS]


def test_its_two_threads_take_turns_in_changing_what_is_remembered(
    shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    class Watched:
        """A lock that says that it was taken."""

        def __enter__(self) -> None:
            taken.append("taken")

        def __exit__(self, *_: object) -> None:
            taken.append("given back")

    monkeypatch.setattr("edge.replay.memory.threading", SimpleNamespace(Lock=Watched))
    check = ReplayCheck(ReplayConfig())
    for change in (
        lambda: check.review(said(1)),
        lambda: check.use(["ada"]),
        lambda: check.load(shelf),
        lambda: check.store_new(shelf),
    ):
        taken.clear()
        change()
        assert taken == ["taken", "given back"]
