"""Syllables, pieces that are missing, the noise of a room, and what a trial means."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.audio.utterance import utterance_of
from edge.config import Config, EnrollmentConfig, ReplayConfig
from edge.enrollment import checks
from edge.enrollment.checks import (
    count_syllables,
    cut_at,
    remarks_on,
    require_apart,
    require_syllables,
    require_whole,
)
from edge.enrollment.process import Enrollment, EnrollmentRequest
from edge.enrollment.room_noise import (
    RoomNoise,
    RoomVerdict,
    loudest_of,
    measure_room,
    target_range,
)
from edge.enrollment.trial import Trial, meaning_of, try_out
from edge.errors import EnrollmentRejected
from edge.recognition import Engine
from edge.replay.memory import remember_enrollment
from edge.store import open_store
from edge.types import (
    SAMPLE_RATE,
    Confidence,
    FloatArray,
    Profile,
    ProfileKind,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)
from tests.unit.spoken_digits import needs_flite, recording_of
from tests.unit.stores import make_sample
from tests.unit.voices import enrolled, quiet, recording, samples_of, speech

TEXTS = {
    "home": 1,
    "yes": 1,
    "hello": 2,
    "sesame": 3,
    "banana boat": 4,
    "my blue umbrella": 5,
    "the garden gate is open": 7,
    "a tiny wooden boat": 6,
    "purple elephants": 5,
    "the quick brown fox jumps": 5,
    "my morning coffee tastes of cinnamon": 10,
}


@needs_flite
@pytest.mark.parametrize("voice", ["slt", "rms", "awb"])
def test_syllables_are_counted(voice: str) -> None:
    counts = {text: count_syllables(recording_of([text], voice)) for text in TEXTS}
    errors = [abs(counts[text] - number) for text, number in TEXTS.items()]
    assert np.mean(errors) < 1.5, counts
    for text, number in TEXTS.items():
        if number >= 5:
            assert counts[text] > 2, text
        if number == 1:
            assert counts[text] <= 2, text


def test_no_syllables_in_nothing() -> None:
    assert count_syllables(np.zeros(0, np.float32)) == 0
    assert count_syllables(np.zeros(500, np.float32)) == 0
    assert count_syllables(np.zeros(8000, np.float32)) == 0


def vowels(
    *levels: float, dip_db: float = 30.0, length_s: float = 0.25, hertz: float = 120.0
) -> FloatArray:
    """Vowels of these levels, dB, with a dip before and after each, in a voice of that pitch."""
    count = round(length_s * SAMPLE_RATE)
    fall = -dip_db * (0.5 + 0.5 * np.cos(2 * np.pi * np.arange(count) / count))
    level = np.concatenate([each + fall for each in levels])
    time = np.arange(len(level)) / SAMPLE_RATE
    harmonics = range(1, int(3400 // hertz) + 1)
    pulses = np.sum([np.cos(2 * np.pi * hertz * number * time) for number in harmonics], axis=0)
    samples: FloatArray = 0.3 * 10 ** (level / 20) * pulses / len(harmonics) ** 0.5
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "count"),
    [
        *((vowels(*[0.0] * number), number) for number in range(1, 6)),
        # A dip of 1 dB parts two vowels, and one 20 dB below the loudest is none.
        (vowels(0.0, 0.0, 0.0, dip_db=0.9, length_s=0.5), 1),
        (vowels(0.0, 0.0, 0.0, dip_db=1.1, length_s=0.5), 3),
        (vowels(0.0, -19.5), 2),
        (vowels(0.0, -20.5), 1),
        # Of two tops without a dip between them the higher one counts.
        (vowels(-3.0, -2.5, 0.0, -5.0, dip_db=0.4), 1),
        # No voice is that deep.
        (vowels(0.0, 0.0, 0.0, hertz=62.0), 3),
        (vowels(0.0, 0.0, 0.0, hertz=58.0), 0),
        (vowels(0.0, 0.0, 0.0, hertz=400.0), 3),
    ],
)
def test_syllables_are_vowels_with_a_voice(samples: FloatArray, count: int) -> None:
    assert count_syllables(samples) == count


def test_a_phrase_of_two_syllables_is_refused() -> None:
    require_syllables(recording("ada_enroll_1"))
    utterance = recording("ada_enroll_1")
    require_syllables(replace(utterance, samples=vowels(0.0, 0.0, 0.0)))
    for number, heard in ((2, "2 syllables"), (1, "1 syllable"), (0, "0 syllables")):
        samples = vowels(*[0.0] * number) if number else np.zeros(8000, np.float32)
        with pytest.raises(
            EnrollmentRejected, match=rf"^too short \(about {heard} heard, 4 or more needed\)"
        ) as caught:
            require_syllables(replace(utterance, samples=samples))
        assert caught.value.reason == ReasonCode.TOO_SHORT.value


@pytest.mark.parametrize(
    ("quality", "count", "kind", "remarks"),
    [
        ({}, 4, "phrase", []),
        ({}, 3, "phrase", ["rather short: more than 4 syllables are safer"]),
        ({}, 3, "voice", []),
        ({"snr_db": 15.0, "level_dbfs": -45.0}, 4, "phrase", []),
        ({"snr_db": 14.9}, 4, "phrase", [
            "rather noisy (speech 15 dB above the noise, better 15): wait for a quieter moment"]),
        ({"level_dbfs": -45.1}, 4, "phrase", ["rather quiet (-45 dB): speak louder or closer"]),
    ],
)  # fmt: skip
def test_what_could_be_better(
    quality: dict[str, float], count: int, kind: str, remarks: list[str]
) -> None:
    good = Quality(-25.0, -60.0, 35.0, 0.0, 2.0)
    utterance = Utterance(vowels(*[0.0] * count), 5.0, 6.0, replace(good, **quality))
    assert [each.text for each in remarks_on(utterance, ProfileKind(kind))] == remarks


@pytest.mark.parametrize(
    ("start_s", "lead_s", "first", "tail_s", "last", "where"),
    [
        # Within 0.1 s of an end, and the outermost 64 ms no more than 20 dB below the speech.
        (0.0, 0.09, 0.1, 0.5, 0.1, "start"),
        (0.0, 0.11, 0.1, 0.5, 0.1, None),
        (0.05, 0.06, 0.1, 0.5, 0.1, None),
        (0.05, 0.04, 0.1, 0.5, 0.1, "start"),
        (0.0, 0.0, 0.0101, 0.5, 0.1, "start"),
        (0.0, 0.0, 0.0099, 0.5, 0.1, None),
        (1.0, 0.0, 0.1, 0.09, 0.1, "end"),
        (1.0, 0.0, 0.1, 0.11, 0.1, None),
        (1.0, 0.0, 0.1, 0.0, 0.0101, "end"),
        (1.0, 0.0, 0.1, 0.0, 0.0099, None),
        (0.0, 0.0, 0.1, 0.0, 0.1, "start"),
    ],
)
def test_where_it_is_cut_off(
    start_s: float, lead_s: float, first: float, tail_s: float, last: float, where: str | None
) -> None:
    samples = np.full(16_000, 1.0, np.float32)
    samples[:1024], samples[-1024:] = first, last
    quality = Quality(-20.0, -60.0, 35.0, 0.0, 1.0)
    utterance = Utterance(samples, start_s, start_s + 1.0 - tail_s, quality, lead_s=lead_s)
    assert cut_at(utterance) == where
    assert cut_at(replace(utterance, quality=replace(quality, net_speech_s=0.0))) is None


@pytest.mark.parametrize(
    ("distance", "likeness", "reason"),
    [
        (0.601, 0.51, None),  # 1.2 times as far as repetitions may be
        (0.599, 0.51, "wrong_phrase"),
        (0.601, 0.49, "unknown_speaker"),
    ],
)
def test_how_far_two_phrases_of_a_person_must_be_apart(
    monkeypatch: pytest.MonkeyPatch, distance: float, likeness: float, reason: str | None
) -> None:
    card = SimpleNamespace(card=SimpleNamespace(threshold=lambda _: 0.5))
    engine: Any = SimpleNamespace(models=SimpleNamespace(speaker=card, phrase=card))
    found: list[list[str]] = [[], []]
    spotters = itertools.cycle(SimpleNamespace(search=lambda _, n=n: found[n]) for n in (0, 1))
    monkeypatch.setattr(checks, "dtw_distances", lambda *_: [0.9, distance])
    monkeypatch.setattr(checks, "cosine", lambda *_: likeness)
    monkeypatch.setattr(checks, "KeywordSpotter", lambda *_: next(spotters))
    other = replace(Profile.begin("Ada"), samples=(make_sample(),))

    def refusal() -> str | None:
        try:
            require_apart(engine, other, make_sample(2))
        except EnrollmentRejected as rejected:
            return rejected.reason
        return None

    assert refusal() == reason
    for part in found:  # either phrase within the other one
        part.append("a part")
        assert refusal() == (reason or "wrong_phrase")
        part.clear()


@pytest.mark.parametrize(
    ("kind", "short", "required"),
    [
        (ProfileKind.PHRASE, False, 4.0),
        (ProfileKind.VOICE, False, 25.0),
        (ProfileKind.VOICE, True, 1.0),
    ],
)
def test_how_much_is_enough(
    tmp_path: Path, kind: ProfileKind, short: bool, required: float
) -> None:
    settings = EnrollmentConfig(repetitions=4, voice_seconds=25.0)
    with open_store(tmp_path) as store:
        begun = Enrollment(store, EnrollmentRequest("Ada", kind, short=short), settings)
    assert begun.profile.required == required
    assert not begun.complete


@pytest.mark.parametrize("begun_before", [False, True])
def test_a_recording_of_a_repetition_is_no_other_one(
    engine: Engine, tmp_path: Path, begun_before: bool
) -> None:
    """Softer, moved in time and with other noise; also where the first one was said yesterday."""
    request = EnrollmentRequest("Ada", ProfileKind.PHRASE)
    chance = np.random.default_rng(3)
    sound = np.concatenate((quiet(0.05), 0.4 * samples_of("ada_enroll_1")))
    again = utterance_of((sound + chance.normal(0.0, 3e-4, len(sound))).astype(np.float32))
    with open_store(tmp_path) as store:
        enrollment = Enrollment(store, request, EnrollmentConfig(), ReplayConfig())
        enrollment.add(engine, recording("ada_enroll_1"))
        if begun_before:
            enrollment.remember(ReplayConfig())
            enrollment = Enrollment(store, request, EnrollmentConfig(), ReplayConfig())
        with pytest.raises(EnrollmentRejected, match="too similar to an earlier") as caught:
            enrollment.add(engine, again)
        assert caught.value.reason == ReasonCode.REPEATED.value
        enrollment.add(engine, recording("ada_enroll_2"))
        # Where replays are not looked for, it is taken.
        Enrollment(store, request, EnrollmentConfig(), ReplayConfig(enabled=False)).examine(
            engine, again
        )


def test_a_repetition_is_held_against_those_before(engine: Engine) -> None:
    """In voice against all of them together, in phrase against each."""
    whole = enrolled(engine, "ada")
    ada = replace(whole, samples=whole.samples[:2])
    said = recording("ada_enroll_3")
    engine.enroll(ada, said)
    strange = engine.extend(Profile.begin("x"), recording("stranger_other_phrase")).samples[0]
    first, second = ada.samples
    voices = [
        replace(strange, phrase_embedding=one.phrase_embedding, net_speech_s=one.net_speech_s)
        for one in ada.samples
    ]
    phrase = replace(second, phrase_embedding=strange.phrase_embedding)
    for samples, reason in (
        (tuple(voices), "unknown_speaker"),
        ((first, phrase), "wrong_phrase"),
        ((phrase, first), "wrong_phrase"),
    ):
        with pytest.raises(EnrollmentRejected) as caught:
            engine.enroll(replace(ada, samples=samples), said)
        assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["ada_enroll_1", "robin_enroll_2", "stranger_other_phrase"])
@pytest.mark.parametrize("into_s", [0.2, 0.3])
def test_a_recording_that_begins_or_ends_within_speech(name: str, into_s: float) -> None:
    into, spoken = round(into_s * SAMPLE_RATE), speech(name)
    require_whole(recording(name))
    for samples, where in (
        (np.concatenate([spoken[into:], quiet(1.0)]), "start"),
        (np.concatenate([quiet(1.0), spoken[:-into]]), "end"),
    ):
        utterance = utterance_of(samples)
        assert cut_at(utterance) == where
        with pytest.raises(EnrollmentRejected, match=r"^cut off at the ") as caught:
            require_whole(utterance)
        assert caught.value.reason == ReasonCode.CUT_OFF.value


def test_silence_and_noise_are_not_cut_off() -> None:
    assert cut_at(utterance_of(quiet(2.0))) is None
    noisy = samples_of("ada_enroll_1") + quiet(len(samples_of("ada_enroll_1")) / SAMPLE_RATE, 0.03)
    assert cut_at(utterance_of(noisy.astype(np.float32))) is None


def test_free_speech_may_be_cut_anywhere(engine: Engine, tmp_path: Path) -> None:
    beginning = np.concatenate([speech("ada_enroll_1")[3000:], quiet(1.0)])
    cut = utterance_of(beginning)
    with open_store(tmp_path) as store:
        voice = Enrollment(store, EnrollmentRequest("Ada", ProfileKind.VOICE), EnrollmentConfig())
        voice.examine(engine, cut)
        phrase = Enrollment(store, EnrollmentRequest("Ada", ProfileKind.PHRASE), EnrollmentConfig())
        with pytest.raises(EnrollmentRejected, match="cut off"):
            phrase.examine(engine, cut)
        with pytest.raises(EnrollmentRejected, match="cut off"):
            phrase.examine(engine, utterance_of(speech("ada_enroll_1")[3000:]))
        # What cannot be judged at all is said first.
        with pytest.raises(EnrollmentRejected, match="too quiet"):
            phrase.examine(engine, utterance_of(_faint(beginning)))


def _faint(samples: FloatArray) -> FloatArray:
    return samples * np.float32(0.008)


@pytest.mark.parametrize(
    ("seconds", "asked"), [(0.7, "half a second: was"), (0.99, "one second: was"), (1.0, None)]
)
def test_of_a_short_one_it_is_asked_whether_it_was_all(seconds: float, asked: str | None) -> None:
    said = recording("ada_enroll_1")
    short = replace(said, quality=replace(said.quality, net_speech_s=seconds))
    found = remarks_on(short, ProfileKind.PHRASE)
    assert [remark.code for remark in found] == ["part"] * (asked is not None)
    assert all(remark.text.startswith(asked or "") for remark in found)
    assert remarks_on(short, ProfileKind.VOICE) == []


@pytest.mark.parametrize(
    ("level", "verdict", "told"),
    [
        (-100.0, RoomVerdict.NOTHING, "No sound at all: fine if this microphone has a noise"),
        (-95.0, RoomVerdict.NOTHING, "No sound at all"),
        (-94.9, RoomVerdict.QUIET, "The room is quiet enough (-95 dB)."),
        (-48.0, RoomVerdict.QUIET, "The room is quiet enough (-48 dB)."),
        (-47.9, RoomVerdict.NOISY, "The room is noisy (-48 dB)"),
        (-36.0, RoomVerdict.NOISY, "The room is noisy (-36 dB)"),
        (-35.9, RoomVerdict.TOO_NOISY, "Far too noisy (-36 dB)"),
        (-62.0, RoomVerdict.QUIET, "The room is quiet enough (-62 dB)."),
        (-40.0, RoomVerdict.NOISY, "The room is noisy (-40 dB): move closer, switch off fans"),
        (-30.0, RoomVerdict.TOO_NOISY, "Far too noisy (-30 dB): switch off fans, close"),
    ],
)
def test_what_a_room_is_worth(level: float, verdict: RoomVerdict, told: str) -> None:
    noise = RoomNoise(level)
    assert noise.verdict is verdict
    assert noise.explanation().startswith(told)
    low, high = target_range(noise)
    assert low >= -39.0
    assert low + 10.0 <= high == -12.0


def test_the_noise_of_a_room_is_measured_and_speech_in_it_noticed() -> None:
    noise = measure_room(quiet(2.0, 1e-3))
    assert noise.level_dbfs == pytest.approx(-60.0, abs=0.5)
    assert not noise.spoken
    noise = measure_room(samples_of("ada_enroll_1")[: 2 * SAMPLE_RATE])
    assert noise.spoken
    assert noise.verdict is RoomVerdict.QUIET
    assert target_range(None) == (-39.0, -12.0)
    lows = {-59.0: -39.0, -58.0: -38.0, -50.0: -30.0, -42.0: -22.0, -30.0: -22.0}
    for level, low in lows.items():
        assert target_range(RoomNoise(level)) == (low, -12.0)
    assert [RoomNoise(-60.0, speech_s).spoken for speech_s in (0.19, 0.2)] == [False, True]
    assert RoomNoise(-60.04, 0.187).as_dict() == {
        "level_dbfs": -60.0, "verdict": "quiet", "speech_s": 0.19,
    }  # fmt: skip


def test_the_room_of_recordings_is_the_loudest_of_theirs() -> None:
    speechless = Quality(-100.0, -20.0, 0.0, 0.0, 0.0)
    spoken = Quality(-25.0, -60.0, 35.0, 0.0, 2.0)
    assert loudest_of([speechless]) is None
    noise = loudest_of([speechless, spoken, replace(spoken, noise_dbfs=-50.0)])
    assert noise is not None
    assert noise.level_dbfs == -50.0


@pytest.mark.parametrize(
    ("reason", "confidence", "kind", "told"),
    [
        ("recognized", "high", "phrase", "it opens, by a wide margin"),
        ("recognized", "normal", "phrase", "it opens, by some margin"),
        (
            "recognized",
            "low",
            "phrase",
            "it opens, but narrowly: enroll again, closer to the microphone and in a quiet room",
        ),
        ("recognized", "normal", "voice", "this is Ada, by some margin"),
        ("unknown_speaker", "high", "voice", "the voice does not match: speak as you did before"),
        ("too_quiet", "high", "phrase", "it cannot be judged: "),
    ],
)
def test_what_a_trial_means(reason: str, confidence: str, kind: str, told: str) -> None:
    quality = Quality(-70.0, -90.0, 20.0, 0.0, 2.0)
    meaning = meaning_of(
        ReasonCode(reason), Confidence(confidence), ProfileKind(kind), "Ada", quality, Config()
    )
    assert meaning.startswith(told)


def test_a_trial_is_judged_as_at_the_door(engine: Engine, tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        ada, robin = (
            store.create(
                name.title(), ProfileKind.PHRASE, required=3, samples=known.samples,
                speaker_model=known.speaker_model, phrase_model=known.phrase_model,
            )
            for name in ("ada", "robin")
            for known in [enrolled(engine, name)]
        )  # fmt: skip
        said = recording("robin_right_phrase")

        def tried(person: Profile, config: Config | None = None) -> Trial:
            return try_out(engine, store, config or Config(), person, said)

        assert tried(robin).accepted
        assert tried(robin).meaning == "it opens, by a wide margin"
        mistaken = tried(ada)
        assert (mistaken.accepted, mistaken.reason.value) == (False, "unknown_speaker")
        assert mistaken.meaning.startswith("it would open for Robin, not for Ada: they are too")
        remember_enrollment(store, robin.id, [said], Config().replay)
        assert tried(robin).reason is ReasonCode.REPLAY_SUSPECTED
        assert tried(robin).meaning.startswith("it would not open: this recording was heard")
        assert tried(robin, Config(replay=ReplayConfig(enabled=False))).accepted
        voice = replace(robin, kind=ProfileKind.VOICE, required=1.0)
        assert tried(voice).meaning.startswith("this is Robin, by ")


def test_a_trial_shows_its_margins() -> None:
    voice = SpeakerMatch("1", "Ada", 0.4, score=1.5, threshold=2.25)
    trial = Trial(ReasonCode.UNKNOWN_SPEAKER, Confidence.LOW, voice, None, "it would not")
    assert trial.lines() == ["Trial: it would not.", "  voice   score 1.5, at least 2.2: 0.8 below"]
    assert trial.as_dict()["voice_margin"] == -0.75
    assert trial.as_dict()["phrase_margin"] is None
