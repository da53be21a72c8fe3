from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.errors import InputError, ModelError
from edge.features import mel_frames
from edge.recognition.embedders import Models, PhraseEmbedder, SpeakerEmbedder, open_models
from edge.types import FloatArray

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models()


def babble(seconds: float, pitch: float = 120.0, seed: int = 0) -> FloatArray:
    """A voiced sound whose tone color wanders, nobody's voice."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    color = np.cumsum(rng.normal(0, 0.02, (20, len(time))), axis=1)
    tones = np.sin(2 * np.pi * pitch * np.arange(1, 21)[:, None] * time) * np.exp(np.sin(color))
    sound = tones.sum(axis=0) / 60 + rng.normal(0, 1e-3, len(time))
    return np.asarray(sound, dtype=np.float32)


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / norms, dtype=np.float32)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.5, 3.0, 3.1, 7.0])
def test_speaker_embedding_has_unit_length(models: Models, seconds: float) -> None:
    embedding = models.speaker.embed(babble(seconds))
    assert embedding.shape == (models.speaker.dimensions,) == (192,)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)


def test_speaker_embedding_does_not_hear_the_level(models: Models) -> None:
    sound = babble(2.0)
    assert models.speaker.embed(sound) @ models.speaker.embed(sound * np.float32(0.2)) > 0.99


def test_speaker_embedding_of_a_repetition_is_that_of_the_original(models: Models) -> None:
    # 1.5 s of frames said twice fill the window exactly as wrapping does.
    sound = babble(1.5)
    twice = np.concatenate([sound, sound])
    assert models.speaker.embed(sound) @ models.speaker.embed(twice) > 0.98


def test_silence_and_full_scale_noise_are_embedded_too(models: Models) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    for sound in (np.zeros(16_000, dtype=np.float32), noise):
        assert np.isfinite(models.speaker.embed(sound)).all()
        assert np.isfinite(models.phrase.embed(sound)).all()


@pytest.mark.parametrize("samples", [0, 1, 1_599])
def test_too_short_is_refused(models: Models, samples: int) -> None:
    sound = np.zeros(samples, dtype=np.float32)
    for embedder in (models.speaker, models.phrase):
        with pytest.raises(InputError, match="too short"):
            embedder.embed(sound)


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.1, 1), (0.6, 1), (0.782, 1), (0.83, 2), (2.0, 31), (31.0, 756)]
)
def test_phrase_embedding_has_a_row_every_hop(models: Models, seconds: float, rows: int) -> None:
    sound = np.resize(babble(min(seconds, 3.0)), int(seconds * 16_000))
    vectors = models.phrase.embed(sound)
    assert vectors.shape == (rows, models.phrase.dimensions) == (rows, 96)
    # A row for each 0.76 s that fits, one hop apart.
    assert rows == max(1, int((seconds - 0.782 + 1e-6) / 0.04) + 1)


def test_one_pass_gives_what_window_after_window_gives(models: Models) -> None:
    # Each window alone has activation scales of its own, so 8-bit results agree only nearly.
    sound = babble(2.0, seed=4)
    vectors = models.phrase.embed(sound)
    frames = mel_frames(sound)
    for row, vector in enumerate(vectors):
        window = frames[4 * row : 4 * row + 76]
        alone = models.phrase._model.run(window[np.newaxis, :, :, np.newaxis]).ravel()
        assert cosine(vector, alone) > 0.99


def test_rows_of_long_recordings_meet_where_calls_meet(models: Models) -> None:
    sound = np.resize(babble(9.0), 40 * 16_000)
    vectors = models.phrase.embed(sound)
    later = models.phrase.embed(sound[16_000 * 28 :])
    # 28 s are 700 hops; both cover 29 s to 35 s, where one call ends and the next begins.
    agreement = cosine(vectors[725:875], later[25:175])
    assert agreement.min() > 0.95


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"speaker_embedding\.json"):
        open_models(tmp_path)


def test_real_voices_are_told_apart(speech_folder: Path, models: Models) -> None:
    def embed(actor: str, take: str) -> FloatArray:
        folder = speech_folder / "same_phrase" / actor / "kids-are-talking-by-the-door"
        sound, _ = soundfile.read(folder / f"{take}.flac", dtype="float32")
        return models.speaker.embed(sound[12_000:-12_000])

    own = embed("actor01", "neutral1_1") @ embed("actor01", "neutral1_2")
    other = embed("actor01", "neutral1_1") @ embed("actor03", "neutral1_1")
    assert own > other + 0.2


def test_embedders_name_their_model(models: Models) -> None:
    for embedder in (models.speaker, models.phrase):
        assert isinstance(embedder, (SpeakerEmbedder, PhraseEmbedder))
        assert embedder.sha256 == embedder.card.sha256
