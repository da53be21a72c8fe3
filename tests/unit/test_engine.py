"""The recognizer on the demo's voices, with the real models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import EnrollmentRejected, ProfileError
from edge.recognition import Engine
from edge.recognition.embedders import PHRASE_CONTEXT_S, phrase_samples, voice_samples
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, Profile, ProfileKind, ProfileStatus, ReasonCode
from tests.unit.voices import enrolled, recording


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return enrolled(engine, "ada")


@pytest.fixture(scope="module")
def robin(engine: Engine) -> Profile:
    return enrolled(engine, "robin")


@pytest.mark.runtime
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ada_right_phrase", ReasonCode.ACCEPTED),
        ("ada_wrong_phrase", ReasonCode.WRONG_PHRASE),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER),
        ("stranger_other_phrase", ReasonCode.NO_MATCH),
    ],
)
def test_verifies_voice_and_phrase(
    engine: Engine, ada: Profile, name: str, reason: ReasonCode
) -> None:
    result = engine.verify(ada, recording(name))
    assert result.reason is reason
    assert result.accepted is (reason is ReasonCode.ACCEPTED)
    assert result.speaker is not None
    assert result.phrase is not None
    assert set(result.timings_ms) == {"speaker", "phrase", "match"}


def test_verifies_a_voice_whatever_is_said(engine: Engine) -> None:
    profile = enrolled(engine, "ada", ProfileKind.VOICE)
    assert engine.verify(profile, recording("ada_wrong_phrase")).accepted
    result = engine.verify(profile, recording("stranger_adas_phrase"))
    assert result.reason is ReasonCode.UNKNOWN_SPEAKER
    assert result.phrase is None


def test_identifies_one_of_a_group_or_nobody(engine: Engine, ada: Profile, robin: Profile) -> None:
    found = engine.identify([ada, robin], recording("robin_near_phrase"))
    assert found.best is not None
    assert found.best.name == "robin"
    assert [match.name for match in found.ranking] == ["robin", "ada"]
    nobody = engine.identify([ada, robin], recording("stranger_other_phrase"))
    assert nobody.best is None
    assert nobody.reason is ReasonCode.UNKNOWN_SPEAKER
    assert len(nobody.ranking) == 2
    with pytest.raises(ProfileError, match="nobody to choose from"):
        engine.identify([], recording("ada_right_phrase"))


def test_a_repetition_must_match_the_first(engine: Engine) -> None:
    begun = engine.extend(Profile.begin("Ada"), recording("ada_enroll_1"))
    with pytest.raises(EnrollmentRejected, match="not the phrase") as phrase:
        engine.enroll(begun, recording("ada_wrong_phrase"))
    assert phrase.value.reason == ReasonCode.WRONG_PHRASE.value
    with pytest.raises(EnrollmentRejected, match="not the voice") as voice:
        engine.enroll(begun, recording("robin_right_phrase"))
    assert voice.value.reason == ReasonCode.UNKNOWN_SPEAKER.value
    second = recording("ada_enroll_2")
    faint = replace(second, quality=replace(second.quality, level_dbfs=-70.0))
    with pytest.raises(EnrollmentRejected, match="too quiet"):
        engine.enroll(begun, faint)
    free = engine.extend(
        Profile.begin("Ada", ProfileKind.VOICE, required=30.0), recording("ada_enroll_1")
    )
    with pytest.raises(EnrollmentRejected, match="not the voice"):
        engine.enroll(free, recording("stranger_other_phrase"))
    assert free.status is ProfileStatus.ENROLLING
    assert 27.0 < free.remaining < 29.5


def test_does_not_judge_with_half_a_profile_or_another_model(engine: Engine, ada: Profile) -> None:
    begun = engine.extend(Profile.begin("Ada"), recording("ada_enroll_1"))
    with pytest.raises(ProfileError, match="not enrolled yet, 2 more repetitions"):
        engine.verify(begun, recording("ada_enroll_2"))
    foreign = replace(ada, speaker_model="0" * 64)
    with pytest.raises(ProfileError, match="another model"):
        engine.verify(foreign, recording("ada_right_phrase"))
    with pytest.raises(ProfileError, match="another model"):
        engine.enroll(foreign, recording("ada_right_phrase"))


def test_does_not_judge_what_is_too_bad(engine: Engine, ada: Profile) -> None:
    silence = utterance_of(np.zeros(2 * SAMPLE_RATE, np.float32))
    result = engine.verify(ada, silence)
    assert result.reason is ReasonCode.TOO_SHORT
    assert result.speaker is None
    assert not result.accepted
    assert engine.identify([ada], silence).best is None


def test_missing_context_is_filled_the_same_way_each_time() -> None:
    whole = recording("ada_right_phrase")
    bare = utterance_of(voice_samples(whole))
    speech = len(voice_samples(bare))
    assert len(phrase_samples(bare)) == speech + 2 * int(PHRASE_CONTEXT_S * SAMPLE_RATE)
    assert np.array_equal(phrase_samples(bare), phrase_samples(bare))


def test_rounding_does_not_shift_what_the_models_hear() -> None:
    """17 frames of 32 ms are 8704 samples, also where their length comes out as 0.5439999."""
    whole = replace(recording("ada_right_phrase"), lead_s=0.544)
    below = replace(whole, lead_s=0.5439999999999996, end_s=whole.end_s + 1e-12)
    assert np.array_equal(voice_samples(whole), voice_samples(below))
    assert np.array_equal(phrase_samples(whole), phrase_samples(below))


def test_the_same_recording_twice_is_no_repetition(engine: Engine) -> None:
    begun = engine.extend(Profile.begin("Ada"), recording("ada_enroll_1"))
    with pytest.raises(EnrollmentRejected, match="very recording") as error:
        engine.enroll(begun, recording("ada_enroll_1"))
    assert error.value.reason == ReasonCode.REPEATED.value


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
