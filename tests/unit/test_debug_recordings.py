"""Recordings for finding faults: few, private, never without a warning."""

from __future__ import annotations

import logging
import stat
import wave
from pathlib import Path

import numpy as np
import pytest

from edge.audio.files import MAX_FILES, DebugRecordings
from edge.config import Config
from edge.types import Quality, Utterance


def _utterance(seconds: float = 0.5) -> Utterance:
    samples = np.linspace(-2.0, 2.0, round(seconds * 16000), dtype=np.float32)
    quality = Quality(
        level_dbfs=-20.0, clipped_fraction=0.0, snr_db=20.0, net_speech_s=seconds, noise_dbfs=-60.0
    )
    return Utterance(samples=samples, start_s=0.0, end_s=seconds, quality=quality)


def test_nothing_is_recorded_unless_it_is_asked_for() -> None:
    assert Config().store.debug_recordings is None


def test_recordings_are_private_and_few(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "heard"
    with caplog.at_level(logging.WARNING):
        recordings = DebugRecordings(folder)
    assert "debug_recordings is on" in caplog.text
    for _ in range(MAX_FILES + 5):
        recordings.keep(_utterance())
    files = sorted(folder.iterdir())
    assert len(files) == MAX_FILES
    assert files[-1].name.endswith(f"{MAX_FILES + 5:06}.wav")
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with wave.open(str(files[0])) as recording:
        assert (recording.getnframes(), recording.getframerate()) == (8000, 16000)
        heard = np.frombuffer(recording.readframes(8000), "<i2")
    assert heard[[0, 3000, 5000, -1]].tolist() == [-32768, -16377, 16394, 32767]


def test_a_long_one_is_cut(tmp_path: Path) -> None:
    DebugRecordings(tmp_path).keep(_utterance(30.0))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 20.1 * 32000


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    recordings = DebugRecordings(tmp_path / "file")
    caplog.clear()
    for _ in range(3):
        recordings.keep(_utterance())
    assert len(caplog.records) == 1
    (tmp_path / "file").unlink()
    recordings.keep(_utterance())
    assert len(list((tmp_path / "file").iterdir())) == 1
    assert len(caplog.records) == 1
    (next((tmp_path / "file").iterdir())).unlink()
    (tmp_path / "file").rmdir()
    (tmp_path / "file").write_text("")
    recordings.keep(_utterance())
    assert len(caplog.records) == 2  # it had worked in between
