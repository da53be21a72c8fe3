"""How well it is found who speaks when: people in turn, strangers between them, noise.

    python -m tools.measure_turns FOLDER [--groups N] [--json FILE]

FOLDER contains `read_sentences/SPEAKER/*`; a speaker's own `train_sentences/SPEAKER/*`, else half
of the sentences, are enrolled by free speech. Each group has five enrolled people and seven
strangers. In its stream they speak one to three sentences in turn, with pauses of 0.05 to 1.5 s,
also within a turn; in three of four streams there is noise of `noise/` at 15 to 25 dB. A second
stream has the strangers alone.

The diarization error rate is that of pyannote.metrics (`pip install pyannote.metrics`), with a
collar of 0.25 s and all strangers as one; without the package it is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from edge.audio.blocks import blocks_of
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import EnrollmentRejected
from edge.recognition import Engine
from edge.recognition.turns import Turn, turns
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Profile, ProfileKind
from tools.acoustics.noise import add_noise

_ENROLLED, _STRANGERS = 5, 7
_ENROLLED_S = 30.0
_PAUSES_S = (0.05, 0.1, 0.3, 0.8, 1.5)
_NOISES_DB = (None, 20.0, 25.0, 15.0)
_NOBODY = "nobody"
_FRAME_S = 0.01
_LATE_S = 0.7
"""A name that comes this long after somebody's last word is still theirs."""


@dataclass
class Counts:
    """What was counted, seconds of speech unless said."""

    right: float = 0.0
    wrong: float = 0.0
    unnamed: float = 0.0
    strangers: float = 0.0
    strangers_named: float = 0.0
    first_s: list[float] = field(default_factory=list)
    never: int = 0
    false_names: int = 0
    """Turns in the strangers' own streams that got a name."""
    alone_s: float = 0.0
    heard_s: float = 0.0
    processor_s: float = 0.0


@dataclass(frozen=True)
class Spoken:
    """A sentence in a stream: when, and by whom; a stranger is `_NOBODY`."""

    start_s: float
    end_s: float
    name: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    found = measure(Engine.open(), args.folder, args.groups)
    text = json.dumps(found, indent=2)
    if args.json is not None:
        args.json.write_text(text + "\n", "utf-8")
    print(text)
    return 0


def measure(engine: Engine, folder: Path, groups: int) -> dict[str, Any]:
    """The figures of several groups together."""
    draw = random.Random(1)  # noqa: S311 - a simulation
    speakers = sorted(each.name for each in (folder / "read_sentences").iterdir() if each.is_dir())
    draw.shuffle(speakers)
    noises = sorted((folder / "noise").rglob("*.flac"))
    counts, rate = Counts(), _error_rate()
    size = _ENROLLED + _STRANGERS
    for number in range(min(groups, len(speakers) // size)):
        chosen = speakers[number * size :][:size]
        profiles = [_enrolled(engine, folder, name) for name in chosen[:_ENROLLED]]
        noise_db = _NOISES_DB[number % len(_NOISES_DB)]
        noise = read_audio(draw.choice(noises)).samples if noise_db and noises else None
        for alone in (False, True):
            names = chosen[_ENROLLED:] if alone else chosen
            samples, truth = _stream(folder, names, {each.name for each in profiles}, draw)
            if noise is not None and noise_db is not None:
                samples = add_noise(samples, noise, noise_db, number)
            began = time.process_time()
            heard = list(_dated(engine, profiles, samples))
            counts.processor_s += time.process_time() - began
            counts.heard_s += len(samples) / SAMPLE_RATE
            if alone:
                counts.alone_s += sum(each.end_s - each.start_s for each in truth)
                named = {turn.number for _, turn in heard if turn.speaker is not None}
                counts.false_names += len(named)
            else:
                _count(counts, truth, heard)
                rate.add(truth, [turn for _, turn in heard if turn.over])
    return _figures(counts, rate)


def _enrolled(engine: Engine, folder: Path, name: str) -> Profile:
    profile = Profile.begin(name, ProfileKind.VOICE, required=_ENROLLED_S)
    for path in _to_enroll(folder, name):
        if profile.remaining <= 0:
            break
        try:
            profile = engine.extend(profile, utterance_of(_samples(path)))
        except EnrollmentRejected:
            continue
    needed = min(_ENROLLED_S, max(1.0, profile.progress))
    return replace(profile, required=needed)


def _samples(path: Path) -> FloatArray:
    """A recording at 16 kHz; the product reads no Opus, which sentences for training are in."""
    samples: FloatArray = soundfile.read(path, dtype="float32")[0]
    return samples


def _to_enroll(folder: Path, name: str) -> list[Path]:
    own = sorted((folder / "train_sentences" / name).glob("*"))
    return own or sorted((folder / "read_sentences" / name).glob("*"))[1::2]


def _spoken_files(folder: Path, name: str) -> list[Path]:
    files = sorted((folder / "read_sentences" / name).glob("*"))
    return files if (folder / "train_sentences" / name).is_dir() else files[::2]


def _stream(
    folder: Path, names: Sequence[str], enrolled: set[str], draw: random.Random
) -> tuple[FloatArray, list[Spoken]]:
    order: list[tuple[str, list[Path]]] = []
    for name in names:
        files = _spoken_files(folder, name)
        while files:
            count = draw.randint(1, 3)
            order.append((name, files[:count]))
            files = files[count:]
    draw.shuffle(order)
    parts: list[FloatArray] = []
    truth: list[Spoken] = []
    at = 0
    for name, files in order:
        for path in files:
            samples = _trimmed(read_audio(path).samples)
            end = at + len(samples)
            shown = name if name in enrolled else _NOBODY
            truth.append(Spoken(at / SAMPLE_RATE, end / SAMPLE_RATE, shown))
            pause = np.zeros(round(draw.choice(_PAUSES_S) * SAMPLE_RATE), np.float32)
            parts += [samples, pause]
            at = end + len(pause)
    room = np.random.default_rng(1).normal(0.0, 3e-4, at + SAMPLE_RATE).astype(np.float32)
    room[:at] += np.concatenate(parts)
    return room, truth


def _trimmed(samples: FloatArray) -> FloatArray:
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[max(0, loud[0] - SAMPLE_RATE // 40) : loud[-1] + SAMPLE_RATE // 20]


def _dated(
    engine: Engine, profiles: Sequence[Profile], samples: FloatArray
) -> Iterator[tuple[float, Turn]]:
    """Each turn, and how much of the stream had been heard by then, seconds."""
    at = 0.0

    def blocks() -> Iterator[AudioBlock]:
        nonlocal at
        for block in blocks_of(samples):
            at = block.end_s
            yield block

    for turn in turns(engine, profiles, blocks()):
        yield at, turn


def _count(counts: Counts, truth: Sequence[Spoken], heard: Sequence[tuple[float, Turn]]) -> None:
    length = round((max(each.end_s for each in truth) + 1.0) / _FRAME_S)
    names = np.full(length, "", dtype=object)
    for _, turn in heard:
        if turn.over:
            shown = turn.speaker.name if turn.speaker else _NOBODY
            names[round(turn.start_s / _FRAME_S) : round(turn.end_s / _FRAME_S)] = shown
    for each in truth:
        given = names[round(each.start_s / _FRAME_S) : round(each.end_s / _FRAME_S)]
        nobody = float(np.sum((given == _NOBODY) | (given == ""))) * _FRAME_S
        right = float(np.sum(given == each.name)) * _FRAME_S
        if each.name == _NOBODY:
            counts.strangers += len(given) * _FRAME_S
            counts.strangers_named += len(given) * _FRAME_S - nobody
        else:
            counts.right += right
            counts.unnamed += nobody
            counts.wrong += len(given) * _FRAME_S - nobody - right
    for name, several in itertools.groupby(truth, key=lambda each: each.name):
        if name == _NOBODY:
            continue
        turn_of = list(several)
        begins, ends = turn_of[0].start_s, turn_of[-1].end_s + _LATE_S
        named = [
            at - begins
            for at, turn in heard
            if turn.speaker and turn.speaker.name == name and begins <= at <= ends
        ]
        if named:
            counts.first_s.append(min(named))
        else:
            counts.never += 1


class _ErrorRate:
    """The diarization error rate over several streams."""

    def __init__(self, metrics: Any, core: Any) -> None:
        self._core = core
        self._metric = metrics.IdentificationErrorRate(collar=0.5, skip_overlap=False)
        self._total: list[float] = []

    def add(self, truth: Sequence[Spoken], found: Sequence[Turn]) -> None:
        """Count a stream. Names are compared as they are: it is known who is who."""
        reference, hypothesis = self._core.Annotation(), self._core.Annotation()
        for each in truth:
            reference[self._core.Segment(each.start_s, each.end_s)] = each.name
        for turn in found:
            name = turn.speaker.name if turn.speaker else _NOBODY
            hypothesis[self._core.Segment(turn.start_s, turn.end_s), turn.number] = name
        self._metric(reference, hypothesis)

    def value(self) -> float | None:
        """The rate so far, 0 to 1 and more."""
        return float(abs(self._metric))


class _NoErrorRate:
    """Where the scorer is not installed."""

    def add(self, truth: Sequence[Spoken], found: Sequence[Turn]) -> None:
        """Count nothing."""

    def value(self) -> float | None:
        """There is none."""
        return None


def _error_rate() -> _ErrorRate | _NoErrorRate:
    try:
        from pyannote import core  # noqa: PLC0415
        from pyannote.metrics import identification  # noqa: PLC0415
    except ImportError:
        return _NoErrorRate()
    return _ErrorRate(identification, core)


def _figures(counts: Counts, rate: _ErrorRate | _NoErrorRate) -> dict[str, Any]:
    known = counts.right + counts.wrong + counts.unnamed
    error = rate.value()
    return {
        "minutes": round(counts.heard_s / 60.0, 1),
        "wrong name, % of the enrolled people's speech": _percent(counts.wrong, known),
        "no name, % of it": _percent(counts.unnamed, known),
        "strangers named, % of their speech between": _percent(
            counts.strangers_named, counts.strangers
        ),
        "diarization error rate, %": None if error is None else round(100.0 * error, 2),
        "first right name, median, s": round(statistics.median(counts.first_s), 2),
        "turns never named, %": _percent(counts.never, counts.never + len(counts.first_s)),
        "false names in strangers' own streams": counts.false_names,
        "hours of their speech": round(counts.alone_s / 3600.0, 3),
        "processor time, % of real time": _percent(counts.processor_s, counts.heard_s),
    }


def _percent(part: float, whole: float) -> float | None:
    return round(100.0 * part / whole, 2) if whole else None


if __name__ == "__main__":
    raise SystemExit(main())
