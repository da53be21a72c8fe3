"""The recognizer: on made-up embeddings that are worked out by hand, and on the demo's voices."""

from __future__ import annotations

import math
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
from tests.unit.voices import recording

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
        self._voice = voice

    def embed(self, samples: FloatArray) -> FloatArray:
        return self._voice


class _HeardPhrase(PhraseEmbedder):
    def __init__(self, like: PhraseEmbedder, phrase: FloatArray) -> None:
        self.card, self.sha256, self.dimensions = like.card, like.sha256, like.dimensions
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

    Voices count from a cosine of 0.4333 on, phrases up to a distance of 0.3611 (`plain_scorer`).
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
        (1.0, 0.0, ReasonCode.ACCEPTED, Confidence.HIGH),
        (0.434, 0.0, ReasonCode.ACCEPTED, Confidence.LOW),
        (1.0, 0.36, ReasonCode.ACCEPTED, Confidence.LOW),
        (0.48, 0.0, ReasonCode.ACCEPTED, Confidence.NORMAL),
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
    assert result.accepted is (reason is ReasonCode.ACCEPTED)
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
    for person, distance in zip(people, (0.1, 0.5, 0.0, 0.06)):
        assert recognizer.phrase_distance(person, heard) == pytest.approx(distance, abs=1e-4)
    with pytest.raises(ValueError, match="without its phrase"):
        recognizer.match_phrases(people, recognizer.analyze(said(), with_phrase=False))
    with pytest.raises(ValueError, match="Edsger has no phrase"):
        recognizer.match_phrases([known(engine, name="Edsger", phrases=(None,))], analysis)


def test_what_counts_as_the_phrase(engine: Engine) -> None:
    recognizer = hearing(engine)
    assert recognizer.is_phrase(0.361, 25.0)
    assert not recognizer.is_phrase(0.3612, 25.0)
    assert recognizer.is_phrase(0.416, 15.0)
    assert not recognizer.is_phrase(0.417, 15.0)


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
        return hearing(engine, mixed).identify(people, said())

    found = identified(0.1, 0.8, 0.5)
    assert found.best is not None
    assert found.best.name == "Grace"
    assert (found.accepted, found.reason) == (True, ReasonCode.ACCEPTED)
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
        (said(snr_db=11.0), ReasonCode.TOO_NOISY, ReasonCode.TOO_NOISY),
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
        assert result.reason is (reason or ReasonCode.ACCEPTED)
        assert (result.speaker is None) is (reason is not None)
        if reason:
            assert (result.accepted, result.phrase) == (False, None)
            assert result.confidence is Confidence.HIGH
            with pytest.raises(EnrollmentRejected) as refused:
                recognizer.enroll(person, utterance)
            assert refused.value.reason == reason.value
    found = recognizer.identify([ada], utterance)
    assert (found.best is None) is (of_voice is not None)
    assert (found.reason, found.confidence) == (of_voice or ReasonCode.ACCEPTED, Confidence.HIGH)


def test_enrolls_what_it_heard(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    recognizer = hearing(engine, phrase=phrase_at(0.2))
    begun = Profile.begin("Ada")
    ada = recognizer.extend(begun, said(net_speech_s=1.25, snr_db=33.0))
    (sample,) = ada.samples
    np.testing.assert_array_equal(sample.speaker_embedding, voice_at(1.0))
    assert [example.tolist() for example in sample.phrase_examples] == [phrase_at(0.2).tolist()] * 4
    assert (sample.net_speech_s, sample.snr_db, sample.adapted) == (1.25, 33.0, False)
    assert sample.created_at == ada.updated_at == 1_800_000_000.0
    assert ada.speaker_model == engine.models.speaker.sha256
    assert ada.phrase_model == engine.models.phrase.sha256
    assert ada.status is ProfileStatus.ENROLLING
    grace = recognizer.extend(Profile.begin("Grace", ProfileKind.VOICE, required=1.0), said())
    assert grace.samples[0].phrase_examples == ()
    assert (grace.phrase_model, grace.status) == ("", ProfileStatus.ENROLLED)


@pytest.mark.parametrize(
    ("voices", "cosine", "kind", "reason"),
    [
        # A repetition has to match the first; free speech all of what was enrolled.
        ([1.0], 0.431, ProfileKind.PHRASE, None),
        ([1.0], 0.43, ProfileKind.PHRASE, ReasonCode.UNKNOWN_SPEAKER),
        ([1.0, 0.0], 0.431, ProfileKind.PHRASE, None),
        ([1.0, 0.0], 0.7, ProfileKind.VOICE, None),
        ([1.0, 0.0], 0.431, ProfileKind.VOICE, ReasonCode.UNKNOWN_SPEAKER),
        ([0.0, 1.0], 0.999, ProfileKind.PHRASE, ReasonCode.UNKNOWN_SPEAKER),
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
        assert "similarity 0.43, at least 0.43" in str(refused.value)


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


def test_a_limit_itself_is_good_enough(engine: Engine) -> None:
    recognizer = hearing(engine, voice_at(0.5), spelled("abcdefghIJKlmnopqrstuvwx"))
    for embedder in (recognizer.models.speaker, recognizer.models.phrase):
        points = {"enrollment": {"threshold": 0.5}}
        embedder.card = replace(embedder.card, operating_points=points)
    phrase = replace(recognizer.scorer.phrase, distance=-16.0)
    scorer = replace(recognizer.scorer, phrase=phrase, rate=0.1)
    recognizer = Engine(recognizer.models, scorer=scorer)
    begun = known(engine, voice_at(1.0), required=9)
    assert recognizer.phrase_distance(begun, recognizer.embed_phrase(said())) == 0.5
    assert recognizer.enroll(begun, said()).net_speech_s == 1.5
    assert recognizer.is_phrase(0.5, 25.0)


def test_what_was_learned_is_the_same_recording_too(engine: Engine) -> None:
    ada = known(engine, voice_at(0.9), voice_at(0.9, 3), required=9)
    learned = replace(ada.samples[0], speaker_embedding=voice_at(1.0), adapted=True)
    with pytest.raises(EnrollmentRejected, match="very recording"):
        hearing(engine).enroll(replace(ada, samples=(learned, *ada.samples)), said())


def test_does_not_judge_with_half_a_profile_or_another_model(engine: Engine) -> None:
    recognizer = hearing(engine, voice_at(0.9))
    half = known(engine, voice_at(1.0), name="Ada L")
    free = known(engine, voice_at(1.0), kind=ProfileKind.VOICE)
    for judge in (recognizer.verify, lambda one, what: recognizer.identify([one], what)):
        with pytest.raises(ProfileError, match=r"2 more repetitions needed: run .* enroll 'Ada L'"):
            judge(half, said())
        with pytest.raises(ProfileError, match=r"3 more seconds of speech .* enroll --voice 'Ada'"):
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
    config = Config(security=SecurityConfig(false_accept_rate=0.01))
    assert Engine(engine.models, config).scorer.voice_threshold() == pytest.approx(0.713)
    assert engine.scorer.voice_threshold() == pytest.approx(3.774)
    assert engine.scorer.phrase_threshold() == pytest.approx(-0.316)


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
    quality = Quality(-20.04, -60.0, 25.04, 0.12344, 1.504)
    times = {"speaker": 1.2345, "match": 0.04}
    heard = {
        "profile_id": "an id", "name": "Ada", "similarity": 0.9123, "score": 12.3457,
        "threshold": 3.7741, "accepted": True,
    }  # fmt: skip
    common = {
        "confidence": "high",
        "quality": {
            "level_dbfs": -20.0, "noise_dbfs": -60.0, "snr_db": 25.0, "clipped_fraction": 0.1234,
            "net_speech_s": 1.5,
        },
        "timings_ms": {"speaker": 1.2, "match": 0.0},
    }  # fmt: skip
    wrong, high = ReasonCode.WRONG_PHRASE, Confidence.HIGH
    rejected = Verification(False, wrong, high, voice, phrase, quality, times)
    assert rejected.as_dict() == {
        **common,
        "result": "reject",
        "reason": "wrong_phrase",
        "speaker": heard,
        "phrase": {
            "profile_id": "an id", "phrase": "mellon", "distance": 0.1235, "score": -1.2346,
            "threshold": -0.3161, "accepted": False,
        },
    }  # fmt: skip
    unnamed = Verification(True, wrong, high, None, replace(phrase, phrase=""), quality).as_dict()
    assert (unnamed["result"], unnamed["speaker"], unnamed["timings_ms"]) == ("accept", None, {})
    assert unnamed["phrase"]["phrase"] is None
    assert Verification(True, wrong, high, voice, None, quality).as_dict()["phrase"] is None
    found = Identification(ReasonCode.ACCEPTED, high, voice, (voice,), quality, times).as_dict()
    assert found == {**common, "reason": "accepted", "identified": heard, "ranking": [heard]}
    nobody = Identification(ReasonCode.UNKNOWN_SPEAKER, high, None, (voice,), quality)
    assert (nobody.as_dict()["identified"], nobody.as_dict()["timings_ms"]) == (None, {})


@pytest.mark.runtime
@pytest.mark.parametrize(
    ("name", "reason", "similarity", "score", "distance", "phrase_score"),
    [
        ("ada_right_phrase", ReasonCode.ACCEPTED, 0.939, 16.4, 0.053, 7.0),
        ("ada_wrong_phrase", ReasonCode.WRONG_PHRASE, 0.802, 12.1, 0.758, -9.0),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER, 0.267, -5.2, 0.299, 1.4),
        ("stranger_other_phrase", ReasonCode.NO_MATCH, 0.220, -6.4, 0.718, -8.1),
    ],
)
def test_scores_of_the_demo(
    engine: Engine,
    ada: Profile,
    name: str,
    reason: ReasonCode,
    similarity: float,
    score: float,
    distance: float,
    phrase_score: float,
) -> None:
    """As they were measured once; runtimes differ by less."""
    result = engine.verify(ada, recording(name))
    assert result.reason is reason
    assert result.speaker is not None
    assert result.phrase is not None
    assert result.speaker.similarity == pytest.approx(similarity, abs=0.01)
    assert result.speaker.score == pytest.approx(score, abs=0.4)
    assert result.phrase.distance == pytest.approx(distance, abs=0.01)
    assert result.phrase.score == pytest.approx(phrase_score, abs=0.3)


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
