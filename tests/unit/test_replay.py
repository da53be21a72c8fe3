"""The replay check: what it denies, and what it remembers and forgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.access.decider import Decider, Judgment
from edge.audio.utterance import utterance_of
from edge.config import ReplayConfig
from edge.errors import StoreError
from edge.recognition import Engine
from edge.replay.memory import ACCEPTED, REFUSED, ReplayCheck, load_quietly, remember_enrollment
from edge.store import ProfileStore
from edge.types import Profile, ProfileKind, ReasonCode, Utterance
from tests.unit.stores import traces
from tests.unit.voices import enrolled, recording, samples_of
from tools.replay.distortions import gsm

DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with ProfileStore(tmp_path / "state" / "signatures.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return enrolled(engine, "ada")


@pytest.fixture(scope="module")
def judged(engine: Engine, ada: Profile) -> dict[str, Judgment]:
    decider = Decider(engine, engine.config)
    names = (
        "ada_right_phrase",
        "ada_enroll_2",
        "ada_wrong_phrase",
        "stranger_adas_phrase",
        "stranger_other_phrase",
    )
    found = {name: decider.decide(recording(name), [ada]) for name in names}
    replayed = utterance_of(gsm(samples_of("ada_right_phrase"), 1))
    found["replayed"] = decider.decide(replayed, [ada])
    return found


def stored_ada(store: ProfileStore, judgment: Judgment) -> Judgment:
    """The judgment, of a profile that is in the store."""
    profile = store.create("Ada", ProfileKind.PHRASE, required=3)
    assert judgment.candidate is not None
    return replace(judgment, candidate=replace(judgment.candidate, profile=profile))


def reason(judgment: Judgment) -> ReasonCode:
    return judgment.decision.reason


def test_an_utterance_opens_once(judged: dict[str, Judgment]) -> None:
    check = ReplayCheck(ReplayConfig())
    first = check.review(judged["ada_right_phrase"])
    assert first is judged["ada_right_phrase"]
    again = check.review(judged["ada_right_phrase"])
    assert reason(again) is ReasonCode.REPLAY_SUSPECTED
    assert not again.decision.granted
    replayed = check.review(judged["replayed"])
    assert reason(replayed) is ReasonCode.REPLAY_SUSPECTED


def test_a_repetition_opens(judged: dict[str, Judgment]) -> None:
    check = ReplayCheck(ReplayConfig())
    assert check.review(judged["ada_enroll_2"]).decision.granted
    assert check.review(judged["ada_right_phrase"]).decision.granted


def test_a_replay_is_not_remembered_again(judged: dict[str, Judgment]) -> None:
    check = ReplayCheck(ReplayConfig())
    for _ in range(4):
        check.review(judged["ada_right_phrase"])
    assert check.remembered == 1


def test_denied_utterances_with_an_enrolled_voice_or_phrase_are_remembered(
    judged: dict[str, Judgment],
) -> None:
    check = ReplayCheck(ReplayConfig())
    for name in ("ada_wrong_phrase", "stranger_adas_phrase", "stranger_other_phrase"):
        assert check.review(judged[name]) is judged[name]
    assert check.remembered == 2
    for name in ("ada_wrong_phrase", "stranger_adas_phrase"):
        assert reason(check.review(judged[name])) is ReasonCode.REPLAY_SUSPECTED
    other = judged["stranger_other_phrase"]
    assert check.review(other) is other


def test_switched_off_it_does_nothing(judged: dict[str, Judgment]) -> None:
    check = ReplayCheck(ReplayConfig(enabled=False))
    for _ in range(2):
        assert check.review(judged["ada_right_phrase"]).decision.granted
    assert check.remembered == 0


def cut_from_stream(judgment: Judgment, start_s: float, spoken_at: float) -> Judgment:
    utterance = judgment.utterance
    shift = start_s - utterance.start_s
    moved = replace(
        utterance,
        start_s=start_s,
        end_s=utterance.end_s + shift,
        speech_ended_at=spoken_at,
    )
    return replace(judgment, utterance=moved)


def test_the_same_part_of_the_stream_is_not_a_replay(judged: dict[str, Judgment]) -> None:
    check = ReplayCheck(ReplayConfig())
    one = judged["ada_right_phrase"]
    assert check.review(cut_from_stream(one, 100.0, 5000.0)).decision.granted
    assert check.review(cut_from_stream(one, 100.3, 5000.2)).decision.granted
    later = check.review(cut_from_stream(one, 110.0, 5010.0))
    assert reason(later) is ReasonCode.REPLAY_SUSPECTED
    # The stream of a microphone that came back starts at zero: same place, another time.
    returned = check.review(cut_from_stream(one, 100.0, 6000.0))
    assert reason(returned) is ReasonCode.REPLAY_SUSPECTED


def test_it_survives_a_restart(judged: dict[str, Judgment], store: ProfileStore) -> None:
    one = stored_ada(store, judged["ada_right_phrase"])
    before = ReplayCheck(ReplayConfig())
    before.review(one)
    assert not store.kept(ACCEPTED)
    before.store_new(store)
    before.store_new(store)
    assert len(store.kept(ACCEPTED)) == 1
    after = ReplayCheck(ReplayConfig())
    after.load(store)
    assert reason(after.review(judged["replayed"])) is ReasonCode.REPLAY_SUSPECTED


def test_a_recording_of_the_enrollment_does_not_open(
    judged: dict[str, Judgment], store: ProfileStore
) -> None:
    store.create("Ada", ProfileKind.PHRASE, required=3)
    utterances = [recording("ada_enroll_2"), silence()]
    remember_enrollment(store, "Ada", utterances, ReplayConfig(enabled=False))
    assert not store.kept(ACCEPTED)
    remember_enrollment(store, "Ada", utterances, ReplayConfig())
    assert len(store.kept(ACCEPTED)) == 1
    check = ReplayCheck(ReplayConfig())
    check.load(store)
    assert reason(check.review(judged["ada_enroll_2"])) is ReasonCode.REPLAY_SUSPECTED
    assert check.review(judged["ada_right_phrase"]).decision.granted


def silence() -> Utterance:
    one = recording("ada_enroll_1")
    return replace(one, samples=one.samples * 0)


def test_deleted_people_are_forgotten(
    judged: dict[str, Judgment], store: ProfileStore, tmp_path: Path
) -> None:
    one = stored_ada(store, judged["ada_right_phrase"])
    check = ReplayCheck(ReplayConfig())
    check.review(one)
    check.store_new(store)
    payload = store.kept(ACCEPTED)[0].payload
    pieces = [payload[at : at + 24] for at in range(0, len(payload) - 24, 24)]
    secrets = [piece for piece in pieces if piece.count(0) < 12]  # an empty page has zeros too
    assert len(secrets) > 5
    store.delete("Ada")
    check.use([])
    assert check.remembered == 0
    assert not store.kept(ACCEPTED)
    assert not traces(tmp_path, *secrets)
    # Judged after the deletion: it is not stored, and does not block the rest.
    late = ReplayCheck(ReplayConfig())
    late.review(one)
    late.store_new(store)
    assert not store.kept(ACCEPTED)


def test_the_number_of_fingerprints_is_limited(
    judged: dict[str, Judgment], store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.replay.memory.best_match", lambda _peaks, _known: None)
    config = ReplayConfig(remembered=5)
    one = stored_ada(store, judged["ada_right_phrase"])
    refused = judged["stranger_adas_phrase"]
    check = ReplayCheck(config)
    check.review(one)
    for _ in range(8):
        check.review(refused)
    assert check.remembered == 6  # talking displaces nothing that was accepted
    for _ in range(8):
        check.review(one)
    assert check.remembered == 10
    check.store_new(store)
    assert len(store.kept(ACCEPTED)) == len(store.kept(REFUSED)) == 5


def test_old_and_damaged_fingerprints_are_removed(
    judged: dict[str, Judgment], store: ProfileStore
) -> None:
    now = [1_000_000_000.0]
    store.create("Ada", ProfileKind.PHRASE, required=3)
    remember_enrollment(store, "Ada", [recording("ada_right_phrase")], ReplayConfig())
    store.keep(ACCEPTED, b"no fingerprint", profile="Ada")
    kept_at = store.kept(ACCEPTED)[0].created_at
    now[0] = kept_at + 9 * DAY_S
    check = ReplayCheck(ReplayConfig(days=10), clock=lambda: now[0])
    check.load(store)
    assert check.remembered == 1
    assert len(store.kept(ACCEPTED)) == 1
    now[0] = kept_at + 11 * DAY_S
    assert check.review(judged["ada_right_phrase"]).decision.granted
    check = ReplayCheck(ReplayConfig(days=10), clock=lambda: now[0])
    check.load(store)
    assert check.remembered == 0
    assert not store.kept(ACCEPTED)


def test_a_store_that_fails_loses_nothing(
    judged: dict[str, Judgment],
    store: ProfileStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("the card has gone")

    check = ReplayCheck(ReplayConfig())
    one = stored_ada(store, judged["ada_right_phrase"])
    with monkeypatch.context() as broken:
        broken.setattr(store, "kept", fail)
        broken.setattr(store, "keep", fail)
        load_quietly(check, store)
        assert "the card has gone" in caplog.text
        check.review(one)
        with pytest.raises(StoreError):
            check.store_new(store)
    check.store_new(store)
    assert len(store.kept(ACCEPTED)) == 1
