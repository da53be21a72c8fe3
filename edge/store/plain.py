"""Rows of the first two formats, which were not sealed; read once more, to be sealed.

Formats 1 and 2 are the same but for `sample.adapted`, which format 1 does not have.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edge.store.records import Record, check_record
from edge.types import EnrolmentSample, FloatArray, ProfileKind

_DISK = np.dtype("<f4")
_PROFILE = "id, name, kind, phrase, speaker_model, phrase_model, required, created_at, updated_at"
_SAMPLE = (
    "profile_id, position, speaker, speaker_size, phrase, phrase_rows, phrase_size,"
    " net_speech_s, snr_db, created_at"
)


def profiles_of(database: sqlite3.Connection) -> Iterator[tuple[str, Record]]:
    """Id and content of each profile, in order of creation.

    Raises:
        ValueError: a row is damaged.
    """
    query = f"SELECT {_PROFILE} FROM profile ORDER BY created_at, rowid"  # noqa: S608 (constants)
    for (
        profile_id,
        name,
        kind,
        phrase,
        speaker,
        phrases,
        required,
        created,
        updated,
    ) in database.execute(query).fetchall():
        if not isinstance(profile_id, str):
            raise ValueError("an id is not one")  # noqa: TRY004 (damage, not a mistake in a call)
        record = Record(
            name=name,
            kind=ProfileKind(kind),
            phrase=phrase,
            speaker_model=speaker,
            phrase_model=phrases,
            required=required,
            created_at=created,
            updated_at=updated,
        )
        check_record(record)
        yield profile_id, record


def samples_of(
    database: sqlite3.Connection, *, adapted: bool
) -> Iterator[tuple[str, int, bool, EnrolmentSample | None]]:
    """Profile, position, whether it was learned, and the sample; None for a damaged one.

    Args:
        database: the store.
        adapted: whether the format knows samples that were learned.
    """
    columns = f"{_SAMPLE}, {'adapted' if adapted else '0'}, digest"
    query = f"SELECT {columns} FROM sample ORDER BY profile_id, position"  # noqa: S608 (constants)
    for profile_id, position, *content, digest in database.execute(query).fetchall():
        learned = content[-1] == 1
        try:
            sample = _decode(content, digest)
        except (TypeError, ValueError):
            sample = None
        yield profile_id, position, learned, sample


def _decode(content: Sequence[Any], digest: object) -> EnrolmentSample:
    speaker, speaker_size, phrase, rows, size, net_speech_s, snr_db, created_at, adapted = content
    if digest != _digest(content) or len(speaker) != speaker_size * _DISK.itemsize:
        raise ValueError("its digest or size does not fit")
    return EnrolmentSample(
        speaker_embedding=_array(speaker),
        phrase_embedding=None if phrase is None else _array(phrase).reshape(rows, size),
        net_speech_s=net_speech_s,
        snr_db=snr_db,
        created_at=created_at,
        adapted=bool(adapted),
    )


def _array(content: bytes) -> FloatArray:
    return np.frombuffer(content, dtype=_DISK).astype(np.float32)


def _digest(values: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    # An enrolled sample has the digest that it had before samples could be learned.
    *first_format, adapted = values
    for value in first_format if adapted == 0 else values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()
