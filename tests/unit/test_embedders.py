"""What the models are given, and what is made of what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.errors import InputError, ModelError
from edge.features import log_mel, mel_frames, remove_mean
from edge.inference import Model
from edge.recognition import Engine
from edge.recognition.embedders import (
    Models,
    PhraseEmbedder,
    SpeakerEmbedder,
    open_models,
    phrase_samples,
    voice_samples,
)
from edge.types import FloatArray, Quality, Utterance


@pytest.fixture
def models(engine: Engine) -> Models:
    return engine.models


class Recorded(Model):
    """In place of a model: keeps what it is given, and answers as a function of it."""

    def __init__(self, like: Models, name: str, answer: Callable[[FloatArray], FloatArray]) -> None:
        self.card = getattr(like, name).card
        self.sha256 = self.card.sha256
        self.given: list[FloatArray] = []
        self._answer = answer

    def run(self, values: FloatArray) -> FloatArray:
        self.given.append(values)
        return self._answer(values)


def utterance(samples: int, lead: int, tail: int) -> Utterance:
    """Samples that are told apart by their values, with so much silence at both ends."""
    sound = (1.0 + np.arange(samples) / 65_536).astype(np.float32)
    end_s = 5.0 + (samples - tail) / 16_000
    return Utterance(sound, 5.0, end_s, Quality(-20, -60, 40, 0, 1), lead_s=lead / 16_000)


@pytest.mark.parametrize(
    ("samples", "lead", "tail", "start", "stop"),
    [
        (32_000, 8_000, 4_000, 8_000, 28_000),
        (32_000, 0, 0, 0, 32_000),
        (32_000, 31_000, 999, 31_000, 31_001),
        (32_000, 31_000, 1_000, 0, 32_000),  # there is no speech: all of it
        (32_000, 40_000, 0, 0, 32_000),
    ],
)
def test_voice_is_the_speech_alone(
    samples: int, lead: int, tail: int, start: int, stop: int
) -> None:
    said = utterance(samples, lead, tail)
    np.testing.assert_array_equal(voice_samples(said), said.samples[start:stop])


@pytest.mark.parametrize(("lead", "tail"), [(9_000, 9_500), (8_640, 8_640)])
def test_phrase_is_the_speech_with_its_context(lead: int, tail: int) -> None:
    """0.54 s, which are 8,640 samples, on both sides."""
    said = utterance(40_000, lead, tail)
    np.testing.assert_array_equal(
        phrase_samples(said), said.samples[lead - 8_640 : 40_000 - tail + 8_640]
    )


@pytest.mark.parametrize(
    ("lead", "tail", "before", "after"),
    [(0, 0, 8_640, 8_640), (5_000, 9_000, 3_640, 0), (8_639, 9_000, 1, 0), (9_000, 640, 0, 8_000)],
)
def test_missing_context_is_faint_noise(lead: int, tail: int, before: int, after: int) -> None:
    said = utterance(40_000, lead, tail)
    found = phrase_samples(said)
    inside = said.samples[max(0, lead - 8_640) : 40_000 - max(0, tail - 8_640)]
    np.testing.assert_array_equal(found[before : len(found) - after], inside)
    noise = np.concatenate((found[:before], found[len(found) - after :]))
    assert len(noise) == before + after
    assert np.abs(noise).max() < 5e-4
    if len(noise) > 1:
        assert np.std(noise) == pytest.approx(1e-4, rel=0.05)
    # The same each time, and the same as in what was enrolled before.
    assert noise[0] == pytest.approx(9.417154e-5, rel=1e-4)
    assert found.dtype == np.float32


def test_of_pauses_little_is_left() -> None:
    """800 samples of each: the first and the last 400."""
    said = replace(utterance(60_000, 9_000, 9_000), pauses=((15_000, 21_000), (30_000, 35_000)))
    sound = said.samples
    kept = [sound[15_000 - 6_000 : 15_400], sound[20_600:30_400], sound[34_600:51_000]]
    np.testing.assert_array_equal(voice_samples(said), np.concatenate(kept))
    kept[0], kept[2] = sound[9_000 - 8_640 : 15_400], sound[34_600 : 51_000 + 8_640]
    np.testing.assert_array_equal(phrase_samples(said), np.concatenate(kept))


def test_rounding_does_not_shift_what_the_models_hear() -> None:
    """17 frames of 32 ms are 8,704 samples, also where their length comes out as 0.5439999."""
    whole = utterance(40_000, 8_704, 8_704)
    below = replace(whole, lead_s=0.5439999999999996, end_s=whole.end_s + 1e-12)
    assert np.array_equal(voice_samples(whole), voice_samples(below))
    assert np.array_equal(phrase_samples(whole), phrase_samples(below))


def babble(seconds: float, pitch: float = 120.0, seed: int = 0) -> FloatArray:
    """A voiced sound whose tone color wanders, nobody's voice."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    color = np.cumsum(rng.normal(0, 0.02, (20, len(time))), axis=1)
    tones = np.sin(2 * np.pi * pitch * np.arange(1, 21)[:, None] * time) * np.exp(np.sin(color))
    sound = tones.sum(axis=0) / 60 + rng.normal(0, 1e-3, len(time))
    return np.asarray(sound, dtype=np.float32)


def noise(samples: int) -> FloatArray:
    return np.random.default_rng(2).normal(0, 0.1, samples).astype(np.float32)


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / norms, dtype=np.float32)


@pytest.mark.parametrize(
    ("frames", "starts"),
    [(300, [0]), (301, [0, 1]), (450, [0, 150]), (451, [0, 76, 151]), (600, [0, 150, 300])],
)
def test_a_long_voice_is_heard_in_windows_that_overlap(
    models: Models, frames: int, starts: list[int]
) -> None:
    answers = iter(np.diag(np.arange(1.0, 385.0)))
    model = Recorded(models, "speaker", lambda _: next(answers)[np.newaxis].astype(np.float32))
    sound = noise((frames - 1) * 160 + 400)
    embedding = SpeakerEmbedder(model).embed(sound)
    features = remove_mean(log_mel(sound))
    assert len(features) == frames
    for window, start in zip(model.given, starts, strict=True):
        np.testing.assert_array_equal(window, features[np.newaxis, start : start + 300])
    # Each window counts the same, however long its vector, and the whole has unit length.
    expected = np.zeros(384)
    expected[: len(starts)] = 1 / np.sqrt(len(starts))
    assert embedding == pytest.approx(expected, abs=1e-6)
    assert embedding.dtype == np.float32


@pytest.mark.parametrize("samples", [1_600, 25_000])
def test_a_short_voice_is_heard_as_it_is(models: Models, samples: int) -> None:
    model = Recorded(models, "speaker", lambda _: np.zeros((1, 384), np.float32))
    sound = noise(samples)
    assert not SpeakerEmbedder(model).embed(sound).any()
    (window,) = model.given
    np.testing.assert_array_equal(window[0], remove_mean(log_mel(sound)))


def test_a_voice_in_the_longest_window_is_embedded_first(models: Models) -> None:
    model = Recorded(models, "speaker", lambda _: np.zeros((1, 384), np.float32))
    speaker = SpeakerEmbedder(model)
    speaker.make_room()
    speaker.embed(noise(16_000 * 5))
    assert model.given[0].shape == max(one.shape for one in model.given)


def test_a_model_for_other_features_cannot_be_opened(models: Models) -> None:
    def refused(_: FloatArray) -> FloatArray:
        raise ValueError("takes (1, None, 60)")

    with pytest.raises(ModelError, match=r"speaker_embedding\.tflite .*takes \(1, None, 60\)"):
        SpeakerEmbedder(Recorded(models, "speaker", refused)).make_room()


@pytest.mark.runtime
def test_speaker_embedding_has_unit_length(models: Models) -> None:
    embedding = models.speaker.embed(babble(3.1))
    assert embedding.shape == (models.speaker.dimensions,) == (384,)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.runtime
def test_speaker_embedding_does_not_hear_the_level(models: Models) -> None:
    sound = babble(2.0)
    assert models.speaker.embed(sound) @ models.speaker.embed(sound * np.float32(0.2)) > 0.99


def test_speaker_embedding_of_a_repetition_is_that_of_the_original(models: Models) -> None:
    # 1.5 s of frames said twice fill the window exactly as wrapping does.
    sound = babble(1.5)
    twice = np.concatenate([sound, sound])
    assert models.speaker.embed(sound) @ models.speaker.embed(twice) > 0.98


@pytest.mark.runtime
def test_silence_and_full_scale_noise_are_embedded_too(models: Models) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    for sound in (np.zeros(16_000, dtype=np.float32), noise):
        assert np.isfinite(models.speaker.embed(sound)).all()
        assert np.isfinite(models.phrase.embed(sound)).all()


@pytest.mark.parametrize(("samples", "seconds"), [(0, "0.000"), (800, "0.050"), (1_599, "0.100")])
def test_too_short_is_refused(models: Models, samples: int, seconds: str) -> None:
    sound = np.zeros(samples, dtype=np.float32)
    message = rf"^{seconds} s of audio is too short to recognize anything; give at least 0\.1 s$"
    for embedder in (models.speaker, models.phrase):
        with pytest.raises(InputError, match=message):
            embedder.embed(sound)


def ends_of_windows(values: FloatArray) -> FloatArray:
    """As the phrase model: a vector every eight frames, here the first and the last of its 76."""
    frames = values[0, :, :, 0]
    starts = range(0, len(frames) - 75, 8)
    vectors = [np.concatenate((frames[at], frames[at + 75], frames[at])) for at in starts]
    return np.asarray(vectors, np.float32)[np.newaxis, :, np.newaxis, :]


@pytest.mark.parametrize(
    ("samples", "rows", "calls"),
    [
        (12_512, 1, [76]),
        (13_151, 1, [76]),
        (13_152, 2, [76, 76]),
        (13_792, 3, [84, 76]),
        (32_000, 31, [196, 188]),
        # The longest that the model is given in one go.
        (12_512 + 35 * 640, 36, [212, 212]),
        (12_512 + 36 * 640, 37, [212, 76, 212]),
        (48_000, 56, [212, 148, 212, 148]),
    ],
)
def test_phrase_embedding_has_a_row_every_hop(
    models: Models, samples: int, rows: int, calls: list[int]
) -> None:
    model = Recorded(models, "phrase", ends_of_windows)
    sound = noise(samples)
    vectors = PhraseEmbedder(model).embed(sound)
    frames = mel_frames(sound)
    assert vectors.shape == (rows, 96)
    assert [each.shape for each in model.given] == [(1, length, 32, 1) for length in calls]
    at = 4 * np.arange(rows)
    np.testing.assert_array_equal(vectors[:, :32], frames[at])
    np.testing.assert_array_equal(vectors[:, 32:64], frames[at + 75])


@pytest.mark.parametrize(("samples", "given"), [(1_600, 7), (12_511, 75)])
def test_a_short_phrase_is_filled_up_with_its_quietest(
    models: Models, samples: int, given: int
) -> None:
    model = Recorded(models, "phrase", ends_of_windows)
    sound = noise(samples)
    assert PhraseEmbedder(model).embed(sound).shape == (1, 96)
    frames = mel_frames(sound)
    assert len(frames) == given
    expected = np.concatenate((frames, [frames.min(axis=0)] * (76 - given)))
    np.testing.assert_array_equal(model.given[0][0, :, :, 0], expected)


@pytest.mark.runtime
def test_one_pass_gives_what_window_after_window_gives(models: Models) -> None:
    # Each window alone has activation scales of its own, so 8-bit results agree only nearly.
    sound = babble(2.0, seed=4)
    vectors = models.phrase.embed(sound)
    frames = mel_frames(sound)
    assert vectors.shape == (31, 96)
    for row, vector in enumerate(vectors):
        alone = models.phrase.embed_window(frames[4 * row : 4 * row + 76])
        assert cosine(vector, alone) > 0.99


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


@pytest.mark.runtime
def test_embedders_name_their_model(models: Models) -> None:
    for embedder in (models.speaker, models.phrase):
        assert isinstance(embedder, (SpeakerEmbedder, PhraseEmbedder))
        assert embedder.sha256 == embedder.card.sha256
