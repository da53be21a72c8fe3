"""Where blocks come from: the interface of a source, and the sources that are no microphone."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from edge.audio.blocks import FRAME_S, BlockMaker
from edge.audio.files import (
    LOUDEST,
    MAX_CHANNELS,
    MAX_RATE,
    MIN_RATE,
    MOST_CHUNKS,
    STREAMED_SIZE,
    Recording,
    mix_down,
    read_audio,
)
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LONGEST_CHUNK = 1 << 20
"""Chunks before the sound (titles, markers) are skipped up to this size each."""

_WHERE = "standard input"


@dataclass(frozen=True)
class _Format:
    rate: int
    channels: int
    bits: int
    is_float: bool

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


class PcmStream:
    """Samples read from a pipe, piece by piece.

    Attributes:
        rate: samples per second.
    """

    def __init__(
        self, stream: BinaryIO, pcm: _Format, head: bytes = b"", length: int | None = None
    ) -> None:
        self._stream = stream
        self._format = pcm
        self._head = head
        self._length = length
        self.rate = pcm.rate

    def pieces(self) -> Iterator[FloatArray]:
        """Mono pieces of about 32 ms, shape (n,).

        Raises:
            AudioFormatError: there is no sound, it ends early, or it holds no numbers.
        """
        size = self._format.frame_bytes
        step = round(self.rate * FRAME_S) * size
        left, got = self._length, 0
        while left is None or left > 0:
            wanted = step if left is None else min(step, left)
            data = self._head + _read(self._stream, wanted - len(self._head))
            self._head = b""
            got += len(data)
            whole = len(data) - len(data) % size
            if whole:
                yield self._decode(data[:whole])
            if left is not None:
                left -= len(data)
            if len(data) < wanted:
                break
        if got < size:
            raise AudioFormatError(f"{_WHERE}: holds no sound; pipe a recording into it")
        if left:
            raise AudioFormatError(f"{_WHERE}: ends before its header says; record it again")

    def _decode(self, data: bytes) -> FloatArray:
        samples = _to_float(data, self._format)
        if self._format.is_float and not np.isfinite(samples).all():
            raise AudioFormatError(f"{_WHERE}: holds samples that are no numbers; record it again")
        if self._format.is_float and float(np.abs(samples).max()) > LOUDEST:
            raise AudioFormatError(f"{_WHERE}: is louder than any sound; record it again")
        mono = mix_down(samples.reshape(-1, self._format.channels))
        return np.clip(mono, -1.0, 1.0)


def open_stream(stream: BinaryIO) -> PcmStream:
    """Find out what a pipe carries: WAV when it begins with `RIFF`, else bare 16 kHz mono.

    Raises:
        AudioFormatError: it is a WAV of a kind that is not read, or another known format.
    """
    head = _read(stream, 4)
    if head in (b"fLaC", b"OggS") or head[:3] == b"ID3":
        raise AudioFormatError(f"{_WHERE}: only WAV or bare 16-bit sound is read; convert it")
    if head != b"RIFF":
        return PcmStream(stream, _Format(SAMPLE_RATE, 1, 16, is_float=False), head)
    if _read(stream, 8)[4:] != b"WAVE":
        raise AudioFormatError(f"{_WHERE}: is RIFF but no WAV; convert it")
    pcm: _Format | None = None
    for _ in range(MOST_CHUNKS):
        header = _read(stream, 8)
        if len(header) < 8:
            raise AudioFormatError(f"{_WHERE}: the WAV ends before any sound; record it again")
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            if pcm is None:
                raise AudioFormatError(f"{_WHERE}: the WAV does not say its format; convert it")
            streamed = length == 0 or length >= STREAMED_SIZE
            return PcmStream(stream, pcm, length=None if streamed else length)
        if length > _LONGEST_CHUNK:
            raise AudioFormatError(f"{_WHERE}: is no sound WAV (a chunk of {length} bytes)")
        body = _read(stream, length + (length & 1))
        if name == b"fmt ":
            pcm = _parse_format(body)
    raise AudioFormatError(f"{_WHERE}: more than {MOST_CHUNKS} chunks and no sound; convert it")


def _parse_format(body: bytes) -> _Format:
    """The `fmt ` chunk: Multimedia Programming Interface and Data Specifications 1.0."""
    if len(body) < 16:
        raise AudioFormatError(f"{_WHERE}: the WAV's format is cut off; record it again")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack("<H", body[24:26])[0]
    known = (tag == _PCM and bits in (8, 16, 24, 32)) or (tag == _FLOAT and bits == 32)
    if not known:
        raise AudioFormatError(
            f"{_WHERE}: the WAV's coding {tag} with {bits} bits is not read; convert it to 16 bits"
        )
    if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
        raise AudioFormatError(
            f"{_WHERE}: {rate} samples per second, {channels} channels; use {MIN_RATE} to "
            f"{MAX_RATE} and 1 to {MAX_CHANNELS}"
        )
    return _Format(rate, channels, bits, tag == _FLOAT)


def _to_float(data: bytes, pcm: _Format) -> FloatArray:
    if pcm.is_float:
        return np.frombuffer(data, "<f4").astype(np.float32)
    if pcm.bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / np.float32(128)
    if pcm.bits == 24:
        # Three bytes become the upper three of four, so that the sign comes out by itself.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    scale = np.float32(2 ** (pcm.bits - 1))
    return np.frombuffer(data, f"<i{pcm.bits // 8}").astype(np.float32) / scale


def _read(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes, fewer only at the end: a pipe without buffer gives what it has."""
    parts: list[bytes] = []
    while count > 0:
        part = stream.read(count)
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class Source(Protocol):
    """Something that can be listened to: `with source: for block in source.blocks(): ...`."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks in order, until the source ends."""
        ...


class FileSource:
    """A WAV or FLAC file as a stream.

    Args:
        path: the file, read as `edge.audio.files.read_audio` does.
        realtime: deliver blocks at the pace at which they would be spoken.
        max_s: longest file accepted, seconds.

    Raises:
        AudioFormatError: on entering, when the file cannot be used.
    """

    def __init__(self, path: str | Path, realtime: bool = False, max_s: float = 300.0) -> None:
        self._path = path
        self._realtime = realtime
        self._max_s = max_s
        self._recording: Recording | None = None

    def __enter__(self) -> FileSource:
        self._recording = read_audio(self._path, self._max_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recording = None

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms; the last one may be shorter."""
        if self._recording is None:
            raise RuntimeError("a source is used within `with`")
        maker = BlockMaker(SAMPLE_RATE)
        samples = self._recording.samples
        step = round(FRAME_S * SAMPLE_RATE)
        started = time.monotonic()
        for at in range(0, len(samples), step):
            piece = samples[at : at + step]
            if self._realtime:
                due = started + (at + len(piece)) / SAMPLE_RATE
                time.sleep(max(0.0, due - time.monotonic()))
            yield from maker.feed(piece, time.monotonic())
        yield from maker.finish(time.monotonic())


class StandardInputSource:
    """Sound from a pipe: a WAV stream, or bare signed 16-bit little-endian mono at 16 kHz.

    Args:
        stream: what to read, such as `sys.stdin.buffer`. It is not closed.

    Raises:
        AudioFormatError: from `blocks`, when there is nothing, or nothing that can be used.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> StandardInputSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms until the pipe is closed; the last one may be shorter."""
        stream = open_stream(self._stream)
        maker = BlockMaker(stream.rate)
        for samples in stream.pieces():
            yield from maker.feed(samples, time.monotonic())
        yield from maker.finish(time.monotonic())
