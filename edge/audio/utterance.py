"""A recording that is one utterance: an enrollment file, a repetition, a test file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_SAMPLES, blocks_of
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import peak_of
from edge.audio.quality import measure_quality
from edge.audio.vad import SPEECH, SpeechDetector
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, FloatArray, Utterance

_FOREVER_S = 1e6


def utterance_of(samples: FloatArray) -> Utterance:
    """Cut a recording, shape (n,) at `SAMPLE_RATE`, from its first to its last speech.

    The end-pointer of the live stream does it, with pauses of any length allowed, so that a
    recording is cut as the microphone's sound would have been. Without speech it is all of the
    recording, with `net_speech_s` 0.

    Raises:
        AudioFormatError: it is not mono, not of floats, or holds what is no number.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise AudioFormatError(f"samples of shape {samples.shape}; give mono, shape (n,)")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioFormatError(f"samples of type {samples.dtype}; give float32 from -1 to 1")
    samples = samples.astype(np.float32, copy=False)
    peak_of("the array", samples)
    pointer = EndPointer(
        EndPointSettings(end_silence_s=_FOREVER_S, min_speech_s=0.0, max_utterance_s=_FOREVER_S)
    )
    padded = np.concatenate((samples, np.zeros(-len(samples) % FRAME_SAMPLES, np.float32)))
    for block in blocks_of(padded):
        pointer.feed(block)
    done = pointer.flush()
    if done:
        return done[0]
    nothing = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    return Utterance(samples, 0.0, len(samples) / SAMPLE_RATE, measure_quality(samples, nothing))


def find_speech(samples: FloatArray) -> NDArray[np.bool_]:
    """Which frames of a recording are speech, shape (n // FRAME_SAMPLES,)."""
    detector = SpeechDetector()
    speech = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    for end, block in enumerate(blocks_of(samples[: len(speech) * FRAME_SAMPLES]), start=1):
        probabilities = detector.feed(block.samples)
        speech[end - len(probabilities) : end] = np.array(probabilities) >= SPEECH
    return speech
