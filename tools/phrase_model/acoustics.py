"""Rooms, noises and microphones at random, to train in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from edge.types import SAMPLE_RATE, FloatArray

WINDOW_S = 3.2
WINDOW = int(WINDOW_S * SAMPLE_RATE)
_ROOMS = 800
_COLORED = 500
_BABBLES = 400
_EDGES_HZ = (0.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0)


def rooms(chance: np.random.Generator) -> list[FloatArray]:
    """Impulse responses: direct sound, early reflections, and an echo that decays band by band."""
    return [_room(chance) for _ in range(_ROOMS)]


def _room(chance: np.random.Generator) -> FloatArray:
    rt60_s = chance.uniform(0.12, 1.5)
    length = int(SAMPLE_RATE * min(1.0, rt60_s))
    time = np.arange(length) / SAMPLE_RATE
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    tail = np.zeros(length)
    for low, high in itertools.pairwise(_EDGES_HZ):
        decay = rt60_s * chance.uniform(0.6, 1.2) * (1.0 if high < 3_000.0 else 0.7)
        spectrum = np.fft.rfft(chance.standard_normal(length))
        spectrum[(frequency < low) | (frequency >= high)] = 0.0
        tail += np.fft.irfft(spectrum, length) * 10.0 ** (-3.0 * time / decay)
    gap = int(SAMPLE_RATE * chance.uniform(0.001, 0.01))
    tail[:gap] = 0.0
    response = tail * 10.0 ** (-chance.uniform(-9.0, 12.0) / 20.0) / np.linalg.norm(tail)
    for _ in range(int(chance.integers(0, 10))):
        at = int(chance.integers(16, min(900, length)))
        response[at] += chance.uniform(-0.6, 0.6)
    response[0] += 1.0
    found: FloatArray = response.astype(np.float32)
    return found


def noises(
    folder: Path,
    speech: Sequence[np.ndarray],
    leave_out: Sequence[str],
    chance: np.random.Generator,
) -> list[FloatArray]:
    """Noises of unit power, each as long as the window: recorded, colored, and of voices."""
    found = []
    for path in sorted(folder.glob("*/*.flac")) + sorted(folder.glob("*.flac")):
        if path.stem not in leave_out:
            samples, rate = soundfile.read(path, dtype="float32")
            if rate != SAMPLE_RATE:
                samples = soxr.resample(samples, rate, SAMPLE_RATE)
            samples = samples[np.flatnonzero(np.abs(samples) > 1e-4)[0] :]
            found += [_unit(np.resize(samples, WINDOW))] * 2
    found += [_unit(_colored(chance)) for _ in range(_COLORED)]
    for _ in range(_BABBLES):
        mixed = np.zeros(WINDOW, np.float32)
        for _ in range(int(chance.integers(1, 8))):
            voice = speech[int(chance.integers(len(speech)))].astype(np.float32)
            loud = np.resize(voice[4_000:-4_000], 2 * WINDOW)
            start = int(chance.integers(WINDOW))
            mixed += _unit(loud[start : start + WINDOW]) * chance.uniform(0.3, 1.0)
        found.append(_unit(mixed))
    return found


def _colored(chance: np.random.Generator) -> FloatArray:
    spectrum = np.fft.rfft(chance.standard_normal(WINDOW))
    frequency = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    frequency[0] = frequency[1]
    kind = int(chance.integers(3))
    if kind == 0:
        spectrum *= frequency ** (-chance.uniform(0.0, 1.0))
    elif kind == 1:
        spectrum /= 1.0 + (frequency / chance.uniform(150.0, 1_500.0)) ** chance.uniform(1.0, 2.0)
    else:
        points = np.linspace(0.0, 8_000.0, 12)
        spectrum *= 10.0 ** (np.interp(frequency, points, chance.uniform(-25.0, 0.0, 12)) / 20.0)
    noise = np.fft.irfft(spectrum, WINDOW)
    if chance.random() < 0.5:
        at = np.arange(WINDOW)
        noise *= np.interp(at, np.linspace(0, WINDOW, 12), chance.uniform(0.1, 1.5, 12))
    return np.asarray(noise, np.float32)


def _unit(samples: FloatArray) -> FloatArray:
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return np.asarray(samples / np.sqrt(power + 1e-12), np.float32)


def heard(
    samples: FloatArray,
    rooms_: Sequence[FloatArray],
    noises_: Sequence[FloatArray],
    chance: np.random.Generator,
) -> FloatArray:
    """A window of clean speech as a microphone somewhere might hear it, shape (`WINDOW`,)."""
    power = float(np.mean(np.square(samples))) * 1.5 + 1e-9
    size = WINDOW + SAMPLE_RATE  # the longest response is a second long
    spectrum = None
    if chance.random() < 0.6:
        room = rooms_[int(chance.integers(len(rooms_)))]
        spectrum = np.fft.rfft(samples, size) * np.fft.rfft(room, size)
    if chance.random() < 0.5:
        spectrum = np.fft.rfft(samples, size) if spectrum is None else spectrum
        points = (0, 100, 250, 600, 1_200, 2_400, 4_000, 8_000)
        gain_db = chance.uniform(-8.0, 8.0, len(points)) + np.linspace(-1, 1, len(points)) * (
            chance.uniform(-6.0, 6.0)
        )
        if chance.random() < 0.15:
            gain_db[:2] -= 25.0
            gain_db[-1] -= 25.0
        at = np.linspace(0.0, SAMPLE_RATE / 2, len(spectrum))
        spectrum = spectrum * 10.0 ** (np.interp(at, points, gain_db) / 20.0)
    if spectrum is not None:
        samples = np.fft.irfft(spectrum, size)[:WINDOW].astype(np.float32)
        samples *= np.float32(np.sqrt(power / 1.5 / (np.mean(np.square(samples)) + 1e-12)))
    if chance.random() < 0.85:
        noise = np.roll(noises_[int(chance.integers(len(noises_)))], int(chance.integers(WINDOW)))
        ratio_db = chance.uniform(0.0, 30.0)
        samples = samples + noise * np.float32(np.sqrt(power * 10.0 ** (-ratio_db / 10.0)))
    samples = samples * np.float32(10.0 ** chance.uniform(-1.2, 0.5))
    return np.clip(samples, -1.0, 1.0)
