"""Streams in which it is known who speaks when, put together from recordings of sentences.

A folder contains `read_sentences/SPEAKER/*` and `noise/`; where it has `train_sentences/SPEAKER/*`
too, people are enrolled from these, else from half of what they read. The people are drawn into
two halves: settings are chosen on one, and figures are reported of the other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import EnrollmentRejected, InputError
from edge.recognition import Engine
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind
from tools.acoustics.levels import active_frames
from tools.acoustics.noise import add_noise

NOBODY = "nobody"
ENROLLED, STRANGERS = 5, 7
"""People in a household's stream."""

_ENROLLED_S = 30.0
_LONG_PAUSES_S = (0.8, 1.5)
_SHORT_PAUSES_S = (0.05, 0.1, 0.3)
_NOISES_DB = {"quiet": None, "noise 20 dB": 20.0, "noise 10 dB": 10.0}
_TELEVISION_DB = (-12.0, 0.0)
"""How loud the second voice is, relative to the first."""
_ROOM_LEVEL = 3e-4
_PAUSE_S = 0.3
"""Within a sentence, from here on it is no speech."""


@dataclass(frozen=True)
class Spoken:
    """Speech in a stream without a pause: when, and by whom; a stranger is `NOBODY`."""

    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Stream:
    """Sound, and who speaks in it.

    Attributes:
        kind: what sort of stream it is, for tables.
        enrolled: who of them is enrolled.
    """

    kind: str
    samples: FloatArray
    truth: tuple[Spoken, ...]
    enrolled: tuple[str, ...] = ()


@dataclass(frozen=True)
class People:
    """One half of a folder's people: some to enroll, the others strangers to them."""

    folder: Path
    enrolled: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def households(self) -> int:
        """How many groups of `ENROLLED` with their own strangers there are."""
        return min(len(self.enrolled) // ENROLLED, len(self.strangers) // STRANGERS)

    def groups(self, size: int) -> list[tuple[str, ...]]:
        """Those who are enrolled, in groups that share nobody."""
        count = len(self.enrolled) // size
        return [self.enrolled[i * size : (i + 1) * size] for i in range(count)]


def halves_of(folder: Path) -> tuple[People, People]:
    """The people of a folder, drawn into two halves.

    Raises:
        InputError: there are fewer than two households of them.
    """
    draw = random.Random(1)  # noqa: S311 - a simulation
    found = sorted((folder / "read_sentences").glob("*/"))
    names = [path.name for path in found if path.is_dir()]
    draw.shuffle(names)
    half = len(names) // 2
    if half < ENROLLED + STRANGERS:
        raise InputError(
            f"{folder / 'read_sentences'}: {len(names)} speakers; it takes"
            f" {2 * (ENROLLED + STRANGERS)}"
        )
    first, second = (_people(folder, part) for part in (names[:half], names[half:]))
    return first, second


def _people(folder: Path, names: Sequence[str]) -> People:
    count = len(names) // (ENROLLED + STRANGERS) * ENROLLED
    return People(folder, tuple(names[:count]), tuple(names[count:]))


def enrolled(engine: Engine, folder: Path, name: str) -> Profile:
    """Somebody's profile, by half a minute of free speech."""
    profile = Profile.begin(name, ProfileKind.VOICE, required=_ENROLLED_S)
    for path in files_to_enroll(folder, name):
        if profile.remaining <= 0:
            break
        try:
            profile = engine.extend(profile, utterance_of(samples_of(path)))
        except EnrollmentRejected:
            continue
    needed = min(_ENROLLED_S, max(1.0, profile.progress))
    return replace(profile, required=needed)


def samples_of(path: Path) -> FloatArray:
    """A recording at 16 kHz; the product reads no Opus, which sentences for training are in."""
    if path.suffix != ".ogg":
        return read_audio(path).samples
    samples: FloatArray = soundfile.read(path, dtype="float32")[0]
    return samples


def files_to_enroll(folder: Path, name: str) -> list[Path]:
    """The recordings that somebody is enrolled by."""
    own = sorted((folder / "train_sentences" / name).glob("*"))
    return own or sorted((folder / "read_sentences" / name).glob("*"))[1::2]


def _spoken_files(folder: Path, name: str) -> list[Path]:
    files = sorted((folder / "read_sentences" / name).glob("*"))
    return files if (folder / "train_sentences" / name).is_dir() else files[::2]


def household(people: People, number: int, noise: str, *, pauses: bool) -> Stream:
    """A stream of a group and its strangers, who say one to three sentences in turn.

    Args:
        noise: one of "quiet", "noise 20 dB" and "noise 10 dB".
        pauses: 0.8 to 1.5 s after each sentence, else 0.05 to 0.3 s. Each takes half of the
            sentences.
    """
    draw = random.Random(f"{number} {pauses}")  # noqa: S311
    group = people.groups(ENROLLED)[number]
    others = people.strangers[number * STRANGERS :][:STRANGERS]
    spoken = {
        name: _spoken_files(people.folder, name)[0 if pauses else 1 :: 2]
        for name in (*group, *others)
    }
    kind = f"{noise}, {'pauses' if pauses else 'no pauses'}"
    samples, truth = _joined(spoken, group, _LONG_PAUSES_S if pauses else _SHORT_PAUSES_S, draw)
    return Stream(kind, _noisy(people, samples, noise, draw), truth, group)


def evening(people: People, kind: str) -> Stream:
    """The strangers alone, all that they say.

    Args:
        kind: as `noise` of `household`; or "two at once", as of a television: sentence upon
            sentence without a pause, a second voice at the same time as the first.
    """
    draw = random.Random(kind)  # noqa: S311
    spoken = {
        name: [
            *_spoken_files(people.folder, name),
            *sorted((people.folder / "train_sentences" / name).glob("*")),
        ]
        for name in people.strangers
    }
    if kind != "two at once":
        pauses = _SHORT_PAUSES_S + _LONG_PAUSES_S
        samples, truth = _joined(spoken, (), pauses, draw)
        return Stream(kind, _noisy(people, samples, kind, draw), truth)
    half = len(people.strangers) // 2
    sides = [
        _joined({name: spoken[name] for name in names}, (), _SHORT_PAUSES_S, draw)
        for names in (people.strangers[:half], people.strangers[half:])
    ]
    (first, truth), (second, _) = sorted(sides, key=lambda side: len(side[0]))
    gain = np.repeat(
        [10.0 ** (draw.uniform(*_TELEVISION_DB) / 20.0) for _ in range(len(first) // 80_000 + 1)],
        80_000,
    )[: len(first)]
    mixed = first + gain.astype(np.float32) * second[: len(first)]
    loudest = np.float32(max(1.0, np.abs(mixed).max()))
    return Stream(kind, (mixed / loudest).astype(np.float32), truth)


EVENINGS = ("quiet", "noise 10 dB", "two at once")
NOISES = tuple(_NOISES_DB)


def _joined(
    spoken: dict[str, list[Path]],
    group: Sequence[str],
    pauses_s: Sequence[float],
    draw: random.Random,
) -> tuple[FloatArray, tuple[Spoken, ...]]:
    order: list[tuple[str, list[Path]]] = []
    for name, files in spoken.items():
        first = 0
        while first < len(files):
            count = draw.randint(1, 3)
            order.append((name, files[first : first + count]))
            first += count
    draw.shuffle(order)
    parts: list[FloatArray] = []
    truth: list[Spoken] = []
    at = 0
    for name, files in order:
        for path in files:
            samples = _trimmed(samples_of(path))
            end = at + len(samples)
            shown = name if name in group else NOBODY
            truth += [
                Spoken((at + first) / SAMPLE_RATE, (at + last) / SAMPLE_RATE, shown)
                for first, last in _spoken_in(samples)
            ]
            pause = np.zeros(round(draw.choice(pauses_s) * SAMPLE_RATE), np.float32)
            parts += [samples, pause]
            at = end + len(pause)
    end = (at // FRAME_SAMPLES + SAMPLE_RATE // FRAME_SAMPLES) * FRAME_SAMPLES
    room = np.random.default_rng(1).normal(0.0, _ROOM_LEVEL, end).astype(np.float32)
    room[:at] += np.concatenate(parts)
    return room, tuple(truth)


def _noisy(people: People, samples: FloatArray, noise: str, draw: random.Random) -> FloatArray:
    noise_db = _NOISES_DB[noise]
    if noise_db is None:
        return samples
    recordings = sorted((people.folder / "noise").rglob("*.flac"))
    if not recordings:
        raise InputError(f"{people.folder / 'noise'}: no recordings of noise")
    parts = []
    minute = 60 * SAMPLE_RATE
    for start in range(0, len(samples), minute):
        recording = read_audio(draw.choice(recordings)).samples
        parts.append(add_noise(samples[start : start + minute], recording, noise_db, start))
    return np.concatenate(parts)


def _spoken_in(samples: FloatArray) -> list[tuple[int, int]]:
    """Where a clean recording has speech: first sample and end, split at its longer pauses."""
    active = np.flatnonzero(active_frames(samples))
    breaks = np.flatnonzero(np.diff(active) > round(_PAUSE_S / FRAME_S))
    firsts = active[np.concatenate(([0], breaks + 1))]
    lasts = active[np.concatenate((breaks, [len(active) - 1]))]
    return [
        (int(first) * FRAME_SAMPLES, (int(last) + 1) * FRAME_SAMPLES)
        for first, last in zip(firsts, lasts)
    ]


def _trimmed(samples: FloatArray) -> FloatArray:
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[max(0, loud[0] - SAMPLE_RATE // 40) : loud[-1] + SAMPLE_RATE // 20]
