"""Synthetic voices that say the phrase: those of flite and espeak-ng, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.recognition import Engine
from edge.types import FloatArray
from tools.attacks.guessing import Found
from tools.attacks.house import House, Voices, sound_of
from tools.attacks.rows import Attack

_FLITE = ("awb", "kal16", "rms", "slt")
_ESPEAK = tuple(f"en-us+{kind}" for kind in ("m1", "m3", "m7", "f1", "f2", "f4"))
_ESPEAK_PITCHES = (30, 60)
"""Of 0 to 99."""


def synthetic(engine: Engine, voices: Voices, attempts: int) -> Found:
    """Each synthetic voice against each of several people."""
    tried = opened = 0
    spoken: dict[str, list[FloatArray]] = {}
    for speaker in voices.speakers[: max(1, attempts // 2)]:
        items = voices.enrolled(speaker)
        text = items[0].phrase.replace("-", " ")
        if text not in spoken:
            spoken[text] = list(_said(text))
        if not spoken[text]:
            break
        with tempfile.TemporaryDirectory() as state:
            house = House(engine, Path(state))
            house.enroll(items)
            opened += house.opened_by(spoken[text])
            tried += len(spoken[text])
    row = Attack(
        "A synthetic voice that was not made to resemble anybody",
        tried,
        opened,
        "It is a stranger's voice.",
        "A clone of the person's voice, which is not measured here.",
        "attack FOLDER --only synthetic",
    )
    return [row], {"voices": len(next(iter(spoken.values()), []))}


def _said(text: str) -> Iterator[FloatArray]:
    """A text in every voice there is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        for command in _commands(text, str(path)):
            if shutil.which(command[0]) is not None:
                subprocess.run(command, check=True, capture_output=True)
                yield sound_of(path)


def _commands(text: str, path: str) -> Iterator[Sequence[str]]:
    for voice in _FLITE:
        yield "flite", "-voice", voice, "-t", text, "-o", path
    for voice in _ESPEAK:
        for pitch in _ESPEAK_PITCHES:
            yield "espeak-ng", "-v", voice, "-p", str(pitch), "-s", "150", "-w", path, text
