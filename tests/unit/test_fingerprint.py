"""Fingerprints: which recordings match, which repetitions do not, and the stored form."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import FingerprintMatch, best_match
from edge.types import SAMPLE_RATE, FloatArray
from tests.unit.voices import samples_of, spliced
from tools.conditions import add_noise, pink_noise
from tools.replay.distortions import (
    Distortion,
    at_pitch,
    at_speed,
    at_tempo,
    at_the_door,
    cut,
    distortions,
    gsm,
    opus,
    shifted,
)

PHRASE = "ada_right_phrase"
OTHERS = ("ada_enroll_1", "ada_enroll_2", "robin_right_phrase", "stranger_adas_phrase")


def fingerprint(name: str) -> Fingerprint:
    return UtterancePeaks(samples_of(name)).fingerprint()


def against(samples: FloatArray, *names: str) -> FingerprintMatch:
    found = best_match(UtterancePeaks(samples), [fingerprint(name) for name in names])
    assert found is not None
    return found


def sound(seconds: float) -> FloatArray:
    """A sound that is speech from its first to its last sample."""
    random = np.random.default_rng(1)
    return np.asarray(0.1 * random.standard_normal(round(seconds * SAMPLE_RATE)), np.float32)


@pytest.mark.runtime
@pytest.mark.parametrize(
    ("name", "frames", "speech", "peaks"),
    [
        (
            PHRASE,
            43,
            37,
            [186, 165, 135, 126, 140, 111, 92, 119, 92, 110, 105, 93, 68, 78, 67, 67],
        ),
        (
            "robin_right_phrase",
            35,
            31,
            [203, 215, 222, 197, 142, 127, 131, 159, 166, 195, 171, 148, 150, 162, 147, 122],
        ),
    ],
)
def test_what_stands_out_in_a_recording(
    name: str, frames: int, speech: int, peaks: list[int]
) -> None:
    found = fingerprint(name)
    assert found.peaks.shape == (frames, 64)
    assert np.count_nonzero(found.speech) == speech
    assert not found.peaks[~found.speech].any()
    # In each sixteenth of the bands; a value at the limit may fall on either side.
    bits = np.unpackbits(found.peaks, axis=1).sum(axis=0).reshape(16, 32).sum(axis=1)
    assert bits == pytest.approx(peaks, abs=2)


@pytest.mark.parametrize(
    ("change", "score", "threshold", "overlap"),
    [
        (None, 0.6692, 0.2756, 37),
        (lambda samples: samples[384:], 0.6583, 0.2752, 37),
        # Of half a second, which is what is said in it that counts.
        (lambda samples: samples[12_000:20_000], 0.6995, 0.4470, 8),
        (lambda samples: samples[30_000:38_000], 0.3285, 0.3686, 8),
        (lambda samples: samples[42_000:50_000], 0.2870, 0.3686, 8),
        (lambda _: samples_of("ada_enroll_1"), 0.0592, 0.1880, 32),
        (lambda _: samples_of("robin_right_phrase"), 0.0699, 0.1950, 25),
        # Found at another speed only.
        (lambda samples: in_noise(samples, 1.005, 0.3), 0.2731, 0.1935, 37),
        (lambda samples: in_noise(samples, 0.995, 0.3), 0.2716, 0.1926, 37),
        (lambda samples: in_noise(samples, 0.9975, 0.4), 0.2273, 0.1849, 37),
        (lambda samples: in_noise(samples, 1.0025, 0.5), 0.1636, 0.1843, 37),
        (lambda samples: in_noise(samples, 0.9975, 0.6), 0.1550, 0.1843, 37),
        (lambda samples: in_noise(samples, 1.005, 0.5), 0.1698, 0.1843, 37),
    ],
)
def test_how_near_a_recording_comes(
    change: Callable[[FloatArray], FloatArray] | None, score: float, threshold: float, overlap: int
) -> None:
    samples = samples_of(PHRASE)
    found = against(samples if change is None else change(samples), PHRASE)
    assert found.score == pytest.approx(score, abs=0.001)
    assert found.threshold == pytest.approx(threshold, abs=0.0005)
    assert found.overlap_s == pytest.approx(0.064 * overlap)
    assert found.suspected == (score > threshold)


def in_noise(samples: FloatArray, speed: float, level: float) -> FloatArray:
    """Played at another speed in a noise of mostly low tones."""
    played = at_speed(speed)(samples, 1)
    noise = np.random.default_rng(4).standard_normal(len(samples) + 2_000)
    low = np.convolve(noise.astype(np.float32), np.ones(6) / np.sqrt(6.0), "same")
    power = np.sqrt(np.mean(np.square(samples)))
    return np.asarray(played + level * power * low[: len(played)], np.float32)


def test_a_score_at_the_threshold_is_suspected() -> None:
    assert FingerprintMatch(0, 0.25, 0.25, 1.0).suspected
    assert not FingerprintMatch(0, 0.249, 0.25, 1.0).suspected


def made_up(speech: str) -> Fingerprint:
    """A fingerprint of noise, with speech where there is a 1."""
    frames = np.array([each == "1" for each in speech])
    random = np.random.default_rng(3)
    peaks = random.integers(0, 256, (len(frames), 64), dtype=np.uint8)
    peaks[~frames] = 0
    return Fingerprint(peaks, frames)


PAUSE = 25 * "0"


@pytest.mark.parametrize(
    ("seconds", "speech", "overlap"),
    [
        # Of twenty frames of speech, eight have to overlap; of fewer, five.
        (1.25, PAUSE.join(["111111", "11111111", "111111"]), 8),
        (1.25, PAUSE.join(["111111", "1111111", "1111111"]), None),
        (0.5, PAUSE.join(["11111", "111", "1111"]), 5),
        (0.5, PAUSE.join(["1111", "1111", "1111"]), None),
        (0.5, "11111", 5),
    ],
)
def test_how_much_has_to_overlap(seconds: float, speech: str, overlap: int | None) -> None:
    found = best_match(UtterancePeaks(sound(seconds)), [made_up(speech)])
    if overlap is None:
        assert found is None
    else:
        assert found is not None
        assert found.overlap_s == pytest.approx(0.064 * overlap)
        assert not found.suspected


def distorted() -> list[tuple[str, Callable[[FloatArray], FloatArray]]]:
    noise = pink_noise(10.0, seed=4)
    return [
        ("shifted", lambda samples: shifted(samples, 1)),
        ("quieter", lambda samples: samples * np.float32(0.01)),
        ("cut", lambda samples: cut(samples, 1)),
        ("opus", lambda samples: opus(samples, 1)),
        ("gsm", lambda samples: gsm(samples, 1)),
        ("noise", lambda samples: add_noise(samples, noise, 12.0, 1)),
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


_OFTEN_MISSED = ("GSM, loudspeaker, hallway", "stairwell, speed")
"""What docs/replay.md says of: three in ten or more get through."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        way
        for way in distortions(pink_noise(10.0, seed=4))
        if not any(missed in way.name for missed in _OFTEN_MISSED)
    ],
    ids=lambda way: way.name,
)
def test_measured_distortions_are_detected(way: Distortion) -> None:
    pytest.importorskip("pyroomacoustics")
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


@pytest.mark.slow
def test_at_one_door_a_recording_differs_from_a_repetition() -> None:
    pytest.importorskip("pyroomacoustics")
    there = at_the_door(pink_noise(10.0, seed=4))
    known = [UtterancePeaks(there(samples_of(PHRASE), 1)).fingerprint()]
    for number, name in enumerate((PHRASE, *OTHERS), 2):
        found = best_match(UtterancePeaks(there(samples_of(name), number)), known)
        assert found is not None
        assert found.suspected == (name == PHRASE)


WARPS = [
    *(("speed", ratio) for ratio in (0.88, 0.95, 0.98, 0.99, 1.01, 1.02, 1.05, 1.12)),
    *(("pitch", ratio) for ratio in (0.8909, 0.9828, 1.0175, 1.1225)),  # -200, -30, 30, 200 cents
    *(("tempo", ratio) for ratio in (0.88, 0.95, 1.05, 1.12)),
]


@pytest.mark.parametrize(("kind", "ratio"), WARPS)
@pytest.mark.parametrize("then", ["", "gsm", "noise"])
def test_a_recording_at_another_speed_pitch_or_tempo_is_found(
    kind: str, ratio: float, then: str
) -> None:
    samples = warped(samples_of(PHRASE), kind, ratio)
    if then == "gsm":
        samples = gsm(samples, 1)
    elif then == "noise":
        samples = add_noise(samples, pink_noise(10.0, seed=4), 20.0, 1)
    found = against(samples, *OTHERS, PHRASE)
    assert found.suspected
    assert found.index == len(OTHERS)


def warped(samples: FloatArray, kind: str, ratio: float) -> FloatArray:
    change = {"speed": at_speed, "pitch": at_pitch, "tempo": at_tempo}[kind]
    return change(ratio)(samples, 1)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("kind", "ratio"), [("speed", 0.95), ("pitch", 1.05), ("tempo", 1.1)])
def test_a_repetition_at_another_speed_is_one_still(name: str, kind: str, ratio: float) -> None:
    assert not against(warped(samples_of(name), kind, ratio), PHRASE).suspected


@pytest.mark.parametrize(("kind", "ratio"), [("speed", 0.95), ("pitch", 1.05), ("tempo", 0.93)])
def test_a_piece_at_another_speed_is_found_at_either_end(kind: str, ratio: float) -> None:
    samples = warped(samples_of(PHRASE), kind, ratio)
    part = 6 * len(samples) // 10
    for piece in (samples[:part], samples[-part:]):
        assert against(piece, *OTHERS, PHRASE).suspected


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
        sound(4_095 / SAMPLE_RATE),
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


def test_five_frames_of_speech_are_enough() -> None:
    assert UtterancePeaks(sound(4_096 / SAMPLE_RATE)).fingerprint().speech.tolist() == 5 * [True]


def test_pauses_are_not_speech() -> None:
    # 23 dB below the loudest is speech, 26 dB is not; two frames on both sides are kept.
    samples = np.concatenate([level * sound(1.0) for level in (0.01, 0.07, 1.0, 0.05, 0.01)])
    speech = UtterancePeaks(samples).fingerprint().speech
    assert speech.tolist() == [*2 * [False], *33 * [True], *2 * [False]]


def test_short_pieces_do_not_displace_a_recording() -> None:
    # By chance a short one comes nearer than a long one does, but it has to come nearer still.
    random = np.random.default_rng(6)
    short = [
        Fingerprint(random.integers(0, 256, (5, 64), dtype=np.uint8), np.ones(5, np.bool_))
        for _ in range(40)
    ]
    noisy = in_noise(samples_of(PHRASE), 1.0, 0.3)
    found = best_match(UtterancePeaks(noisy), [*short, fingerprint(PHRASE)])
    assert found is not None
    assert found.index == 40
    assert found.suspected


def test_a_fingerprint_without_peaks_matches_nothing() -> None:
    empty = Fingerprint(np.zeros((9, 64), np.uint8), np.ones(9, np.bool_))
    found = best_match(UtterancePeaks(sound(0.5)), [empty])
    assert found is not None
    assert abs(found.score) < 0.01


def test_without_fingerprints_there_is_no_match() -> None:
    assert best_match(UtterancePeaks(samples_of(PHRASE)), []) is None


def test_a_long_sound_is_bounded_and_its_end_is_kept() -> None:
    long = spliced(*4 * ("stranger_other_phrase", "robin_enroll_1", "robin_near_phrase"), PHRASE)
    assert len(long) > 10 * SAMPLE_RATE
    end = UtterancePeaks(long).fingerprint()
    assert len(end.speech) == 160
    assert np.array_equal(end.peaks, UtterancePeaks(long[-162_816:]).fingerprint().peaks)
    found = best_match(UtterancePeaks(samples_of(PHRASE)), [end])
    assert found is not None
    assert found.suspected


def test_the_stored_form() -> None:
    one = made_up("110111000011")
    payload = one.to_bytes()
    # Version, frames, which of them are speech, and the peaks of those.
    assert payload == b"\x01\x0c\x00\xdc\x30" + one.peaks[one.speech].tobytes()
    assert repr(one) == "Fingerprint()", "no log shows it"
    again = Fingerprint.from_bytes(payload)
    assert np.array_equal(one.peaks, again.peaks)
    assert np.array_equal(one.speech, again.speech)


@pytest.mark.parametrize("speech", ["11111", "11111" + 155 * "0", 160 * "1", "0" + 5 * "1"])
def test_fingerprints_of_any_allowed_size_are_read(speech: str) -> None:
    one = made_up(speech)
    assert np.array_equal(Fingerprint.from_bytes(one.to_bytes()).peaks, one.peaks)


STORED = made_up("111111111").to_bytes()


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "damaged fingerprint (too short)"),
        (STORED[:2], "damaged fingerprint (too short)"),
        (b"\x02" + STORED[1:], "fingerprint of version 2"),
        (STORED[:3], "damaged fingerprint (9 frames)"),
        (STORED[:4], "damaged fingerprint (9 frames)"),
        (STORED[:-1], "damaged fingerprint (size)"),
        (STORED + b"0", "damaged fingerprint (size)"),
        (made_up("1111").to_bytes(), "damaged fingerprint (4 frames)"),
        (made_up("1111" + PAUSE).to_bytes(), "damaged fingerprint (no speech)"),
        (made_up(161 * "1").to_bytes(), "damaged fingerprint (161 frames)"),
        (STORED[:4] + b"\x81" + STORED[5:] + 64 * b"0", "damaged fingerprint (no speech)"),
    ],
    ids=itertools.count(),
)
def test_damaged_bytes_are_refused(payload: bytes, told: str) -> None:
    with pytest.raises(ValueError, match="fingerprint") as caught:
        Fingerprint.from_bytes(payload)
    assert str(caught.value) == told


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
