"""Sayings as they would sound elsewhere, and what they are good for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.recognition import Engine
from edge.recognition.augmentation import AUGMENTATIONS, Augmentation, augmented
from edge.recognition.dtw import dtw_distances
from edge.recognition.embedders import phrase_samples, voice_samples
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind, Quality, Utterance
from tests.unit.voices import recording


def power(samples: FloatArray) -> float:
    return float(np.mean(np.square(samples.astype(np.float64))))


def utterance(samples: FloatArray, lead_s: float = 0.0) -> Utterance:
    seconds = len(samples) / SAMPLE_RATE
    return Utterance(samples, 0.0, seconds, Quality(0.0, 0.0, 0.0, 0.0, seconds), lead_s=lead_s)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_the_noise_is_as_loud_as_asked_for(snr_db: float) -> None:
    said = recording("ada_enroll_1")
    heard = augmented(said, Augmentation(snr_db=snr_db))
    noise = heard.samples - said.samples
    found = 10 * np.log10(power(voice_samples(said)) / power(noise))
    assert found == pytest.approx(snr_db, abs=0.05)
    assert heard.samples.dtype == np.float32


def test_the_noise_has_the_spectrum_of_speech() -> None:
    said = utterance(np.full(65_536, 0.1, np.float32))
    noise = augmented(said, Augmentation(snr_db=0.0)).samples - said.samples
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE)

    def level(low: float, high: float) -> float:
        return float(10 * np.log10(spectrum[(hertz > low) & (hertz < high)].mean()))

    # The power at 150, 500, 1,000 and 4,000 Hz is 1 / (1 + (hertz / 500) ** 1.5) ** 2.
    for middle, below in ((500, 4.6), (1_000, 10.3), (4_000, 26.2)):
        found = level(100, 200) - level(0.95 * middle, 1.05 * middle)
        assert found == pytest.approx(below, abs=1.0)
    assert spectrum[hertz < 60].max() < 1e-6 < spectrum[(hertz >= 60) & (hertz < 61)].min()


@pytest.mark.parametrize("count", [65_535, 65_536, 65_537])
def test_every_sample_has_noise_and_echo(count: int) -> None:
    said = utterance(np.full(count, 0.1, np.float32))
    heard = augmented(said, Augmentation(snr_db=0.0, rt60_s=0.5)).samples
    assert len(heard) == count
    assert (heard != said.samples).mean() > 0.999


def test_each_augmentation_sounds_as_it_always_did() -> None:
    """Profiles hold phrases in these, and what is compared with them should be like them."""
    time = np.arange(32_000) / SAMPLE_RATE
    said = utterance((0.1 * np.sin(2 * np.pi * (300 + 200 * time) * time)).astype(np.float32))
    at = [4_001, 12_017, 20_029, 28_041]
    places = (*AUGMENTATIONS, Augmentation(snr_db=5.0))
    heard = [augmented(said, place).samples[at].tolist() for place in places]
    assert heard == [
        pytest.approx([-0.03312, 0.10054, -0.0342, 0.07793], abs=1e-4),
        pytest.approx([-0.04298, 0.07812, 0.01881, 0.15029], abs=1e-4),
        pytest.approx([-0.06535, 0.03565, -0.04961, -0.08953], abs=1e-4),
        pytest.approx([-0.04672, 0.11953, -0.03707, 0.1082], abs=1e-4),
    ]


@pytest.mark.parametrize(
    ("place", "direct_db"),
    [(Augmentation(rt60_s=0.6, direct_db=-3.0), -3.0), (Augmentation(rt60_s=0.6), 0.0)],
)
def test_an_echo_decays_as_fast_as_asked_for(place: Augmentation, direct_db: float) -> None:
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[1000] = 0.5
    heard = augmented(utterance(click), place).samples
    assert power(heard) == pytest.approx(power(click), rel=1e-3)  # as loud as it was
    assert np.abs(heard[:999]).max() < 1e-6  # nothing is heard before it is said
    assert np.argmax(np.abs(heard)) == 1000
    assert np.abs(heard[1001:1032]).max() < 1e-6 < abs(heard[1032])  # for 2 ms
    assert np.abs(heard[10_600:]).max() < 1e-6 < np.abs(heard[10_590:10_600]).max()
    echo = np.square(heard[1032:].astype(np.float64))
    direct = float(heard[1000]) ** 2
    assert 10 * np.log10(direct / echo.sum()) == pytest.approx(direct_db, abs=0.1)
    decay = 10 * np.log10(np.cumsum(echo[::-1])[::-1][: int(0.5 * SAMPLE_RATE)] / echo.sum())
    slope = np.polyfit(np.arange(len(decay)) / SAMPLE_RATE, decay, 1)[0]
    assert -60 / slope == pytest.approx(0.6, rel=0.03)


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
    nearest = min(dtw_distances(variants, analysis.phrase_embedding)) + 0.06
    assert with_variants.distance == pytest.approx(nearest)
    phrase = engine.embed_phrase(noisy)
    for profile, match in ((ada, with_variants), (plain, without)):
        margin = engine.phrase_margin([profile], phrase, noisy.quality)
        assert margin == pytest.approx(match.margin)


def test_another_phrase_stays_another_one(engine: Engine, ada: Profile) -> None:
    for name in ("ada_wrong_phrase", "stranger_other_phrase"):
        for place in AUGMENTATIONS:
            analysis = engine.analyze(augmented(recording(name), place))
            assert not engine.match_phrases([ada], analysis)[0].accepted
