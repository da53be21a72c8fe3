"""A recording that is one utterance: an enrollment file, a repetition, a test file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_SAMPLES, blocks_of
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import Recording, peak_of
from edge.audio.quality import measure_quality
from edge.audio.vad import SPEECH, SpeechDetector
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance

_FOREVER_S = 1e6


def utterance_of(recording: FloatArray | Recording) -> Utterance:
    """Cut a recording, samples of shape (n,) at `SAMPLE_RATE`, from its first to its last speech.

    It is filtered and cut as the microphone's sound would have been, with pauses of any length
    allowed. Without speech it is all of the recording, with `net_speech_s` 0.

    Raises:
        AudioFormatError: it is not mono, not of floats, or holds what is no number.
    """
    if isinstance(recording, Recording):
        return utterance_in(blocks_of(recording.samples, recording.clipped))
    samples = np.asarray(recording)
    if samples.ndim != 1:
        raise AudioFormatError(f"samples of shape {samples.shape}; give mono, shape (n,)")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioFormatError(f"samples of type {samples.dtype}; give float32 from -1 to 1")
    samples = samples.astype(np.float32, copy=False)
    peak_of("the array", samples)
    return utterance_in(blocks_of(samples))


def utterance_in(blocks: Iterable[AudioBlock]) -> Utterance:
    """As `utterance_of`, of a recording that comes as a source's blocks."""
    pointer = EndPointer(
        EndPointSettings(end_silence_s=_FOREVER_S, min_speech_s=0.0, max_utterance_s=_FOREVER_S)
    )
    parts = [np.zeros(0, np.float32)]
    for block in blocks:
        parts.append(block.samples)
        missing = np.zeros(-len(block.samples) % FRAME_SAMPLES, np.float32)
        pointer.feed(replace(block, samples=np.concatenate((block.samples, missing))))
    done = pointer.flush()
    if done:
        return done[0]
    samples = np.concatenate(parts)
    nothing = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    return Utterance(samples, 0.0, len(samples) / SAMPLE_RATE, measure_quality(samples, nothing))


def find_speech(samples: FloatArray) -> NDArray[np.bool_]:
    """Which frames of filtered sound, shape (n,), are speech, shape (n // FRAME_SAMPLES,)."""
    detector = SpeechDetector()
    speech = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    frames = samples[: len(speech) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    for end, frame in enumerate(frames, start=1):
        probabilities = detector.feed(frame)
        speech[end - len(probabilities) : end] = np.array(probabilities) >= SPEECH
    return speech
