"""Embedders: an utterance as a voice vector, and as one phrase vector per 40 ms."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge import resources
from edge.errors import InputError, ModelError
from edge.features import LOG_MEL_BANDS, log_mel, mel_frames, remove_mean
from edge.inference import Model, open_model
from edge.inference.release import altered, refuse_altered
from edge.types import SAMPLE_RATE, FloatArray, Utterance

_log = logging.getLogger(__name__)

PHRASE_CONTEXT_S = 0.54
"""Sound on both sides of the speech that the phrase model is given.

One of its embeddings covers 0.775 s; half of that centers the first one on the onset of speech.
The rest lets the warping path begin and end in silence: that separated phrases best, also where
the end-pointer was 0.3 s off.
"""

PHRASE_WINDOW = 76
"""Frames of 10 ms that one vector of the phrase model sees."""

SPEAKER_FILE = "speaker_embedding.tflite"
PHRASE_FILE = "phrase_embedding.tflite"

_WINDOW = 300
"""Most frames of 10 ms that the speaker model sees at once: it was trained on 3 s."""

SHORTEST_S = 0.1
"""Less audio than this says nothing about anyone."""

_PADDING_LEVEL = 1e-4
"""Noise in place of missing context, -80 dB full scale: digital zero is no room."""

_KEPT_PAUSE_S = 0.05
"""What is left of a pause. More is taken for a part of the phrase: with a quarter of a second the
distance of a phrase with a pause from one without was 0.2, with this it is 0.1."""

_PHRASE_STRIDE = 8
_PHRASE_HOP = 4
_LONGEST_CALL = 150
"""Frames; the runtime keeps buffers for the longest call, 1 MB for a second."""


def voice_samples(utterance: Utterance) -> FloatArray:
    """The speech alone, without the silence around it, its pauses shortened."""
    return _without_pauses(utterance, *_speech_bounds(utterance))


def phrase_samples(utterance: Utterance) -> FloatArray:
    """The speech with `PHRASE_CONTEXT_S` on both sides, filled up with faint noise.

    Its pauses are shortened: somebody who hesitates says the same words.
    """
    context = int(PHRASE_CONTEXT_S * SAMPLE_RATE)
    start, stop = _speech_bounds(utterance)
    before, after = max(0, context - start), max(0, stop + context - len(utterance.samples))
    inside = _without_pauses(utterance, max(0, start - context), stop + context)
    if not before and not after:
        return inside
    noise = _faint_noise()
    return np.concatenate((noise[:before], inside, noise[before : before + after]))


@lru_cache(maxsize=1)
def _faint_noise() -> FloatArray:
    """Noise in place of all the context of an utterance, before and after it.

    It is always the same, so that the same utterance gives the same embedding. Not by NumPy's
    generators, which take 3 MB of memory.
    """
    draw = random.Random(0)  # noqa: S311 - noise
    count = 2 * int(PHRASE_CONTEXT_S * SAMPLE_RATE)
    return np.asarray([draw.gauss(0.0, _PADDING_LEVEL) for _ in range(count)], dtype=np.float32)


def _without_pauses(utterance: Utterance, start: int, stop: int) -> FloatArray:
    """The samples from `start` to `stop`, with `_KEPT_PAUSE_S` of each pause."""
    if not utterance.pauses:
        return utterance.samples[start:stop]
    half = int(_KEPT_PAUSE_S * SAMPLE_RATE) // 2
    parts = []
    for first, end in utterance.pauses:
        parts.append(utterance.samples[start : first + half])
        start = end - half
    return np.concatenate((*parts, utterance.samples[start:stop]))


def _speech_bounds(utterance: Utterance) -> tuple[int, int]:
    total = len(utterance.samples)
    start = min(round(utterance.lead_s * SAMPLE_RATE), total)
    stop = max(start, total - round(utterance.tail_s * SAMPLE_RATE))
    return (start, stop) if stop > start else (0, total)


class _Embedder:
    """An embedder's model.

    Embeddings compare only where `sha256`, the model's hash, is the same; they have `dimensions`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.card = model.card
        self.sha256 = model.sha256
        self.dimensions = int(model.card.output.shape[-1] or 0)


class SpeakerEmbedder(_Embedder):
    """A voice as one vector.

    What is longer than `_WINDOW` is covered by windows that overlap by half or more, whose
    embeddings are averaged.
    """

    def make_room(self) -> None:
        """Have the runtime allocate its buffers for the longest window.

        Where they grow later, the old ones are there beside the new: 5 MB more at the peak.

        Raises:
            ModelError: it takes other features.
        """
        try:
            self._model.run(np.zeros((1, _WINDOW, LOG_MEL_BANDS), dtype=np.float32))
        except ValueError as error:
            raise ModelError(
                f"{self.card.file} is not for the features of this software ({error}); "
                "use a model for them, or reinstall the software"
            ) from error

    def embed(self, samples: FloatArray) -> FloatArray:
        """The embedding, unit length and shape (384,), of mono audio at 16 kHz, shape (n,).

        Raises:
            InputError: shorter than 0.1 s.
        """
        _require(samples)
        features = remove_mean(log_mel(samples))
        total = np.zeros(self.dimensions, dtype=np.float32)
        beyond = max(0, len(features) - _WINDOW)
        count = 1 + math.ceil(beyond / (_WINDOW / 2))
        for start in np.linspace(0, beyond, count).round().astype(int):
            window = features[np.newaxis, start : start + _WINDOW]
            total += _unit(self._model.run(window)[0])
        return _unit(total)


class PhraseEmbedder(_Embedder):
    """What is said, as one vector every 40 ms.

    Each vector covers 0.76 s of sound. The network is a stack of convolutions without padding in
    time, so one pass over the whole utterance gives what window after window would, every 80 ms; a
    second pass, shifted by 40 ms, gives the vectors between.
    """

    def embed(self, samples: FloatArray) -> FloatArray:
        """Vectors, shape (t, 96), one every 40 ms, of mono audio at 16 kHz, shape (n,).

        What is shorter than 0.79 s is padded with its own quietest level to fill a window.

        Raises:
            InputError: shorter than 0.1 s.
        """
        _require(samples)
        frames = mel_frames(samples)
        missing = PHRASE_WINDOW - len(frames)
        if missing > 0:
            frames = np.concatenate([frames, np.tile(frames.min(axis=0), (missing, 1))])
        count = 1 + (len(frames) - PHRASE_WINDOW) // _PHRASE_HOP
        vectors = np.empty((count, self.dimensions), dtype=np.float32)
        for shift in range(_PHRASE_STRIDE // _PHRASE_HOP):
            rows = vectors[shift :: _PHRASE_STRIDE // _PHRASE_HOP]
            if len(rows):
                rows[:] = self._pass(frames[shift * _PHRASE_HOP :], len(rows))
        return vectors

    def embed_window(self, frames: FloatArray) -> FloatArray:
        """The vector, shape (96,), of a single window of mel frames, shape (76, 32)."""
        vector: FloatArray = self._pass(frames, 1)[0]
        return vector

    def _pass(self, frames: FloatArray, count: int) -> FloatArray:
        """`count` vectors, 80 ms apart, from the first frame on."""
        per_call = _LONGEST_CALL // _PHRASE_STRIDE
        parts = []
        for first in range(0, count, per_call):
            rows = min(per_call, count - first)
            start = first * _PHRASE_STRIDE
            end = start + (rows - 1) * _PHRASE_STRIDE + PHRASE_WINDOW
            output = self._model.run(frames[np.newaxis, start:end, :, np.newaxis])
            parts.append(output.reshape(rows, self.dimensions))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Models:
    """Both models, open, and the folder that they and their cards are in."""

    speaker: SpeakerEmbedder
    phrase: PhraseEmbedder
    directory: Path


def open_models(directory: Path | None = None, threads: int = 1) -> Models:
    """Open both models, by default those that come with the software.

    Raises:
        ModelError: a model is missing, damaged, or not the one that its card describes; or a card
            that came with the software was altered.
    """
    folder = resources.models_directory() if directory is None else directory
    if directory is None:
        refuse_altered(folder)
    elif altered(folder):
        _log.warning("the models in %s are not those of this release", folder)
    speaker = SpeakerEmbedder(open_model(folder / SPEAKER_FILE, threads))
    speaker.make_room()
    return Models(
        speaker=speaker,
        phrase=PhraseEmbedder(open_model(folder / PHRASE_FILE, threads)),
        directory=folder,
    )


def _require(samples: FloatArray) -> None:
    if len(samples) < SHORTEST_S * SAMPLE_RATE:
        raise InputError(
            f"{len(samples) / SAMPLE_RATE:.3f} s of audio is too short to recognize anything; "
            f"give at least {SHORTEST_S} s"
        )


def _unit(vector: FloatArray) -> FloatArray:
    # The floor only keeps an all-zero vector from dividing by zero.
    unit: FloatArray = vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))
    return unit
