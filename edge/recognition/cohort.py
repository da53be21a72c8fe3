"""Score normalization: how near a voice is to many others, and what that says of its similarity.

A voice that resembles everybody resembles its owner's too. Adaptive symmetric normalization
(P. Matejka et al., "Analysis of score normalization in multilingual speaker recognition",
Interspeech 2017) takes from a similarity how near both its sides are to those of a cohort that
are nearest to them. Two things differ here, both found by measuring:

- It is not divided by the deviation of those nearest ones. There are few of them, so the
  deviation is largely chance, and false rejects at one in a thousand false accepts nearly
  doubled.
- Only a part of the nearness is taken off. A cohort of one corpus is far from every voice of
  another one, strangers and residents alike; taken off in full, that let strangers of another
  corpus in ninety times as often as asked for (docs/accuracy.md).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.types import FloatArray

_MOST_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Cohort:
    """Voices that are nobody's here.

    Attributes:
        embeddings: unit length, shape (n, d).
        nearest: how many of them, those most similar to a voice, count.
        weight: which part of the nearness is taken off, 0 to 1.
    """

    embeddings: FloatArray = field(repr=False)
    nearest: int
    weight: float

    def nearness(self, voices: FloatArray) -> FloatArray:
        """Mean similarity of each voice to those of the cohort that are nearest to it.

        Args:
            voices: unit length, shape (k, d).

        Returns:
            Shape (k,), -1 to 1.
        """
        similarity = voices @ self.embeddings.T
        first = similarity.shape[1] - min(self.nearest, similarity.shape[1])
        nearest: FloatArray = np.partition(similarity, first, axis=1)[:, first:].mean(axis=1)
        return nearest

    def normalize(
        self, similarity: FloatArray, signatures: FloatArray, voices: FloatArray
    ) -> FloatArray:
        """Similarities with the nearness of both sides taken off.

        Args:
            similarity: cosine of each signature with each voice, shape (n, m).
            signatures: nearness of each signature, shape (n,).
            voices: nearness of each voice, shape (m,).

        Returns:
            Shape (n, m).
        """
        common = (signatures[:, None] + voices[None, :]) / np.float32(2.0)
        normalized: FloatArray = similarity - np.float32(self.weight) * common
        return normalized


def read_embeddings(path: Path, sha256: str, dimensions: int) -> FloatArray:
    """The voices of a cohort file.

    Args:
        path: a NumPy file of half-precision floats, shape (n, `dimensions`).
        sha256: the hash that the model's card gives, hexadecimal.
        dimensions: length of an embedding.

    Returns:
        Unit length, shape (n, `dimensions`).

    Raises:
        ModelError: the file cannot be read, is another one, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise ModelError(
            f"{path}: the cohort cannot be read ({error.strerror}); reinstall the software"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{path.name} is not the cohort that the speaker model's card names (SHA-256 "
            f"{found[:12]}..., card {sha256[:12]}...); reinstall the software"
        )
    try:
        voices: NDArray[np.float16] = np.lib.format.read_array(
            io.BytesIO(content), allow_pickle=False
        )
    except (ValueError, EOFError) as error:
        raise ModelError(f"{path.name} is no NumPy file; reinstall the software") from error
    if (
        voices.dtype != np.float16
        or voices.ndim != 2
        or voices.shape[1] != dimensions
        or not len(voices)
        or not np.isfinite(voices).all()
    ):
        raise ModelError(f"{path.name} holds no embeddings of the model; reinstall the software")
    return unit(voices.astype(np.float32))


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors scaled to unit length, shape (n, d)."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = vectors / np.maximum(norms, np.float32(1e-9))
    return scaled
