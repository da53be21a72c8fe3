"""Digits through a loudspeaker."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.challenge.loudspeaker import DigitSpeaker

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


@needs_espeak
@pytest.mark.parametrize("language", ["en", "de"])
def test_digits_become_sound(language: str) -> None:
    samples, rate = DigitSpeaker(language).synthesize("4172")
    assert 1.0 < len(samples) / rate < 6.0
    assert abs(samples).max() > 0.05


class Synthesizer:
    """A program in place of espeak-ng, which notes what it was called with."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        program = folder / "espeak-ng"
        program.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{folder}/arguments\ncat >{folder}/said\n{script}\n"
        )
        program.chmod(0o755)

    def sounds(self, samples: int, rate: int = 1_000) -> None:
        """Let it return so much sound."""
        soundfile.write(self.folder / "sound.wav", np.full(samples, 0.25), rate)


@pytest.fixture
def espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synthesizer:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return Synthesizer(tmp_path, f"cat {tmp_path}/sound.wav")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was played, in place of PortAudio."""
    found: list[Any] = []

    def play(samples: Any, rate: int, device: str | None) -> None:
        found.append((len(samples), rate, device))

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(play=play))
    return found


def test_digits_are_played_while_the_caller_goes_on(
    espeak: Synthesizer,
    played: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    espeak.sounds(1_500)
    assert DigitSpeaker("de", "USB")("4172") == 1.5
    assert played == [(1_500, 1_000, "USB")]
    arguments = (espeak.folder / "arguments").read_text().split()
    assert arguments == ["-v", "de", "-s", "130", "--stdin", "--stdout"]
    # On its standard input: the list of processes shows arguments.
    assert (espeak.folder / "said").read_text() == "4, 1, 7, 2"
    assert not caplog.records
    speaker = DigitSpeaker("en")
    monkeypatch.setenv("PATH", "/bin:/usr/bin")  # it was looked for once
    assert speaker("0") == 1.5
    assert played[1:] == [(1_500, 1_000, None)]


@pytest.mark.parametrize(
    ("samples", "speaks"), [(0, False), (1, True), (20_000, True), (20_001, False)]
)
def test_sound_of_an_unlikely_length_is_not_played(
    espeak: Synthesizer,
    played: list[Any],
    caplog: pytest.LogCaptureFixture,
    samples: int,
    speaks: bool,
) -> None:
    espeak.sounds(samples)
    assert DigitSpeaker("en")("4172") == (samples / 1_000 if speaks else 0.0)
    assert len(played) == speaks
    told = f"cannot speak the digits of a challenge: {samples / 1000:.1f} s of sound for 4 digits"
    assert caplog.messages == ([] if speaks else [told])


@pytest.mark.parametrize("digits", ["", "12a", "-w", "1" * 11, "\u0663"])
def test_only_digits_are_spoken(espeak: Synthesizer, digits: str) -> None:
    espeak.sounds(1_000)
    with pytest.raises(ValueError, match="only digits"):
        DigitSpeaker("en").synthesize(digits)
    assert len(DigitSpeaker("en").synthesize("0123456789")[0]) == 1_000


@pytest.mark.parametrize("script", ["cat sound.wav; exit 1", "echo no sound", "exit 0"])
def test_a_fault_is_logged_once(
    espeak: Synthesizer, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    espeak.sounds(1_000)
    Synthesizer(espeak.folder, script.replace("sound.wav", f"{espeak.folder}/sound.wav"))
    speaker = DigitSpeaker("en")
    assert speaker("4172") == 0.0
    assert speaker("4172") == 0.0
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith("cannot speak the digits of a challenge: ")
    assert "4172" not in caplog.text
    assert "4, 1" not in caplog.text


def test_it_waits_three_seconds_at_most(
    espeak: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def run(*_: object, timeout: float, **__: object) -> None:
        given.append(timeout)
        raise TimeoutError

    monkeypatch.setattr("edge.challenge.loudspeaker.subprocess", SimpleNamespace(run=run))
    assert DigitSpeaker("en")("4172") == 0.0
    assert given == [3.0]


def test_without_espeak_nothing_is_spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    speaker = DigitSpeaker("en")
    told = "cannot speak the digits of a challenge: espeak-ng is not installed"
    assert caplog.messages == [told]
    assert speaker("4172") == 0.0
    assert caplog.messages == [told]
