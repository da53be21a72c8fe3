"""Mel filterbanks: the features that the models take.

`log_mel` is for the speaker model: Kaldi's `compute-fbank-feats` with `--num-mel-bins=80
--dither=0` (D. Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011); the tests compare
it with `kaldi-native-fbank`.

`mel_frames` is for the phrase model: what the `melspectrogram.tflite` of the open wake-word
frameworks computes (a Hann window of 25 ms, Slaney's mel bands with unit area, decibels with 80 dB
of range), and then the `x / 10 + 2` that those frameworks apply before Google's speech embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE, FloatArray

_INT16_SCALE = 32_768.0

Axis = NDArray[np.float64]
"""Points or weights of a frequency axis; double precision until the bank is made."""

FFT_LENGTH = 512
FRAME_SHIFT = SAMPLE_RATE // 100
"""Samples from one frame to the next: 10 ms."""
FRAME_LENGTH = SAMPLE_RATE // 40
"""Samples in a frame: 25 ms."""

_BLOCK = 64
"""Frames worked on at once; bounds the memory that a recording takes: 4 kB a frame."""


def _band_energies(
    samples: FloatArray,
    frames: int,
    prepare: Callable[[FloatArray], None],
    bank: FloatArray,
) -> FloatArray:
    """Energy of each frame in each band, shape (frames, bands).

    Args:
        samples: the signal, shape (n,); must hold `frames` whole frames.
        frames: how many frames to cut, 10 ms apart from sample 0 on.
        prepare: changes a block of frames, shape (b, 400), in place before the transform.
        bank: weights from the power spectrum to the bands, shape (257, bands).
    """
    energies = np.empty((frames, bank.shape[1]), dtype=np.float32)
    if frames == 0:
        return energies
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::FRAME_SHIFT]
    for first in range(0, frames, _BLOCK):
        last = min(first + _BLOCK, frames)
        block = windows[first:last].astype(np.float32)
        prepare(block)
        spectrum = np.fft.rfft(block, FFT_LENGTH)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.matmul(power.astype(np.float32, copy=False), bank, out=energies[first:last])
    return energies


def _triangles(left: Axis, center: Axis, right: Axis, at: Axis) -> Axis:
    """Triangular weights that rise from `left` to 1 at `center` and fall to 0 at `right`.

    The edges have the shape (bands,), `at` on the same axis (mel or hertz) the shape (points,), and
    the weights, 0 to 1, the shape (points, bands).
    """
    points = at[:, np.newaxis]
    rise = (points - left) / (center - left)
    fall = (right - points) / (right - center)
    return np.maximum(0.0, np.minimum(rise, fall))


# --- the speaker model's ---

LOG_MEL_BANDS = 80
_PREEMPHASIS = 0.97
_LOG_MEL_LOWEST_HZ = 20.0
_LOG_MEL_FLOOR = float(np.finfo(np.float32).eps)


def log_mel(samples: FloatArray) -> FloatArray:
    """Log-mel filterbank of a recording, frame by frame.

    Only whole frames count: what is left at the end, shorter than a frame, is dropped. The mean is
    left in; see `remove_mean`.

    Args:
        samples: mono audio at 16 kHz, shape (n,), full scale is [-1, 1).

    Returns:
        Natural logarithm of the energy in 80 mel bands from 20 Hz to 8 kHz (at the scale of 16-bit
        samples), shape (frames, 80), one frame every 10 ms; no frames when n < 400.
    """
    frames = max(0, 1 + (len(samples) - FRAME_LENGTH) // FRAME_SHIFT)
    energies = _band_energies(samples, frames, _prepare_kaldi, _kaldi_bank())
    np.maximum(energies, _LOG_MEL_FLOOR, out=energies)
    np.log(energies, out=energies)
    return energies


def remove_mean(features: FloatArray) -> FloatArray:
    """Features, shape (frames, bands), without each band's mean: evens out the microphone."""
    if len(features) == 0:
        return features
    mean: FloatArray = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    return features - mean


def _prepare_kaldi(block: FloatArray) -> None:
    block -= block.mean(axis=1, keepdims=True)
    # Pre-emphasis takes the sample before; the first has none, and the window leaves it out.
    block[:, 1:] -= _PREEMPHASIS * block[:, :-1]
    block *= _povey_window()


@lru_cache(maxsize=1)
def _povey_window() -> FloatArray:
    # Kaldi's "povey" window: a Hann window to the power 0.85. The int16 scale rides along.
    n = np.arange(FRAME_LENGTH)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * n / (FRAME_LENGTH - 1))
    return np.asarray(_INT16_SCALE * hann**0.85, dtype=np.float32)


@lru_cache(maxsize=1)
def _kaldi_bank() -> FloatArray:
    # Triangles on the mel axis; the bin at Nyquist belongs to no band.
    hertz = np.arange(FFT_LENGTH // 2) * SAMPLE_RATE / FFT_LENGTH
    edges = np.linspace(
        _kaldi_mel(np.array(_LOG_MEL_LOWEST_HZ)),
        _kaldi_mel(np.array(SAMPLE_RATE / 2)),
        LOG_MEL_BANDS + 2,
    )
    bank = np.zeros((FFT_LENGTH // 2 + 1, LOG_MEL_BANDS), dtype=np.float32)
    bank[:-1] = _triangles(edges[:-2], edges[1:-1], edges[2:], _kaldi_mel(hertz))
    return bank


def _kaldi_mel(hertz: Axis) -> Axis:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


# --- the phrase model's ---

_MEL_FRAMES_BANDS = 32
_MEL_FRAMES_LOWEST_HZ = 60.0
_MEL_FRAMES_HIGHEST_HZ = 3_800.0
_MEL_FRAMES_FLOOR = 1e-10
_RANGE_DB = 80.0
_MARGIN = (FFT_LENGTH - FRAME_LENGTH) // 2


def mel_frames(samples: FloatArray) -> FloatArray:
    """Scaled mel spectrogram of a recording.

    What lies more than 80 dB below the loudest value of the whole recording is lifted to there.

    Args:
        samples: mono audio at 16 kHz, shape (n,), full scale is [-1, 1).

    Returns:
        Energy in 32 mel bands from 60 Hz to 3.8 kHz as decibels / 10 + 2, shape (frames, 32), one
        frame every 10 ms; no frames when n < 512.
    """
    # The original's frames are 512 samples long, its window 400 in their middle.
    frames = max(0, 1 + (len(samples) - FFT_LENGTH) // FRAME_SHIFT)
    energies = _band_energies(samples[_MARGIN:], frames, _prepare_wakeword, _slaney_bank())
    if frames == 0:
        return energies
    np.maximum(energies, _MEL_FRAMES_FLOOR, out=energies)
    scaled = np.log10(energies, out=energies)
    np.maximum(scaled, scaled.max() - _RANGE_DB / 10.0, out=scaled)
    scaled += 2.0
    return scaled


def _prepare_wakeword(block: FloatArray) -> None:
    block *= _hann_window()


@lru_cache(maxsize=1)
def _hann_window() -> FloatArray:
    n = np.arange(FRAME_LENGTH)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * n / FRAME_LENGTH)
    return np.asarray(_INT16_SCALE * hann, dtype=np.float32)


@lru_cache(maxsize=1)
def _slaney_bank() -> FloatArray:
    # Triangles on the hertz axis between points evenly apart in Slaney's mel, each of area 1.
    hertz = np.arange(FFT_LENGTH // 2 + 1) * SAMPLE_RATE / FFT_LENGTH
    edges = _slaney_hertz(
        np.linspace(
            _slaney_mel(_MEL_FRAMES_LOWEST_HZ),
            _slaney_mel(_MEL_FRAMES_HIGHEST_HZ),
            _MEL_FRAMES_BANDS + 2,
        )
    )
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    area = _triangles(left, center, right, hertz) * 2.0 / (right - left)
    return area.astype(np.float32)


# Slaney's mel ("Auditory Toolbox", 1998): linear to 1 kHz at 200/3 Hz a mel, then 27 steps to each
# factor of 6.4.
_BREAK_HZ = 1_000.0
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = float(np.log(6.4)) / 27.0


def _slaney_mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) / _LOG_STEP


def _slaney_hertz(mel: Axis) -> Axis:
    low = mel * _HZ_PER_MEL
    return np.where(mel < _BREAK_MEL, low, _BREAK_HZ * np.exp((mel - _BREAK_MEL) * _LOG_STEP))
