"""Made-up samples and profiles, and a store as the first release wrote it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.store import ProfileStore
from edge.types import EnrollmentSample, FloatArray, ProfileKind

SPEAKER_MODEL = "5" * 64
PHRASE_MODEL = "9" * 64


def make_sample(
    seed: int = 0,
    *,
    phrase: bool = True,
    seconds: float = 1.5,
    rows: int = 20,
    variants: int = 0,
) -> EnrollmentSample:
    """A sample of random numbers, the same for the same seed."""
    random = np.random.default_rng(seed)
    speaker = random.standard_normal(192).astype(np.float32)
    spoken: FloatArray | None = None
    if phrase:
        spoken = random.standard_normal((rows, 96)).astype(np.float32)
    return EnrollmentSample(
        speaker_embedding=speaker / np.linalg.norm(speaker),
        phrase_embedding=spoken,
        net_speech_s=seconds,
        snr_db=21.5,
        created_at=1_700_000_000.25 + seed,
        phrase_variants=tuple(
            random.standard_normal((rows + 1 + n, 96)).astype(np.float32) for n in range(variants)
        ),
    )


def sealed_rows(path: Path, profile_id: str) -> list[bytes]:
    """The sealed columns of a profile, its samples and its items, as they lie in the file."""
    database = sqlite3.connect(path)
    rows: list[bytes] = []
    for table, key in (("profile", "id"), ("sample", "profile_id"), ("item", "profile_id")):
        query = f"SELECT sealed FROM {table} WHERE {key} = ? ORDER BY rowid"  # noqa: S608
        rows += [row[0] for row in database.execute(query, (profile_id,))]
    database.close()
    return rows


def traces(folder: Path, *secrets: bytes) -> list[str]:
    """Where pieces of secrets are found, in whichever file below a folder."""
    content = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    return [
        f"secret {number} at {start} in {file.name}"
        for number, secret in enumerate(secrets)
        # Any piece would be a trace: page borders may split the rest.
        for start in range(0, max(1, len(secret) - 23), 24)
        for file, each in content.items()
        if secret[start : start + 24] in each
    ]


def plain_parts(sample: EnrollmentSample) -> list[bytes]:
    """The embeddings of a sample as they would lie in a file that is not sealed."""
    arrays = [sample.speaker_embedding, sample.phrase_embedding]
    return [array.astype("<f4").tobytes() for array in arrays if array is not None]


def same(one: EnrollmentSample, other: EnrollmentSample) -> bool:
    return (
        np.array_equal(one.speaker_embedding, other.speaker_embedding)
        and np.array_equal(
            np.asarray(one.phrase_embedding, float), np.asarray(other.phrase_embedding, float), True
        )
        and len(one.phrase_variants) == len(other.phrase_variants)
        and all(map(np.array_equal, one.phrase_variants, other.phrase_variants))
        and one.net_speech_s == other.net_speech_s
        and one.snr_db == other.snr_db
        and one.created_at == other.created_at
        and one.adapted is other.adapted
    )


def enroll(store: ProfileStore, name: str, *seeds: int) -> str:
    return store.create_with_samples(
        name,
        ProfileKind.PHRASE,
        required=3,
        samples=[make_sample(seed) for seed in seeds],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
    ).id


# The format as the first release wrote it, to be left as it is.
FIRST_FORMAT = """
PRAGMA application_id = 1164203587;
PRAGMA user_version = 1;
CREATE TABLE profile (
    id            TEXT PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN ('phrase', 'voice')),
    phrase        TEXT NOT NULL,
    speaker_model TEXT NOT NULL DEFAULT '',
    phrase_model  TEXT NOT NULL DEFAULT '',
    required      REAL NOT NULL CHECK (required > 0),
    created_at    REAL NOT NULL,
    updated_at    REAL NOT NULL
);
CREATE TABLE sample (
    profile_id    TEXT NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL CHECK (position >= 0),
    speaker       BLOB NOT NULL,
    speaker_size  INTEGER NOT NULL,
    phrase        BLOB,
    phrase_rows   INTEGER NOT NULL,
    phrase_size   INTEGER NOT NULL,
    net_speech_s  REAL NOT NULL,
    snr_db        REAL NOT NULL,
    created_at    REAL NOT NULL,
    digest        BLOB NOT NULL,
    PRIMARY KEY (profile_id, position)
);
"""
ADA = "0e0f8a56-6a3f-4b63-a6b4-58f5b0f1a001"


def first_digest(values: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def write_first_format(path: Path, *seeds: int) -> None:
    """A store of format 1 with Ada in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.executescript(FIRST_FORMAT)
    database.execute(
        "INSERT INTO profile VALUES (?, 'Ada', 'ada', 'phrase', 'mellon', ?, ?, 3.0, 1.5, 2.5)",
        (ADA, SPEAKER_MODEL, PHRASE_MODEL),
    )
    for position, seed in enumerate(seeds):
        sample = make_sample(seed)
        assert sample.phrase_embedding is not None
        values = (
            sample.speaker_embedding.astype("<f4").tobytes(),
            192,
            sample.phrase_embedding.astype("<f4").tobytes(),
            *sample.phrase_embedding.shape,
            sample.net_speech_s,
            sample.snr_db,
            sample.created_at,
        )
        database.execute(
            "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (ADA, position, *values, first_digest(values)),
        )
    database.commit()
    database.close()
    path.chmod(0o600)


def learned(seed: int) -> EnrollmentSample:
    return replace(make_sample(seed), adapted=True)


def seeds_of(samples: Sequence[EnrollmentSample]) -> list[int]:
    return [round(sample.created_at - 1_700_000_000.25) for sample in samples]


def version_of(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[60:64], "big")
