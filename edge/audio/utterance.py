"""A recording that is one utterance: an enrollment file, a repetition, a test file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.quality import measure_quality
from edge.audio.vad import SPEECH, SpeechDetector
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance

_FOREVER_S = 1e6
_PAUSE_FRAMES = 6
"""Silence kept at either side of speech by `speech_only`, 0.19 s: pauses within words stay."""


def utterance_of(samples: FloatArray) -> Utterance:
    """Cut a recording of one utterance from its first to its last speech.

    It is the end-pointer of the live stream, told that no pause ends the utterance, so that a
    recording comes out as the microphone would have cut it.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).

    Returns:
        The utterance. Where there is no speech, all of the recording with `net_speech_s` 0.
    """
    settings = EndPointSettings(
        end_silence_s=_FOREVER_S, min_speech_s=0.0, max_utterance_s=_FOREVER_S
    )
    pointer = EndPointer(settings)
    padded = np.concatenate((samples, np.zeros(-len(samples) % FRAME_SAMPLES, np.float32)))
    done = pointer.feed(AudioBlock(padded, 0.0, 0.0)) + pointer.flush()
    if done:
        return done[0]
    nothing = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    return Utterance(samples, 0.0, len(samples) / SAMPLE_RATE, measure_quality(samples, nothing))


def speech_only(samples: FloatArray) -> FloatArray:
    """Cut long pauses out of a recording, for enrollment by free speech.

    Pauses of up to 0.38 s stay as they are; of longer ones that much remains.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).

    Returns:
        Shape (m,), m <= n; empty where there is no speech.
    """
    near = np.zeros(len(samples) // FRAME_SAMPLES, np.bool_)
    for index in np.flatnonzero(find_speech(samples)):
        near[max(0, index - _PAUSE_FRAMES) : index + _PAUSE_FRAMES + 1] = True
    return samples[: len(near) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)[near].reshape(-1)


def find_speech(samples: FloatArray) -> NDArray[np.bool_]:
    """Which frames of a recording are speech, shape (n // FRAME_SAMPLES,)."""
    detector = SpeechDetector()
    frames = len(samples) // FRAME_SAMPLES
    speech = np.zeros(frames, np.bool_)
    for index in range(frames):
        frame = samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
        probabilities = detector.feed(frame)
        speech[index + 1 - len(probabilities) : index + 1] = np.array(probabilities) >= SPEECH
    return speech
