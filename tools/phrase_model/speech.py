"""The speech that the phrase model learns from: recordings, what is said in them, and variants.

Each recording is used as it is, faster and slower, and at another pitch (by SoX, with the same
timing), so that the network hears people in haste and in another mood. The vectors that it has to
give are those of the teacher for the clean recording.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE, FloatArray

PHONES = [
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH", "AYN", "GH", "HX", "KH", "Q",
]  # fmt: skip
"""ARPABET, and the Arabic consonants that English lacks; index 0 of the network's is the blank."""

WORDS = {
    "zero": "S IH F R",
    "one": "W AE HX IH D",
    "two": "IH TH N AE N",
    "three": "TH AH L AE TH AH",
    "four": "AA R B AH AYN AH",
    "five": "KH AE M S AH",
    "six": "S IH T AH",
    "seven": "S AE B AYN AH",
    "eight": "TH AH M AE N IY Y AH",
    "nine": "T IH S AYN AH",
    "start": "IH B D AE",
    "stop": "T AH W AE Q AH F",
    "yes": "N AH AYN AE M",
    "no": "L AE",
    "open": "IH F T AH HX",
    "close": "AH GH L IH Q",
    "enable": "T AE F AYN IY L",
    "disable": "T AE AYN T IY L",
    "enter": "AE D KH IH L",
    "cancel": "IH L GH AE",
}
"""The Arabic words of `words/`, by the English name of their folder."""

WORDS_IN_A_ROW = 4
ROWS = 60
"""Rows of words made of each speaker's single ones."""
PITCHES = (-350, 250, 450)
"""Hundredths of a semitone."""
TEMPOS = (0.8, 1.22)
SPEEDS = (0.88, 1.0, 1.14)
_SILENCE_S = 0.3
_APART_S = 0.6
_FAINT = 1e-4


@dataclass(frozen=True, eq=False)
class Clip:
    """A clean recording.

    Attributes:
        samples: at 16 kHz, shape (n,), 16-bit.
        reference: which of the speaker's clips has the same timing and the vectors that are to be
            given; None for itself.
        phones: what is said, as indices into `PHONES` plus one; empty if not known.
    """

    samples: np.ndarray = field(repr=False)
    reference: int | None
    phones: tuple[int, ...]


def speakers(folder: Path, leave_out: Sequence[str]) -> list[Path]:
    """The folders of the speakers; `leave_out` names those of `words` that are kept to measure."""
    return [
        place
        for name in ("read_sentences", "words")
        for place in sorted((folder / name).iterdir())
        if place.is_dir() and (name != "words" or place.name not in leave_out)
    ]


def clips(place: Path) -> list[Clip]:
    """All recordings of a speaker's folder, and of its twin in `train_sentences`, with variants."""
    if place.parent.name == "words":
        return _variants(_rows(place))
    folder = place.parents[1]
    said = []
    for line in (folder / "train_sentences" / "phones.tsv").read_text("utf-8").splitlines():
        name, _, phones = line.split("\t")
        path = folder / name
        if path.parent.name == place.name and path.is_file():
            said.append((_read(path), _phones(phones)))
    return _variants(said)


def _rows(place: Path) -> list[tuple[FloatArray, tuple[int, ...]]]:
    """Rows of single words, one after the other as in a phrase."""
    chance = np.random.default_rng(int(place.name))
    rows = []
    files = {word: sorted((place / word).glob("*.flac")) for word in WORDS}
    known = [word for word in WORDS if files[word]]
    for _ in range(ROWS):
        words = chance.choice(known, WORDS_IN_A_ROW, replace=False)
        parts, phones = [], []
        for word in words:
            path = files[word][int(chance.integers(len(files[word])))]
            parts.append(_read(path, keep_s=float(chance.uniform(0.02, 0.12))))
            phones += [PHONES.index(phone) + 1 for phone in WORDS[word].split()]
        rows.append((np.concatenate(parts), tuple(phones)))
    return rows


def _phones(text: str) -> tuple[int, ...]:
    found = []
    for each in text.replace("|", " ").split():
        name = each.split("_")[0].rstrip("0123456789")
        if name in PHONES:
            found.append(PHONES.index(name) + 1)
    return tuple(found)


def _read(path: Path, keep_s: float = _SILENCE_S) -> FloatArray:
    """A recording without the silence around its speech, but `keep_s` of it, evened in level."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    frame = SAMPLE_RATE // 100
    power = np.square(samples[: len(samples) // frame * frame]).reshape(-1, frame).mean(axis=1)
    loud = np.flatnonzero(power > np.quantile(power, 0.95) * 10**-3.0)
    kept = int(keep_s * SAMPLE_RATE)
    first = max(0, loud[0] * frame - kept)
    last = (loud[-1] + 1) * frame + kept
    cut = np.asarray(samples[first:last], np.float32)
    fade = min(160, len(cut) // 4)
    cut[:fade] *= np.linspace(0, 1, fade)
    cut[-fade:] *= np.linspace(1, 0, fade)
    level: FloatArray = cut * np.float32(0.08 / np.sqrt(np.quantile(power, 0.9)))
    return np.clip(level, -1, 1)


def _variants(group: Sequence[tuple[FloatArray, tuple[int, ...]]]) -> list[Clip]:
    chance = np.random.default_rng(len(group[0][0]))
    clips: list[Clip] = []
    first: list[int] = []
    for speed in SPEEDS:
        for samples, phones in group:
            if speed == 1.0:
                first.append(len(clips))
            changed = soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE)
            clips.append(Clip(_padded(changed, chance), None, phones))
    apart = np.zeros(int(_APART_S * SAMPLE_RATE), np.float32)
    joined = np.concatenate([part for samples, _ in group for part in (samples, apart)])
    starts = np.cumsum([0] + [len(samples) + len(apart) for samples, _ in group])
    for tempo in TEMPOS:
        changed = _sox(joined, "tempo", "-s", f"{tempo}")
        for (samples, phones), start in zip(group, starts):
            begin = int(start / tempo)
            end = int((start + len(samples)) / tempo)
            clips.append(Clip(_padded(changed[begin:end], chance), None, phones))
    for pitch in PITCHES:
        changed = _sox(joined, "pitch", f"{pitch}")
        for (samples, phones), start, index in zip(group, starts, first):
            part = changed[start : start + len(samples)]
            if len(part) == len(samples):
                clips.append(Clip(_padded(part, chance), index, phones))
    return clips


def _sox(samples: FloatArray, *effect: str) -> FloatArray:
    raw = ("-t", "raw", "-r", str(SAMPLE_RATE), "-e", "float", "-b", "32", "-c", "1")
    done = subprocess.run(
        ["sox", *raw, "-", *raw, "-", *effect],
        input=samples.astype("<f4").tobytes(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return np.frombuffer(done.stdout, "<f4").astype(np.float32)


def _padded(samples: FloatArray, chance: np.random.Generator) -> NDArray[np.int16]:
    """With half a second of faint noise on either side, as 16-bit integers."""
    pad = int(0.5 * SAMPLE_RATE)
    whole = (chance.standard_normal(len(samples) + 2 * pad) * _FAINT).astype(np.float32)
    whole[pad : pad + len(samples)] += samples
    found: NDArray[np.int16] = np.clip(whole * 32_767.0, -32_768, 32_767).astype(np.int16)
    return found
