"""Recordings of every shape: what is read comes out right, what is not is refused in one line."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.files import read_audio
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, FloatArray


def _tone(rate: int = SAMPLE_RATE, seconds: float = 0.5, hertz: float = 440.0) -> FloatArray:
    time = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def _write(
    path: Path, samples: FloatArray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16"
) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(AudioFormatError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_the_same_tone(tmp_path: Path, rate: int) -> None:
    recording = read_audio(_write(tmp_path / "tone.wav", _tone(rate), rate))

    expected = _tone()
    assert recording.original_rate == rate
    assert recording.narrowband == (rate < SAMPLE_RATE)
    assert len(recording.samples) == pytest.approx(len(expected), abs=2)
    middle = slice(1000, 7000)  # a resampler rings where a tone begins and ends
    np.testing.assert_allclose(recording.samples[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 0.01),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
    ],
)
def test_any_width_has_the_same_scale(
    tmp_path: Path, name: str, subtype: str, tolerance: float
) -> None:
    recording = read_audio(_write(tmp_path / name, _tone(), subtype=subtype))

    assert recording.samples.dtype == np.float32
    assert len(recording.samples) == SAMPLE_RATE // 2
    np.testing.assert_allclose(recording.samples, _tone(), atol=tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    two = np.stack([_tone(), 0.5 * _tone()], axis=1)

    recording = read_audio(_write(tmp_path / "two.wav", two, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, 0.75 * _tone(), atol=1e-6)


def test_channels_in_antiphase_do_not_cancel(tmp_path: Path) -> None:
    two = np.stack([-0.9 * _tone(), _tone()], axis=1)

    recording = read_audio(_write(tmp_path / "antiphase.wav", two, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, _tone(), atol=1e-6)


def test_float_above_full_scale_is_scaled_not_cut(tmp_path: Path) -> None:
    loud = _tone() * 30_000

    recording = read_audio(_write(tmp_path / "loud.wav", loud, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, loud / np.abs(loud).max(), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    samples = _tone()
    samples[4321] = bad

    assert "no numbers" in _refusal(_write(tmp_path / "nan.wav", samples, subtype="FLOAT"))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not sound\n" * 100)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    _write(tmp_path / "zero.wav", _tone()[:0])
    soundfile.write(tmp_path / "tone.ogg", _tone(), SAMPLE_RATE)

    assert "no such file" in _refusal(tmp_path / "missing.wav")
    assert "empty" in _refusal(tmp_path / "empty.wav")
    assert "not a WAV or FLAC" in _refusal(tmp_path / "text.wav")
    assert "directory" in _refusal(tmp_path / "folder.wav")
    assert "not a regular file" in _refusal(tmp_path / "pipe.wav")
    assert "zero length" in _refusal(tmp_path / "zero.wav")
    assert "only WAV and FLAC" in _refusal(tmp_path / "tone.ogg")


def test_every_truncated_wav_is_refused(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.wav", _tone()).read_bytes()
    short = tmp_path / "short.wav"
    for size in [2, 4, 11, 12, 20, 40, 43, 44, 45, len(whole) // 2, len(whole) - 1]:
        short.write_bytes(whole[:size])
        _refusal(short)
    short.write_bytes(whole[: len(whole) // 2])
    message = _refusal(short)
    assert "0.50 s" in message
    assert "0.25 s are there" in message


def test_truncated_and_damaged_flac_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 8000).astype(np.float32)
    whole = _write(tmp_path / "whole.flac", noise).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)

    (tmp_path / "short.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.flac").write_bytes(damaged)

    assert "truncated" in _refusal(tmp_path / "short.flac")
    assert "damaged" in _refusal(tmp_path / "damaged.flac")


def test_sizes_of_a_streaming_writer_are_taken_as_unknown(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.wav", _tone()).read_bytes()
    at = whole.index(b"data") + 4
    for size in (0xFFFF_FFFF, 0x7FFF_FFFF):
        file = tmp_path / "streamed.wav"
        file.write_bytes(whole[:at] + struct.pack("<I", size) + whole[at + 4 :])
        assert len(read_audio(file).samples) / SAMPLE_RATE == pytest.approx(0.5)
    file.write_bytes(whole[:at] + struct.pack("<I", 0) + whole[at + 4 :])
    assert "never finished" in _refusal(file)


def test_length_is_judged_by_the_header_before_decoding(tmp_path: Path) -> None:
    silence = np.zeros(11 * SAMPLE_RATE, np.float32)
    path = _write(tmp_path / "long.wav", silence)

    assert len(read_audio(path, max_s=11.0).samples) == 11 * SAMPLE_RATE
    with pytest.raises(AudioFormatError, match="11 s long, more than the 10 s"):
        read_audio(path, max_s=10.0)


def test_header_that_promises_hours_takes_no_memory_for_them(tmp_path: Path) -> None:
    flac = bytearray(_write(tmp_path / "a.flac", _tone()).read_bytes())
    flac[21] |= 0x0F  # the 36-bit count of samples in STREAMINFO, RFC 9639 section 8.2
    flac[22:26] = b"\xff" * 4
    (tmp_path / "huge.flac").write_bytes(flac)
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "unknown.flac").write_bytes(flac)

    assert "more than the 300 s" in _refusal(tmp_path / "huge.flac")
    assert "does not say how long" in _refusal(tmp_path / "unknown.flac")


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_rates_out_of_range_are_refused(tmp_path: Path, rate: int) -> None:
    assert "8000 to 192000" in _refusal(_write(tmp_path / "rate.wav", _tone(rate), rate))


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    assert "9 channels" in _refusal(_write(tmp_path / "many.wav", np.zeros((800, 9), np.float32)))
