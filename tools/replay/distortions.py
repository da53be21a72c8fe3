"""What happens to an utterance that is recorded, transmitted and replayed."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from edge.errors import EnvironmentFault
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import library, unclipped
from tools.acoustics.tempo import stretched
from tools.conditions import ROOMS, Room, add_noise, reverberate, room_response

_GSM_RATE = 8000
_HALLWAY, _FAR, _PORCH, _STAIRWELL = ROOMS
_DOOR = 3
"""The place in the hallway in front of the microphone."""
_DRIVE = 1.6
"""How far the loudest sample overdrives the loudspeaker."""

WIDEST = 0.12
"""How much faster or slower, higher or lower a recording is played, at most."""
_STEPS = (-WIDEST, -0.05, -0.02, -0.01, 0.01, 0.02, 0.05, WIDEST)
_CENTS = (-200, -100, -30, 30, 100, 200)

Change = Callable[[FloatArray, int], FloatArray]


@dataclass(frozen=True)
class Distortion:
    """A way for an utterance to get back to the microphone.

    Attributes:
        name: for tables.
        apply: (samples, seed) to samples.
        first: what the utterance went through the first time; None for nothing.
    """

    name: str
    apply: Change
    first: Change | None = None


def distortions(noise: FloatArray) -> tuple[Distortion, ...]:
    """Every distortion in order, exact copies first.

    Args:
        noise: background noise, mono at `SAMPLE_RATE`.
    """

    def noisy(snr_db: float) -> Change:
        return lambda samples, seed: add_noise(samples, noise, snr_db, seed)

    def through_all(codec: Change) -> Change:
        return chain(shifted, codec, loudspeaker, inside(_HALLWAY), noisy(20.0))

    stolen = chain(
        inside(_PORCH, 1), opus, loudspeaker, inside(_HALLWAY, 5), _reseeded(noisy(20.0))
    )
    return (
        Distortion("exact", lambda samples, _seed: samples),
        Distortion("shift in time, quieter", shifted),
        Distortion("cut shorter by 0.2 s at both ends", cut),
        Distortion("Opus", opus),
        Distortion("Opus, lowest rate", opus_lowest),
        Distortion("GSM 6.10", gsm),
        Distortion("other clock, 0.02 %", at_speed(1.0002)),
        Distortion("other speed, 0.5 %", at_speed(0.995)),
        Distortion("loudspeaker", loudspeaker),
        Distortion("hallway, 1 m", inside(_HALLWAY)),
        Distortion("hallway, 3 m", inside(_FAR)),
        Distortion("stairwell", inside(_STAIRWELL)),
        Distortion("noise 20 dB", noisy(20.0)),
        Distortion("noise 10 dB", noisy(10.0)),
        Distortion("shift, Opus, loudspeaker, hallway, noise 20 dB", through_all(opus)),
        Distortion("shift, GSM, loudspeaker, hallway, noise 20 dB", through_all(gsm)),
        Distortion("recorded elsewhere as it was said, Opus, replayed", stolen, at_the_door(noise)),
        *(Distortion(f"speed {100 * step:+.0f} %", at_speed(1.0 + step)) for step in _STEPS),
        *(Distortion(f"pitch {cents:+d} cents", _shifted_by(cents)) for cents in _CENTS),
        *(Distortion(f"tempo {100 * step:+.0f} %", at_tempo(1.0 + step)) for step in _STEPS),
        *(
            Distortion(f"{name}, speed, pitch or tempo by up to 12 %", chain(warped, change))
            for name, change in (
                ("MP3, lowest rate", mp3),
                ("telephone, 8 kHz", telephone),
                ("Opus, lowest rate", opus_lowest),
                ("GSM 6.10", gsm),
                ("loudspeaker", loudspeaker),
                ("hallway, 1 m", inside(_HALLWAY)),
                ("hallway, 3 m", inside(_FAR)),
                ("stairwell", inside(_STAIRWELL)),
                ("noise 20 dB", noisy(20.0)),
                ("noise 10 dB", noisy(10.0)),
                ("shift, Opus, loudspeaker, hallway, noise 20 dB", through_all(opus)),
                ("shift, GSM, loudspeaker, hallway, noise 20 dB", through_all(gsm)),
            )
        ),
    )


def at_the_door(noise: FloatArray, moving: bool = True) -> Change:
    """Said in front of one microphone in the hallway, noise 25 dB.

    Args:
        noise: as for `distortions`.
        moving: whether the mouth moves by 5 to 20 cm between utterances, as people's do, or stays
            in the same spot to the millimeter.
    """

    def apply(samples: FloatArray, seed: int) -> FloatArray:
        response = room_response(_HALLWAY, _DOOR, seed + 1 if moving else 0)
        return add_noise(reverberate(samples, response), noise, 25.0, seed)

    return apply


def chain(*changes: Change) -> Change:
    """Several changes in a row."""

    def apply(samples: FloatArray, seed: int) -> FloatArray:
        for change in changes:
            samples = change(samples, seed)
        return samples

    return apply


def inside(room: Room, other: int = 0) -> Change:
    """In a room, at a place chosen by the seed and `other`."""
    return lambda samples, seed: reverberate(samples, room_response(room, seed + other))


def _reseeded(change: Change) -> Change:
    return lambda samples, seed: change(samples, seed + 1_000_003)


def shifted(samples: FloatArray, seed: int) -> FloatArray:
    """Later by 137 ms and a part of a sample, 9 dB quieter."""
    part = np.random.default_rng(seed).uniform(0.2, 0.8)
    taps = np.arange(-32, 33)
    kernel = np.sinc(taps - part) * np.hanning(67)[1:-1]
    moved = np.convolve(samples, kernel)[32 : 32 + len(samples)]
    before = 1e-4 * np.random.default_rng(seed).standard_normal(2191)
    return np.concatenate((before, 10.0 ** (-9.0 / 20.0) * moved)).astype(np.float32)


def cut(samples: FloatArray, _seed: int) -> FloatArray:
    """Without the first and the last 0.2 s of speech, or a quarter of a short one."""
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max(initial=1e-9))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))
    less = min(round(0.2 * SAMPLE_RATE), (last - first) // 4)
    return samples[first + less : last - less]


def opus(samples: FloatArray, _seed: int) -> FloatArray:
    """Coded and decoded by Opus at its usual rate."""
    return _coded(samples, "OGG", "OPUS", SAMPLE_RATE, None)


def opus_lowest(samples: FloatArray, _seed: int) -> FloatArray:
    """Coded and decoded by Opus at the lowest rate there is, 6 kbit/s."""
    return _coded(samples, "OGG", "OPUS", SAMPLE_RATE, 1.0)


def gsm(samples: FloatArray, _seed: int) -> FloatArray:
    """Coded and decoded by GSM 06.10 full rate, 8 kHz."""
    return _coded(samples, "WAV", "GSM610", _GSM_RATE, None)


def mp3(samples: FloatArray, _seed: int) -> FloatArray:
    """Coded and decoded by MP3 at the lowest rate there is for 16 kHz, 8 kbit/s."""
    return _coded(samples, "MP3", "MPEG_LAYER_III", SAMPLE_RATE, 0.99)


def telephone(samples: FloatArray, _seed: int) -> FloatArray:
    """Through a telephone line: mu-law at 8 kHz."""
    return _coded(samples, "WAV", "ULAW", _GSM_RATE, None)


def _coded(
    samples: FloatArray, kind: str, subtype: str, rate: int, compression: float | None
) -> FloatArray:
    if subtype not in soundfile.available_subtypes(kind):
        raise EnvironmentFault(f"this libsndfile has no {subtype}; install soundfile from PyPI")
    file = io.BytesIO()
    options = {} if compression is None else {"compression_level": compression}
    converted = samples if rate == SAMPLE_RATE else soxr.resample(samples, SAMPLE_RATE, rate)
    soundfile.write(file, converted, rate, format=kind, subtype=subtype, **options)
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    if rate != SAMPLE_RATE:
        decoded = soxr.resample(decoded, rate, SAMPLE_RATE)
    result: FloatArray = np.asarray(decoded, np.float32)
    return result


def at_speed(ratio: float) -> Change:
    """Played faster by a ratio."""

    def apply(samples: FloatArray, _seed: int) -> FloatArray:
        result: FloatArray = soxr.resample(samples, SAMPLE_RATE * ratio, SAMPLE_RATE)
        return result.astype(np.float32)

    return apply


def at_pitch(ratio: float) -> Change:
    """Played higher by a ratio, at the same tempo."""
    return lambda samples, seed: at_speed(ratio)(stretched(samples, 1.0 / ratio), seed)


def _shifted_by(cents: int) -> Change:
    return at_pitch(2.0 ** (cents / 1200.0))


def at_tempo(ratio: float) -> Change:
    """Played faster by a ratio, at the same pitch."""
    return lambda samples, _seed: stretched(samples, ratio)


def warped(samples: FloatArray, seed: int) -> FloatArray:
    """At another speed, pitch or tempo, chosen by the seed."""
    chance = np.random.default_rng(seed)
    ratio = float(np.exp(chance.uniform(-1.0, 1.0) * np.log1p(WIDEST)))
    return (at_speed, at_pitch, at_tempo)[int(chance.integers(3))](ratio)(samples, seed)


def loudspeaker(samples: FloatArray, _seed: int) -> FloatArray:
    """The loudspeaker of a telephone: overdriven, 350 Hz to 6.5 kHz, two resonances."""
    signal = library("scipy.signal")
    peak = float(np.abs(samples).max(initial=1e-9))
    driven = np.tanh(samples.astype(np.float64) / peak * _DRIVE)
    for kind, edge in (("highpass", 350.0), ("lowpass", 6500.0)):
        driven = signal.sosfilt(signal.butter(3, edge, kind, fs=SAMPLE_RATE, output="sos"), driven)
    for frequency_hz, quality, gain in ((900.0, 2.0, 1.0), (2600.0, 3.0, 1.5)):
        top, bottom = signal.iirpeak(frequency_hz, quality, fs=SAMPLE_RATE)
        driven = driven + gain * signal.lfilter(top, bottom, driven)
    return unclipped(0.5 * driven / float(np.abs(driven).max()))
