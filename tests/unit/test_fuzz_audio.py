"""Recordings and pipes made to harm: sound comes out, or one line that says why not."""

from __future__ import annotations

import gc
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.audio.sources import StandardInputSource
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE
from tests.unit.fuzzing import EXAMPLES, damaged, hammer, in_time

LONGEST_S = 2.0
KINDS = {
    "u8": ("WAV", "PCM_U8", "FILE"),
    "16": ("WAV", "PCM_16", "FILE"),
    "24": ("WAV", "PCM_24", "FILE"),
    "float": ("WAV", "FLOAT", "FILE"),
    "double": ("WAV", "DOUBLE", "FILE"),
    "gsm": ("WAV", "GSM610", "FILE"),
    "adpcm": ("WAV", "MS_ADPCM", "FILE"),
    "law": ("WAV", "ULAW", "FILE"),
    "extensible": ("WAVEX", "PCM_16", "FILE"),
    "rf64": ("RF64", "PCM_16", "FILE"),
    "rifx": ("WAV", "PCM_16", "BIG"),
    "flac": ("FLAC", "PCM_16", "FILE"),
    "aiff": ("AIFF", "PCM_16", "FILE"),
    "ogg": ("OGG", "VORBIS", "FILE"),
}


def _file(kind: str, rate: int = 8000, channels: int = 1, seconds: float = 0.25) -> bytes:
    name, subtype, endian = KINDS[kind]
    samples = 0.1 * np.random.default_rng(1).standard_normal((int(rate * seconds), channels))
    out = io.BytesIO()
    soundfile.write(out, samples, rate, subtype=subtype, format=name, endian=endian)
    return out.getvalue()


@pytest.fixture(scope="module")
def originals() -> list[bytes]:
    whole = [_file(kind) for kind in KINDS]
    return [*whole, _file("16", 48_000, 8, 0.02), _file("flac", 44_100, 2, 0.05)]


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """A figure that overflows is no sound: it must have been refused before."""
    gc.collect()  # what another test left behind is not this one's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _refusal(path: Path, **limits: float) -> str | None:
    """Why a file is refused; None where it is read, and then what was read can be worked with."""
    try:
        recording = read_audio(path, **limits)
    except AudioFormatError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return str(error)
    samples = recording.samples
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    assert 0 < len(samples) <= limits["max_s"] * SAMPLE_RATE + 2
    assert float(np.abs(samples).max()) <= 1.0
    return None


def _float_wave(values: list[float], channels: int, rate: int = SAMPLE_RATE) -> bytes:
    body = np.asarray(values, "<f4").tobytes()
    body = body[: len(body) // (4 * channels) * 4 * channels]
    head = struct.pack("<HHIIHH", 3, channels, rate, 4 * channels * rate, 4 * channels, 32)
    data = b"fmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WAVE" + data


HUGE = st.sampled_from([0.0, 1.0, -1.0, 3e38, -3e38, 3.4e38, -3.4e38, 1e20, 1e-44, -1e30])
LOUD = st.tuples(st.lists(HUGE, min_size=8, max_size=64), st.integers(1, 8),
                 st.sampled_from([8000, 11_025, SAMPLE_RATE, 48_000]))  # fmt: skip


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_damaged_file_is_sound_or_a_line(
    examples: int, originals: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "recording"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        _refusal(path, max_s=LONGEST_S)
        assert path.read_bytes() == data

    hammer(examples, check, data=damaged(originals))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_figures_are_sound_or_a_line(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "recording"

    def check(wave: tuple[list[float], int, int]) -> None:
        values, channels, rate = wave
        path.write_bytes(_float_wave(values * 40, channels, rate))
        _refusal(path, max_s=LONGEST_S)

    hammer(examples, check, wave=LOUD)


@pytest.mark.parametrize("kind", ["u8", "16", "24", "float", "extensible", "rf64", "rifx", "flac"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.97])
def test_half_a_passphrase_is_none(kind: str, part: float, tmp_path: Path) -> None:
    whole = _file(kind)
    path = tmp_path / "recording"
    path.write_bytes(whole)
    assert _refusal(path, max_s=LONGEST_S) is None
    path.write_bytes(whole[: int(len(whole) * part)])
    assert _refusal(path, max_s=LONGEST_S) is not None


@pytest.mark.parametrize("name", ["recording.raw", "recording.RAW", "recording.flac", "recording"])
def test_a_name_is_not_believed(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(_file("16"))
    assert _refusal(path, max_s=LONGEST_S) is None
    path.write_bytes(bytes(1000))
    assert _refusal(path, max_s=LONGEST_S) is not None


def test_a_header_without_end_takes_no_age(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"RIFF\0\0\0\0WAVE")
    with path.open("ab") as file:
        file.truncate(1 << 28)  # a gap: chunks without a name and a size, one after the other
    with in_time(2.0):
        assert _refusal(path, max_s=LONGEST_S) is not None


class _Pipe(io.RawIOBase):
    """Gives what it has in pieces, as a pipe does."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._rest = memoryview(data)
        self._piece = piece

    def read(self, count: int = -1) -> bytes:
        count = min(count, self._piece, len(self._rest))
        part, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return part


def _listen(data: bytes, piece: int) -> None:
    heard = 0
    try:
        with StandardInputSource(_Pipe(data, piece)) as source:  # type: ignore[arg-type]
            for block in source.blocks():
                assert block.samples.dtype == np.float32
                assert block.samples.ndim == 1
                assert np.isfinite(block.samples).all()
                # A resampler and the filter overshoot where full scale begins or ends.
                assert float(np.abs(block.samples).max()) <= 8.0
                heard += len(block.samples)
    except AudioFormatError as error:
        assert str(error).startswith("standard input: ")
        assert "\n" not in str(error)
    assert heard <= 2 * len(data) + FRAME_SAMPLES  # one byte at 8 kHz are two samples


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_damaged_pipe_is_sound_or_a_line(examples: int, originals: list[bytes]) -> None:
    anything = st.one_of(damaged(originals), st.binary(max_size=200))
    hammer(examples, _listen, data=anything, piece=st.sampled_from([1, 7, 4096]))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_figures_in_a_pipe_are_sound_or_a_line(examples: int) -> None:
    def check(wave: tuple[list[float], int, int]) -> None:
        values, channels, rate = wave
        _listen(_float_wave(values * 4, channels, rate), 4096)

    hammer(examples, check, wave=LOUD)


class _Endless(io.RawIOBase):
    """A WAV that never comes to its sound."""

    def __init__(self, chunk: bytes) -> None:
        self._head, self._chunk = b"RIFF\0\0\0\0WAVE", chunk
        self.given = 0

    def read(self, count: int = -1) -> bytes:
        self._head += self._chunk * (max(0, count - len(self._head)) // len(self._chunk) + 1)
        part, self._head = self._head[:count], self._head[count:]
        self.given += count
        assert self.given < 64 << 20, "it reads on and on"
        return part


@pytest.mark.parametrize(
    "chunk", [b"junk\0\0\0\0", b"junk" + struct.pack("<I", 1024) + bytes(1024)]
)
def test_a_pipe_that_never_comes_to_its_sound_is_given_up(chunk: bytes) -> None:
    endless: Any = _Endless(chunk)
    with in_time(3.0), pytest.raises(AudioFormatError, match="standard input: "):
        list(StandardInputSource(endless).blocks())
