"""Where blocks come from: the interface of a source, and the sources that are no microphone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from edge.audio.blocks import BlockMaker
from edge.audio.files import Recording, read_audio
from edge.audio.frames import FRAME_S
from edge.audio.streams import open_stream
from edge.types import SAMPLE_RATE, AudioBlock


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
