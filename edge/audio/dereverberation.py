"""Takes the late echo of a room off a recording, by weighted prediction error.

T. Nakatani et al., "Speech Dereverberation Based on Variance-Normalized Delayed Linear Prediction",
2010: in each band, what the sound of a moment before foretells is echo. What was said last is too
near to be foretold from, or speech itself would be taken off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.types import FloatArray

_LENGTH, _SHIFT = 512, 128
"""Samples in a frame, and from one frame to the next."""
_DELAY = 3
"""Frames that are too near to foretell from: 24 ms, the first reflections."""
_TAPS = 10
"""Frames to foretell from: 80 ms."""
_ROUNDS = 3
_BANDS = 13
"""Bands worked on at once; bounds the memory."""
_FLOOR = 1e-10
"""Least power of a moment, relative to the loudest one."""
_REGULARIZED = 1e-6
"""Added to the diagonal, relative to its mean: digital silence foretells nothing."""

_Spectra = NDArray[np.complex64]
"""Shape (bands, frames)."""


def dereverberated(samples: FloatArray) -> FloatArray:
    """The samples, mono at 16 kHz, without late echo; as many, shape (n,)."""
    spectra = _spectra(samples)
    if spectra.shape[1] <= _DELAY + _TAPS:
        return samples
    power = np.square(np.abs(spectra))
    least = max(_FLOOR * float(power.max()), float(np.finfo(np.float32).tiny))
    for first in range(0, len(spectra), _BANDS):
        some = slice(first, first + _BANDS)
        spectra[some] = _without_echo(spectra[some], power[some], least)
    return _samples(spectra, len(samples))


def _without_echo(spectra: _Spectra, power: FloatArray, least: float) -> _Spectra:
    """Some bands without what is foretold; `power` is theirs, `least` the least that counts."""
    bands, frames = spectra.shape
    before = np.zeros((bands, _TAPS, frames), np.complex64)
    for tap in range(_TAPS):
        before[:, tap, _DELAY + tap :] = spectra[:, : frames - _DELAY - tap]
    later = before.conj().transpose(0, 2, 1)
    found = spectra
    for _ in range(_ROUNDS):
        weighted = before / np.maximum(power, least)[:, None]
        correlation = weighted @ later
        diagonal = np.einsum("bkk->bk", correlation)
        diagonal += _REGULARIZED * diagonal.mean(axis=1, keepdims=True) + least
        wanted = (weighted @ spectra.conj()[..., None]).astype(np.complex128)
        filters = np.linalg.solve(correlation.astype(np.complex128), wanted).astype(np.complex64)
        found = spectra - (filters.conj().transpose(0, 2, 1) @ before)[:, 0]
        power = np.square(np.abs(found))
    return found


def _window() -> FloatArray:
    """Blackman's: what leaks from a loud band into a faint one cannot be foretold there."""
    phase = 2.0 * np.pi * (np.arange(_LENGTH) + 0.5) / _LENGTH
    window = 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2.0 * phase)
    return window.astype(np.float32)


def _spectra(samples: FloatArray) -> _Spectra:
    frames = -(-(len(samples) + _LENGTH) // _SHIFT)
    padded = np.zeros((frames - 1) * _SHIFT + _LENGTH, np.float32)
    padded[_LENGTH - _SHIFT :][: len(samples)] = samples
    cut = np.lib.stride_tricks.sliding_window_view(padded, _LENGTH)[::_SHIFT]
    return np.fft.rfft(cut * _window(), axis=1).T.astype(np.complex64)


def _samples(spectra: _Spectra, count: int) -> FloatArray:
    """The inverse of `_spectra`: frames added up, each under the window again."""
    window = _window()
    frames = np.fft.irfft(spectra.T, _LENGTH, axis=1).astype(np.float32) * window
    total = np.zeros((len(frames) - 1) * _SHIFT + _LENGTH, np.float32)
    for number, frame in enumerate(frames):
        total[number * _SHIFT :][:_LENGTH] += frame
    gain = np.square(window).reshape(-1, _SHIFT).sum(axis=0)
    total /= np.tile(gain, len(total) // _SHIFT)
    return total[_LENGTH - _SHIFT :][:count]
