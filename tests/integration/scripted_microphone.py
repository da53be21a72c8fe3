"""A microphone in whose place a script is heard, faster than it would be spoken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import ClassVar

import numpy as np
import pytest
import soundfile
import soxr

from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

Part = FloatArray | BaseException | int | float

_BLOCK = 512
ROOM = 3e-4
"""Standard deviation of the noise of a quiet room, -70 dB relative to full scale."""


class ScriptedMicrophone:
    """Stands in for `edge.audio.microphone.Microphone`; after the script it is quiet for ever.

    An exception in the script is raised where it stands: an interrupt, or a plug that is pulled.
    """

    script: ClassVar[list[Part]] = []
    now: ClassVar[float] = 0.0
    """How far it is, seconds; commands wait by this, see `hear_by_script`."""

    def __init__(self, device: object = None, ring_s: float = 20.0, stall_s: float = 3.0) -> None:
        self.name = "a microphone" if device is None else str(device)
        self.kind = f"microphone {self.name}"
        self.closed = False

    def __enter__(self) -> ScriptedMicrophone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def blocks(self) -> Iterator[AudioBlock]:
        heard = lost = 0
        for part in self.script:
            if isinstance(part, BaseException):
                raise part
            if isinstance(part, int):
                lost = part
                continue
            sound = quiet(part) if isinstance(part, float) else part
            for at in range(0, len(sound) - _BLOCK + 1, _BLOCK):
                samples = sound[at : at + _BLOCK]
                clipped = float((np.abs(samples) >= 0.999).mean())
                yield AudioBlock(samples, heard / SAMPLE_RATE, time.monotonic(), lost, clipped)
                heard += len(samples)
                ScriptedMicrophone.now += len(samples) / SAMPLE_RATE
                lost = 0
        while not self.closed:
            yield AudioBlock(quiet(_BLOCK / SAMPLE_RATE), heard / SAMPLE_RATE, time.monotonic())
            heard += _BLOCK
            ScriptedMicrophone.now += _BLOCK / SAMPLE_RATE


def hear_by_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands listen to the scripted microphone, and wait as long as the script is."""
    clock = SimpleNamespace(monotonic=lambda: ScriptedMicrophone.now)
    monkeypatch.setattr("edge.audio.microphone.Microphone", ScriptedMicrophone)
    monkeypatch.setattr("edge.cli.utterances.time", clock)


def quiet(seconds: float, level: float = ROOM) -> FloatArray:
    """A room in which nobody speaks."""
    noise = np.random.default_rng(7).standard_normal(round(seconds * SAMPLE_RATE))
    return (level * noise).astype(np.float32)


def said(name: str) -> FloatArray:
    """One of the demo's recordings, with its silence at both ends."""
    samples, rate = soundfile.read(demo_directory() / f"{name}.flac", dtype="float32")
    assert rate == SAMPLE_RATE
    return np.asarray(samples)


def said_anew(name: str, *paces: float) -> FloatArray:
    """One of the demo's recordings with as many parts, each at a pace of its own.

    Nobody says a phrase twice alike; at one other pace it would be taken for a recording.
    """
    parts = np.array_split(said(name), len(paces))
    return np.concatenate(
        [soxr.resample(part, SAMPLE_RATE, SAMPLE_RATE / pace) for part, pace in zip(parts, paces)]
    )


def spoken(name: str) -> FloatArray:
    """The same between its first and its last loud sample, 0.15 s inside of both: cut off."""
    samples = said(name)
    loud = np.flatnonzero(np.abs(samples) > 0.03)
    margin = round(0.15 * SAMPLE_RATE)
    return samples[loud[0] + margin : loud[-1] - margin]


def script(parts: Sequence[str | Part]) -> list[Part]:
    """What is heard: recordings by name, seconds of a quiet room, samples, how many samples were
    lost as a whole number, and exceptions."""
    return [said(part) if isinstance(part, str) else part for part in parts]


def write(path: Path, samples: FloatArray) -> str:
    """Samples as a file; its name."""
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    return str(path)
