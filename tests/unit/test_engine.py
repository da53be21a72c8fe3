"""The recognizer: on made-up embeddings that are worked out by hand, and on the demo's voices."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.config import Config, RecognitionConfig
from edge.config.settings import SecurityConfig
from edge.errors import EnrollmentRejected, ProfileError
from edge.inference.model import new_interpreter
from edge.recognition import Engine
from edge.recognition.embedders import Models, PhraseEmbedder, SpeakerEmbedder, open_models
from edge.recognition.results import Identification, PhraseEmbedding, Verification
from edge.resources import demo_directory
from edge.types import (
    SAMPLE_RATE,
    Confidence,
    EnrollmentSample,
    FloatArray,
    PhraseMatch,
    Profile,
    ProfileKind,
    ProfileStatus,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)
from tests.unit.scoring import plain_scorer, spelled
from tests.unit.voices import enrolled, recording, samples_of

PHRASE = spelled("abcdefghijklmnopqrstuvwx")


def voice_at(cosine: float, axis: int = 1) -> FloatArray:
    """A voice with this cosine to the first axis, where everybody's is enrolled."""
    voice = np.zeros(192, np.float32)
    voice[0], voice[axis] = cosine, math.sqrt(1 - cosine**2)
    return voice


def phrase_at(distance: float) -> FloatArray:
    """A phrase at this DTW distance from `PHRASE`: half of it along the path, half at worst."""
    cosine = 1 - distance / 2
    said: FloatArray = cosine * PHRASE + math.sqrt(1 - cosine**2) * spelled("!")
    return said.astype(np.float32)


class _HeardVoice(SpeakerEmbedder):
    def __init__(self, like: SpeakerEmbedder, voice: FloatArray) -> None:
        self.card, self.sha256, self.dimensions = like.card, like.sha256, like.dimensions
        points = {"enrollment": {"threshold": 0.4305}, "evenness": {"threshold": -0.2}}
        self.card = replace(self.card, operating_points=points)
        self._voice = voice

    def embed(self, samples: FloatArray) -> FloatArray:
        return self._voice


class _HeardPhrase(PhraseEmbedder):
    def __init__(self, like: PhraseEmbedder, phrase: FloatArray) -> None:
        self.card, self.sha256, self.dimensions = like.card, like.sha256, like.dimensions
        self.card = replace(self.card, operating_points={"enrollment": {"threshold": 0.5385}})
        self._phrase = phrase

    def embed(self, samples: FloatArray) -> FloatArray:
        return self._phrase


def hearing(
    engine: Engine,
    voice: FloatArray | None = None,
    phrase: FloatArray = PHRASE,
    config: Config | None = None,
) -> Engine:
    """A recognizer to which every utterance sounds the same.

    Voices count from a cosine of 0.4333 on, phrases up to a distance of 0.3611 (`plain_scorer`);
    while enrolling free speech from 0.4305 on, repetitions from 0.3856 on and up to 0.5385.
    """
    models = Models(
        _HeardVoice(engine.models.speaker, voice_at(1.0) if voice is None else voice),
        _HeardPhrase(engine.models.phrase, phrase),
        engine.models.directory,
    )
    return Engine(models, config, plain_scorer(192))


def said(seconds: float = 2.0, *, truncated: bool = False, **quality: float) -> Utterance:
    """An utterance of this length, good unless told otherwise."""
    good = {
        "level_dbfs": -20.0, "noise_dbfs": -60.0, "snr_db": 25.0, "clipped_fraction": 0.0,
        "net_speech_s": 1.5,
    }  # fmt: skip
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    samples[:16] = 0.1
    return Utterance(samples, 0.0, seconds, Quality(**{**good, **quality}), truncated=truncated)


def known(
    engine: Engine,
    *voices: FloatArray,
    name: str = "Ada",
    kind: ProfileKind = ProfileKind.PHRASE,
    phrases: Sequence[FloatArray | None] = (PHRASE,),
    **changes: Any,
) -> Profile:
    """Somebody enrolled with these voices and phrases; one that is too short is repeated."""
    phrase = kind is ProfileKind.PHRASE
    voices = voices or (voice_at(1.0),) * 3
    samples = tuple(
        EnrollmentSample(voice, phrases[index % len(phrases)] if phrase else None, 2.0, 30.0, 0.0)
        for index, voice in enumerate(voices)
    )
    profile = replace(
        Profile.begin(name, kind, required=3 if phrase else 5.0, phrase="mellon"),
        samples=samples,
        speaker_model=engine.models.speaker.sha256,
        phrase_model=engine.models.phrase.sha256 if phrase else "",
    )
    return replace(profile, **changes)


@pytest.mark.parametrize(
    ("cosine", "distance", "reason", "confidence"),
    [
        (1.0, 0.0, ReasonCode.RECOGNIZED, Confidence.HIGH),
        (0.434, 0.0, ReasonCode.RECOGNIZED, Confidence.LOW),
        (1.0, 0.36, ReasonCode.RECOGNIZED, Confidence.LOW),
        (0.48, 0.0, ReasonCode.RECOGNIZED, Confidence.NORMAL),
        (1.0, 0.362, ReasonCode.WRONG_PHRASE, Confidence.LOW),
        (1.0, 0.8, ReasonCode.WRONG_PHRASE, Confidence.HIGH),
        (0.433, 0.36, ReasonCode.UNKNOWN_SPEAKER, Confidence.LOW),
        (0.433, 0.8, ReasonCode.NO_MATCH, Confidence.HIGH),
    ],
)
def test_verifies_voice_and_phrase(
    engine: Engine, cosine: float, distance: float, reason: ReasonCode, confidence: Confidence
) -> None:
    recognizer = hearing(engine, voice_at(cosine), phrase_at(distance))
    ada = known(engine)
    result = recognizer.verify(ada, said())
    assert (result.reason, result.confidence) == (reason, confidence)
    assert result.accepted is (reason is ReasonCode.RECOGNIZED)
    voice, phrase = result.speaker, result.phrase
    assert voice is not None
    assert phrase is not None
    assert (voice.profile_id, voice.name) == (ada.id, "Ada")
    assert (phrase.profile_id, phrase.phrase) == (ada.id, "mellon")
    assert (voice.similarity, voice.score, voice.threshold) == pytest.approx(
        (cosine, 30 * cosine - 9, 4.0), abs=1e-4
    )
    assert (phrase.distance, phrase.score, phrase.threshold) == pytest.approx(
        (distance, 8 - 18 * distance, 1.5), abs=1e-4
    )
    assert set(result.timings_ms) == {"speaker", "phrase", "match"}
    # Where free speech was enrolled, the phrase is nothing to it.
    free = recognizer.verify(known(engine, kind=ProfileKind.VOICE), said())
    assert free.accepted is voice.accepted
    assert free.confidence is recognizer.identify([ada], said()).confidence
    assert free.phrase is None
    assert set(free.timings_ms) == {"speaker", "match"}


def test_of_several_examples_the_nearest_counts(engine: Engine) -> None:
    near, far = phrase_at(0.1), phrase_at(0.5)
    people = [
        known(engine, name="Ada", phrases=(far, near, far)),
        known(engine, name="Grace", phrases=(far,)),
        known(engine, name="Alan", phrases=(PHRASE, far, far)),
    ]
    variants = [replace(sample, phrase_variants=(PHRASE,)) for sample in people[1].samples]
    people.append(replace(people[1], name="Barbara", samples=(*variants,)))
    recognizer = hearing(engine)
    analysis = recognizer.analyze(said(snr_db=15.0))
    matches = recognizer.match_phrases(people, analysis)
    assert [match.distance for match in matches] == pytest.approx([0.1, 0.5, 0.0, 0.06], abs=1e-4)
    assert matches[1].score == pytest.approx(8 - 18 * 0.5 + 1.0, abs=1e-3)  # 10 dB of noise
    heard = recognizer.embed_phrase(said())
    for count in range(1, 5):
        margin = recognizer.phrase_margin(people[:count], heard, analysis.quality)
        nearest = max(match.margin for match in matches[:count])
        assert margin == pytest.approx(nearest, abs=1e-3)
    with pytest.raises(ValueError, match="without its phrase"):
        recognizer.match_phrases(people, recognizer.analyze(said(), with_phrase=False))
    with pytest.raises(ValueError, match="Edsger has no phrase"):
        recognizer.match_phrases([known(engine, name="Edsger", phrases=(None,))], analysis)


def test_what_counts_as_the_phrase_in_noise_and_echo(engine: Engine) -> None:
    recognizer = hearing(engine, phrase=phrase_at(0.4))
    heard = recognizer.embed_phrase(said())
    quiet = said().quality
    noisy = replace(quiet, snr_db=15.0)
    ringing = replace(noisy, reverberation_s=0.5)
    margins = [recognizer.phrase_margin([known(engine)], heard, q) for q in (quiet, noisy, ringing)]
    assert margins == pytest.approx([-0.7, 0.3, 2.3], abs=1e-3)


def test_identifies_one_of_a_group_or_nobody(engine: Engine) -> None:
    people = [
        known(engine, voice_at(0.0, axis), name=name, kind=kind, required=1)
        for name, kind, axis in (
            ("Ada", ProfileKind.PHRASE, 1),
            ("Grace", ProfileKind.VOICE, 2),
            ("Alan", ProfileKind.PHRASE, 3),
        )
    ]
    mixed = np.zeros(192, np.float32)

    def identified(*cosines: float) -> Any:
        mixed[1:4] = cosines
        mixed[0] = math.sqrt(1.0 - sum(each**2 for each in cosines))
        return hearing(engine, mixed).identify(people, said())

    found = identified(0.1, 0.8, 0.5)
    assert found.best is not None
    assert found.best.name == "Grace"
    assert (found.accepted, found.reason) == (True, ReasonCode.RECOGNIZED)
    assert found.confidence is Confidence.HIGH
    assert [match.name for match in found.ranking] == ["Grace", "Alan", "Ada"]
    # Each of three gets a third of a rate of one in a thousand.
    threshold = 4.0 + 2.0 * math.log10(3)
    assert [match.threshold for match in found.ranking] == pytest.approx([threshold] * 3)
    assert set(found.timings_ms) == {"speaker", "match"}
    nobody = identified(0.1, (9.0 + threshold - 0.01) / 30, 0.3)
    assert (nobody.best, nobody.accepted) == (None, False)
    assert (nobody.reason, nobody.confidence) == (ReasonCode.UNKNOWN_SPEAKER, Confidence.LOW)
    assert nobody.ranking[0].name == "Grace"
    assert identified(0.1, (9.0 + threshold + 0.01) / 30, 0.3).accepted
    with pytest.raises(ProfileError, match="nobody to choose from"):
        hearing(engine).identify([], said())


def test_a_signature_of_few_utterances_has_a_threshold_of_its_own(engine: Engine) -> None:
    recognizer = hearing(engine)
    voice = replace(recognizer.scorer.voice, enrollments=-1.5)
    recognizer.scorer = replace(recognizer.scorer, voice=voice)
    learned = [replace(sample, adapted=True) for sample in known(engine).samples]
    one = known(engine, voice_at(1.0))
    people = [known(engine), one, replace(one, samples=(*one.samples, *learned))]
    matches = recognizer.match_speakers(people, recognizer.analyze(said()))
    assert [match.threshold for match in matches] == pytest.approx(
        [4.0, 4.0 + 1.5 * math.log(3), 4.0 + 1.5 * math.log(3)]
    )


@pytest.mark.parametrize(
    ("utterance", "of_phrase", "of_voice"),
    [
        (said(15.0), None, None),
        (said(15.01), ReasonCode.TOO_LONG, None),
        (said(truncated=True), ReasonCode.TOO_LONG, None),
        (said(truncated=True, snr_db=0.0), ReasonCode.TOO_LONG, ReasonCode.TOO_NOISY),
        (said(300.0), ReasonCode.TOO_LONG, None),
        (said(300.01), ReasonCode.TOO_LONG, ReasonCode.TOO_LONG),
        (said(level_dbfs=-66.0, snr_db=0.0), ReasonCode.TOO_QUIET, ReasonCode.TOO_QUIET),
        (said(net_speech_s=0.0), ReasonCode.TOO_SHORT, ReasonCode.TOO_SHORT),
    ],
)
def test_does_not_judge_what_is_too_bad(
    engine: Engine,
    utterance: Utterance,
    of_phrase: ReasonCode | None,
    of_voice: ReasonCode | None,
) -> None:
    recognizer = hearing(engine, config=Config(recognition=RecognitionConfig(min_snr_db=12.0)))
    ada, grace = known(engine), known(engine, kind=ProfileKind.VOICE)
    assert recognizer.refusal(utterance, ProfileKind.PHRASE) is of_phrase
    assert recognizer.refusal(utterance, ProfileKind.VOICE) is of_voice
    for person, reason in ((ada, of_phrase), (grace, of_voice)):
        result = recognizer.verify(person, utterance)
        assert result.reason is (reason or ReasonCode.RECOGNIZED)
        assert (result.speaker is None) is (reason is not None)
        if reason:
            assert (result.accepted, result.phrase) == (False, None)
            assert result.confidence is Confidence.HIGH
            with pytest.raises(EnrollmentRejected) as refused:
                recognizer.enroll(person, utterance)
            assert refused.value.reason == reason.value
    found = recognizer.identify([ada], utterance)
    assert (found.best is None) is (of_voice is not None)
    assert (found.reason, found.confidence) == (of_voice or ReasonCode.RECOGNIZED, Confidence.HIGH)


@pytest.mark.parametrize(
    ("given_db", "snr_db", "judged", "enrolled"),
    [
        (3.0, 2.9, False, False),
        (3.0, 3.0, True, False),
        (3.0, 5.9, True, False),
        (3.0, 6.0, True, True),
        (8.0, 7.9, False, False),
        (8.0, 8.0, True, True),
    ],
)
def test_more_noise_is_borne_at_the_door_than_at_enrollment(
    engine: Engine, given_db: float, snr_db: float, judged: bool, enrolled: bool
) -> None:
    config = Config(recognition=RecognitionConfig(min_snr_db=given_db))
    recognizer, utterance = hearing(engine, config=config), said(snr_db=snr_db)
    assert (recognizer.refusal(utterance, ProfileKind.VOICE) is None) is judged
    assert recognizer.verify(known(engine), utterance).accepted  # a phrase is judged in any noise
    other = hearing(engine, phrase=phrase_at(0.9), config=config).verify(known(engine), utterance)
    assert other.reason is (ReasonCode.WRONG_PHRASE if judged else ReasonCode.TOO_NOISY)
    stranger = hearing(engine, voice_at(0.1), config=config).verify(known(engine), utterance)
    assert stranger.reason is ReasonCode.UNKNOWN_SPEAKER
    if enrolled:
        assert recognizer.enroll(Profile.begin("Grace"), utterance).snr_db == snr_db
        return
    with pytest.raises(EnrollmentRejected, match=f"at least {max(given_db, 6.0):.0f} needed"):
        recognizer.enroll(known(engine), utterance)


def test_enrolls_what_it_heard(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    recognizer = hearing(engine, phrase=phrase_at(0.2))
    begun = Profile.begin("Ada")
    ada = recognizer.extend(begun, said(net_speech_s=1.25, snr_db=33.0))
    (sample,) = ada.samples
    np.testing.assert_allclose(sample.speaker_embedding, voice_at(1.0), atol=1e-6)
    assert [example.tolist() for example in sample.phrase_examples] == [phrase_at(0.2).tolist()] * 4
    assert [voice.tolist() for voice in sample.stretches] == [voice_at(1.0).tolist()] * 9
    assert (sample.net_speech_s, sample.snr_db, sample.adapted) == (1.25, 33.0, False)
    assert sample.created_at == ada.updated_at == 1_800_000_000.0
    assert ada.speaker_model == engine.models.speaker.sha256
    assert ada.phrase_model == engine.models.phrase.sha256
    assert ada.status is ProfileStatus.ENROLLING
    grace = recognizer.extend(Profile.begin("Grace", ProfileKind.VOICE, required=1.0), said())
    assert grace.samples[0].phrase_examples == grace.samples[0].stretches == ()
    assert (grace.phrase_model, grace.status) == ("", ProfileStatus.ENROLLED)


def test_enrolled_is_the_voice_in_each_of_its_surroundings(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = hearing(engine)
    everywhere = [voice_at(1.0), *(voice_at(0.6, axis) for axis in (1, 2, 3))]
    stretches = [voice for voice in everywhere for _ in range(3)]
    heard = iter([*everywhere, *stretches] * 2)
    monkeypatch.setattr(recognizer.models.speaker, "embed", lambda _: next(heard))
    (sample,) = recognizer.extend(Profile.begin("Ada"), said()).samples
    # 1 + 3 x 0.6 along the first axis, 0.8 along three more: scaled to unit length.
    expected = np.zeros(192)
    expected[:4] = np.array([2.8, 0.8, 0.8, 0.8]) / math.sqrt(2.8**2 + 3 * 0.8**2)
    np.testing.assert_allclose(sample.speaker_embedding, expected, atol=1e-6)
    # As said, with echo, which two of the three have, and in noise: the voice and each stretch.
    echoing = np.zeros(192)
    echoing[[0, 2, 3]] = np.array([1.2, 0.8, 0.8]) / math.sqrt(1.2**2 + 2 * 0.8**2)
    kinds: list[Any] = [voice_at(1.0), echoing, voice_at(0.6, 1)]
    np.testing.assert_allclose(sample.voice_variants, kinds, atol=1e-6)
    in_parts = [each for each in kinds for _ in range(3)]
    np.testing.assert_allclose(sample.stretches, in_parts, atol=1e-6)
    # The very same again, which sounds the same in all of them.
    begun = replace(known(engine, voice_at(0.9), required=9), samples=(sample,))
    with pytest.raises(EnrollmentRejected, match="very recording"):
        recognizer.enroll(begun, said())


@pytest.mark.parametrize(
    ("voices", "cosine", "kind", "reason"),
    [
        # A repetition and free speech have to be near what was enrolled, all of it together.
        ([1.0], 0.386, ProfileKind.PHRASE, None),
        ([1.0], 0.3855, ProfileKind.PHRASE, ReasonCode.UNKNOWN_SPEAKER),
        ([1.0, 0.0], 0.546, ProfileKind.PHRASE, None),
        ([1.0, 0.0], 0.545, ProfileKind.PHRASE, ReasonCode.UNKNOWN_SPEAKER),
        ([1.0, 0.0], 0.7, ProfileKind.VOICE, None),
        ([1.0, 0.0], 0.431, ProfileKind.VOICE, ReasonCode.UNKNOWN_SPEAKER),
        # What is the same to four digits is the same recording.
        ([1.0], 0.99985, ProfileKind.PHRASE, None),
        ([1.0], 0.99995, ProfileKind.PHRASE, ReasonCode.REPEATED),
        ([0.7, 1.0], 0.99995, ProfileKind.VOICE, ReasonCode.REPEATED),
    ],
)
def test_the_next_voice_must_be_the_same(
    engine: Engine, voices: list[float], cosine: float, kind: ProfileKind, reason: ReasonCode | None
) -> None:
    begun = known(engine, *map(voice_at, voices), kind=kind, required=9)
    recognizer = hearing(engine, voice_at(cosine, 2))
    if reason is None:
        assert len(recognizer.extend(begun, said()).samples) == len(voices) + 1
        return
    with pytest.raises(EnrollmentRejected) as refused:
        recognizer.enroll(begun, said())
    assert refused.value.reason == reason.value
    if reason is ReasonCode.REPEATED:
        assert "very recording" in str(refused.value)
    elif kind is ProfileKind.PHRASE and voices == [1.0]:
        assert "similarity 0.39, at least 0.39" in str(refused.value)


@pytest.mark.parametrize("rate", [0.1, 0.0001])
def test_how_near_the_next_voice_must_be_does_not_depend_on_the_door(
    engine: Engine, rate: float
) -> None:
    begun = known(engine, voice_at(1.0))
    for cosine, near in ((0.386, True), (0.385, False)):
        recognizer = Engine(
            hearing(engine, voice_at(cosine, 2)).models, None, plain_scorer(192, rate)
        )
        if near:
            recognizer.enroll(begun, said())
        else:
            with pytest.raises(EnrollmentRejected):
                recognizer.enroll(begun, said())


@pytest.mark.parametrize(
    ("phrases", "distance", "wrong"),
    [([0.0], 0.538, ""), ([0.0], 0.539, "distance 0.54, at most 0.54"), ([1.0, 0.0], 0.0, "1.00")],
)
def test_the_next_phrase_must_be_the_first(
    engine: Engine, phrases: list[float], distance: float, wrong: str
) -> None:
    voices = [voice_at(0.9, axis) for axis, _ in enumerate(phrases, start=1)]
    begun = known(engine, *voices, phrases=[*map(phrase_at, phrases)], required=9)
    recognizer = hearing(engine, phrase=phrase_at(distance))
    if not wrong:
        recognizer.enroll(begun, said())
        return
    with pytest.raises(EnrollmentRejected, match="not the phrase") as refused:
        recognizer.enroll(begun, said())
    assert refused.value.reason == ReasonCode.WRONG_PHRASE.value
    assert wrong in str(refused.value)
    # Another person's repetition is refused for the voice.
    with pytest.raises(EnrollmentRejected, match="not the voice"):
        hearing(engine, voice_at(0.0, 5), phrase_at(distance)).enroll(begun, said())


@pytest.mark.parametrize(
    ("seconds", "earlier_s", "told"),
    [
        ((2.0,), 1.11, None),
        ((2.0,), 1.09, "1.1 s of speech, 2.0 s in a repetition before: say all of the phrase"),
        ((1.0,), 1.81, None),
        ((1.0,), 1.83, "1.8 s of speech, 1.0 s in a repetition before"),
        ((2.0, 3.0), 1.6, "1.6 s of speech, 3.0 s in a repetition before"),
    ],
)
def test_half_a_phrase_is_no_repetition(
    engine: Engine, seconds: tuple[float, ...], earlier_s: float, told: str | None
) -> None:
    begun = known(engine, *[voice_at(1.0)] * len(seconds), required=9)
    samples = [replace(s, net_speech_s=long) for s, long in zip(begun.samples, seconds)]
    begun = replace(begun, samples=tuple(samples))
    recognizer = hearing(engine, voice_at(0.9))
    if told is None:
        recognizer.enroll(begun, said(net_speech_s=earlier_s))
        return
    with pytest.raises(EnrollmentRejected, match=told) as refused:
        recognizer.enroll(begun, said(net_speech_s=earlier_s))
    assert refused.value.reason == "other_length"
    # To free speech length is nothing.
    free = replace(begun, kind=ProfileKind.VOICE, required=60.0)
    recognizer.enroll(free, said(net_speech_s=earlier_s))


@pytest.mark.parametrize("person", ["ada", "robin"])
def test_who_says_the_last_one_in_a_hurry_is_enrolled(engine: Engine, person: str) -> None:
    begun = replace(enrolled(engine, person), required=9)
    begun = replace(begun, samples=begun.samples[:2])
    hurried = utterance_of(in_haste(samples_of(f"{person}_enroll_3"), 0.72))
    sample = engine.enroll(begun, hurried)
    assert 0.6 < sample.net_speech_s / begun.samples[0].net_speech_s < 0.85


def in_haste(samples: FloatArray, share: float) -> FloatArray:
    """Said in a share of the time at the same pitch: overlapping pieces moved to where they fit."""
    piece, overlap, reach = 480, 160, 120
    out = list(samples[: piece + overlap])
    at = 0.0
    while (at := at + piece / share) + piece + overlap + reach < len(samples):
        tail = np.array(out[-overlap:])
        starts = np.arange(max(0, int(at) - reach), int(at) + reach)
        likeness = [float(np.dot(tail, samples[start : start + overlap])) for start in starts]
        start = int(starts[int(np.argmax(likeness))])
        fade = np.linspace(0.0, 1.0, overlap)
        out[-overlap:] = tail * (1 - fade) + samples[start : start + overlap] * fade
        out += list(samples[start + overlap : start + overlap + piece])
    return np.asarray(out, np.float32)


def test_a_limit_itself_is_good_enough(engine: Engine) -> None:
    recognizer = hearing(engine, voice_at(0.5), spelled("abcdefghIJKlmnopqrstuvwx"))
    # Two repetitions have to be closer in voice by 0.09.
    for embedder, limit in ((recognizer.models.speaker, 0.41), (recognizer.models.phrase, 0.5)):
        points = {"enrollment": {"threshold": limit}, "evenness": {"threshold": -0.2}}
        embedder.card = replace(embedder.card, operating_points=points)
    phrase = replace(recognizer.scorer.phrase, distance=-16.0)
    scorer = replace(recognizer.scorer, phrase=phrase, rate=0.1)
    recognizer = Engine(recognizer.models, scorer=scorer)
    begun = known(engine, voice_at(1.0), required=9)
    assert recognizer.enroll(begun, said()).net_speech_s == 1.5
    heard = recognizer.embed_phrase(said())
    assert recognizer.phrase_margin([begun], heard, said().quality) == 0.0


def test_what_was_learned_is_the_same_recording_too(engine: Engine) -> None:
    ada = known(engine, voice_at(0.9), voice_at(0.9, 3), required=9)
    learned = replace(ada.samples[0], speaker_embedding=voice_at(1.0), adapted=True)
    with pytest.raises(EnrollmentRejected, match="very recording"):
        hearing(engine).enroll(replace(ada, samples=(learned, *ada.samples)), said())


def test_a_command_to_paste_runs_nothing_that_a_name_holds(engine: Engine) -> None:
    name = "Ada's $(echo opened) `echo opened`"
    with pytest.raises(ProfileError) as raised:
        hearing(engine).verify(known(engine, voice_at(1.0), name=name), said())
    command = str(raised.value).partition(": run ")[2]
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == ["edge-voice", "enroll", name]


def test_does_not_judge_with_half_a_profile_or_another_model(engine: Engine) -> None:
    recognizer = hearing(engine, voice_at(0.9))
    half = known(engine, voice_at(1.0), name="Ada L")
    free = known(engine, voice_at(1.0), kind=ProfileKind.VOICE)
    for judge in (recognizer.verify, lambda one, what: recognizer.identify([one], what)):
        with pytest.raises(ProfileError, match=r"2 more repetitions needed: run .* enroll 'Ada L'"):
            judge(half, said())
        with pytest.raises(ProfileError, match=r"3 more seconds of speech .* enroll --voice Ada$"):
            judge(free, said())
    ada = known(engine)
    for foreign in (replace(ada, speaker_model="0" * 64), replace(ada, phrase_model="0" * 64)):
        assert not recognizer.fits(foreign)
        for use in (recognizer.verify, recognizer.enroll):
            with pytest.raises(ProfileError, match="Ada was enrolled with another model"):
                use(foreign, said())
    for fitting in (ada, replace(ada, speaker_model=""), replace(ada, phrase_model="")):
        assert recognizer.fits(fitting)
        assert recognizer.verify(fitting, said()).accepted


def test_a_phrase_is_embedded_once_and_only_where_it_is_wanted(engine: Engine) -> None:
    recognizer = hearing(engine)
    given = PhraseEmbedding(phrase_at(0.3), 12.5)
    analysis = recognizer.analyze(said(), phrase=given)
    assert analysis.phrase_embedding is given.frames
    assert analysis.timings_ms["phrase"] == 12.5
    assert analysis.phrase_variants == ()
    without = recognizer.analyze(said(), with_phrase=False, to_enroll=True)
    assert (without.phrase_embedding, without.phrase_variants) == (None, ())
    assert set(without.timings_ms) == {"speaker"}


def test_times_are_milliseconds(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is 0.25 s after the last."""
    ticks = iter(0.25 * np.arange(1000.0))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    recognizer = hearing(engine)
    times = recognizer.verify(known(engine), said()).timings_ms
    assert times == {"speaker": 250.0, "phrase": 250.0, "match": 250.0}
    assert recognizer.identify([known(engine)], said()).timings_ms == {
        "speaker": 250.0,
        "match": 250.0,
    }


def test_the_configured_rate_decides(engine: Engine) -> None:
    voice, phrase = (
        dict(model.card.calibration["operating_curve"])
        for model in (engine.models.speaker, engine.models.phrase)
    )
    config = Config(security=SecurityConfig(false_accept_rate=0.01))
    assert Engine(engine.models, config).scorer.voice_threshold() == pytest.approx(voice[0.01])
    assert engine.scorer.voice_threshold() == pytest.approx(voice[0.001])
    assert engine.scorer.phrase_threshold() == pytest.approx(phrase[0.001])


def test_no_embedding_is_shown(engine: Engine) -> None:
    recognizer = hearing(engine)
    analysis = recognizer.analyze(said(), to_enroll=True)
    person = known(engine)
    scores = recognizer.scorer.voice_scores([person], [analysis])
    for each in (analysis, recognizer.embed_phrase(said()), person, recognizer.scorer, scores):
        assert "[" not in repr(each)


@pytest.mark.runtime
def test_each_model_has_as_many_threads_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(model: bytes | Path, count: int) -> Any:
        threads.append(count)
        return new_interpreter(model, count)

    monkeypatch.setattr("edge.inference.model.new_interpreter", noted)
    open_models()
    Engine.open(Config(recognition=RecognitionConfig(threads=2)))
    assert threads == [1, 1, 2, 2]


def test_results_in_json() -> None:
    voice = SpeakerMatch("an id", "Ada", 0.912345, 12.345678, 3.774056)
    phrase = PhraseMatch("an id", "mellon", 0.123456, -1.234567, -0.316056)
    quality = Quality(-20.04, -60.0, 25.04, 0.12344, 1.504, 0.34)
    times = {"speaker": 1.2345, "match": 0.04}
    heard = {
        "profile_id": "an id", "name": "Ada", "similarity": 0.9123, "score": 12.3457,
        "threshold": 3.7741, "accepted": True,
    }  # fmt: skip
    common = {
        "confidence": "high",
        "quality": {
            "level_dbfs": -20.0, "noise_dbfs": -60.0, "snr_db": 25.0, "clipped_fraction": 0.1234,
            "net_speech_s": 1.5, "reverberation_s": 0.3,
        },
        "timings_ms": {"speaker": 1.2, "match": 0.0},
    }  # fmt: skip
    wrong, high = ReasonCode.WRONG_PHRASE, Confidence.HIGH
    rejected = Verification(False, wrong, high, voice, phrase, quality, times)
    assert rejected.as_dict() == {
        **common,
        "accepted": False,
        "reason": "wrong_phrase",
        "speaker": heard,
        "phrase": {
            "profile_id": "an id", "phrase": "mellon", "distance": 0.1235, "score": -1.2346,
            "threshold": -0.3161, "accepted": False,
        },
    }  # fmt: skip
    unnamed = Verification(True, wrong, high, None, replace(phrase, phrase=""), quality).as_dict()
    assert (unnamed["accepted"], unnamed["speaker"], unnamed["timings_ms"]) == (True, None, {})
    assert unnamed["phrase"]["phrase"] is None
    assert Verification(True, wrong, high, voice, None, quality).as_dict()["phrase"] is None
    found = Identification(ReasonCode.RECOGNIZED, high, voice, (voice,), quality, times).as_dict()
    assert found == {**common, "reason": "recognized", "identified": heard, "ranking": [heard]}
    nobody = Identification(ReasonCode.UNKNOWN_SPEAKER, high, None, (voice,), quality)
    assert (nobody.as_dict()["identified"], nobody.as_dict()["timings_ms"]) == (None, {})


@pytest.mark.runtime
@pytest.mark.parametrize(
    ("name", "reason", "similarity", "nearest", "furthest"),
    [
        ("ada_right_phrase", ReasonCode.RECOGNIZED, 0.912, 0.0, 0.2),
        ("ada_wrong_phrase", ReasonCode.WRONG_PHRASE, 0.851, 0.5, 1.3),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER, 0.452, 0.0, 0.5),
        ("stranger_other_phrase", ReasonCode.NO_MATCH, 0.350, 0.5, 1.3),
    ],
)
def test_scores_of_the_demo(
    engine: Engine,
    ada: Profile,
    name: str,
    reason: ReasonCode,
    similarity: float,
    nearest: float,
    furthest: float,
) -> None:
    """Similarities as they were measured once; runtimes differ by less."""
    result = engine.verify(ada, recording(name))
    assert result.reason is reason
    assert result.speaker is not None
    assert result.phrase is not None
    assert result.speaker.similarity == pytest.approx(similarity, abs=0.01)
    assert nearest < result.phrase.distance < furthest


def test_knows_the_demos_voices_whatever_they_say(
    engine: Engine, ada: Profile, robin: Profile
) -> None:
    found = engine.identify([ada, robin], recording("robin_near_phrase"))
    assert [match.name for match in found.ranking] == ["robin", "ada"]
    assert found.accepted
    assert not engine.identify([ada, robin], recording("stranger_other_phrase")).accepted
    voice = replace(ada, kind=ProfileKind.VOICE, required=2.0)
    assert engine.verify(voice, recording("ada_wrong_phrase")).accepted
    assert not engine.verify(voice, recording("stranger_adas_phrase")).accepted


def test_an_enrolled_recording_is_near_to_what_was_made_of_it(engine: Engine) -> None:
    """In quiet, with which alone it is compared at the door, and of which it was made with more."""
    for name in ("ada_enroll_1", "robin_enroll_2"):
        analysis = engine.analyze(recording(name), with_phrase=False, to_enroll=True)
        enrolled_voice = analysis.voice_to_enroll
        assert enrolled_voice.dtype == np.float32
        assert float(np.linalg.norm(enrolled_voice)) == pytest.approx(1.0, abs=1e-5)
        assert 0.85 < float(enrolled_voice @ analysis.speaker_embedding) < 0.9999
        as_said, echoing, noisy = analysis.voice_variants
        assert as_said is analysis.speaker_embedding
        for altered in (echoing, noisy):
            assert float(np.linalg.norm(altered)) == pytest.approx(1.0, abs=1e-5)
            assert 0.6 < float(altered @ as_said) < float(enrolled_voice @ as_said)
        plain = engine.analyze(recording(name), with_phrase=False)
        assert plain.voice_variants == ()
        np.testing.assert_array_equal(plain.voice_to_enroll, analysis.speaker_embedding)


@pytest.mark.parametrize("name", ["ada_enroll_1", "ada_enroll_3"])
def test_an_enrolled_recording_is_accepted(engine: Engine, ada: Profile, name: str) -> None:
    result = engine.verify(ada, recording(name))
    assert result.accepted
    assert result.speaker is not None
    assert result.speaker.similarity > 0.8


def test_the_same_recording_twice_is_no_repetition(engine: Engine, ada: Profile) -> None:
    with pytest.raises(EnrollmentRejected, match="very recording"):
        engine.enroll(ada, recording("ada_enroll_1"))


def test_half_of_a_phrase_is_not_the_phrase(engine: Engine, ada: Profile, robin: Profile) -> None:
    for profile, name in ((ada, "ada_right_phrase"), (robin, "robin_right_phrase")):
        samples = read_audio(demo_directory() / f"{name}.flac").samples
        whole = utterance_of(samples)
        begin = int((whole.start_s + whole.lead_s) * SAMPLE_RATE)
        end = int(whole.end_s * SAMPLE_RATE)
        for share in (0.5, 0.6):
            stop = begin + int(share * (end - begin))
            cut = np.concatenate((samples[:stop], samples[-SAMPLE_RATE // 2 :]))
            result = engine.verify(profile, utterance_of(cut))
            assert result.reason is ReasonCode.WRONG_PHRASE, (name, share)
