"""What may be learned from an accepted utterance: each rule by itself, and how far it can lead."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.recognition import Analysis
from edge.recognition.adaptation import AdaptationRefusal, Matches, drift_of, reason_not_to_adapt
from edge.recognition.scoring import cosine, signature_of
from edge.types import (
    Confidence,
    EnrollmentSample,
    FloatArray,
    PhraseMatch,
    Profile,
    Quality,
    SpeakerMatch,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
SIZE = 12


def toward(cosine_to_first: float, axis: int = 1) -> FloatArray:
    """A voice with a given cosine to the first axis, leaning toward another one."""
    vector = np.zeros(SIZE, np.float32)
    vector[0] = cosine_to_first
    vector[axis] = math.sqrt(1.0 - cosine_to_first**2)
    return vector


def sample(voice: FloatArray, *, adapted: bool = False, **changes: Any) -> EnrollmentSample:
    plain = EnrollmentSample(voice, np.ones((4, 3), np.float32), 2.0, 30.0, NOW - 9 * HOUR, adapted)
    return replace(plain, **changes)


def profile_of(*samples: EnrollmentSample) -> Profile:
    return replace(Profile.begin("Ada"), samples=samples)


ADA = profile_of(*(sample(toward(0.95, axis)) for axis in (1, 2, 3)))


def matches(voice: float = 9.0, phrase: float = 6.0) -> Matches:
    """Thresholds at 3 and 1: high confidence from 5.3 and 3.3 on (ln 10 above them)."""
    return Matches(
        SpeakerMatch(ADA.id, "Ada", 0.8, voice, 3.0),
        PhraseMatch(ADA.id, "x", 0.2, phrase, 1.0),
    )


def reason(
    profile: Profile = ADA, *, voice: FloatArray | None = None, **changes: Any
) -> AdaptationRefusal | None:
    quality = Quality(-23.0, -60.0, changes.pop("snr_db", 30.0), 0.0, changes.pop("speech_s", 2.0))
    analysis = Analysis(
        toward(0.9, 4) if voice is None else voice, None, quality, {},
        without_echo=changes.pop("without_echo", None),
    )  # fmt: skip
    facts: dict[str, Any] = {
        "confidence": Confidence.HIGH,
        "matches": matches(),
        "to_enrolled": matches(),
        "truncated": False,
        "now": NOW,
        "interval_s": 6 * HOUR,
        **changes,
    }
    return reason_not_to_adapt(profile, analysis, **facts)


def test_a_good_utterance_is_learned_from() -> None:
    assert reason() is None


@pytest.mark.parametrize("confidence", [Confidence.NORMAL, Confidence.LOW])
def test_a_decision_that_was_not_sure_teaches_nothing(confidence: Confidence) -> None:
    assert reason(confidence=confidence) is AdaptationRefusal.UNSURE


@pytest.mark.parametrize(
    "borderline",
    [
        pytest.param(matches(voice=5.2), id="voice nearly sure"),
        pytest.param(matches(voice=3.0), id="voice at the threshold"),
        pytest.param(matches(voice=-9.0), id="voice not accepted at all"),
        pytest.param(matches(phrase=3.2), id="phrase nearly sure"),
        pytest.param(matches(phrase=1.0), id="phrase at the threshold"),
        pytest.param(matches(phrase=-9.0), id="phrase not accepted at all"),
    ],
)
def test_both_parts_must_be_sure_with_and_without_what_was_learned(borderline: Matches) -> None:
    assert reason(matches=borderline) is AdaptationRefusal.UNSURE
    assert reason(to_enrolled=borderline) is AdaptationRefusal.STRAYED


def test_noise_is_not_learned() -> None:
    assert reason(snr_db=15.0) is None
    assert reason(snr_db=14.9) is AdaptationRefusal.NOISY
    assert reason(snr_db=math.nan) is AdaptationRefusal.NOISY


def test_a_voice_that_is_only_known_without_its_echo_is_not_learned() -> None:
    assert reason(without_echo=toward(0.99, 4)) is AdaptationRefusal.ECHOING


def test_half_a_phrase_is_not_learned() -> None:
    shortest = profile_of(*ADA.samples[:2], sample(toward(0.95, 3), net_speech_s=1.0))
    assert reason(ADA, speech_s=1.39) is AdaptationRefusal.SHORT
    assert reason(ADA, speech_s=1.4) is None
    assert reason(ADA, speech_s=math.nan) is AdaptationRefusal.SHORT
    assert reason(shortest, speech_s=0.69) is AdaptationRefusal.SHORT
    assert reason(shortest, speech_s=0.7) is None
    # A learned sample does not lower the bar for the next one.
    eased = profile_of(
        *ADA.samples, sample(toward(0.95, 5), adapted=True, net_speech_s=1.5, created_at=0.0)
    )
    assert reason(eased, speech_s=1.2) is AdaptationRefusal.SHORT


def test_what_was_cut_is_not_learned() -> None:
    assert reason(truncated=True) is AdaptationRefusal.CUT


def test_of_several_reasons_the_first_is_given() -> None:
    learned = sample(toward(0.9, 4), adapted=True, created_at=NOW)
    everything: dict[str, Any] = {
        "confidence": Confidence.LOW,
        "to_enrolled": matches(voice=0.0),
        "truncated": True,
        "snr_db": 0.0,
        "without_echo": toward(0.9, 4),
        "speech_s": 0.1,
        "interval_s": 1.0,
    }
    found = []
    for mended in [*everything, None]:
        found.append(reason(profile_of(*ADA.samples, learned), **everything))
        everything.pop(mended or "", None)
        if mended == "interval_s":
            everything["interval_s"] = 0.0
    assert found == list(AdaptationRefusal)


@pytest.mark.parametrize(("adapted", "most"), [(False, 0.92), (True, 0.98)])
def test_what_is_there_already_is_not_learned(adapted: bool, most: float) -> None:
    """What was enrolled is a mean, to which even its own recording is less similar."""
    there = sample(toward(0.9, 5), adapted=adapted, created_at=0.0)
    profile = profile_of(*ADA.samples, there)

    def near(similarity: float) -> FloatArray:
        """A voice that is that near to it, and far from the others."""
        aside = math.sqrt(1.0 - similarity**2)
        turned: FloatArray = similarity * toward(0.9, 5) + aside * toward(0.0, 6)
        return turned

    assert reason(profile, voice=near(1.0)) is AdaptationRefusal.REPEATED
    assert reason(profile, voice=near(most + 0.001)) is AdaptationRefusal.REPEATED
    assert reason(profile, voice=near(most - 0.001)) is None
    assert reason(ADA, voice=near(1.0)) is None


def test_one_at_a_time() -> None:
    def learned(hours_ago: float) -> Profile:
        old = sample(toward(0.9, 6), adapted=True, created_at=NOW - 20 * HOUR)
        new = sample(toward(0.9, 5), adapted=True, created_at=NOW - hours_ago * HOUR)
        return profile_of(*ADA.samples, new, old)

    assert reason(learned(5.9)) is AdaptationRefusal.TOO_SOON
    assert reason(learned(6.0)) is None
    assert reason(learned(6.1), interval_s=7 * HOUR) is AdaptationRefusal.TOO_SOON
    # A clock that was set back makes it slower, never faster.
    assert reason(learned(-1000.0)) is AdaptationRefusal.TOO_SOON
    # What was enrolled a minute ago is no reason to wait.
    fresh = profile_of(*(replace(each, created_at=NOW - 60.0) for each in ADA.samples))
    assert reason(fresh) is None


def test_drift_is_none_without_learning_and_grows_with_it() -> None:
    assert drift_of(ADA) == 0.0
    own = sample(toward(1.0))

    def drift(*seconds: float) -> float:
        """After learning a voice at a right angle to the enrolled one, 2 s long."""
        learned = [sample(toward(0.0), adapted=True, net_speech_s=each) for each in seconds]
        return drift_of(profile_of(own, *learned))

    # The signatures are (1, 0), and (2, s) for s seconds learned.
    assert drift(0.5) == pytest.approx(1 - 2 / math.hypot(2, 0.5), abs=1e-6)
    assert drift(0.5, 1.0) == pytest.approx(1 - 2 / math.hypot(2, 1.5), abs=1e-6)
    assert drift(2.0, 2.0, 2.0) == pytest.approx(1 - math.sqrt(0.5), abs=1e-6)
    # Nothing is claimed of a profile that has only learned.
    assert drift_of(profile_of(sample(toward(0.9), adapted=True))) == 0.0


def test_a_cosine_stays_one_in_spite_of_rounding() -> None:
    longer = toward(1.0) * np.float32(1.001)
    assert (cosine(longer, longer), cosine(longer, -longer)) == (1.0, -1.0)


def test_a_signature_needs_something_enrolled() -> None:
    with pytest.raises(ValueError, match="enrollment"):
        signature_of([sample(toward(0.9), adapted=True)])


def test_learned_samples_never_weigh_more_than_enrolled_ones() -> None:
    one = sample(toward(1.0))
    other = sample(toward(0.0, 1), adapted=True)
    for count in (1, 2, 20):
        signature = signature_of([one, *[other] * count])
        # Equal weights: halfway between the two, however many there are.
        assert signature[:2] == pytest.approx([math.sqrt(0.5)] * 2, abs=1e-5)
    # Learned samples that disagree make a shorter sum, which is no reason to count more of them.
    apart = signature_of([one, other, sample(toward(0.0, 2), adapted=True)])
    assert apart[1] / apart[0] == pytest.approx(0.5, abs=1e-5)
    # Not so many that it matters: each counts in full.
    three = signature_of([one, one, one, other])
    assert three[1] / three[0] == pytest.approx(1 / 3, abs=1e-5)
    # Each by its seconds of speech, of which only three count.
    seconds = [sample(toward(1.0), net_speech_s=2.5), sample(toward(0.0), net_speech_s=9.0)]
    weighed = signature_of(seconds)
    assert weighed[1] / weighed[0] == pytest.approx(3.0 / 2.5, abs=1e-5)
    # Enrolled samples that disagree make a shorter sum, which must still not be outweighed.
    scattered = [sample(toward(0.6, axis)) for axis in (1, 2, 3)]
    own = signature_of(scattered)
    pulled = signature_of([*scattered, *[sample(toward(0.0, 9), adapted=True)] * 3])
    assert cosine(own, pulled) >= math.sqrt(0.5) - 1e-6
    assert cosine(own, pulled) >= pulled[9] - 1e-6


_PLACES = st.lists(st.integers(-100, 100), min_size=4, max_size=4).filter(any)


@settings(deadline=None)
@given(
    enrolled=st.lists(st.tuples(_PLACES, st.floats(0.1, 5.0)), min_size=1, max_size=5),
    learned=st.lists(st.tuples(_PLACES, st.floats(0.1, 5.0)), min_size=1, max_size=8),
    least=st.floats(0.3, 0.95),
)
def test_drift_has_a_bound_whatever_is_learned(
    enrolled: list[tuple[list[int], float]],
    learned: list[tuple[list[int], float]],
    least: float,
) -> None:
    """With every learned voice near the enrolled signature, no more than half of that angle."""

    def made(place: list[int], seconds: float, *, adapted: bool) -> EnrollmentSample:
        vector = np.asarray(place, np.float32)
        unit = vector / np.linalg.norm(vector)
        return sample(unit, adapted=adapted, net_speech_s=seconds)

    own = [made(*each, adapted=False) for each in enrolled]
    signature = signature_of(own)
    if abs(float(np.linalg.norm(signature)) - 1.0) > 1e-3:
        return  # voices that cancel one another out
    near = [made(*each, adapted=True) for each in learned]
    near = [each for each in near if cosine(each.speaker_embedding, signature) >= least]
    bound = 1.0 - math.sqrt((1.0 + least) / 2.0)
    assert drift_of(profile_of(*own, *near)) <= bound + 1e-5
