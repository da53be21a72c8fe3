"""Where blocks come from: the interface of a source, and the sources other than a microphone."""

from __future__ import annotations

import fcntl
import io
import select
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES, FULL_SCALE, BlockMaker
from edge.audio.files import (
    HEAD_BYTES,
    MOST_CHUNKS,
    STREAMED_SIZE,
    Recording,
    known_format,
    mix_down,
    peak_of,
    read_audio,
    require_format,
)
from edge.errors import AudioFormatError, MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LONGEST_CHUNK = 1 << 20
"""Chunks before the sound (titles, markers) are skipped up to this size each."""
_POLL_MS = 200
"""How long a silent pipe is waited for before looking whether the source was closed."""

_FIRST_SOUND_S = 10.0
"""A camera takes seconds before its stream begins; stalls count from then on."""

S = TypeVar("S", bound="Source")


class Source(Protocol):
    """Something to listen to: `with source: for block in source.blocks(): ...`.

    A source that was closed can be entered again, as after a reload; files and pipes then go on
    where they were left.
    """

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms in order, until the source ends or is closed; the last may be shorter."""
        ...

    def close(self) -> None:
        """Have `blocks` end soon; may be called from any thread."""
        ...


class MicrophoneStalled(MicrophoneError):
    """The stream reports no error, but no sound arrives."""


class FileSource(Source):
    """A WAV or FLAC file of at most `max_s` seconds as a stream, in real time if `realtime`.

    Raises:
        AudioFormatError: on entering, when the file cannot be used.
    """

    def __init__(self, path: str | Path, realtime: bool = False, max_s: float = 300.0) -> None:
        self._path = path
        self._realtime = realtime
        self._max_s = max_s
        self._recording: Recording | None = None
        self._position = 0
        self._maker = BlockMaker(SAMPLE_RATE)
        self._closed = threading.Event()

    def __enter__(self) -> FileSource:
        if self._recording is None:
            self._recording = read_audio(self._path, self._max_s)
        self._closed.clear()
        return self

    def close(self) -> None:
        """As `Source.close`."""
        self._closed.set()

    def blocks(self) -> Iterator[AudioBlock]:
        """As `Source.blocks`."""
        recording = self._recording
        if recording is None:
            raise RuntimeError("a source is used within `with`")
        total = len(recording.samples)
        started = time.monotonic() - self._position / SAMPLE_RATE
        while self._position < total and not self._closed.is_set():
            end = min(self._position + FRAME_SAMPLES, total)
            if self._realtime and self._closed.wait(started + end / SAMPLE_RATE - time.monotonic()):
                return
            piece = slice(self._position, end)
            self._position = end
            yield from self._maker.feed(
                recording.samples[piece],
                time.monotonic(),
                clipped=recording.clipped[piece],
                last=end == total,
            )


@dataclass(frozen=True)
class PcmFormat:
    """How samples are written, as in WAV: 8 bits without a sign, more with one, or float."""

    rate: int
    channels: int
    bits: int
    is_float: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8

    def decode(self, data: bytes, where: object) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Mono samples, shape (n,), of whole frames, and which were clipped in any channel.

        Raises:
            AudioFormatError: samples that are no sound.
        """
        samples = _to_float(data, self).reshape(-1, self.channels)
        peak_of(where, samples)
        clipped = np.abs(samples).max(axis=1, initial=0.0) >= FULL_SCALE
        mono = mix_down(samples)
        return (np.clip(mono, -1.0, 1.0) if self.is_float else mono), clipped


class _ClosedError(Exception):
    """The source was closed while it waited for a pipe."""


class StandardInputSource(Source):
    """Sound from a pipe: a WAV stream, or bare signed 16-bit little-endian mono at 16 kHz.

    Args:
        stream: what to read. It is not closed. Only an unbuffered one, such as
            `open(0, "rb", buffering=0)`, can be waited for so that `close` ends the wait.
        where: what the stream is called in messages.
        stall_s: time without sound that counts as a stall of a live stream, seconds; None waits
            for ever.

    Raises:
        AudioFormatError: from `open` and `blocks`, when there is nothing, or nothing that can be
            used.
        MicrophoneStalled: from both, where a live stream has stopped.
    """

    def __init__(
        self, stream: IO[bytes], where: str = "standard input", stall_s: float | None = None
    ) -> None:
        self._stream = stream
        self._where = where
        self._stall_s = stall_s
        self._heard_at = time.monotonic()
        self._poll = select.poll() if isinstance(stream, io.FileIO) else None
        if self._poll is not None:
            self._poll.register(stream, select.POLLIN)
        self._closed = threading.Event()
        self._buffer = b""  # read, but not yet used
        self._in_wav = False
        self._chunks = 0
        self._format: PcmFormat | None = None
        self._left: int | None = None  # bytes to come; None where the header does not say
        self._opened: tuple[PcmFormat, BlockMaker] | None = None
        self._got = 0
        self._waiting: deque[AudioBlock] = deque()
        self._ended = False

    def __enter__(self) -> StandardInputSource:
        self._closed.clear()
        return self

    def close(self) -> None:
        """As `Source.close`."""
        self._closed.set()

    def open(self) -> int:
        """Wait for the beginning; the sound's rate, samples per second, or 0 if it was closed."""
        try:
            pcm, _ = self._opened or self._open()
            if not self._peek(1):
                raise AudioFormatError(f"{self._where}: holds no sound; pipe a recording into it")
        except _ClosedError:
            return 0
        return pcm.rate

    def blocks(self) -> Iterator[AudioBlock]:
        """As `Source.blocks`."""
        while not self._closed.is_set():
            if self._waiting:
                yield self._waiting.popleft()
            elif self._ended:
                return
            else:
                try:
                    self._waiting.extend(self._next())
                except _ClosedError:
                    return

    def _next(self) -> list[AudioBlock]:
        """The blocks of the next 32 ms.

        Raises:
            AudioFormatError: there is no sound, it ends early, or it holds no numbers.
        """
        pcm, maker = self._opened or self._open()
        size = pcm.frame_bytes
        step = round(pcm.rate * FRAME_S) * size
        wanted = step if self._left is None else min(step, self._left)
        data = self._consume(wanted)
        self._got += len(data)
        if self._left is not None:
            self._left -= len(data)
        self._ended = len(data) < wanted or self._left == 0
        if self._ended and self._got < size:
            raise AudioFormatError(f"{self._where}: holds no sound; pipe a recording into it")
        if self._ended and self._left:
            raise AudioFormatError(f"{self._where}: ends before its header says; record it again")
        samples, clipped = pcm.decode(data[: len(data) - len(data) % size], self._where)
        arrived_at = time.monotonic() - self._waiting_bytes() / (pcm.rate * size)
        return maker.feed(samples, arrived_at, clipped=clipped, last=self._ended)

    def _waiting_bytes(self) -> int:
        """What has come of a live stream and was not read yet: while the reader was busy."""
        if self._stall_s is None:
            return 0
        count = fcntl.ioctl(self._stream, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def _open(self) -> tuple[PcmFormat, BlockMaker]:
        """Find out what the pipe carries: WAV when it begins with `RIFF`, else bare 16 kHz mono.

        Raises:
            AudioFormatError: it is a WAV of a kind that is not read, or another known format.
        """
        if not self._in_wav:
            head = self._peek(12)
            # Only what may be a frame is worth waiting for more.
            kind = known_format(self._peek(HEAD_BYTES) if head[:1] == b"\xff" else head)
            if kind is not None:
                raise AudioFormatError(
                    f"{self._where}: is {kind}; only WAV or bare 16-bit sound is read, convert it"
                )
            if head[:4] == b"RIFF":
                if self._peek(12)[8:] != b"WAVE":
                    raise AudioFormatError(f"{self._where}: is RIFF but no WAV; convert it")
                self._consume(12)
                self._in_wav = True
        while self._in_wav and not self._chunk():
            self._chunks += 1
            if self._chunks >= MOST_CHUNKS:
                raise AudioFormatError(
                    f"{self._where}: more than {MOST_CHUNKS} chunks and no sound; convert it"
                )
        pcm = self._format or PcmFormat(SAMPLE_RATE, 1, 16)
        self._opened = pcm, BlockMaker(pcm.rate)
        return self._opened

    def _chunk(self) -> bool:
        """Take in a chunk of a WAV's header; whether the sound begins."""
        header = self._peek(8)
        if len(header) < 8:
            raise AudioFormatError(f"{self._where}: the WAV ends before any sound; record it again")
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            if self._format is None:
                raise AudioFormatError(
                    f"{self._where}: the WAV does not say its format; convert it"
                )
            self._consume(8)
            self._left = None if length == 0 or length >= STREAMED_SIZE else length
            return True
        if length > _LONGEST_CHUNK:
            raise AudioFormatError(f"{self._where}: not a valid WAV (a chunk of {length} bytes)")
        body = self._consume(8 + length + (length & 1))[8:]
        if name == b"fmt ":
            self._format = self._parse_format(body)
        return False

    def _consume(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""
        data = self._peek(count)
        self._buffer = self._buffer[count:]
        return data

    def _peek(self, count: int) -> bytes:
        """As `_consume`, and the bytes stay; so does what had come when the source was closed."""
        while len(self._buffer) < count:
            while self._poll is not None and not self._poll.poll(_POLL_MS):
                if self._closed.is_set():
                    raise _ClosedError
                self._require_sound()
            data = self._stream.read(count - len(self._buffer))
            self._heard_at = time.monotonic()
            if not data:
                break
            self._buffer += data
        return self._buffer[:count]

    def _require_sound(self) -> None:
        """Raise `MicrophoneStalled` where a live stream has stopped."""
        if self._stall_s is None:
            return
        quiet_s = time.monotonic() - self._heard_at
        if quiet_s > (self._stall_s if self._got else max(_FIRST_SOUND_S, self._stall_s)):
            raise MicrophoneStalled(f"{self._where} has delivered nothing for {quiet_s:.1f} s")

    def _parse_format(self, body: bytes) -> PcmFormat:
        """The `fmt ` chunk: Multimedia Programming Interface and Data Specifications 1.0."""
        if len(body) < 16:
            raise AudioFormatError(f"{self._where}: the WAV's format is cut off; record it again")
        tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
        if tag == _EXTENSIBLE and len(body) >= 26:
            tag = struct.unpack("<H", body[24:26])[0]
        known = (tag == _PCM and bits in (8, 16, 24, 32)) or (tag == _FLOAT and bits == 32)
        if not known:
            raise AudioFormatError(
                f"{self._where}: the WAV's coding {tag} with {bits} bits is not read; convert it to"
                " 16 bits"
            )
        require_format(self._where, rate, channels)
        return PcmFormat(rate, channels, bits, tag == _FLOAT)


def _to_float(data: bytes, pcm: PcmFormat) -> FloatArray:
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
