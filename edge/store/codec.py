"""Enrolment samples as database rows: little-endian float32, shapes beside them, and a digest.

SQLite's own check finds a torn page but not a flipped bit inside one, and a flipped bit in a
signature is a door that opens for nobody or for somebody else. Hence the digest: it is against
damage; against someone who can write the file there is nothing to be done here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from edge.types import EnrolmentSample, FloatArray

MAX_SPEAKER_SIZE = 2048
MAX_PHRASE_ROWS = 4096
MAX_PHRASE_SIZE = 1024
_DISK = np.dtype("<f4")

COLUMNS = (
    "speaker, speaker_size, phrase, phrase_rows, phrase_size,"
    " net_speech_s, snr_db, created_at, adapted, digest"
)
"""The columns of `encode` and `decode`, in their order."""


def encode(sample: EnrolmentSample) -> tuple[Any, ...]:
    """A sample as the values of `COLUMNS`.

    Raises:
        ValueError: an embedding has the wrong shape or length, or a figure is not finite.
    """
    _check(sample)
    speaker = sample.speaker_embedding.astype(_DISK).tobytes()
    phrase: Optional[bytes] = None
    rows = size = 0
    if sample.phrase_embedding is not None:
        rows, size = sample.phrase_embedding.shape
        phrase = sample.phrase_embedding.astype(_DISK).tobytes()
    values = (
        speaker,
        len(sample.speaker_embedding),
        phrase,
        rows,
        size,
        float(sample.net_speech_s),
        float(sample.snr_db),
        float(sample.created_at),
        int(sample.adapted),
    )
    return (*values, _digest(values))


def decode(values: Sequence[Any]) -> EnrolmentSample:
    """A sample from the values of `COLUMNS`.

    Raises:
        ValueError: the row is damaged.
    """
    *content, digest = values
    speaker, speaker_size, phrase, rows, size, net_speech_s, snr_db, created_at, adapted = content
    try:
        if digest != _digest(content):
            raise ValueError("its digest does not fit")
        if len(speaker) != speaker_size * _DISK.itemsize:
            raise ValueError("its speaker embedding has the wrong size")
        if phrase is not None and len(phrase) != rows * size * _DISK.itemsize:
            raise ValueError("its phrase embedding has the wrong size")
        if adapted not in (0, 1):
            raise ValueError("it is neither enrolled nor learned")
        sample = EnrolmentSample(
            speaker_embedding=_array(speaker),
            phrase_embedding=None if phrase is None else _array(phrase).reshape(rows, size),
            net_speech_s=net_speech_s,
            snr_db=snr_db,
            created_at=created_at,
            adapted=bool(adapted),
        )
        _check(sample)
    except TypeError:
        raise ValueError("a column has the wrong type") from None
    return sample


def _array(content: bytes) -> FloatArray:
    array = np.frombuffer(content, dtype=_DISK).astype(np.float32)
    array.setflags(write=False)
    return array


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


def _digest(values: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    # An enrolled sample has the digest that it had before samples could be learned: a store of
    # the first format is brought up to date without touching a signature, sound or damaged.
    *first_format, adapted = values
    for value in first_format if adapted == 0 else values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()
