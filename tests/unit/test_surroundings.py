"""Sayings as they would sound elsewhere, and what they are good for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.recognition import Engine
from edge.recognition.augmentation import AUGMENTATIONS, Augmentation, augmented
from edge.recognition.dtw import VARIANT_COST, dtw_distances, example_distances
from edge.recognition.embedders import phrase_samples, voice_samples
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind, Quality, Utterance
from tests.unit.voices import enrolled, recording


def power(samples: FloatArray) -> float:
    return float(np.mean(np.square(samples.astype(np.float64))))


def utterance(samples: FloatArray, lead_s: float = 0.0) -> Utterance:
    seconds = len(samples) / SAMPLE_RATE
    return Utterance(samples, 0.0, seconds, Quality(0.0, 0.0, 0.0, 0.0, seconds), lead_s=lead_s)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_the_noise_is_as_loud_as_asked_for(snr_db: float) -> None:
    said = recording("ada_enroll_1")
    heard = augmented(said, Augmentation(snr_db=snr_db))
    noise = heard.samples - said.samples
    found = 10 * np.log10(power(voice_samples(said)) / power(noise))
    assert found == pytest.approx(snr_db, abs=0.1)
    assert heard.samples.dtype == np.float32


def test_the_noise_has_the_spectrum_of_speech() -> None:
    said = utterance(np.full(4 * SAMPLE_RATE, 0.1, np.float32))
    noise = augmented(said, Augmentation(snr_db=0.0)).samples - said.samples
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE)

    def level(low: float, high: float) -> float:
        return float(10 * np.log10(spectrum[(hertz > low) & (hertz < high)].mean()))

    assert level(100, 200) - level(3_900, 4_100) == pytest.approx(27.0, abs=2.0)
    assert level(20, 50) < level(100, 200) - 20


def test_an_echo_decays_as_fast_as_asked_for() -> None:
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[1000] = 0.5
    heard = augmented(utterance(click), Augmentation(rt60_s=0.6, direct_db=-3.0)).samples
    assert power(heard) == pytest.approx(power(click), rel=1e-3)  # as loud as it was
    assert np.abs(heard[:999]).max() < 1e-6  # nothing is heard before it is said
    assert np.argmax(np.abs(heard)) == 1000
    assert np.abs(heard[1001:1030]).max() < 1e-6
    echo = np.square(heard[1030:].astype(np.float64))
    direct = float(heard[1000]) ** 2
    assert 10 * np.log10(direct / echo.sum()) == pytest.approx(-3.0, abs=0.1)
    decay = 10 * np.log10(np.cumsum(echo[::-1])[::-1][: int(0.5 * SAMPLE_RATE)] / echo.sum())
    slope = np.polyfit(np.arange(len(decay)) / SAMPLE_RATE, decay, 1)[0]
    assert -60 / slope == pytest.approx(0.6, rel=0.15)


def test_nothing_is_left_to_chance_and_no_two_sayings_share_an_echo() -> None:
    said = recording("ada_enroll_1")
    for place in AUGMENTATIONS:
        np.testing.assert_array_equal(
            augmented(said, place).samples, augmented(said, place).samples
        )
    longer = replace(said, samples=np.concatenate((said.samples, said.samples[-1:])))
    noises = [
        augmented(one, AUGMENTATIONS[0]).samples[: len(said.samples)] - said.samples
        for one in (said, longer)
    ]
    assert abs(float(np.corrcoef(np.stack(noises))[0, 1])) < 0.2


@pytest.mark.parametrize("place", AUGMENTATIONS)
def test_it_is_cut_at_the_same_moments(place: Augmentation) -> None:
    said = recording("ada_enroll_1")
    heard = augmented(said, place)
    assert len(heard.samples) == len(said.samples)
    assert (heard.lead_s, heard.tail_s) == (said.lead_s, said.tail_s)


def test_silence_stays_silent() -> None:
    silence = utterance(np.zeros(SAMPLE_RATE, np.float32))
    for place in AUGMENTATIONS:
        assert not augmented(silence, place).samples.any()


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return enrolled(engine, "ada")


def test_every_saying_is_enrolled_in_every_place(engine: Engine, ada: Profile) -> None:
    for number, sample in enumerate(ada.samples, start=1):
        assert len(sample.phrase_variants) == len(AUGMENTATIONS)
        assert len(sample.phrase_examples) == 1 + len(AUGMENTATIONS)
        said = recording(f"ada_enroll_{number}")
        for place, variant in zip(AUGMENTATIONS, sample.phrase_variants):
            heard = engine.models.phrase.embed(phrase_samples(augmented(said, place)))
            np.testing.assert_array_equal(variant, heard)


def test_a_voice_alone_has_no_variants(engine: Engine) -> None:
    profile = Profile.begin("ada", ProfileKind.VOICE, required=1.0)
    sample = engine.enroll(profile, recording("ada_enroll_1"))
    assert sample.phrase_variants == sample.phrase_examples == ()


def test_what_is_only_tested_has_no_variants(engine: Engine) -> None:
    assert engine.analyze(recording("ada_right_phrase")).phrase_variants == ()


def test_the_variants_bring_a_noisy_saying_nearer(engine: Engine, ada: Profile) -> None:
    plain = replace(ada, samples=tuple(replace(one, phrase_variants=()) for one in ada.samples))
    noisy = augmented(recording("ada_right_phrase"), Augmentation(snr_db=8.0, rt60_s=0.5))
    analysis = engine.analyze(noisy)
    with_variants, without = engine.match_phrases([ada, plain], analysis)
    assert with_variants.distance < without.distance - 0.05
    assert analysis.phrase_embedding is not None
    variants = [variant for one in ada.samples for variant in one.phrase_variants]
    nearest = min(dtw_distances(variants, analysis.phrase_embedding)) + VARIANT_COST
    assert with_variants.distance == pytest.approx(nearest)
    phrase = engine.embed_phrase(noisy)
    assert engine.phrase_distance(ada, phrase) == pytest.approx(nearest)
    assert engine.phrase_distance(plain, phrase) == pytest.approx(without.distance)


def test_another_phrase_stays_another_one(engine: Engine, ada: Profile) -> None:
    for name in ("ada_wrong_phrase", "stranger_other_phrase"):
        for place in AUGMENTATIONS:
            analysis = engine.analyze(augmented(recording(name), place))
            assert not engine.match_phrases([ada], analysis)[0].accepted


def test_a_variant_has_to_be_nearer(ada: Profile) -> None:
    plain, *variants = ada.samples[0].phrase_examples
    far = np.flipud(plain).copy()
    assert example_distances([(plain, far)], plain) == pytest.approx([0.0], abs=1e-5)
    assert example_distances([(far, plain), (plain,)], plain) == pytest.approx(
        [VARIANT_COST, 0.0], abs=1e-5
    )
    assert example_distances([(variants[0], *variants)], variants[1]) == pytest.approx(
        [VARIANT_COST], abs=1e-5
    )
    assert example_distances([], plain) == []
    with pytest.raises(ValueError, match="without an example"):
        example_distances([(plain,), ()], plain)
