"""The recordings that the demo plays: made-up people, and what the daemon has to make of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.audio.files import read_audio
from edge.errors import EnvironmentFault
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, FloatArray

_FRAME = SAMPLE_RATE // 50
_SPEECH_DBFS = -50.0
"""Frames louder than this are speech: it stands at -23 dBFS and the noise at -62 dBFS."""


@dataclass(frozen=True)
class Person:
    """Someone made up.

    Attributes:
        name: display name.
        phrase: the phrase that they enrol, in writing.
        repetitions: recordings of it, each of shape (n,) at `SAMPLE_RATE`.
    """

    name: str
    phrase: str
    repetitions: tuple[FloatArray, ...] = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """A recording that is played to the daemon.

    Attributes:
        title: who does what, for people.
        text: what is said.
        samples: shape (n,) at `SAMPLE_RATE`.
        decision: `Outcome` value that must come of it.
        reason: `ReasonCode` value that must come of it.
        name: whose name the decision must carry; None where it is not granted.
    """

    title: str
    text: str
    samples: FloatArray = field(repr=False)
    decision: str
    reason: str
    name: str | None

    @property
    def speech_end_s(self) -> float:
        """Where the speech ends, seconds from the start: the end of the last loud 20 ms."""
        frames = self.samples[: len(self.samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
        power = np.mean(np.square(frames, dtype=np.float64), axis=1)
        loud = np.flatnonzero(power > 10.0 ** (_SPEECH_DBFS / 10.0))
        return float((loud[-1] + 1) * _FRAME / SAMPLE_RATE) if len(loud) else 0.0


@dataclass(frozen=True)
class Play:
    """Everything that the demo plays, in order."""

    people: tuple[Person, ...]
    scenes: tuple[Scene, ...]


def load_play(folder: Path | None = None) -> Play:
    """Read the manifest and every recording that it names.

    Args:
        folder: where they are; None for those that come with the software.

    Raises:
        EnvironmentFault: the manifest is missing or damaged.
        AudioFormatError: a recording is.
    """
    folder = folder or demo_directory()
    manifest = folder / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        people = tuple(_person(entry, content["recordings"], folder) for entry in content["people"])
        scenes = tuple(
            _scene(entry, folder) for entry in content["recordings"] if entry["role"] == "play"
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(
            f"{manifest}: cannot be used ({type(error).__name__}: {error}); install again"
        ) from error
    return Play(people, scenes)


def _person(entry: dict[str, Any], recordings: list[dict[str, Any]], folder: Path) -> Person:
    repetitions = tuple(
        read_audio(folder / recording["file"]).samples
        for recording in recordings
        if recording["role"] == "enrol" and recording["person"] == entry["name"]
    )
    return Person(entry["name"], entry["phrase"], repetitions)


def _scene(entry: dict[str, Any], folder: Path) -> Scene:
    expected = entry["expected"]
    return Scene(
        title=entry["title"],
        text=entry["text"],
        samples=read_audio(folder / entry["file"]).samples,
        decision=expected["decision"],
        reason=expected["reason"],
        name=entry["person"] if expected["decision"] == "granted" else None,
    )
