"""Thresholds that follow from one rate, and one score for voice and phrase together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.recognition import Analysis
from edge.recognition.dtw import unit
from edge.recognition.scoring import Scorer, signatures_of
from edge.types import EnrollmentSample, FloatArray, Profile, Quality
from tests.unit.scoring import PHRASE_CURVE, VOICE_CURVE, plain_scorer

RATES = st.floats(1e-6, 0.1)
SCORES = st.floats(-15.0, 25.0)
AMONG = st.integers(1, 40)


@given(RATES, RATES)
def test_thresholds_fall_as_the_rate_rises(one: float, other: float) -> None:
    assume(one < other * 0.999)
    strict, lax = plain_scorer(rate=one), plain_scorer(rate=other)
    assert strict.voice_threshold() > lax.voice_threshold()
    assert strict.phrase_threshold() > lax.phrase_threshold()
    assert strict.joint_threshold > lax.joint_threshold


@given(AMONG, AMONG, RATES)
def test_among_more_people_a_voice_must_come_nearer(few: int, many: int, rate: float) -> None:
    assume(few < many)
    scorer = plain_scorer(rate=rate)
    assert scorer.voice_threshold(many) > scorer.voice_threshold(few)


def test_everybody_gets_a_part_of_the_rate() -> None:
    scorer = plain_scorer(rate=0.01)
    assert scorer.joint_threshold == pytest.approx(math.log(100.0))
    assert scorer.voice_threshold() == pytest.approx(1.0)
    assert scorer.voice_threshold(among=10) == pytest.approx(4.0)
    assert scorer.voice_threshold(among=10) == pytest.approx(scorer.voice_threshold(rate=0.001))
    assert scorer.voice_threshold(among=10, rate=0.1) == pytest.approx(1.0)
    # A phrase is no name: how many people there are is nothing to it.
    assert scorer.phrase_threshold() == pytest.approx(0.5)
    assert scorer.phrase_threshold(rate=0.0001) == pytest.approx(2.5)


@given(SCORES, SCORES, RATES, AMONG)
def test_the_joint_score_decides_as_both_parts_do(
    voice: float, phrase: float, rate: float, among: int
) -> None:
    scorer = plain_scorer(rate=rate)
    voice_margin = voice - scorer.voice_threshold(among)
    phrase_margin = phrase - scorer.phrase_threshold()
    assume(min(abs(voice_margin), abs(phrase_margin)) > 1e-4)  # single precision
    joint = scorer.joint(voice, phrase, among)
    assert (joint >= scorer.joint_threshold) is (voice_margin > 0 and phrase_margin > 0)


def test_the_worse_part_is_the_joint_score() -> None:
    scorer = plain_scorer()
    sure, unsure = scorer.joint(20.0, 0.5), scorer.joint(1.0, 9.0)
    assert sure == pytest.approx(-math.log(0.01), abs=1e-4)
    assert unsure == pytest.approx(-math.log(0.01), abs=1e-4)
    assert float(scorer.joints(1.0, 9.0)) == pytest.approx(unsure)
    assert scorer.joint(20.0, 9.0) > sure
    # Ten people for whom a voice may be taken make it ten times less rare; not so the phrase.
    assert scorer.joint(1.0, 9.0, among=10) == pytest.approx(-math.log(0.1), abs=1e-4)
    assert scorer.joint(20.0, 0.5, among=10) == pytest.approx(sure)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=6), AMONG)
def test_many_at_once_are_as_one_by_one(pairs: list[tuple[float, float]], among: int) -> None:
    scorer = plain_scorer()
    voice, phrase = np.asarray(pairs, np.float32).T
    together = scorer.joints(voice, phrase, among)
    alone = [scorer.joint(float(v), float(p), among) for v, p in zip(voice, phrase)]
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("curve", [VOICE_CURVE, PHRASE_CURVE])
@given(score=SCORES)
def test_what_a_stricter_preset_accepts_a_laxer_one_does_too(curve: object, score: float) -> None:
    accepted = [
        score >= curve.threshold(rate)  # type: ignore[attr-defined]
        for rate in sorted(FALSE_ACCEPT_PRESETS.values(), reverse=True)
    ]
    assert accepted == sorted(accepted, reverse=True)


def profile_of(*voices: FloatArray, adapted: int = 0) -> Profile:
    samples = tuple(
        EnrollmentSample(voice, None, 2.0, 30.0, 0.0, number >= len(voices) - adapted)
        for number, voice in enumerate(voices)
    )
    return replace(Profile.begin("Ada"), samples=samples)


GOOD = Quality(-20.0, -60.0, 25.0, 0.0, 2.0)


def analysis_of(voice: FloatArray, quality: Quality = GOOD) -> Analysis:
    return Analysis(voice, None, quality, {})


AXES = np.eye(3, dtype=np.float32)


def test_a_voice_counts_as_near_as_it_comes_as_said_or_in_an_echoing_room() -> None:
    (ada,) = profile_of(AXES[0]).samples
    ada = replace(ada, voice_variants=(AXES[0], AXES[1]))
    person = replace(Profile.begin("Ada"), samples=(ada, ada))
    both = unit(AXES[:1] + AXES[1:2])[0]
    scorer = plain_scorer()
    near = scorer.voice_scores([person], [analysis_of(each) for each in (*AXES, both)]).similarity
    assert near == pytest.approx(np.asarray([[1.0, 1.0, 0.0, math.sqrt(0.5)]]))
    # What is less like any voice gets something added; nothing is nearer than the same.
    knowing = replace(scorer, allowances=np.asarray([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0]], np.float32))
    near = knowing.voice_scores([person], [analysis_of(each) for each in (*AXES, both)]).similarity
    assert near == pytest.approx(np.asarray([[1.0, 1.0, 0.1, math.sqrt(0.5) + 0.1]]))


def test_a_second_look_at_a_voice_counts_where_it_comes_nearer() -> None:
    (ada,) = profile_of(AXES[0]).samples
    ada = replace(ada, voice_variants=(AXES[0], unit(AXES[:1] + AXES[1:2])[0]))
    person = replace(Profile.begin("Ada"), samples=(ada, ada))
    scorer = replace(
        plain_scorer(), allowances=np.asarray([[0.0, 0.05, 0.0], [0.1, 0.2, 0.0]], np.float32)
    )
    first = analysis_of(AXES[2])
    looks = [replace(first, without_echo=each) for each in (None, *AXES)]
    wet = math.sqrt(0.5)
    for analyses in (looks, looks[::-1]):
        near = scorer.voice_scores([person], analyses).similarity[0]
        expected = [0.05, 1.0, wet + 0.2, 0.2]
        assert near == pytest.approx(expected if analyses is looks else expected[::-1])
    # A second look that is no nearer takes nothing away.
    again = replace(analysis_of(AXES[0]), without_echo=AXES[2])
    assert float(scorer.voice_scores([person], [again]).similarity[0, 0]) == pytest.approx(1.0)


def in_plane(*degrees: float) -> tuple[FloatArray, ...]:
    """Voices by their angle."""
    rad = np.radians(degrees)
    return tuple(np.stack((np.cos(rad), np.sin(rad), 0 * rad), axis=1).astype(np.float32))


def with_stretches(*samples: tuple[float, ...]) -> Profile:
    """A profile of samples of one voice, whose stretches have these angles."""
    (ada,) = profile_of(AXES[0]).samples
    enrolled = tuple(replace(ada, stretches=in_plane(*degrees)) for degrees in samples)
    return replace(Profile.begin("Ada"), samples=enrolled)


@pytest.mark.parametrize(
    ("said", "without_echo", "near"),
    [
        ((0, 0, 0), (), (1, 1, 1)),
        ((60, 60, -60), (), (0.5, 0.5, 0.5)),
        ((0, 60, 90), (), (1, 0.5, 0)),
        # Each stretch counts as near as it comes in either look.
        ((0, 60, 90), (90, 0, 60), (1, 1, 0.5)),
    ],
)
def test_each_stretch_is_compared_with_the_same_one(
    said: tuple[float, ...], without_echo: tuple[float, ...], near: tuple[float, ...]
) -> None:
    """Those enrolled lie on both sides of 0 degrees; what has no stretches does not count."""
    person = with_stretches((10, -20, 30), (-10, 20, -30), ())
    heard = replace(
        analysis_of(AXES[0]),
        stretches=in_plane(*said),
        stretches_without_echo=in_plane(*without_echo),
    )
    found = plain_scorer().stretch_similarities(person, heard)
    assert found == pytest.approx(np.asarray(near), abs=1e-6)


def test_a_stretch_counts_as_near_as_it_comes_as_said_in_echo_or_in_noise() -> None:
    """The echoing ones are as near as their allowance makes them; older samples have none."""
    everything = (0, 0, 0, 90, 90, 90, 60, 60, 60)
    scorer = replace(
        plain_scorer(), allowances=np.asarray([[0.0, 0.3, 0.1], [0.2, 0.2, 0.2]], np.float32)
    )
    heard = replace(analysis_of(AXES[0]), stretches=in_plane(0, 90, 60))
    found = scorer.stretch_similarities(with_stretches(everything, everything), heard)
    assert found == pytest.approx(np.asarray([1.0, 1.3, math.sqrt(0.75) + 0.3]))
    dry = replace(heard, stretches_without_echo=in_plane(90, 45, 0))
    found = scorer.stretch_similarities(with_stretches(everything), dry)
    assert found == pytest.approx(np.asarray([1.2, 1.3, 1.2]))
    found = scorer.stretch_similarities(with_stretches(everything, (0, 0, 0)), heard)
    assert found == pytest.approx(np.asarray([1.0, 0.0, 0.5]), abs=1e-6)


@pytest.mark.parametrize(
    ("said", "similarity"),
    [
        ((0, 0, 0), 1.0),
        ((90, 90, 90), (1.0 + 0.0 + 0.1) / 2),
        ((0, 60, 90), (1.0 + 0.5 + 0.1) / 2),
        ((), 1.0),
    ],
)
def test_the_stretches_count_as_much_as_the_whole(
    said: tuple[float, ...], similarity: float
) -> None:
    """Where there are none, on either side, the whole counts alone; never for more than 1."""
    scorer = replace(plain_scorer(), stretch_allowance=0.1)
    heard = replace(analysis_of(AXES[0]), stretches=in_plane(*said))
    whole = profile_of(AXES[0])
    found = scorer.voice_scores([whole, with_stretches((0, 0, 0))], [heard])
    assert found.similarity[:, 0] == pytest.approx([1.0, similarity], abs=1e-6)
    assert found.ratio[:, 0] == pytest.approx([21.0, 30.0 * similarity - 9.0], abs=1e-4)


def test_what_was_learned_counts_for_both() -> None:
    """It has one embedding, and so has what older versions enrolled."""
    (ada,) = profile_of(AXES[0]).samples
    learned = replace(ada, speaker_embedding=AXES[2], adapted=True)
    enrolled = replace(ada, voice_variants=(AXES[0], AXES[1]))
    half = math.sqrt(0.5)
    assert signatures_of([enrolled, learned]) == pytest.approx(
        np.asarray([[half, 0.0, half], [0.0, half, half], [half, 0.0, half]])
    )
    assert signatures_of([ada]) == pytest.approx(np.asarray([AXES[0]] * 3))
    with pytest.raises(ValueError, match="at least one enrollment sample"):
        signatures_of([learned])


def test_every_voice_against_every_signature() -> None:
    found = plain_scorer().voice_scores(
        [profile_of(AXES[0]), profile_of(AXES[1])], [analysis_of(axis) for axis in AXES]
    )
    assert found.similarity == pytest.approx(np.asarray([[1, 0, 0], [0, 1, 0]]))
    assert found.ratio == pytest.approx(np.asarray([[21, -9, -9], [-9, 21, -9]]))


def test_the_center_and_the_quality_count() -> None:
    plain = plain_scorer()
    profiles = [profile_of(AXES[0], AXES[0])]
    analyses = [analysis_of(AXES[0], replace(GOOD, net_speech_s=1.0))]
    knowing = replace(plain.voice, speech=2.0, enrollments=-1.5)
    scorer = Scorer(plain.center, knowing, plain.phrase, plain.rate)
    expected = 21.0 - 2.0 * math.log(2) - 1.5 * math.log(2)
    assert float(scorer.voice_scores(profiles, analyses).ratio[0, 0]) == pytest.approx(expected)
    # Rounding makes nobody more similar than the same.
    longer = [analysis_of(sign * 1.001 * AXES[0]) for sign in (1, -1)]
    assert plain.voice_scores(profiles, longer).similarity.tolist() == [[1.0, -1.0]]
    # What is left of them without what they have in common is at right angles: -9 + 30 x 0.
    one, other = unit(AXES[:1] + AXES[2:])[0], unit(AXES[1:2] + AXES[2:])[0]
    common = np.asarray([0.0, 0.0, math.sqrt(0.5)], np.float32)
    apart = replace(plain, center=common).voice_scores([profile_of(one)], [analysis_of(other)])
    assert float(apart.similarity[0, 0]) == pytest.approx(0.0, abs=1e-6)
    assert float(apart.ratio[0, 0]) == pytest.approx(-9.0, abs=1e-4)


QUALITIES = st.builds(
    Quality,
    level_dbfs=st.floats(-100.0, 0.0),
    noise_dbfs=st.floats(-100.0, 0.0),
    snr_db=st.floats(-60.0, 60.0),
    clipped_fraction=st.floats(0.0, 1.0),
    net_speech_s=st.floats(0.0, 10.0),
    reverberation_s=st.floats(0.0, 2.0),
)


@given(st.floats(-1.0, 1.0), QUALITIES, st.floats(0.0, 5.0))
def test_nothing_that_a_speaker_controls_lowers_what_is_asked_of_the_voice(
    similarity: float, quality: Quality, speech: float
) -> None:
    """Noise, echo, clipping and level count for nothing; who says less has to be nearer."""
    plain = plain_scorer(3)
    scorer = replace(plain, voice=replace(plain.voice, speech=speech))
    heard = np.asarray([similarity, math.sqrt(1 - similarity**2), 0.0], np.float32)
    short = replace(GOOD, net_speech_s=quality.net_speech_s)
    in_full, in_quiet, as_it_was = scorer.voice_scores(
        [profile_of(AXES[0])], [analysis_of(heard, each) for each in (GOOD, short, quality)]
    ).ratio[0]
    assert as_it_was == in_quiet
    assert as_it_was <= in_full


def test_what_was_learned_is_no_enrollment() -> None:
    """The calibration knows how well a signature was enrolled; learning must not shift it."""
    plain = plain_scorer()
    scorer = replace(plain, voice=replace(plain.voice, enrollments=-1.5))
    own = profile_of(AXES[0], AXES[0])
    learned = profile_of(AXES[0], AXES[0], AXES[0], adapted=1)
    before, after = (
        float(scorer.voice_scores([profile], [analysis_of(AXES[0])]).ratio[0, 0])
        for profile in (own, learned)
    )
    assert before == pytest.approx(after, abs=1e-5)


@given(st.integers(1, 8), st.floats(-0.5, 0.9), RATES)
def test_what_is_accepted_does_not_go_by_the_number_of_enrollments(
    enrollments: int, similarity: float, rate: float
) -> None:
    scorer = plain_scorer(rate=rate)
    scorer = replace(scorer, voice=replace(scorer.voice, enrollments=-1.75))
    ratios = scorer.voice.ratio(np.full((2, 1), similarity, np.float32), [3, enrollments], [2.0])
    usual, other = (float(ratio) for ratio in ratios[:, 0])
    margin = usual - scorer.voice_threshold()
    assume(abs(margin) > 1e-3)
    assert (other >= scorer.voice_threshold(enrollments=enrollments)) == (margin >= 0)
    assert scorer.joint(other, 99.0, enrollments=enrollments) == pytest.approx(
        scorer.joint(usual, 99.0), abs=1e-3
    )
    # Fewer utterances, and the same similarity means more: strangers come no nearer to them.
    if enrollments < 3:
        assert other > usual
