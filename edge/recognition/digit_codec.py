"""A round of digits as bytes, and back; what comes from a file is distrusted.

Layout, little-endian: magic, version, seconds of speech, signal-to-noise ratio, Unix time, hash of
the speaker model, length of the voice, then ten lengths, then the voice as 32-bit floats, then the
ten spectra in steps of `_STEP` below the loudest, a byte each.
"""

from __future__ import annotations

import struct

import numpy as np

from edge.errors import StoreError
from edge.recognition.digit_features import BANDS, RANGE
from edge.recognition.digit_round import MOST_ROWS, DigitRound
from edge.recognition.digit_search import LEAST_ROWS
from edge.recognition.digits import DIGITS, DigitExample
from edge.types import EnrolmentSample

_HEAD = struct.Struct("<4sBddd32sH10H")
_MAGIC = b"EVdg"
_VERSION = 1
_STEP = 0.05
_MOST_DIMENSIONS = 4096
_HIGHEST = 255 * _STEP - RANGE


def encode(spoken: DigitRound) -> bytes:
    """A round as bytes; spectra are rounded to a fifth of a decibel."""
    voice = spoken.voice
    examples = sorted(spoken.examples, key=lambda example: example.digit)
    head = _HEAD.pack(
        _MAGIC,
        _VERSION,
        voice.net_speech_s,
        voice.snr_db,
        voice.created_at,
        bytes.fromhex(spoken.speaker_model),
        len(voice.speaker_embedding),
        *(len(example.spectrum) for example in examples),
    )
    steps = [np.rint((example.spectrum + RANGE) / _STEP).clip(0, 255) for example in examples]
    spectra = np.concatenate(steps).astype(np.uint8)
    return head + voice.speaker_embedding.astype("<f4").tobytes() + spectra.tobytes()


def decode(payload: bytes) -> DigitRound:
    """The round in some bytes.

    Raises:
        StoreError: they hold none.
    """
    try:
        magic, version, net, snr, at, model, size, *lengths = _HEAD.unpack_from(payload)
    except struct.error:
        raise _damaged("too short") from None
    if magic != _MAGIC:
        raise _damaged("no such thing")
    if version != _VERSION:
        raise StoreError(f"enrolled digits are of version {version}: update the software")
    if not (np.isfinite([net, snr, at]).all() and 0.0 < net < 1e4 and abs(snr) < 1e3):
        raise _damaged("its figures")
    if not 0 < size <= _MOST_DIMENSIONS or not all(
        LEAST_ROWS <= length <= MOST_ROWS for length in lengths
    ):
        raise _damaged("its lengths")
    if len(payload) != _HEAD.size + 4 * size + BANDS * sum(lengths):
        raise _damaged("its size")
    embedding = np.frombuffer(payload, "<f4", size, _HEAD.size).astype(np.float32)
    norm = float(np.linalg.norm(embedding.astype(np.float64)))
    if not abs(norm - 1.0) < 1e-3:  # not a number neither
        raise _damaged("its voice")
    steps = np.frombuffer(payload, np.uint8, offset=_HEAD.size + 4 * size).reshape(-1, BANDS)
    spectra = steps.astype(np.float32) * np.float32(_STEP) - np.float32(RANGE)
    bounds = np.cumsum(lengths)[:-1]
    return DigitRound(
        tuple(
            DigitExample(digit, spectrum)
            for digit, spectrum in zip(DIGITS, np.split(spectra, bounds))
        ),
        EnrolmentSample(embedding, None, net, snr, at),
        model.hex(),
    )


def _damaged(what: str) -> StoreError:
    return StoreError(f"enrolled digits are damaged ({what}): enrol them again with --digits")
