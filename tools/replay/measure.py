"""Measures how many replays are detected, and how many repetitions are mistaken for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.evaluation.metrics import exact_limits
from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import best_match
from edge.types import SAMPLE_RATE, FloatArray
from tools.replay.distortions import Change, Distortion

_SUFFIXES = {".flac", ".wav"}
_GAP_S = 0.12
_SAME_RECORDING = 0.99
"""Correlation of waveforms from which a corpus has one recording under two names."""
STRING = 4
"""Digits in a string."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording, or several joined.

    Attributes:
        speaker: who speaks.
        text: what is said; recordings of one speaker and text are repetitions of each other.
        name: of the file.
        samples: shape (n,).
        endpointed: whether the product's end-pointing cuts it; digits are too short for that.
    """

    speaker: str
    text: str
    name: str
    samples: FloatArray = field(repr=False)
    endpointed: bool = True

    def __str__(self) -> str:
        return f"{self.speaker}/{self.text}/{self.name}"


def phrases(folder: Path) -> list[Recording]:
    """The recordings FOLDER/SPEAKER/TEXT/*."""
    paths = sorted(path for path in folder.glob("*/*/*") if path.suffix in _SUFFIXES)
    return [
        Recording(path.parts[-3], path.parts[-2], path.stem, read_audio(path).samples)
        for path in paths
    ]


def keywords(folder: Path) -> list[Recording]:
    """The recordings FOLDER/WORD/*, whoever says it."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix in _SUFFIXES)
    return [
        Recording("unnamed", path.parts[-2], path.stem, read_audio(path).samples) for path in paths
    ]


def single_words(folder: Path) -> list[Recording]:
    """The recordings FOLDER/SPEAKER/WORD/*, uncut."""
    return [
        Recording(one.speaker, one.text, one.name, one.samples, endpointed=False)
        for one in phrases(folder)
    ]


def strings(folder: Path) -> list[Recording]:
    """Strings of four words joined from single ones, each used once."""
    by_speaker: dict[str, dict[str, list[FloatArray]]] = {}
    for one in phrases(folder):
        by_speaker.setdefault(one.speaker, {}).setdefault(one.text, []).append(one.samples)
    gap = 1e-4 * np.random.default_rng(0).standard_normal(round(_GAP_S * SAMPLE_RATE))
    found = []
    for speaker, digits in by_speaker.items():
        names = sorted(digits)
        for first in range(0, len(names) - STRING + 1, STRING):
            chosen = names[first : first + STRING]
            for number in range(min(len(digits[name]) for name in chosen)):
                parts = [part for name in chosen for part in (digits[name][number], gap)]
                samples = np.concatenate(parts).astype(np.float32)
                text = "-".join(chosen)
                found.append(Recording(speaker, text, str(number), samples, endpointed=False))
    return found


def measure(
    recordings: Sequence[Recording],
    ways: Sequence[Distortion],
    doors: Mapping[str, Change],
    track: Callable[[Sequence[Distortion]], Iterable[Distortion]],
    every: int = 1,
) -> dict[str, Any]:
    """Replays detected by distortion, and repetitions mistaken for replays.

    Every recording is compared with all others, as a repetition, and again when each went through
    one of `doors`; distorted, as a replay, it is compared with all of them. A recording too short
    to compare counts as not detected. With `every` above 1 only so many are distorted, which takes
    less time.
    """
    clean = [_peaks_of(one, one.samples) for one in recordings]
    known = _fingerprints(clean)
    began = time.perf_counter()
    results: dict[str, Any] = {
        "recordings": len(recordings),
        "speakers": len({one.speaker for one in recordings}),
        "too short to compare": len(recordings) - len(known),
        "bytes of a fingerprint": round(
            float(np.mean([len(one.to_bytes()) for one in known.values()]))
        ),
        "repetitions": _repetitions(recordings, clean, known),
    }
    results["ms against all"] = round((time.perf_counter() - began) / len(recordings) * 1e3, 1)
    results["remembered"] = len(known)
    for name, door in doors.items():
        there = [_peaks_of(one, door(one.samples, seed)) for seed, one in enumerate(recordings)]
        results[f"repetitions {name}"] = _repetitions(recordings, there, _fingerprints(there))
    rows = results["replays"] = {}
    for way in track(ways):
        first = known
        if way.first is not None:
            first = _fingerprints(
                [_peaks_of(one, way.first(one.samples, i)) for i, one in enumerate(recordings)]
            )
        fingerprints = list(first.values())
        tested = range(0, len(recordings), every)
        detected = 0
        for index in tested:
            one = recordings[index]
            match = best_match(_peaks_of(one, way.apply(one.samples, index)), fingerprints)
            detected += match is not None and match.suspected
        rows[way.name] = share(detected, len(tested))
    return results


def share(count: int, total: int) -> dict[str, Any]:
    """A share in percent and its exact 95 % interval for independent trials."""
    rate = count / total if total else 0.0
    low, high = exact_limits(count, total)
    return {
        "detected": count,
        "of": total,
        "percent": round(100 * rate, 2),
        "interval": [round(100 * low, 2), round(100 * high, 2)],
    }


def _fingerprints(peaks: Sequence[UtterancePeaks]) -> dict[int, Fingerprint]:
    return {index: each.fingerprint() for index, each in enumerate(peaks) if each.usable}


def _repetitions(
    recordings: Sequence[Recording],
    peaks: Sequence[UtterancePeaks],
    known: dict[int, Fingerprint],
) -> dict[str, Any]:
    detected: list[str] = []
    duplicates: list[str] = []
    for index, each in enumerate(peaks):
        numbers = [number for number in known if number != index]
        match = best_match(each, [known[number] for number in numbers])
        if match is not None and match.suspected:
            one, other = recordings[index], recordings[numbers[match.index]]
            same = waveform_correlation(one.samples, other.samples) > _SAME_RECORDING
            (duplicates if same else detected).append(f"{one} = {other} ({match.score:.2f})")
    figures = share(len(detected), len(peaks) - len(duplicates))
    return {**figures, "which": detected, "duplicates": duplicates}


def waveform_correlation(one: FloatArray, other: FloatArray) -> float:
    """Largest correlation of two recordings at any shift: 1 for copies of any level."""
    length = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.rfft(one, length) * np.conj(np.fft.rfft(other, length))
    energy = float(np.dot(one, one)) * float(np.dot(other, other))
    peak = float(np.abs(np.fft.irfft(product, length)).max())
    return peak / float(np.sqrt(energy)) if energy > 0.0 else 0.0


def _peaks_of(recording: Recording, samples: FloatArray) -> UtterancePeaks:
    clipped = np.clip(samples, -1.0, 1.0)
    return UtterancePeaks(utterance_of(clipped).samples if recording.endpointed else clipped)
