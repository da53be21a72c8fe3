"""Enrolment samples as bytes to be sealed: a version, a header, little-endian float32.

The seal around it finds every flipped bit; what is checked here is that the content makes sense.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from edge.types import EnrolmentSample, FloatArray

MAX_SPEAKER_SIZE = 2048
MAX_PHRASE_ROWS = 4096
MAX_PHRASE_SIZE = 1024
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
    phrases = [] if sample.phrase_embedding is None else [sample.phrase_embedding]
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
        if version != _VERSION or count > 1:
            raise ValueError("it was written by a newer version")
        at = _HEAD.size
        shape = _SHAPE.unpack_from(content, at) if count else (0, 0)
        at += _SHAPE.size * count
    except struct.error:
        raise ValueError("it is too short") from None
    numbers = size + shape[0] * shape[1]
    end = at + numbers * _DISK.itemsize
    if not end <= len(content) < end + _BLOCK or any(content[end:]):
        raise ValueError("its embeddings have the wrong size")
    speaker = np.frombuffer(content, _DISK, size, at).astype(np.float32)
    speaker.setflags(write=False)
    sample = EnrolmentSample(
        speaker_embedding=speaker,
        phrase_embedding=_phrase(content, at + size * _DISK.itemsize, shape) if count else None,
        net_speech_s=net_speech_s,
        snr_db=snr_db,
        created_at=created_at,
        adapted=adapted,
    )
    _check(sample)
    return sample


def _phrase(content: bytes, at: int, shape: tuple[int, int]) -> FloatArray:
    array = np.frombuffer(content, _DISK, shape[0] * shape[1], at).astype(np.float32)
    phrase = array.reshape(shape)
    phrase.setflags(write=False)
    return phrase


def _check(sample: EnrolmentSample) -> None:
    speaker, phrase = sample.speaker_embedding, sample.phrase_embedding
    if speaker.ndim != 1 or not 1 <= speaker.size <= MAX_SPEAKER_SIZE:
        raise ValueError(f"a speaker embedding cannot have the shape {speaker.shape}")
    # NaN fails this comparison too.
    if not abs(float(np.linalg.norm(speaker.astype(np.float64))) - 1.0) < 1e-3:
        raise ValueError("a speaker embedding must have unit length")
    if phrase is not None:
        if phrase.ndim != 2 or not (
            1 <= phrase.shape[0] <= MAX_PHRASE_ROWS and 1 <= phrase.shape[1] <= MAX_PHRASE_SIZE
        ):
            raise ValueError(f"a phrase embedding cannot have the shape {phrase.shape}")
        if not np.isfinite(phrase).all():
            raise ValueError("a phrase embedding must be finite")
    figures = (sample.net_speech_s, sample.snr_db, sample.created_at)
    if not all(math.isfinite(figure) for figure in figures) or sample.net_speech_s < 0:
        raise ValueError("a sample's figures must be finite, its speech not negative")
