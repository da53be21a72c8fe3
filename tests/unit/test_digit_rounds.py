"""Rounds of digits: how they are checked, enrolled and stored."""

from __future__ import annotations

import itertools
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.challenge.matching import DigitExample
from edge.challenge.rounds import (
    DigitEnrollment,
    DigitRound,
    complete_round,
    decode,
    encode,
    keep_round,
    make_example,
    replace_rounds,
    rounds_of,
    strong_digits,
    summary_of,
    voice_of,
    weakness_of,
)
from edge.config import RecognitionConfig
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.store import ProfileStore, open_store
from edge.types import FloatArray, Profile, ProfileKind, Quality, Utterance
from tests.unit.clocks import stop_clocks
from tests.unit.made_digits import example, made_rounds, said
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, make_sample

GOOD = Quality(-20.0, -60.0, 40.0, 0.0, 0.3)
FIRST, SECOND, THIRD = made_rounds()


class Models:
    """An engine that hears the voice it is told to."""

    def __init__(self, voice: FloatArray, threshold: float = 0.5) -> None:
        self.voice = voice
        self.embedded: list[FloatArray] = []
        self.config = SimpleNamespace(recognition=RecognitionConfig())
        self.models = SimpleNamespace(
            speaker=SimpleNamespace(
                sha256=SPEAKER_MODEL,
                embed=self._embed,
                card=SimpleNamespace(threshold={"enrollment": threshold}.__getitem__),
            )
        )

    def _embed(self, samples: FloatArray) -> FloatArray:
        self.embedded.append(samples)
        return self.voice

    def require_ready(self, profile: Profile) -> None:
        if profile.speaker_model != SPEAKER_MODEL:
            raise ProfileError("another model")


VOICE = make_sample().speaker_embedding


@pytest.fixture
def engine() -> Any:
    return Models(VOICE)


def spoken(digit: int, pace: float = 1.05, **quality: float) -> Utterance:
    samples = said([digit], pace)
    seconds = len(samples) / 16_000
    return Utterance(samples, 0.0, seconds - 0.5, replace(GOOD, **quality), lead_s=0.4)


def tone(count: int) -> Utterance:
    """A tone of so many samples, then silence."""
    sound = np.sin(0.5 * np.arange(count))
    return Utterance(np.concatenate((sound, np.zeros(8_000))).astype(np.float32), 0.0, 1.0, GOOD)


def rejected(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(EnrollmentRejected) as caught:
        call()
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(
    ("utterance", "reason", "told"),
    [
        (spoken(7, net_speech_s=0.06), None, None),
        (spoken(7, net_speech_s=0.059), "too_short", "no 7 recognized: say it again"),
        (spoken(7, net_speech_s=0.0), "too_short", "no 7 recognized: say it again"),
        (spoken(7, snr_db=15.0), None, None),
        (
            spoken(7, snr_db=14.9),
            "too_noisy",
            "too noisy to enroll (15 dB above the noise, at least 15 needed): wait",
        ),
        (spoken(7, level_dbfs=-80.0), "too_quiet", "too quiet (-80 dB, at least"),
        (tone(340), "too_short", "no 7 recognized: say it again"),
        (tone(470), None, None),
        (tone(23_840), None, None),
        (tone(24_000), "too_long", "too long for one digit: say only 7, then pause"),
    ],
)
def test_what_can_be_learned_from(
    engine: Any, utterance: Utterance, reason: str | None, told: str | None
) -> None:
    def make() -> DigitExample:
        return make_example(engine, utterance, 7, [])

    if told is None:
        assert make().digit == 7
    else:
        found = rejected(make)
        assert found[0] == reason
        assert found[1].startswith(told)


def with_digit(spoken: DigitRound, digit: int, spectrum: FloatArray) -> DigitRound:
    examples = tuple(
        DigitExample(digit, spectrum) if each.digit == digit else each for each in spoken.examples
    )
    return replace(spoken, examples=examples)


@pytest.mark.parametrize(
    ("apart", "rows", "known"),
    [(0.0, 0, True), (0.019, 0, True), (-0.019, 0, True), (0.021, 0, False), (0.0, 1, False)],
)
def test_the_same_recording_twice_is_refused(
    engine: Any, apart: float, rows: int, known: bool
) -> None:
    spectrum = example(3).spectrum
    earlier = [FIRST, with_digit(SECOND, 3, spectrum[rows:] + np.float32(apart))]

    def make() -> DigitExample:
        return make_example(engine, spoken(3), 3, earlier)

    if known:
        told = ("repeated", "this recording is already enrolled: say it again")
        assert rejected(make) == told
    else:
        assert np.array_equal(make().spectrum, spectrum)


def test_a_digit_that_sounds_like_another_is_refused(engine: Any) -> None:
    told = "sounds more like your 8 than your 3: say 3 again"
    assert rejected(lambda: make_example(engine, spoken(8), 3, [FIRST])) == ("wrong_phrase", told)
    assert make_example(engine, spoken(3), 3, [FIRST, SECOND]).digit == 3
    # Exactly as near as the other is near enough; 0.15 less is not.
    as_3 = FIRST.examples[3].spectrum
    assert make_example(engine, spoken(3), 3, [with_digit(FIRST, 8, as_3)]).digit == 3
    nearer = with_digit(FIRST, 8, as_3 - np.float32(0.03))
    assert rejected(lambda: make_example(engine, spoken(3), 3, [nearer])) == ("wrong_phrase", told)


def test_the_voice_of_a_round_is_that_of_all_its_sound(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clocks(monkeypatch, "edge.challenge.rounds")
    at = np.arange(16_000, dtype=np.float32)
    utterances = [
        # A tenth of a second of the room is kept on both sides, as far as there is any.
        Utterance(at, 0.0, 0.75, GOOD, lead_s=0.25),
        Utterance(-at, 0.0, 0.95, replace(GOOD, snr_db=20.0, net_speech_s=0.5), lead_s=0.05),
        Utterance(at[:3_200], 0.0, 0.0, GOOD, lead_s=0.125),
    ]
    voice = voice_of(engine, utterances)
    assert voice.speaker_embedding is VOICE
    assert np.array_equal(
        engine.embedded[0], np.concatenate((at[2_400:13_600], -at, at[400:3_200]))
    )
    assert voice.net_speech_s == pytest.approx(1.1)
    assert voice.snr_db == 20.0
    assert voice.created_at == 1_700_005_000.0
    assert voice.phrase_embedding is None


@pytest.fixture
def ada(store: ProfileStore) -> Profile:
    """Ada with her passphrase."""
    return store.create(
        "Ada",
        ProfileKind.PHRASE,
        required=1,
        samples=(make_sample(),),
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(("threshold", "accepted"), [(0.5, True), (0.61, False)])
def test_a_round_is_in_the_voice_of_the_passphrase(
    ada: Profile, threshold: float, accepted: bool
) -> None:
    other = np.roll(VOICE, 1) - VOICE * float(VOICE @ np.roll(VOICE, 1))
    other /= np.linalg.norm(other)
    engine: Any = Models((0.6 * VOICE + 0.8 * other).astype(np.float32), threshold)
    utterances = {digit: spoken(digit) for digit in range(9, -1, -1)}
    examples = {digit: example(digit) for digit in range(9, -1, -1)}

    def complete() -> DigitRound:
        return complete_round(engine, ada, utterances, examples)

    if accepted:
        found = complete()
        assert [each.digit for each in found.examples] == list(range(10))
        assert found.speaker_model == SPEAKER_MODEL
        assert found.voice.speaker_embedding is engine.voice
        assert engine.embedded[0][5_000] == utterances[0].samples[4_800 + 5_000]
    else:
        reason, told = rejected(complete)
        assert reason == "unknown_speaker"
        assert told.startswith(
            "not the voice of the passphrase of Ada (similarity 0.60, at least 0.61 needed):"
        )


def confused(*pairs: tuple[int, int]) -> list[DigitRound]:
    """Three rounds in which the first digit of each pair sounds like the second of another."""
    rounds = [FIRST, SECOND, THIRD]
    for digit, other in pairs:
        rounds = [
            with_digit(each, digit, following.examples[other].spectrum)
            for each, following in zip(rounds, [SECOND, THIRD, FIRST])
        ]
    return rounds


def test_digits_that_sound_similar_are_not_asked_for() -> None:
    similar = confused((8, 3), (7, 2), (6, 1))
    distinct, weak = weakness_of([FIRST, SECOND, THIRD]), weakness_of(similar)
    assert [distinct[0][0], distinct[6][0], weak[8][0]] == [1, 5, 3]
    margins = [distinct[0][1], distinct[6][1], weak[8][1]]
    assert margins == pytest.approx([80.30, 71.72, -17.97], abs=0.1)
    # The weakest are left out, at most four; the latest three rounds count.
    assert summary_of([FIRST, *similar]) == {
        "rounds": 4,
        "required": 3,
        "asked": [0, 4, 5, 7, 8, 9],
        "confusable": [[1, 6], [2, 7], [3, 8], [6, 1]],
    }
    # As near as the other is near enough, as at enrollment.
    for nearer, asked in ((0.0, 10), (0.01, 8)):
        rounds = [
            with_digit(each, 8, each.examples[3].spectrum - np.float32(nearer))
            for each in (FIRST, SECOND, THIRD)
        ]
        assert len(strong_digits(rounds)) == asked
    nothing = {"rounds": 2, "required": 3, "asked": [], "confusable": []}
    assert summary_of(similar[:2]) == nothing


def packed(
    spoken: DigitRound = FIRST, *, size: int = 192, lengths: Sequence[int] | None = None,
    net: float = 1.5, snr: float = 21.5, at: float = 1e9, norm: float = 1.0,
    magic: bytes = b"EVdg", version: int = 1, single: float | None = None,
) -> bytes:  # fmt: skip
    """A round as it lies in the store; `single` is the length of the single digits' voice."""
    rows = lengths or [len(each.spectrum) for each in spoken.examples]
    voice = np.zeros(size, "<f4")
    voice[:1] = norm
    head = struct.pack("<4sBddd32sH10H", magic, version, net, snr, at, b"U" * 32, size, *rows)
    voices = voice.tobytes()
    if single is not None:
        voice[:] = 0.0
        voice[1] = single
        voices += voice.tobytes()
    return head + voices + bytes(range(32)) * sum(rows)


@pytest.mark.parametrize(("version", "single"), [(1, None), (2, 1.0)])
def test_the_stored_form_of_a_round(version: int, single: float | None) -> None:
    payload = packed(lengths=[4, *8 * [10], 150], version=version, single=single)
    found = decode(payload)
    kept = None if found.single is None else found.single.tolist()
    assert kept == (None if single is None else [0.0, 1.0, *190 * [0.0]])
    assert [len(each.spectrum) for each in found.examples] == [4, *8 * [10], 150]
    assert [each.digit for each in found.examples] == list(range(10))
    for each in found.examples:
        assert each.spectrum[-1] == pytest.approx(np.arange(32) * 0.05 - 10.4, abs=1e-5)
    assert found.speaker_model == "55" * 32
    voice = found.voice
    assert (voice.net_speech_s, voice.snr_db, voice.created_at) == (1.5, 21.5, 1e9)
    assert voice.speaker_embedding.tolist() == [1.0, *191 * [0.0]]
    shuffled = replace(found, examples=found.examples[::-1])
    assert encode(found) == encode(shuffled) == payload
    # A fifth of a decibel up or down, and within a byte.
    steps = np.zeros((4, 32), np.float32)
    steps[0, :6] = [-11.0, -10.4, -10.376, -10.374, 2.35, 3.0]
    stored = decode(encode(with_digit(found, 0, steps))).examples[0].spectrum
    assert stored[0, :6] == pytest.approx([-10.4, -10.4, -10.4, -10.35, 2.35, 2.35], abs=1e-5)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (packed()[:82], "too short"),
        (packed()[:-1], "size"),
        (packed() + b"x", "size"),
        (packed(magic=b"EVdh"), "unknown format"),
        (packed(net=0.0), "figures"),
        (packed(net=1e4), "figures"),
        (packed(net=float("inf")), "figures"),
        (packed(snr=1e3), "figures"),
        (packed(snr=-1e3), "figures"),
        (packed(snr=float("nan")), "figures"),
        (packed(at=float("inf")), "figures"),
        (packed(size=0), "lengths"),
        (packed(size=4097), "lengths"),
        (packed(lengths=[3, *9 * [10]]), "lengths"),
        (packed(lengths=[*9 * [10], 151]), "lengths"),
        (packed(norm=1.0011), "voice"),
        (packed(norm=0.9989), "voice"),
        (packed(norm=float("nan")), "voice"),
        (packed(version=2), "size"),
        (packed(single=1.0), "size"),
        (packed(version=2, single=1.0011), "voice"),
    ],
    ids=itertools.count(),
)
def test_damaged_rounds_are_refused(payload: bytes, told: str) -> None:
    with pytest.raises(StoreError) as caught:
        decode(payload)
    assert str(caught.value) == (
        f"enrolled digits are damaged ({told}): enroll them again with --digits"
    )


@pytest.mark.parametrize(
    "figures",
    [{"net": 0.01}, {"net": 9_999.0}, {"snr": 999.0}, {"snr": -999.0}, {"size": 4096}, {"size": 1},
     {"norm": 1.0009}, {"norm": 0.9991}],
)  # fmt: skip
def test_figures_at_the_limit_are_taken(figures: dict[str, Any]) -> None:
    assert len(decode(packed(**figures)).examples) == 10


def test_any_bytes_are_refused_or_whole() -> None:
    chance = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(packed())
        for at in chance.integers(0, 90, 3):
            broken[int(at)] = int(chance.integers(256))
        try:
            assert len(decode(bytes(broken)).examples) == 10
        except StoreError:
            continue


def test_rounds_of_a_later_version_are_refused() -> None:
    told = "enrolled digits are of version 3: update the software"
    with pytest.raises(StoreError, match=told):
        decode(packed(version=3))


def times(store: ProfileStore, profile: Profile) -> list[float]:
    return [spoken.voice.created_at for spoken in rounds_of(store, profile.id)]


def made_at(at: float) -> DigitRound:
    return replace(FIRST, voice=replace(FIRST.voice, created_at=at))


def test_of_each_person_the_latest_five_rounds_are_kept(store: ProfileStore, ada: Profile) -> None:
    robin = store.create("Robin", ProfileKind.PHRASE, required=1)
    keep_round(store, robin.id, made_at(99.0))
    for at in range(1, 6):
        keep_round(store, ada.id, made_at(at))
    assert times(store, ada) == [1.0, 2.0, 3.0, 4.0, 5.0]
    keep_round(store, ada.id, made_at(6.0))
    assert times(store, ada) == [2.0, 3.0, 4.0, 5.0, 6.0]
    replace_rounds(store, ada.id, [made_at(7.0), made_at(8.0), made_at(9.0)])
    assert times(store, ada) == [7.0, 8.0, 9.0]
    assert times(store, robin) == [99.0]


def say(enrollment: DigitEnrollment, pace: float) -> None:
    """Say a whole round, in the order that is asked for."""
    for digit in enrollment.missing:
        enrollment.add(digit, spoken(digit, pace))


def test_an_enrollment_asks_for_every_digit_in_each_round(
    store: ProfileStore, engine: Any, ada: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = itertools.chain([[3, 1, 4, 0, 5, 9, 2, 6, 8, 7]], itertools.repeat(list(range(10))))
    monkeypatch.setattr(secrets.SystemRandom, "sample", lambda *_: next(orders))
    enrollment = DigitEnrollment(store, engine, ada, 3, again=False)
    assert enrollment.missing == [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    enrollment.add(4, spoken(4, 0.95))
    enrollment.add(4, spoken(4, 0.9))
    assert enrollment.missing == [3, 1, 0, 5, 9, 2, 6, 8, 7]
    say(enrollment, 0.95)
    assert enrollment.missing == list(range(10))
    assert (enrollment.new, len(enrollment.rounds), enrollment.complete) == (1, 1, False)
    assert len(rounds_of(store, ada.id)) == 1, "stored at once"
    # Another voice: the round starts over.
    engine.voice = -VOICE
    with pytest.raises(EnrollmentRejected, match="not the voice"):
        say(enrollment, 1.05)
    assert enrollment.missing == list(range(10))
    assert enrollment.new == 1
    engine.voice = VOICE
    # Broken off, and continued.
    enrollment = DigitEnrollment(store, engine, ada, 3, again=False)
    assert (enrollment.new, len(enrollment.rounds)) == (0, 1)
    say(enrollment, 1.05)
    with pytest.raises(EnrollmentRejected, match="this recording is already enrolled"):
        enrollment.add(0, spoken(0, 1.05))
    assert not enrollment.keeps_old
    say(enrollment, 1.1)
    assert enrollment.complete
    assert (enrollment.new, len(rounds_of(store, ada.id))) == (2, 3)
    with pytest.raises(ProfileError, match="the digits of Ada are already enrolled: add --again"):
        DigitEnrollment(store, engine, ada, 3, again=False)
    assert not DigitEnrollment(store, engine, ada, 4, again=False).complete


def test_again_replaces_the_digits_once_all_are_said(
    store: ProfileStore, engine: Any, ada: Profile
) -> None:
    for at in (1.0, 2.0, 3.0):
        keep_round(store, ada.id, made_at(at))
    enrollment = DigitEnrollment(store, engine, ada, 2, again=True)
    assert enrollment.rounds == []
    say(enrollment, 0.95)
    assert enrollment.keeps_old
    assert times(store, ada) == [1.0, 2.0, 3.0]
    say(enrollment, 1.05)
    assert not enrollment.keeps_old
    assert times(store, ada) == [spoken.voice.created_at for spoken in enrollment.rounds]
    assert enrollment.new == 2


def test_whose_digits_cannot_be_enrolled(store: ProfileStore, engine: Any, ada: Profile) -> None:
    keep_round(store, ada.id, replace(FIRST, speaker_model="6" * 64))
    keep_round(store, ada.id, FIRST)
    for profile, told in (
        (replace(ada, kind=ProfileKind.VOICE), "Ada has no passphrase, and digits need one"),
        (replace(ada, speaker_model="6" * 64), "another model"),
        (
            replace(ada, duress_of="somebody"),
            "Ada is a duress phrase: enroll digits under the person's own name",
        ),
        (ada, "the digits of Ada were enrolled with another model: add --again"),
    ):
        with pytest.raises(ProfileError) as caught:
            DigitEnrollment(store, engine, profile, 3, again=False)
        assert str(caught.value) == told
    assert DigitEnrollment(store, engine, ada, 3, again=True).rounds == []
