"""Digits through a loudspeaker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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


def test_only_digits_are_spoken() -> None:
    for text in ("", "12a", "-w", "1" * 11, "\u0663"):
        with pytest.raises(ValueError, match="only digits"):
            DigitSpeaker("en").synthesize(text)


@pytest.mark.parametrize("script", ["exit 1", "echo no sound", "exit 0"])
def test_a_fault_is_logged_once(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    speaker = DigitSpeaker("en")
    assert speaker("4172") == 0.0
    assert speaker("4172") == 0.0
    assert len(caplog.records) == 1
    assert "4172" not in caplog.text
    assert "4, 1" not in caplog.text


def test_without_espeak_nothing_is_spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert DigitSpeaker("en")("4172") == 0.0
    assert "not installed" in caplog.text
