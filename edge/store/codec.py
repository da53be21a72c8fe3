"""Enrolment samples as bytes to be sealed: a version, a header, little-endian float32.

The seal around it finds every flipped bit; what is checked here is that the content makes sense.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from edge.types import EnrolmentSample, FloatArray

MAX_SPEAKER_SIZE = 2048
MAX_PHRASE_ROWS = 4096
MAX_PHRASE_SIZE = 1024
MAX_PHRASES = 8
"""The saying itself and its variants."""
MAX_BYTES = 32 << 20
_DISK = np.dtype("<f4")
_VERSION = 1
_HEAD = struct.Struct("<BHB3d")
"""Version, length of the speaker embedding, number of phrase embeddings, the three figures."""
_SHAPE = struct.Struct("<HH")
_BLOCK = 2048
"""Sizes are rounded up to this, since the size alone would tell how long somebody's phrase is."""


def encode(sample: EnrolmentSample) -> bytes:
    """A sample without its `adapted`, which the store keeps beside it.

    Raises:
        ValueError: an embedding has the wrong shape or length, or a figure is not finite.
    """
    _check(sample)
    phrases = sample.phrase_examples
    figures = (sample.net_speech_s, sample.snr_db, sample.created_at)
    parts = [_HEAD.pack(_VERSION, len(sample.speaker_embedding), len(phrases), *figures)]
    parts += [_SHAPE.pack(*phrase.shape) for phrase in phrases]
    parts += [array.astype(_DISK).tobytes() for array in (sample.speaker_embedding, *phrases)]
    content = b"".join(parts)
    return content + bytes(-len(content) % _BLOCK)


def decode(content: bytes, *, adapted: bool) -> EnrolmentSample:
    """A sample from what `encode` made of it.

    Raises:
        ValueError: it is nothing of the kind, or of a newer version.
    """
    try:
        version, size, count, net_speech_s, snr_db, created_at = _HEAD.unpack_from(content)
        if version != _VERSION or count > MAX_PHRASES:
            raise ValueError("it was written by a newer version")
        at = _HEAD.size
        shapes = [_SHAPE.unpack_from(content, at + _SHAPE.size * n) for n in range(count)]
        at += _SHAPE.size * count
    except struct.error:
        raise ValueError("it is too short") from None
    numbers = size + sum(rows * columns for rows, columns in shapes)
    end = at + numbers * _DISK.itemsize
    if not end <= len(content) < end + _BLOCK or any(content[end:]):
        raise ValueError("its embeddings have the wrong size")
    speaker = np.frombuffer(content, _DISK, size, at).astype(np.float32)
    speaker.setflags(write=False)
    phrases = _phrases(content, at + size * _DISK.itemsize, shapes)
    sample = EnrolmentSample(
        speaker_embedding=speaker,
        phrase_embedding=phrases[0] if phrases else None,
        net_speech_s=net_speech_s,
        snr_db=snr_db,
        created_at=created_at,
        adapted=adapted,
        phrase_variants=phrases[1:],
    )
    _check(sample)
    return sample


def _phrases(content: bytes, at: int, shapes: Sequence[tuple[int, int]]) -> tuple[FloatArray, ...]:
    phrases = []
    for rows, columns in shapes:
        array = np.frombuffer(content, _DISK, rows * columns, at).astype(np.float32)
        phrase = array.reshape(rows, columns)
        phrase.setflags(write=False)
        phrases.append(phrase)
        at += rows * columns * _DISK.itemsize
    return tuple(phrases)


def _check(sample: EnrolmentSample) -> None:
    speaker, phrases = sample.speaker_embedding, sample.phrase_examples
    if speaker.ndim != 1 or not 1 <= speaker.size <= MAX_SPEAKER_SIZE:
        raise ValueError(f"a speaker embedding cannot have the shape {speaker.shape}")
    # NaN fails this comparison too.
    if not abs(float(np.linalg.norm(speaker.astype(np.float64))) - 1.0) < 1e-3:
        raise ValueError("a speaker embedding must have unit length")
    if sample.phrase_variants and not phrases:
        raise ValueError("a sample without a phrase cannot have variants of it")
    if len(phrases) > MAX_PHRASES:
        raise ValueError(f"a sample has {MAX_PHRASES} phrase embeddings at most")
    for phrase in phrases:
        if phrase.ndim != 2 or not (
            1 <= phrase.shape[0] <= MAX_PHRASE_ROWS and 1 <= phrase.shape[1] <= MAX_PHRASE_SIZE
        ):
            raise ValueError(f"a phrase embedding cannot have the shape {phrase.shape}")
        if not np.isfinite(phrase).all():
            raise ValueError("a phrase embedding must be finite")
    figures = (sample.net_speech_s, sample.snr_db, sample.created_at)
    if not all(math.isfinite(figure) for figure in figures) or sample.net_speech_s < 0:
        raise ValueError("a sample's figures must be finite, its speech not negative")
