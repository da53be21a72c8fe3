"""Fingerprints: which recordings match, which repetitions do not, and the stored form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr

from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import FingerprintMatch, best_match
from edge.types import SAMPLE_RATE, FloatArray
from tests.unit.voices import samples_of, spliced
from tools.conditions import add_noise, pink_noise
from tools.replay.distortions import at_speed, at_the_door, cut, distortions, gsm, opus, shifted

PHRASE = "ada_right_phrase"
OTHERS = ("ada_enroll_1", "ada_enroll_2", "robin_right_phrase", "stranger_adas_phrase")


def fingerprint(name: str) -> Fingerprint:
    return UtterancePeaks(samples_of(name)).fingerprint()


def against(samples: FloatArray, *names: str) -> FingerprintMatch:
    found = best_match(UtterancePeaks(samples), [fingerprint(name) for name in names])
    assert found is not None
    return found


@pytest.mark.runtime
def test_the_same_samples_are_the_same_sound() -> None:
    found = against(samples_of(PHRASE), *OTHERS, PHRASE)
    assert found.suspected
    assert found.index == len(OTHERS)
    assert found.score > 0.75


def distorted() -> list[tuple[str, Callable[[FloatArray], FloatArray]]]:
    noise = pink_noise(10.0, seed=4)
    return [
        ("shifted", lambda samples: shifted(samples, 1)),
        ("quieter", lambda samples: samples * np.float32(0.01)),
        ("cut", lambda samples: cut(samples, 1)),
        ("opus", lambda samples: opus(samples, 1)),
        ("gsm", lambda samples: gsm(samples, 1)),
        ("noise", lambda samples: add_noise(samples, noise, 10.0, 1)),
        ("slower", lambda samples: at_speed(0.995)(samples, 1)),
        ("faster", lambda samples: at_speed(1.005)(samples, 1)),
        ("hum", hum),
    ]


def hum(samples: FloatArray) -> FloatArray:
    at = np.arange(len(samples)) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 250.0 * at) * 0.3 * np.abs(samples).max()
    return np.asarray(samples + tone, np.float32)


@pytest.mark.parametrize(("name", "change"), distorted(), ids=[name for name, _ in distorted()])
def test_a_distorted_recording_is_found(
    name: str, change: Callable[[FloatArray], FloatArray]
) -> None:
    found = against(change(samples_of(PHRASE)), *OTHERS, PHRASE)
    assert found.suspected, name
    assert found.index == len(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(17))
def test_every_measured_distortion_is_detected(number: int) -> None:
    pytest.importorskip("pyroomacoustics")
    way = distortions(pink_noise(10.0, seed=4))[number]
    first = samples_of(PHRASE) if way.first is None else way.first(samples_of(PHRASE), 3)
    found = best_match(
        UtterancePeaks(way.apply(samples_of(PHRASE), 3)),
        [UtterancePeaks(first).fingerprint()],
    )
    assert found is not None
    assert found.suspected, way.name


def test_a_piece_of_a_longer_utterance_is_found_and_the_other_way_round() -> None:
    running = spliced("stranger_other_phrase", PHRASE, "robin_enroll_1")
    whole = UtterancePeaks(running)
    piece = UtterancePeaks(samples_of(PHRASE))
    for one, other in ((piece, whole), (whole, piece)):
        found = best_match(one, [other.fingerprint()])
        assert found is not None
        assert found.suspected


@pytest.mark.parametrize("name", OTHERS)
def test_repetitions_are_not_suspected(name: str) -> None:
    assert not against(samples_of(name), PHRASE).suspected


def test_at_one_door_a_recording_differs_from_a_repetition() -> None:
    pytest.importorskip("pyroomacoustics")
    there = at_the_door(pink_noise(10.0, seed=4))
    known = [UtterancePeaks(there(samples_of(PHRASE), 1)).fingerprint()]
    for number, name in enumerate((PHRASE, *OTHERS), 2):
        found = best_match(UtterancePeaks(there(samples_of(name), number)), known)
        assert found is not None
        assert found.suspected == (name == PHRASE)


@pytest.mark.parametrize("ratio", [0.95, 1.05])
def test_the_same_words_at_another_pitch_and_pace_are_a_repetition(ratio: float) -> None:
    # Speech synthesis repeats a phrase exactly, except for this.
    other = soxr.resample(samples_of(PHRASE), SAMPLE_RATE * ratio, SAMPLE_RATE)
    assert not against(other, PHRASE).suspected


def test_a_match_is_found_among_many() -> None:
    random = np.random.default_rng(3)
    made_up = [
        Fingerprint(
            random.integers(0, 256, (30, 64), dtype=np.uint8)
            & random.integers(0, 256, (30, 64), dtype=np.uint8),
            np.ones(30, np.bool_),
        )
        for _ in range(300)
    ]
    peaks = UtterancePeaks(gsm(samples_of(PHRASE), 1))
    alone = best_match(peaks, [fingerprint(PHRASE)])
    among = best_match(peaks, [*made_up[:270], fingerprint(PHRASE), *made_up[270:]])
    none = best_match(peaks, made_up)
    assert alone is not None
    assert among is not None
    assert none is not None
    assert among.index == 270
    assert among.score == pytest.approx(alone.score, abs=1e-4)
    assert not none.suspected


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(5 * SAMPLE_RATE, np.float32),
        samples_of(PHRASE)[SAMPLE_RATE : SAMPLE_RATE + 100],
    ],
)
def test_too_little_speech_has_no_fingerprint(samples: FloatArray) -> None:
    peaks = UtterancePeaks(samples)
    assert not peaks.usable
    assert best_match(peaks, [fingerprint(PHRASE)]) is None
    with pytest.raises(ValueError, match="too little"):
        peaks.fingerprint()


def test_without_fingerprints_there_is_no_match() -> None:
    assert best_match(UtterancePeaks(samples_of(PHRASE)), []) is None


def test_a_long_sound_is_bounded_and_its_end_is_kept() -> None:
    long = spliced(*4 * ("stranger_other_phrase", "robin_enroll_1", "robin_near_phrase"), PHRASE)
    assert len(long) > 10 * SAMPLE_RATE
    end = UtterancePeaks(long).fingerprint()
    assert len(end.speech) <= 160
    found = best_match(UtterancePeaks(samples_of(PHRASE)), [end])
    assert found is not None
    assert found.suspected


def test_the_stored_form_is_complete() -> None:
    one = fingerprint(PHRASE)
    payload = one.to_bytes()
    again = Fingerprint.from_bytes(payload)
    assert np.array_equal(one.peaks, again.peaks)
    assert np.array_equal(one.speech, again.speech)
    assert len(payload) < 1200 * (np.count_nonzero(one.speech) * 0.064 + 0.1)


def test_damaged_bytes_are_refused() -> None:
    payload = fingerprint(PHRASE).to_bytes()
    damaged = [b"", payload[:2], payload[:-1], payload + b"\0", b"\x02" + payload[1:]]
    damaged += [payload[:1] + frames + payload[3:] for frames in (b"\0\0", b"\xff\xff", b"\x90\0")]
    damaged += [payload[:3] + bytes(len(payload) - 3)]
    for one in damaged:
        with pytest.raises(ValueError, match="fingerprint"):
            Fingerprint.from_bytes(one)


def test_any_bytes_are_refused_or_bounded() -> None:
    random = np.random.default_rng(5)
    payload = bytearray(fingerprint(PHRASE).to_bytes())
    for _ in range(300):
        changed = bytearray(payload)
        for at in random.integers(0, 12, 3):
            changed[at] = int(random.integers(256))
        try:
            one = Fingerprint.from_bytes(bytes(changed))
        except ValueError:
            continue
        assert len(one.speech) == len(one.peaks) <= 160
