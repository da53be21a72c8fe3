"""Score normalization by hand, and the file that the cohort comes from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.inference import read_card
from edge.recognition.dtw import unit
from edge.recognition.scoring import Cohort, read_embeddings
from edge.resources import models_directory
from edge.types import FloatArray

AXES = np.asarray([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], np.float32)


def test_nearness_by_hand() -> None:
    voices = np.asarray([[1, 0], [0, 1], [0.8, -0.6]], np.float32)
    # Similarities: (1, 0, -1, .6), (0, 1, 0, .8), (.8, -.6, -.8, 0).
    assert Cohort(AXES, 1, 0.5).nearness(voices) == pytest.approx([1.0, 1.0, 0.8])
    assert Cohort(AXES, 2, 0.5).nearness(voices) == pytest.approx([0.8, 0.9, 0.4])
    assert Cohort(AXES, 3, 0.5).nearness(voices) == pytest.approx([1.6 / 3, 0.6, 0.2 / 3])


@pytest.mark.parametrize(("size", "mean"), [(1, 1.0), (2, 0.5), (3, 0.0), (4, 0.15)])
def test_a_small_cohort_counts_as_a_whole(size: int, mean: float) -> None:
    voices = np.asarray([[1, 0]], np.float32)
    assert Cohort(AXES[:size], 99, 0.5).nearness(voices) == pytest.approx([mean])
    assert Cohort(AXES[:size], size, 0.5).nearness(voices) == pytest.approx([mean])


def test_normalize_takes_a_part_of_both_sides_off() -> None:
    similarity = np.asarray([[0.5, 0.7], [0.1, 0.9]], np.float32)
    # Similarities to the cohort: (1, 0, -1, .6), (0, 1, 0, .8); (.8, -.6, -.8, 0),
    # (.6, .8, -.6, 1).
    signatures = np.asarray([[1, 0], [0, 1]], np.float32)
    voices = np.asarray([[0.8, -0.6], [0.6, 0.8]], np.float32)
    normalized = Cohort(AXES, 2, 0.5).normalize(similarity, signatures, voices)
    # Nearness: .8, .9 and .4, .9; off goes 0.5 x the mean of both.
    assert normalized == pytest.approx(
        np.asarray([[0.5 - 0.3, 0.7 - 0.425], [0.1 - 0.325, 0.9 - 0.45]])
    )
    assert normalized.dtype == np.float32
    untouched = Cohort(AXES, 1, 0.0).normalize(similarity, signatures, voices)
    assert np.array_equal(untouched, similarity)


def test_a_voice_that_resembles_everybody_counts_less() -> None:
    chance = np.random.default_rng(1)
    lean = np.asarray([2.0, *[0.0] * 7])  # all of them lean to the first axis
    others = unit((chance.standard_normal((50, 8)) + lean).astype(np.float32))
    cohort = Cohort(others, 10, 0.15)
    common, own = np.eye(8, dtype=np.float32)[:1], np.eye(8, dtype=np.float32)[1:2]
    similarity = np.full((1, 2), 0.5, np.float32)
    voices = np.concatenate((common, own))
    nearness = cohort.nearness(voices)
    normalized = cohort.normalize(similarity, own, voices)
    assert nearness[0] > nearness[1]
    assert normalized[0, 0] < normalized[0, 1]


def content_of(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def written(folder: Path, content: bytes) -> tuple[Path, str]:
    path = folder / "cohort.npy"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


VOICES = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float16)


@pytest.mark.runtime
def test_half_precision_comes_back_as_unit_vectors(tmp_path: Path) -> None:
    voices: FloatArray = read_embeddings(*written(tmp_path, content_of(VOICES)), 4)
    assert voices.dtype == np.float32
    assert np.linalg.norm(voices, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    directions = np.einsum("ij,ij->i", voices, VOICES.astype(np.float32))
    assert directions == pytest.approx(np.linalg.norm(VOICES.astype(np.float32), axis=1), rel=1e-5)


@pytest.mark.parametrize("more", [0, 1])
def test_a_file_is_read_up_to_its_greatest_size(tmp_path: Path, more: int) -> None:
    """16 MiB, of which the header is 128 bytes."""
    voices = np.zeros((1, (16 * 1024 * 1024 - 128) // 2 + more), np.float16)
    path, sha256 = written(tmp_path, content_of(voices))
    if more:
        refused(path, sha256, "is not the cohort")
    else:
        assert read_embeddings(path, sha256, voices.size).shape == voices.shape


def refused(path: Path, sha256: str, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_embeddings(path, sha256, 4)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, "reinstall the software", *words):
        assert word in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path / "absent.npy", "0" * 64, "cannot be read")
    refused(tmp_path, "0" * 64, "cannot be read")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-2], id="truncated"),
        pytest.param(lambda content: content + b"\0", id="longer"),
        pytest.param(lambda content: content[:-1] + b"\1", id="one byte"),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_another_file_than_the_card_names(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    content = content_of(VOICES)
    _, sha256 = written(tmp_path, content)
    path, _ = written(tmp_path, damage(content))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    refused(path, sha256, f"is not the cohort {NAMED} {found[:12]}..., card {sha256[:12]}...)")


NAMED = "that the speaker model's card names (SHA-256"


class Trap:
    """What would be run if a pickle were trusted."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Trap, "sprung", True))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content_of(VOICES)[:-2], id="truncated"),
        pytest.param(content_of(VOICES)[:60], id="half a header"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x93NUMPY", id="its name alone"),
        pytest.param(b"PK\3\4 no archive", id="an archive"),
        pytest.param(b"voices\n", id="text"),
        pytest.param(
            content_of(np.asarray([[Trap()] * 4], object), allow_pickle=True), id="pickled"
        ),
        pytest.param(content_of(VOICES.astype(np.float32)), id="single precision"),
        pytest.param(content_of(np.asarray([["a", "b", "c", "d"]])), id="words"),
        pytest.param(content_of(VOICES[:, :3]), id="another model's"),
        pytest.param(content_of(VOICES[0]), id="one dimension"),
        pytest.param(content_of(VOICES[:0]), id="nobody"),
        pytest.param(content_of(np.float16(1.0)), id="a number"),
        pytest.param(content_of(VOICES * np.float16(np.nan)), id="nan"),
        pytest.param(content_of(VOICES * np.float16(np.inf)), id="infinite"),
    ],
)
def test_damage_that_the_card_vouches_for(tmp_path: Path, content: bytes) -> None:
    """Even with the right hash nothing but embeddings is taken, and nothing is run."""
    refused(*written(tmp_path, content))
    assert not Trap.sprung


def test_the_shipped_cohort() -> None:
    card = read_card(models_directory() / "speaker_embedding.json")
    entry = card.calibration["cohort"]
    voices = read_embeddings(models_directory() / entry["file"], entry["sha256"], 192)
    assert len(voices) == entry["voices"] > entry["nearest"]
    assert np.linalg.norm(voices, axis=1) == pytest.approx(np.ones(len(voices)), abs=1e-5)
    # No voice is there twice.
    similarity = voices @ voices.T - np.eye(len(voices), dtype=np.float32)
    assert similarity.max() < 0.999
