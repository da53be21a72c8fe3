"""Made-up samples and profiles, and a state of the device that is kept nowhere."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.crypto.keys import KeyStretching
from edge.errors import StoreError
from edge.store import ProfileStore
from edge.store.device_state import DeviceState
from edge.types import EnrollmentSample, FloatArray, ProfileKind

SPEAKER_MODEL = "5" * 64
PHRASE_MODEL = "9" * 64
CHEAP_STRETCHING = KeyStretching(10, 8, 1, bytes(range(16)))


def stretch_in_a_moment(patch: pytest.MonkeyPatch) -> None:
    """Make new passphrases cost next to nothing, to us and to whoever tries them all."""
    patch.setattr(KeyStretching, "fresh", classmethod(lambda cls: CHEAP_STRETCHING))


class Memory(DeviceState):
    """A device's state without a file; `broken` fails whatever is asked of it."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.writes = 0
        self.broken = False

    def get(self, name: str) -> str | None:
        self._require()
        return self.texts.get(name)

    def put(self, name: str, text: str | None) -> None:
        self._require()
        self.writes += 1
        self.texts.pop(name, None)
        if text is not None:
            self.texts[name] = text

    def change(self, name: str, changed: Callable[[str | None], str]) -> None:
        self.put(name, changed(self.get(name)))

    def last(self, name: str) -> int:
        return self.numbers.get(name, 0)

    def reserve(self, name: str, count: int = 1, least: int = 1) -> int:
        self._require()
        self.writes += 1
        first = max(self.numbers.get(name, 0) + 1, least)
        self.numbers[name] = first + count - 1
        return first

    def _require(self) -> None:
        if self.broken:
            raise StoreError("no space is left")


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
        and len(one.stretches) == len(other.stretches)
        and all(map(np.array_equal, one.stretches, other.stretches))
        and one.net_speech_s == other.net_speech_s
        and one.snr_db == other.snr_db
        and one.created_at == other.created_at
        and one.adapted is other.adapted
    )


def is_open(path: Path) -> bool:
    """Whether this process has a file open."""
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another thread has closed it
            if each.readlink() == path:
                return True
    return False


def enroll(store: ProfileStore, name: str, *seeds: int) -> str:
    return store.create(
        name,
        ProfileKind.PHRASE,
        required=3,
        samples=[make_sample(seed) for seed in seeds],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
    ).id


def learned(seed: int) -> EnrollmentSample:
    return replace(make_sample(seed), adapted=True)


def seeds_of(samples: Sequence[EnrollmentSample]) -> list[int]:
    return [round(sample.created_at - 1_700_000_000.25) for sample in samples]
