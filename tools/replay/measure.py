"""How many recordings are called, and how many second sayings by mistake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.evaluation.metrics import independent_limits
from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import best_match
from edge.types import SAMPLE_RATE, FloatArray
from tools.replay.distortions import Change, Distortion

_ENDINGS = {".flac", ".wav"}
_GAP_S = 0.12
_SAME_RECORDING = 0.99
"""Correlation of waveforms from which a corpus holds one recording under two names."""
STRING = 4
"""Digits in a string."""


@dataclass(frozen=True, eq=False)
class Saying:
    """One recording, or several in a row.

    Attributes:
        speaker: who says it.
        text: what; those of one speaker and text are second sayings of each other.
        name: which.
        samples: shape (n,).
        endpointed: whether the product's end-pointer is to cut it; digits are shorter than that.
    """

    speaker: str
    text: str
    name: str
    samples: FloatArray = field(repr=False)
    endpointed: bool = True


def phrases(folder: Path) -> list[Saying]:
    """The recordings of FOLDER/SPEAKER/TEXT/*."""
    return [
        Saying(path.parts[-3], path.parts[-2], path.stem, read_audio(path).samples)
        for path in _recordings(folder)
    ]


def single_digits(folder: Path) -> list[Saying]:
    """The recordings of FOLDER/SPEAKER/DIGIT/*, each as it is."""
    return [
        Saying(one.speaker, one.text, one.name, one.samples, endpointed=False)
        for one in phrases(folder)
    ]


def strings(folder: Path) -> list[Saying]:
    """Strings of four digits put together from single ones, none of them used twice."""
    takes: dict[str, dict[str, list[FloatArray]]] = {}
    for one in phrases(folder):
        takes.setdefault(one.speaker, {}).setdefault(one.text, []).append(one.samples)
    gap = 1e-4 * np.random.default_rng(0).standard_normal(round(_GAP_S * SAMPLE_RATE))
    found = []
    for speaker, digits in takes.items():
        names = sorted(digits)
        for first in range(0, len(names) - STRING + 1, STRING):
            chosen = names[first : first + STRING]
            for take in range(min(len(digits[name]) for name in chosen)):
                parts = [part for name in chosen for part in (digits[name][take], gap)]
                samples = np.concatenate(parts).astype(np.float32)
                text = "-".join(chosen)
                found.append(Saying(speaker, text, str(take), samples, endpointed=False))
    return found


def _recordings(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*/*") if path.suffix in _ENDINGS)


def measure(
    sayings: Sequence[Saying],
    ways: Sequence[Distortion],
    doors: Mapping[str, Change],
    track: Callable[[Sequence[Distortion]], Iterable[Distortion]],
    every: int = 1,
) -> dict[str, Any]:
    """Figures by distortion, and of second sayings.

    Every saying is held against all of the others (as a second saying), and, distorted, against
    all of them and itself (as a replay). What is too short to compare counts as not called.
    So are second sayings that each went through one of `doors`. With `every` above 1 only so many
    of the sayings are distorted, which takes less time.
    """
    clean = [_heard(one, one.samples) for one in sayings]
    memory = _remembered(clean)
    began = time.perf_counter()
    results: dict[str, Any] = {
        "sayings": len(sayings),
        "speakers": len({one.speaker for one in sayings}),
        "too short to compare": len(sayings) - len(memory),
        "bytes of a fingerprint": round(
            float(np.mean([len(one.to_bytes()) for one in memory.values()]))
        ),
        "second sayings": _second_sayings(sayings, clean, memory),
    }
    results["ms against all"] = round((time.perf_counter() - began) / len(sayings) * 1e3, 1)
    results["remembered"] = len(memory)
    for name, door in doors.items():
        said = [_heard(one, door(one.samples, index)) for index, one in enumerate(sayings)]
        results[f"second sayings {name}"] = _second_sayings(sayings, said, _remembered(said))
    rows = results["replays"] = {}
    for way in track(ways):
        before = memory
        if way.first is not None:
            before = _remembered(
                [_heard(s, way.first(s.samples, i)) for i, s in enumerate(sayings)]
            )
        known = list(before.values())
        called = 0
        tested = range(0, len(sayings), every)
        for index in tested:
            one = sayings[index]
            found = best_match(_heard(one, way.apply(one.samples, index)), known)
            called += found is not None and found.suspected
        rows[way.name] = share(called, len(tested))
    return results


def share(count: int, total: int) -> dict[str, Any]:
    """A share in percent and its 95 % interval, every trial taken for independent."""
    rate = count / total if total else 0.0
    # The bound of what never went wrong holds at either end.
    low, high = independent_limits(rate, total)
    if count == total and total:
        low, high = 1.0 - independent_limits(0.0, total)[1], 1.0
    return {
        "called": count,
        "of": total,
        "percent": round(100 * rate, 2),
        "interval": [round(100 * low, 2), round(100 * high, 2)],
    }


def _remembered(heard: Sequence[UtterancePeaks]) -> dict[int, Fingerprint]:
    return {index: each.fingerprint() for index, each in enumerate(heard) if each.usable}


def _second_sayings(
    sayings: Sequence[Saying], heard: Sequence[UtterancePeaks], memory: dict[int, Fingerprint]
) -> dict[str, Any]:
    called: list[str] = []
    twice: list[str] = []
    for index, each in enumerate(heard):
        numbers = [number for number in memory if number != index]
        found = best_match(each, [memory[number] for number in numbers])
        if found is not None and found.suspected:
            one, other = sayings[index], sayings[numbers[found.index]]
            same = waveform_correlation(one.samples, other.samples) > _SAME_RECORDING
            (twice if same else called).append(
                f"{one.speaker}/{one.text}/{one.name} = {other.speaker}/{other.text}/{other.name}"
                f" ({found.score:.2f})"
            )
    figures = share(len(called), len(heard) - len(twice))
    return {**figures, "which": called, "the same recording under two names": twice}


def waveform_correlation(one: FloatArray, other: FloatArray) -> float:
    """Largest correlation of two recordings at any shift: 1 for copies, of any level."""
    length = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.rfft(one, length) * np.conj(np.fft.rfft(other, length))
    energy = float(np.dot(one, one)) * float(np.dot(other, other))
    peak = float(np.abs(np.fft.irfft(product, length)).max())
    return peak / float(np.sqrt(energy)) if energy > 0.0 else 0.0


def _heard(saying: Saying, samples: FloatArray) -> UtterancePeaks:
    clipped = np.clip(samples, -1.0, 1.0)
    return UtterancePeaks(utterance_of(clipped).samples if saying.endpointed else clipped)
